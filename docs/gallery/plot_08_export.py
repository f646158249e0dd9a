"""
Export to C and ONNX
====================

A model as one C99 header for programs without Python, and as an ONNX graph for other runtimes. Both contain the
preprocessing and the labels.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import tinyrs
from sklearn.datasets import load_iris

X, y = load_iris(return_X_y=True, as_frame=True)
clf = tinyrs.TinyClassifier((32, 32), max_iter=128, random_state=0).fit(X, y)
folder = Path(tempfile.mkdtemp())

# %%
# C
# -
# The first lines of the header say how to use it.

clf.to_c(folder / "iris.h")
print("\n".join((folder / "iris.h").read_text().splitlines()[:12]))

# %%
# A complete program. It reads rows from standard input and needs nothing but a C compiler.

program = """
#include "iris.h"
#include <stdio.h>

int main(void) {
    double row[IRIS_N_COLUMNS];
    double p[IRIS_N_CLASSES];
    while (scanf("%lf %lf %lf %lf", row, row + 1, row + 2, row + 3) == 4) {
        iris_predict_proba(row, p);
        printf("%.9g %.9g %.9g\\n", p[0], p[1], p[2]);
    }
}
"""
(folder / "main.c").write_text(program)
compiler = shutil.which("cc") or "gcc"
subprocess.run([compiler, "-O2", "main.c", "-o", "iris", "-lm"], cwd=folder, check=True)
rows = "\n".join(" ".join(map(str, row)) for row in X.to_numpy())
output = subprocess.run([folder / "iris"], input=rows, capture_output=True, text=True, check=True).stdout
from_c = np.array([line.split() for line in output.splitlines()], float)

# %%
# ONNX
# ----

import onnxruntime

clf.to_onnx(folder / "iris.onnx")
session = onnxruntime.InferenceSession(folder / "iris.onnx")
labels, from_onnx = session.run(None, {"X": X.to_numpy()})

# %%
# All three compute the same
# --------------------------

exact = clf.predict_proba(X)
for name, p in {"C": from_c, "ONNX Runtime": from_onnx}.items():
    print(f"{name}: largest difference {np.abs(p - exact).max():.1e}")

figure, ax = plt.subplots(figsize=(4, 4), layout="constrained")
ax.plot([0, 1], [0, 1], color="0.7")
ax.plot(exact[:, 1], from_c[:, 1], "o", label="C")
ax.plot(exact[:, 1], from_onnx[:, 1], "x", label="ONNX Runtime")
ax.set(xlabel="probability of class 1 from Python", ylabel="the same row elsewhere")
ax.legend()

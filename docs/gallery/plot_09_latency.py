"""
The latency of one row
======================

How long does a call take for one row, and how much of it is the network? The times are those of the machine that built
this site, with whatever else it was doing; run the example on yours.
"""

import matplotlib.pyplot as plt
import numpy as np
import tinyrs
from matplotlib.ticker import LogLocator
from sklearn.datasets import load_digits
from tinyrs.bench.latency import measure

X, y = load_digits(return_X_y=True)
rows = X[:200].tolist()
widths = [8, 16, 32, 64, 128, 256, 512]
medians, tails, accuracies = [], [], []
for width in widths:
    clf = tinyrs.TinyClassifier((width, width), n_ensemble=1, max_iter=24, random_state=0).fit(
        X[:1300], y[:1300]
    )
    predictor = clf.predictor()
    latency = measure(predictor.predict_one, rows, seconds=0.1)
    medians.append(latency.p50_us)
    tails.append(latency.p99_us)
    accuracies.append(clf.score(X[1300:], y[1300:]))

# %%
# Up to some width, the call from Python takes most of the time. A wider network is then free.

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.5), layout="constrained")
left.loglog(widths, medians, "o-", label="median")
left.loglog(widths, tails, "o:", label="99th percentile")
left.set(xlabel="width of two hidden layers", ylabel="microseconds a row")
left.set_xticks(widths, map(str, widths))
left.legend()
right.semilogx(medians, accuracies, "o-")
for width, median, accuracy in zip(widths, medians, accuracies, strict=True):
    right.annotate(
        str(width), (median, accuracy), xytext=(4, -12), textcoords="offset points", fontsize="small"
    )
right.set(xlabel="median in microseconds", ylabel="accuracy, by width")
for axis in (left.yaxis, right.xaxis):
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
for axis in (left.xaxis, left.yaxis, right.xaxis):
    axis.set_minor_formatter("")

# %%
# A batch shares the cost of the call: the time for each row falls.

predictor = tinyrs.TinyClassifier((64, 64), max_iter=24, random_state=0).fit(X, y).predictor()
for size in (1, 10, 100, 1000):
    batch = np.ascontiguousarray(X[:size], np.float32)
    latency = measure(predictor.predict_proba, [batch], seconds=0.1)
    print(f"{size:5} rows: {latency.p50_us / size:6.2f} us a row")

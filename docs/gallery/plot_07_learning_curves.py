"""
Learning curves and early stopping
==================================

The training loss always falls. The loss on other rows says when to stop.
"""

import matplotlib.pyplot as plt
import numpy as np
import tinyrs
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

X, y = load_breast_cancer(return_X_y=True)
X = StandardScaler().fit_transform(X)
X_train, X_valid, y_train, y_valid = train_test_split(X, y, test_size=0.4, random_state=0, stratify=y)

# %%
# A network with a constant learning rate and no smoothing learns the training rows by heart. ``patience`` stops it, and
# the parameters of the best epoch are restored.

network = tinyrs.Network([30, 128, 128, 2], activation="relu", output_activation="softmax", seed=0)
history = network.fit(
    X_train, y_train, epochs=200, learning_rate=1e-3, validation=(X_valid, y_valid), patience=60, seed=0
)
figure, ax = plt.subplots(figsize=(6, 3.5), layout="constrained")
ax.semilogy(history["loss"], label="training")
ax.semilogy(history["validation_loss"], label="validation")
ax.axvline(history.best_epoch, color="0.6", linestyle="--", label=f"best: epoch {history.best_epoch}")
ax.set(
    xlabel="epoch", ylabel="log loss", title=f"stopped by {history.stopped_by} after {len(history)} epochs"
)
ax.legend()

# %%
# ``TinyClassifier`` uses a schedule of four cycles, and keeps the best epoch.

clf = tinyrs.TinyClassifier(random_state=0).fit(X_train, y_train)
ax = clf.plot_loss()
ax.set_yscale("log")

# %%
# Are more rows worth their price? Train on parts of the data.

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.4, random_state=0)
sizes = [50, 100, 200, 400, 1000]
accuracies = [
    tinyrs.TinyClassifier((64, 64), max_iter=64, random_state=0)
    .fit(X_train[:n], y_train[:n])
    .score(X_test, y_test)
    for n in sizes
]
figure, ax = plt.subplots(figsize=(6, 3.5), layout="constrained")
ax.semilogx(sizes, 1 - np.array(accuracies), "o-")
ax.set_xticks(sizes, map(str, sizes))
ax.minorticks_off()
ax.set(xlabel="training rows", ylabel="error on 719 test rows", ylim=(0, None))

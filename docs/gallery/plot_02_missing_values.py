"""
A table with missing values
===========================

A third of the values of the wine table are removed at random. Nothing has to be imputed: a missing value is information
of its own for the network.
"""

import matplotlib.pyplot as plt
import numpy as np
import tinyrs
from sklearn.datasets import load_wine
from sklearn.model_selection import StratifiedKFold, cross_val_score

X, y = load_wine(return_X_y=True, as_frame=True)
rng = np.random.default_rng(0)
folds = StratifiedKFold(3, shuffle=True, random_state=0)

shares = [0, 0.1, 0.3, 0.5]
accuracies = []
for share in shares:
    with_gaps = X.mask(rng.random(X.shape) < share)
    clf = tinyrs.TinyClassifier((64, 64), max_iter=64, random_state=0)
    accuracies.append(cross_val_score(clf, with_gaps, y, cv=folds))
    print(f"{share:.0%} missing: accuracy {accuracies[-1].mean():.3f}")

# %%
# The accuracy falls slowly: with 13 columns, another one often has the same information.

figure, ax = plt.subplots(figsize=(6, 3.5), layout="constrained")
ax.plot(shares, [a.mean() for a in accuracies], "o-", label="mean of three folds")
for share, of_folds in zip(shares, accuracies, strict=True):
    ax.plot([share] * 3, of_folds, ".", color="0.5")
ax.axhline(
    y.value_counts(normalize=True).max(), linestyle="--", color="0.6", label="always the most frequent class"
)
ax.set(xlabel="share of missing values", ylabel="accuracy", ylim=(0.3, 1.03))
ax.legend(loc="lower left")

"""
Handwritten digits
==================

A classifier of 8 x 8 images, and the digits that it gets wrong.
"""

import matplotlib.pyplot as plt
import numpy as np
import tinyrs
from sklearn.datasets import load_digits
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.model_selection import train_test_split

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)
clf = tinyrs.TinyClassifier(random_state=0).fit(X_train, y_train)
print(f"accuracy {clf.score(X_test, y_test):.3f} on {len(y_test)} images")

# %%
# The confusion matrix says which digits are taken for which.

ConfusionMatrixDisplay.from_predictions(y_test, clf.predict(X_test), colorbar=False, cmap="Blues")

# %%
# The six images whose right label gets the lowest probabilities. Some of them are not obvious to a human either.

p = clf.predict_proba(X_test)
least_sure = np.argsort(p[np.arange(len(y_test)), y_test])[:6]
figure, axes = plt.subplots(1, 6, figsize=(9, 2.2), layout="constrained")
for ax, i in zip(axes, least_sure, strict=True):
    ax.imshow(X_test[i].reshape(8, 8), cmap="Greys")
    ax.set_title(f"{y_test[i]}, taken for\n{p[i].argmax()} ({p[i].max():.0%})", fontsize="medium")
    ax.axis("off")

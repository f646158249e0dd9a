"""What `TinyClassifier.fit` decides with validation rows and callbacks.

`metrics.py` reads `eval_metric`, `epoch_selection.py` chooses the epoch to keep, `calibration.py` the
temperature of the probabilities. `sklearn_callbacks.py` reports epochs to scikit-learn's callbacks. May use
`history` and the compiled extension.
"""

"""What `TinyClassifier.fit` decides with validation rows and callbacks.

`metrics.py` defines the metrics and reads `eval_metric`, `epoch_selection.py` chooses the epoch to keep,
`calibration.py` the temperature of the probabilities. `scores.py` measures a model, with the confidence
intervals of `intervals.py`; `importance.py` measures its columns. `sklearn_callbacks.py` reports epochs to
scikit-learn's callbacks. May use `history` and the compiled extension.
"""

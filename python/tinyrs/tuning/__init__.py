"""What `TinyClassifier.fit` decides with validation rows and callbacks.

`basic_metrics.py` and `metrics.py` define the metrics; the latter also reads `eval_metric`.
`epoch_selection.py` chooses the epoch to keep, `calibration.py` the temperature of the probabilities.
`scores.py` measures a model, with the confidence intervals of `intervals.py`, `importance.py` its columns,
and `quantization.py` what fewer bytes a weight cost. `sklearn_callbacks.py` reports epochs to scikit-learn's
callbacks. May use `history` and the compiled extension.
"""

"""Import of networks trained with other libraries, as predictors.

`sklearn.py`, `torch.py` and `onnx.py` each read one kind of model and build a `PartialNetwork`
(`partial_network.py`), which becomes a predictor. For ONNX, `onnx_operators.py` interprets the operators and
`elementwise.py` recognises activations. May use `predictor`, `oracle` and the compiled extension.
"""

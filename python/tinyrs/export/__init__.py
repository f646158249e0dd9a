"""Export of predictors to programs without tinyrs: ONNX models and C headers.

`model.py` holds what both formats need of a predictor and checks that it can be exported. `onnx.py` builds
the ONNX graph; `c.py` fills the templates in `c_templates.py`. May use `tabular.preprocessor` and the
compiled extension; the package onnx is imported by `onnx.py` only.
"""

"""Networks that were trained elsewhere, as predictors: from ONNX files, scikit-learn and PyTorch."""

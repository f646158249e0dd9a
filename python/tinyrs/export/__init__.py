"""Models for programs without tinyrs: ONNX graphs and C."""

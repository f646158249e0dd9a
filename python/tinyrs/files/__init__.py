"""Files on disk: model files and checkpoints. Each is written completely or not at all.

Start in `model_file.py`: safetensors with a checked JSON description. `predictor_file.py` and `checkpoint.py`
say what the description of their kind of model holds, `class_labels.py` how class labels are stored, and
`atomic.py` replaces a file. May use `tabular` and the compiled extension.
"""

"""`TinyClassifier`, the scikit-learn estimator.

Start in `estimator.py`: the parameters and the public methods of training. The methods of a fitted classifier
are in `prediction.py`. `fitting.py` does the work of `fit`, on a copy of the estimator from `draft.py`:
`data.py` turns what the user passes into arrays, `recipe.py` initialises and trains a network, `members.py`
trains several side by side, and `evaluation.py` measures them after each epoch, `held_out.py` at the end.
`deadline.py` ends the training in time. `summary.py` and `plots.py` show what
is known of a fitted classifier. `parameters.py` says which values the parameters take.
May use `tabular`, `tuning`, `history`, `predictor` and the compiled extension.
"""

try:
    import sklearn as _sklearn  # noqa: F401  # so that its absence is reported here, with the way to install it
except ModuleNotFoundError as missing:
    raise ImportError(
        f"TinyClassifier needs scikit-learn 1.6 or newer ({missing}): pip install 'tinyrs[sklearn]'"
    ) from missing

from tinyrs.classifier.estimator import TinyClassifier
from tinyrs.classifier.recipe import default_epochs

__all__ = ["TinyClassifier", "default_epochs"]

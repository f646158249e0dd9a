"""`TinyClassifier`, the scikit-learn estimator.

Start in `estimator.py`: the parameters and the public methods of training. The methods of a fitted classifier
are in `prediction.py`. `fitting.py` does the work of `fit`, on a copy of the estimator from `draft.py`:
`data.py` turns what the user passes into arrays, and `training.py` trains the networks of `members.py` on
`TrainingRows`, chooses their epoch and trains again. `memory_rows.py` holds such rows in memory.
With a path or the like, `streaming.py` does that work: `streamed_rows.py` reads the rows again in each epoch,
as `memory_plan.py` divides the memory, mixes them (`shuffle.py`) and trains piece by piece (`piecewise.py`).
`recipe.py` initialises and trains a network, `evaluation.py` measures it after each epoch, `held_out.py` at
the end. `deadline.py` ends the training in time. `summary.py` and `plots.py` show what is known of a fitted
classifier. `parameters.py` says which values the parameters take.
May use `tabular`, `tuning`, `history`, `predictor` and the compiled extension.
"""

try:
    import sklearn as _sklearn  # noqa: F401  # so that its absence is reported here, with the way to install it
except ModuleNotFoundError as missing:
    raise ImportError(
        f"TinyClassifier needs scikit-learn 1.6 or newer ({missing}): pip install 'tinyrs[sklearn]'"
    ) from missing

from tinyrs.classifier.estimator import TinyClassifier
from tinyrs.classifier.memory_plan import memory_needed
from tinyrs.classifier.recipe import default_epochs
from tinyrs.classifier.training import refit_pays

__all__ = ["TinyClassifier", "default_epochs", "memory_needed", "refit_pays"]

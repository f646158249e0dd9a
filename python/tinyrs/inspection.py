"""Permutation importance of the columns of a trained classifier."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrs.history import progress_bar
from tinyrs.predictor import Predictor
from tinyrs.tuning import importance
from tinyrs.tuning.basic_metrics import accuracy, log_loss
from tinyrs.tuning.quantization import read_targets


@dataclass(frozen=True)
class PermutationImportance:
    """How much worse a metric gets when a column is shuffled, under scikit-learn's names.

    Attributes
    ----------
    columns : tuple of str
        The names of the columns.
    importances : array of shape (columns, n_repeats)
        The increase of the log loss, or the decrease of another metric, for each permutation.
    """

    columns: tuple[str, ...]
    importances: npt.NDArray[np.float64]

    @property
    def importances_mean(self) -> npt.NDArray[np.float64]:
        """The mean over the permutations, (columns,)."""
        return np.asarray(self.importances.mean(axis=1))

    @property
    def importances_std(self) -> npt.NDArray[np.float64]:
        """The standard deviation over the permutations, (columns,)."""
        return np.asarray(self.importances.std(axis=1))


def permutation_importance(
    predictor: Predictor,
    X: Any,
    y: npt.ArrayLike,
    *,
    metric: str | Callable[[Any, Any], float] = "log_loss",
    n_repeats: int = importance.REPEATS,
    max_rows: int = importance.MAX_ROWS,
    random_state: int = 0,
    progress: bool = False,
    n_threads: int | None = None,
) -> PermutationImportance:
    """How much worse a metric gets when the values of a column are shuffled.

    This is the permutation importance of Breiman, "Random Forests", 2001. The table is encoded once, which
    makes this faster than scikit-learn's function of this name. Of columns that say nearly the same, each
    seems unimportant.

    Parameters
    ----------
    predictor : Predictor
    X : table of shape (rows, columns)
        Rows that the model was not trained on, as in `Predictor.predict_proba`.
    y : array of shape (rows,) or (rows, labels)
        Their labels.
    metric : {"log_loss", "accuracy"} or callable
        A callable takes the labels and the probabilities (rows, classes); higher is better.
    n_repeats : int
        The number of permutations of each column.
    max_rows : int
        If there are more rows, a random sample of this size is used.
    random_state : int
    progress : bool
        Whether to show a progress bar on standard error; needs tqdm.
    n_threads : int, optional

    Returns
    -------
    PermutationImportance

    Raises
    ------
    ImportError
        If `progress` is true and tqdm is not installed.
    TypeError
        If X is sparse.
    ValueError
        If X has no rows, y does not fit, a label is not a class of the model, or an option is not as above.
    """
    for name, number in (("n_repeats", n_repeats), ("max_rows", max_rows)):
        if number < 1:
            raise ValueError(f"{name}: expected at least 1, got {number}")
    encoded, _ = predictor._encode_finite(X, "ignore")
    if len(encoded) == 0:
        raise ValueError("X: expected at least one row, got none")
    loss = _loss(predictor, y, metric, len(encoded), n_threads)
    model = predictor.preprocessor
    columns = [[i] for i in range(predictor.n_features_in_)] if model is None else model.encoded_columns
    with progress_bar(len(columns), "permutation importance", "column", shown=progress) as advance:
        found = importance.permutation_importance(
            encoded,
            columns,
            loss,
            repeats=n_repeats,
            max_rows=max_rows,
            seed=random_state,
            advance=lambda: advance(""),
        )
    return PermutationImportance(predictor._column_names(), found)


def _loss(
    predictor: Predictor,
    y: npt.ArrayLike,
    metric: str | Callable[[Any, Any], float],
    n_rows: int,
    n_threads: int | None,
) -> Callable[[npt.NDArray[Any], npt.NDArray[np.intp]], float]:
    """The loss of some encoded rows and of the labels of the rows with these indices; lower is better."""
    labels = np.asarray(y)
    targets = read_targets(y, predictor.classes_.tolist(), n_rows, predictor.multilabel)
    if not callable(metric) and metric not in ("log_loss", "accuracy"):
        raise ValueError(f"metric: expected 'log_loss', 'accuracy' or a function, got {metric!r}")

    def loss(encoded: npt.NDArray[Any], rows: npt.NDArray[np.intp]) -> float:
        p = predictor._probabilities(encoded, n_threads=n_threads)
        if callable(metric):
            return -float(metric(labels[rows], p))
        return log_loss(targets[rows], p) if metric == "log_loss" else -accuracy(targets[rows], p)

    return loss

"""The methods of `Predictor` that say something about its predictions: `check` and `explain`."""

from __future__ import annotations

from tinyrs.predictor.base import PredictorBase

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    import numpy as np
    import numpy.typing as npt

    from tinyrs.explanation import Explanation
    from tinyrs.tabular.shift_report import ShiftReport
else:
    from tinyrs._lazy import np


class Analyses(PredictorBase):
    """The methods of `Predictor` that say something about its predictions."""

    def check(self, X: Any, *, extra_columns: str = "ignore") -> ShiftReport:
        """How the columns of a table differ from those of the training set.

        `predict` and the other methods give a `tinyrs.DataShiftWarning` for each column that has clearly
        more unseen categories or missing values than in training, or more than a few numbers that lie farther
        from the range of training than its width. The report has all figures.

        Parameters
        ----------
        X, extra_columns
            As in `predict_proba`.

        Returns
        -------
        ShiftReport
            Its `to_dict()` is a list of dicts, one for each column; its `warnings` are those of `predict`.

        Raises
        ------
        ValueError, TypeError
            As `predict_proba`, and if the model has no preprocessing: it knows no training columns.
        """
        if self.preprocessor is None:
            raise ValueError("check: expected a model with preprocessing, which knows its columns")
        from tinyrs.tabular.shift_report import report_shift

        encoded = np.asarray(np.atleast_2d(self._encode(X, extra_columns)), dtype=np.float64)
        self._refuse_infinite(encoded)
        return report_shift(self.preprocessor, self.feature_names_in_, encoded)

    def explain(
        self, X: Any, *, target: Any = None, baseline: Any = None, extra_columns: str = "ignore"
    ) -> Explanation:
        """How much each column contributes to a probability: integrated gradients.

        The contributions add up to the difference between the probability of the row and that of a baseline
        (Sundararajan, Taly, Yan, "Axiomatic attribution for deep networks", 2017). The path of the integrals
        runs through the features of the network; those of one column are added up.

        Parameters
        ----------
        X : table or one row
            As in `predict_proba`.
        target : label, optional
            The class whose probability is explained; by default the class predicted for each row. Multilabel
            models need it.
        baseline : one row, optional
            By default every number is the median of the training rows, and every category unknown; without
            preprocessing, every number is 0.
        extra_columns : {"ignore", "error"}

        Returns
        -------
        Explanation

        Raises
        ------
        TypeError
            If X is sparse.
        ValueError
            If `target` is not a class of the model, the network is quantized, or X or `baseline` does not
            have the columns of the training set.

        Warns
        -----
        RuntimeWarning
            If the contributions do not add up to within 0.001.
        """
        from tinyrs.explanation import Explanation, explain

        if self._network.weights != self._network.precision:
            raise ValueError(
                f"explain: expected a network that is not quantized, got weights in {self._network.weights}: "
                "explain the predictor before `quantize`"
            )
        if target is None and self.multilabel:
            raise ValueError("explain: expected a target, one of the labels, because a row may have several")
        rows, one_row = self._features(X, extra_columns)
        base = np.zeros((1, rows.shape[1]), rows.dtype)
        if baseline is not None:
            base, is_one = self._features(baseline, extra_columns)
            if not is_one:
                raise ValueError(f"baseline: expected one row, got {len(base)} rows")
        targets = None if target is None else np.full(len(rows), self._class_index(target))
        columns = range(rows.shape[1]) if self.preprocessor is None else self.preprocessor.feature_columns
        found, targets, probability, before = explain(self._network, rows, base[0], targets, columns)
        row: Any = 0 if one_row else slice(None)
        # Indexing an array of objects returns the object itself, not an array of shape ().
        labels = np.asarray(self.classes_[targets][row], self.classes_.dtype)
        return Explanation(found[row], self._column_names(), labels, probability[row], before[row])

    def _features(self, X: Any, extra_columns: str) -> tuple[npt.NDArray[Any], bool]:
        """The inputs (rows, features) of the network for X, and whether X is one row."""
        encoded, one_row = self._encode_finite(X, extra_columns)
        precision = self._network.precision
        if self.preprocessor is None:
            return encoded.astype("f4" if precision == "f32" else "f8"), one_row
        return self.preprocessor.transform(encoded, precision), one_row

    def _class_index(self, label: Any) -> int:
        if label not in self._labels:
            classes = ", ".join(map(repr, self._labels))
            raise ValueError(f"target: expected a class of the model ({classes}), got {label!r}")
        return self._labels.index(label)

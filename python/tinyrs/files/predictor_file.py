"""What the model file of a `Predictor` holds, and how it is checked."""

from __future__ import annotations

from tinyrs._tinyrs import Network, Tensor
from tinyrs.files import model_file
from tinyrs.files.class_labels import ClassLabels
from tinyrs.files.model_file import Fields, refuse, tensor
from tinyrs.tabular.preprocessor import CategoryColumn, NumberColumn, Preprocessor
from tinyrs.tabular.statistics import Quartiles, TrainingStatistics
from tinyrs.tabular.times import PARTS
from tinyrs.tabular.values import MISSING, READERS, category_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    import numpy as np
    import numpy.typing as npt

    from tinyrs.files.model_file import Tensors
else:
    from tinyrs._lazy import np

SELF_TEST_ROWS = 8
INFINITY = float("inf")


class PredictorState:
    """Everything that a `Predictor` is made of; see there for the meaning of most attributes.

    Attributes
    ----------
    network, preprocessor, multilabel, feature_names, training, quantization
    classes : ClassLabels
    self_test : (Tensor, Tensor) or None
        Encoded rows (rows, n_encoded) from a file, and the outputs (rows, n_classes) where it was saved.
    """

    def __init__(
        self,
        network: Network,
        preprocessor: Preprocessor | None,
        classes: ClassLabels,
        *,
        multilabel: bool,
        feature_names: Sequence[str] | None,
        training: Mapping[str, Any],
        quantization: Mapping[str, Any] | None = None,
        self_test: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        self.network, self.preprocessor, self.classes = network, preprocessor, classes
        self.multilabel, self.feature_names, self.training = multilabel, feature_names, training
        self.quantization, self.self_test = quantization, self_test

    @property
    def n_columns(self) -> int:
        """The number of columns of the table."""
        return self.network.layer_sizes[0] if self.preprocessor is None else self.preprocessor.n_columns

    @property
    def n_encoded(self) -> int:
        """The number of values in an encoded row."""
        return self.n_columns if self.preprocessor is None else self.preprocessor.n_encoded

    def forward(self, encoded: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The outputs (rows, n_classes) for encoded rows (rows, columns)."""
        if self.preprocessor is None:
            return self.network.forward(encoded)
        return self.preprocessor.forward(self.network, encoded)


def to_bytes(
    state: PredictorState, estimator: tuple[Mapping[str, Any], Mapping[str, npt.NDArray[Any]]] | None = None
) -> bytes:
    """The bytes of the model file: the same for the same predictor.

    `estimator` is what `TinyClassifier.load` needs in addition, as a description and tensors.
    """
    network, tensors = model_file.describe_network(state.network)
    categories, number_kinds, parts, training_rows = None, [], [], None
    if state.preprocessor is not None:
        numbers = state.preprocessor.numbers
        tensors |= {
            "numbers.column": np.array([n.column for n in numbers], dtype=np.int64),
            "numbers.centre": np.array([n.centre for n in numbers], dtype=np.float64),
            "numbers.scale": np.array([n.scale for n in numbers], dtype=np.float64),
            "numbers.flagged": np.array([n.missing_indicator for n in numbers], dtype=np.bool_),
        }
        number_kinds = [n.kind for n in numbers]
        parts = [{"column": column, "part": part} for column, part in state.preprocessor.parts]
        if state.preprocessor.statistics is not None:
            training_rows = state.preprocessor.statistics.n_rows
            tensors |= _statistics_tensors(state.preprocessor.statistics)
        categories = [
            {
                "column": c.column,
                "names": c.names,
                "buckets": c.buckets,
                "kind": c.kind,
                "hash_prefix": c.hash_prefix,
            }
            for c in state.preprocessor.categories
        ]
    rows = _self_test_rows(state)
    tensors |= {"self_test.rows": rows, "self_test.outputs": state.forward(rows)}
    model = {
        "network": network,
        "n_columns": state.n_columns,
        # None: there is no preprocessing.
        "categories": categories,
        "number_kinds": number_kinds,
        "date_parts": parts,
        "training_rows": training_rows,
        "feature_names": state.feature_names,
        "classes": state.classes.describe(),
        "multilabel": state.multilabel,
        "training": state.training,
    }
    # Left out of files of full precision, which stay as older versions wrote them.
    if state.quantization is not None:
        model["quantization"] = state.quantization
    if estimator is not None:
        model["estimator"] = estimator[0]
        tensors |= estimator[1]
    return model_file.to_bytes("predictor", model, tensors)


def restore(model: Fields, tensors: Tensors) -> PredictorState:
    """The predictor that `to_bytes` described.

    Raises
    ------
    ValueError
        If a field or tensor is missing, or contradicts another one.
    """
    n_columns = model.whole("n_columns", least=1)
    names = model.strings("feature_names") if model.values.get("feature_names") is not None else None
    if names is not None and len(set(names)) != n_columns:
        refuse("model.feature_names", f"{n_columns} different names", names)
    network = model_file.restore_network(model.fields("network"), tensors)
    classes, outputs = ClassLabels.restore(model.fields("classes")), network.layer_sizes[-1]
    if len(classes.values) != outputs:
        refuse("model.classes.values", f"{outputs} classes, one per network output", len(classes.values))
    preprocessor, features = None, n_columns
    if model.values.get("categories") is not None:
        preprocessor = _restore_preprocessor(model, tensors, n_columns)
        features = preprocessor.feature_encoder.n_features
    if features != network.layer_sizes[0]:
        refuse("model.network", f"{features} inputs, one per feature", network.layer_sizes[0])
    n_encoded = n_columns if preprocessor is None else preprocessor.n_encoded
    multilabel, training = model.get("multilabel", bool), model.get("training", dict, "an object")
    quantization = model.get("quantization", dict, "an object") if "quantization" in model.values else None
    rows = tensor(tensors, "self_test.rows", ["float64"], (-1, n_encoded))
    answers = tensor(tensors, "self_test.outputs", ["float32", "float64"], (rows.shape[0], outputs))
    # Only the preprocessing can handle missing numbers.
    if not (rows.is_finite(missing=preprocessor is not None) and answers.is_finite()):
        refuse("self_test", "finite numbers", "infinite or missing ones")
    return PredictorState(
        network,
        preprocessor,
        classes,
        multilabel=multilabel,
        feature_names=names,
        training=training,
        quantization=quantization,
        self_test=(rows.copy(), answers.copy()),
    )


def _self_test_rows(state: PredictorState) -> npt.NDArray[np.float64]:
    """Random encoded rows (rows, columns) in the range of the training rows, none of which are revealed."""
    rng = np.random.default_rng(0)
    if state.preprocessor is None:
        return rng.normal(size=(SELF_TEST_ROWS, state.n_encoded))
    rows = np.zeros((SELF_TEST_ROWS, state.n_encoded))
    for number in state.preprocessor.numbers:
        spread = 1 / number.scale if number.scale > 0 else 0.0
        column = number.centre + spread * rng.normal(size=SELF_TEST_ROWS)
        rows[:, number.column] = np.clip(column, -1e300, 1e300)
    for category in state.preprocessor.categories:
        rows[:, category.column] = rng.integers(-1, max(category.n_codes, 1), SELF_TEST_ROWS)
    rows[-1] = np.nan
    return rows


def _restore_preprocessor(model: Fields, tensors: Tensors, n_columns: int) -> Preprocessor:
    column = tensor(tensors, "numbers.column", ["int64"], (-1,))
    centre = tensor(tensors, "numbers.centre", ["float64"], column.shape)
    scale = tensor(tensors, "numbers.scale", ["float64"], column.shape)
    indicator = tensor(tensors, "numbers.flagged", ["bool"], column.shape)
    if any(byte > 1 for byte in indicator.tobytes()):
        refuse("numbers.flagged", "bytes of 0 and 1", "other bytes")
    if "number_kinds" in model.values:
        kinds = model.strings("number_kinds")
        if len(kinds) != column.shape[0] or not set(kinds) <= READERS.keys():
            refuse("model.number_kinds", f"{column.shape[0]} of {', '.join(READERS)}", kinds)
    else:  # format 1
        kinds = ["number"] * column.shape[0]
    numbers = [
        NumberColumn(*values)
        for values in zip(
            column.tolist(), centre.tolist(), scale.tolist(), indicator.tolist(), kinds, strict=True
        )
    ]
    categories = [restore_category(fields) for fields in model.objects("categories")]
    parts = _restore_parts(model, {n.column for n in numbers if n.kind == "date"})
    columns, n_encoded = [n.column for n in numbers] + [c.column for c in categories], n_columns + len(parts)
    if len(columns) != n_encoded or sorted(columns) != list(range(n_encoded)):
        refuse("model", f"each of {n_encoded} columns once", sorted(columns))
    if any(n.column >= n_columns and n.kind != "number" for n in numbers):
        refuse("model.number_kinds", "numbers for the parts of dates", kinds)
    try:
        statistics = _restore_statistics(model, tensors, n_columns, categories)
        return Preprocessor(n_columns, tuple(numbers), tuple(categories), parts, statistics)
    except ValueError as error:
        raise ValueError(f"model file: model: {error}") from None


# In `statistics.quartiles`, for a column that has none.
_NO_QUARTILES = (float("nan"),) * 5


def _statistics_tensors(statistics: TrainingStatistics) -> dict[str, npt.NDArray[Any]]:
    counts = [count for of_column in statistics.counts for count in of_column]
    return {
        "statistics.missing": np.array(statistics.missing, dtype=np.int64),
        "statistics.quartiles": np.array(
            [q or _NO_QUARTILES for q in statistics.quartiles], dtype=np.float64
        ),
        "statistics.counts": np.array(counts, dtype=np.int64),
    }


def _restore_statistics(
    model: Fields, tensors: Tensors, n_columns: int, categories: Sequence[CategoryColumn]
) -> TrainingStatistics | None:
    """What the training rows were like; None for a file of an older version."""
    if model.values.get("training_rows") is None:
        return None
    n_rows, n_counts = model.whole("training_rows", least=1), sum(len(c.names) for c in categories)
    missing = tensor(tensors, "statistics.missing", ["int64"], (n_columns,)).tolist()
    counts = tensor(tensors, "statistics.counts", ["int64"], (n_counts,)).tolist()
    of_categories = []
    for category in categories:
        of_categories.append(tuple(counts[: len(category.names)]))
        del counts[: len(category.names)]
    for count in (*missing, *map(sum, of_categories), *(min(c, default=0) for c in of_categories)):
        if not 0 <= count <= n_rows:
            refuse("statistics", f"counts from 0 to {n_rows}", count)
    numbers = tensor(tensors, "statistics.quartiles", ["float64"], (n_columns, 5)).tolist()
    quartiles: list[Quartiles | None] = []
    for start in range(0, len(numbers), 5):
        low, lower, median, upper, high = five = tuple(numbers[start : start + 5])
        known = low == low
        if known and not -INFINITY < low <= lower <= median <= upper <= high < INFINITY:
            refuse("statistics.quartiles", "rising finite numbers", five)
        quartiles.append(five if known else None)
    return TrainingStatistics(n_rows, tuple(missing), tuple(quartiles), tuple(of_categories))


def _restore_parts(model: Fields, dates: set[int]) -> tuple[tuple[int, str], ...]:
    """The parts of dates; `dates` are the columns of dates."""
    if "date_parts" not in model.values:  # format 1
        return ()
    parts = []
    for fields in model.objects("date_parts"):
        column, part = fields.whole("column"), fields.get("part", str)
        if column not in dates or part not in PARTS or (column, part) in parts:
            refuse(fields.path, "a part of a date", fields.values)
        parts.append((column, part))
    return tuple(parts)


def restore_category(fields: Fields) -> CategoryColumn:
    names = fields.strings("names")
    if len(set(names)) != len(names):
        refuse(f"{fields.path}.names", "different names", names)
    index, buckets = fields.whole("column"), fields.whole("buckets", below=2**16)
    if "kind" not in fields.values:
        return _restore_category_1(index, names, buckets)
    kind, hash_prefix = fields.get("kind", str), fields.get("hash_prefix", str)
    if kind != "text" and kind not in READERS:
        refuse(f"{fields.path}.kind", f"one of text, {', '.join(READERS)}", kind)
    return CategoryColumn(index, tuple(names), buckets, kind, hash_prefix)


def _restore_category_1(index: int, names: list[str], buckets: int) -> CategoryColumn:
    """A column from a file of format 1, where a name was prefixed with the first letter of its type.

    It is a column of numbers or booleans if all names are; else it is text, which holds True as "True".
    """
    prefixes = {name[:2] for name in names if name != MISSING}
    kinds = {"number": {"i:", "f:", "D:", "F:"}, "boolean": {"b:"}}
    kind = next((kind for kind, of_kind in kinds.items() if prefixes and prefixes <= of_kind), "text")
    hash_prefix = prefixes.pop() if len(prefixes) == 1 else "s:"
    # In a dict, in which a name that another one already became stays as it was: codes are places.
    restored: dict[str, None] = {}
    for name in names:
        new = name if name == MISSING else category_name(name[2:], kind)
        restored[name if new in restored else new] = None
    return CategoryColumn(index, tuple(restored), buckets, kind, hash_prefix)

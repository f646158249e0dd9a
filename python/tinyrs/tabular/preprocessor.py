"""What was learnt of the columns of a table, and rows as numbers by it: `FeatureEncoder`, in Rust, makes
features of those. How it is learnt is in `tinyrs.tabular.fitting`."""

from __future__ import annotations

from tinyrs._tinyrs import FeatureEncoder, Network
from tinyrs.tabular.kinds import is_missing, is_sparse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    import numpy as np
    import numpy.typing as npt
else:
    from tinyrs._lazy import np

# The name of what is missing, and the category of it.
MISSING = "\0missing"


def name_of(value: object) -> str:
    """The name of a category. 1, 1.0 and True are different ones; None, NaN and NaT are the one that is
    missing."""
    return MISSING if is_missing(value) else f"{type(value).__name__[0]}:{value}"


def _as_float(value: Any) -> Any:
    """A float, if it can be one."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return value


class _Record:
    """Compared and pickled by the arguments that it was made of. A dataclass would take 10 ms to import."""

    def __reduce__(self) -> tuple[Any, ...]:
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Record) and self.__reduce__() == other.__reduce__()

    def __hash__(self) -> int:
        return hash(self.__reduce__())

    def __repr__(self) -> str:
        made_by, arguments = self.__reduce__()
        return f"{made_by.__name__}{arguments}"


class NumberColumn(_Record):
    """A column of numbers: its place in the table, what becomes 0 and 1, and whether some were missing.

    The centre is the median, the scale one by the distance of the quartiles. A constant has scale 0.
    """

    def __init__(self, column: int, centre: float, scale: float, flagged: bool) -> None:
        self.column, self.centre, self.scale, self.flagged = column, centre, scale, flagged

    def __reduce__(self) -> tuple[Any, ...]:
        return NumberColumn, (self.column, self.centre, self.scale, self.flagged)


class CategoryColumn(_Record):
    """A column of categories: its place in the table, the names that have a code, and the codes after them
    that all other names share."""

    def __init__(self, column: int, names: tuple[str, ...], buckets: int) -> None:
        self.column, self.names, self.buckets = column, names, buckets
        self._codes = {name: code for code, name in enumerate(names)}
        # Such a column was one of numbers, which `Table` has as floats: 1 and True are 1.0 there.
        self.of_numbers = all(name.startswith("f:") for name in names if name != MISSING)

    def __reduce__(self) -> tuple[Any, ...]:
        return CategoryColumn, (self.column, self.names, self.buckets)

    @property
    def n_codes(self) -> int:
        return len(self.names) + self.buckets

    def encode(self, values: Iterable[object]) -> list[int]:
        """The code of each of `values`: -1 for a category that was never seen, if there are no buckets."""
        return [self.code(value) for value in values]

    def code(self, value: object) -> int:
        """The code of one value."""
        name = name_of(_as_float(value) if self.of_numbers else value)
        code = self._codes.get(name)
        if code is not None:
            return code
        if not self.buckets:
            return -1
        from zlib import crc32

        # The same in every process, unlike hash().
        return len(self.names) + crc32(name.encode()) % self.buckets


class Preprocessor(_Record):
    """What was learnt of a table's columns; each is a column of numbers or of categories.

    ValueError if a place is not below `n_columns`, or a number is not finite.
    """

    def __init__(
        self, n_columns: int, numbers: tuple[NumberColumn, ...], categories: tuple[CategoryColumn, ...]
    ) -> None:
        self.n_columns, self.numbers, self.categories = n_columns, numbers, categories
        # What applies it to encoded rows.
        self.transformer = FeatureEncoder(
            n_columns,
            [(n.column, n.centre, n.scale, n.flagged) for n in numbers],
            [(c.column, c.n_codes) for c in categories],
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return Preprocessor, (self.n_columns, self.numbers, self.categories)

    def encode(self, X: Any, names: Sequence[str] | None = None) -> npt.NDArray[Any]:
        """A `Table`, a 2-D array or a data frame, of columns `names`, as numbers (rows, columns): categories
        as their codes, NaN for what is missing."""
        if not self.categories and isinstance(X, np.ndarray) and X.dtype.kind in "biuf":
            return X
        if is_sparse(X):
            raise TypeError("X: expected dense rows, as in fit, got a sparse matrix; its toarray() has them")
        from tinyrs.tabular.tables import Table

        table = X if isinstance(X, Table) else Table.read(X, names)
        if len(table.columns) != self.n_columns:
            raise ValueError(f"X: expected {self.n_columns} columns, got {len(table.columns)}")
        encoded = np.empty((table.n_rows, self.n_columns))
        for number in self.numbers:
            encoded[:, number.column] = table.numbers(number.column)
        for category in self.categories:
            column = category.column
            encoded[:, column] = category.encode(
                table.objects(column) if category.of_numbers else table.given(column)
            )
        return encoded

    def encode_one(self, row: Sequence[Any]) -> list[Any]:
        """One row, a value a column, with the codes of its categories; numbers are as they were."""
        encoded = list(row)
        if len(encoded) != self.n_columns:
            raise ValueError(f"X: expected {self.n_columns} columns, got {len(encoded)}")
        for category in self.categories:
            encoded[category.column] = category.code(encoded[category.column])
        return encoded

    def features(self, encoded: npt.NDArray[Any], precision: str) -> npt.NDArray[np.floating[Any]]:
        """Encoded rows (rows, columns) -> (rows, features); at least one feature, which is 0 where no column
        varies."""
        return self.transformer.transform(encoded, precision=precision)

    def forward(
        self, network: Network, encoded: npt.NDArray[Any], n_threads: int | None = None
    ) -> npt.NDArray[np.floating[Any]]:
        """The outputs of `network` for encoded rows: (rows, columns) -> (rows, outputs)."""
        return self.transformer.forward(network, encoded, n_threads=n_threads)

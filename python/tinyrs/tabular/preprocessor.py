"""Applies what `preprocessor_fit.py` learnt: tables -> encoded rows of numbers -> features.

An encoded row holds a number for each column: the number itself, the seconds of a time, or the code of a
category, or NaN for a missing number; after them come the parts of dates, such as the month.
`FeatureEncoder`, in Rust, turns encoded rows into the features that a network takes.
"""

from __future__ import annotations

from tinyrs._tinyrs import ColumnCheck, FeatureEncoder, Network
from tinyrs.tabular.column_names import check_length
from tinyrs.tabular.times import calendar
from tinyrs.tabular.type_checks import is_frame, is_sparse
from tinyrs.tabular.values import MISSING, NAN, CellError, category_name, number_of, numbers_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    import numpy as np
    import numpy.typing as npt

    from tinyrs.tabular.statistics import TrainingStatistics
    from tinyrs.tabular.tables import Table
else:
    from tinyrs._lazy import np


# The code of categories to which training gave none, and of all values of a column that is not read.
UNKNOWN = -1.0


class _ComparedByArguments:
    """Equal if the constructor arguments are, as in a dataclass, whose import would take 10 ms."""

    def __reduce__(self) -> tuple[Any, ...]:
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ComparedByArguments) and self.__reduce__() == other.__reduce__()

    def __hash__(self) -> int:
        return hash(self.__reduce__())

    def __repr__(self) -> str:
        constructor, arguments = self.__reduce__()
        return f"{constructor.__name__}{arguments}"


class NumberColumn(_ComparedByArguments):
    """How a column of numbers is encoded.

    Attributes
    ----------
    column : int
        The index of the column in an encoded row.
    centre : float
        The number that becomes 0.
    scale : float
        What the distance from `centre` is multiplied by; 0 for a constant column, which gives no feature.
    missing_indicator : bool
        Whether a further feature says that the number is missing.
    kind : str
        What its values are: any of `values.py` but "text".
    """

    def __init__(
        self, column: int, centre: float, scale: float, missing_indicator: bool, kind: str = "number"
    ) -> None:
        self.column, self.centre, self.scale = column, centre, scale
        self.missing_indicator, self.kind = missing_indicator, kind

    def __reduce__(self) -> tuple[Any, ...]:
        return NumberColumn, (self.column, self.centre, self.scale, self.missing_indicator, self.kind)


class CategoryColumn(_ComparedByArguments):
    """How a column of categories is encoded.

    Attributes
    ----------
    column : int
        The index of the column in the table.
    names : tuple of str
        The category names (see `category_name`) that have a code of their own: their index. Without any, and
        without buckets, the column is not read and gives no feature.
    buckets : int
        The number of codes, after those of `names`, that all other categories share by their hash. If it is
        0, other categories have the code UNKNOWN, and missing values NaN.
    kind : str
        What its values are; see `values.py`.
    hash_prefix : str
        What a name is prefixed with before it is hashed. Files of format 1 have other prefixes than "s:".
    """

    def __init__(
        self,
        column: int,
        names: tuple[str, ...],
        buckets: int,
        kind: str = "text",
        hash_prefix: str = "s:",
    ) -> None:
        self.column, self.names, self.buckets = column, names, buckets
        self.kind, self.hash_prefix = kind, hash_prefix
        self._codes = {name: code for code, name in enumerate(names)}

    def __reduce__(self) -> tuple[Any, ...]:
        return CategoryColumn, (self.column, self.names, self.buckets, self.kind, self.hash_prefix)

    @property
    def n_codes(self) -> int:
        return len(self.names) + self.buckets

    def code(self, value: Any) -> float:
        """The code of one value. CellTypeError if no column can hold it."""
        name = category_name(value, self.kind)
        code = self._codes.get(name)
        if code is not None:
            return code
        if not self.buckets:
            return NAN if name == MISSING else UNKNOWN
        from zlib import crc32

        # Not hash(), which differs from process to process. A string may hold a lone surrogate.
        text = self._hashed(name).encode("utf-8", "surrogatepass")
        return len(self.names) + crc32(text) % self.buckets

    def _hashed(self, name: str) -> str:
        """What is hashed to choose the bucket of a category."""
        if name == MISSING:
            return name
        if self.hash_prefix == "f:":  # format 1 hashed the text of a float
            try:
                return f"f:{float(name)}"
            except ValueError:
                return f"s:{name}"
        return self.hash_prefix + name


class Preprocessor(_ComparedByArguments):
    """How a table is encoded: each column is one of `numbers` or of `categories`.

    Attributes
    ----------
    n_columns : int
        The number of columns of the table.
    numbers : tuple of NumberColumn
    categories : tuple of CategoryColumn
    parts : tuple of (int, str)
        Columns of dates, by their index, and the part of the date (see `times.PARTS`) that stands at index
        `n_columns`, `n_columns + 1` and so on of an encoded row. Each has a NumberColumn too.
    statistics : TrainingStatistics or None
        What the training rows were like; None for models of older files.

    Raises
    ------
    ValueError
        If a column index is not below that of the last part, or a centre or scale is not finite.
    """

    def __init__(
        self,
        n_columns: int,
        numbers: tuple[NumberColumn, ...],
        categories: tuple[CategoryColumn, ...],
        parts: tuple[tuple[int, str], ...] = (),
        statistics: TrainingStatistics | None = None,
    ) -> None:
        self.n_columns, self.numbers, self.categories, self.parts = n_columns, numbers, categories, parts
        self.statistics = statistics
        # What `tinyrs.tabular.shift` makes of this object, which does not change.
        self.shift_checks: dict[tuple[str, ...] | None, Any] = {}
        # Without the parts of dates.
        self._read = tuple(n for n in numbers if n.column < n_columns)
        # In one row, `FeatureEncoder` reads plain numbers, but it takes any number for a boolean.
        self._read_always = tuple(n for n in self._read if n.kind != "number")
        self._coded = tuple(c for c in categories if c.n_codes)
        self._not_read = tuple(c.column for c in categories if not c.n_codes)
        self.feature_encoder = FeatureEncoder(
            self.n_encoded,
            [(n.column, n.centre, n.scale, n.missing_indicator) for n in numbers],
            [(c.column, c.n_codes) for c in self._coded],
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return Preprocessor, (self.n_columns, self.numbers, self.categories, self.parts, self.statistics)

    @property
    def n_encoded(self) -> int:
        """The number of values in an encoded row."""
        return self.n_columns + len(self.parts)

    @property
    def encoded_columns(self) -> list[list[int]]:
        """For each column of the table, the indices of its values in an encoded row."""
        indices = [[column] for column in range(self.n_columns)]
        for i, (column, _) in enumerate(self.parts, self.n_columns):
            indices[column].append(i)
        return indices

    @property
    def n_number_features(self) -> int:
        """The number of features that are numbers. They are the first ones."""
        return sum(number.scale > 0 for number in self.numbers)

    @property
    def feature_columns(self) -> list[int]:
        """For each feature of `transform`, the index of its column in the table."""
        numbers = [number.column for number in self.numbers if number.scale > 0]
        indicators = [number.column for number in self.numbers if number.missing_indicator]
        codes = [category.column for category in self.categories for _ in range(category.n_codes)]
        tables = [*range(self.n_columns), *(column for column, _ in self.parts)]
        # Without any feature, there is one that is always 0.
        return [tables[column] for column in numbers + indicators + codes] or [0]

    @property
    def numbers_only(self) -> bool:
        """Whether the encoded rows of an array of numbers are its rows."""
        return not (self.categories or self._read_always)

    def encode(
        self, X: Any, names: Sequence[str] | None = None, extra_columns: str = "ignore"
    ) -> npt.NDArray[Any]:
        """Encodes a table.

        Parameters
        ----------
        X : Table, array of shape (rows, columns), data frame, or list of records
        names : sequence of str, optional
            The columns of a data frame or record in the order of the training set.
        extra_columns : {"ignore", "error"}
            Whether a data frame or record may have other columns.

        Returns
        -------
        array of shape (rows, n_encoded)
            X itself if it is an array of numbers and no column needs encoding; else column-major, of float64,
            or of float32 if that holds all values exactly and X has more than a few rows.

        Raises
        ------
        ValueError
            If the columns are not those of the training set, or a value is not of the kind of its column.
        TypeError
            If X is a sparse matrix, or a value is a list, a dict, an array, a complex number or the like.
        """
        if self.numbers_only and isinstance(X, np.ndarray) and X.dtype.kind in "biuf":
            return X
        if is_sparse(X):
            raise TypeError("X: expected dense rows, as in fit, got a sparse matrix: pass X.toarray()")
        from tinyrs.tabular.few_rows import encode_few
        from tinyrs.tabular.sources import read_frame
        from tinyrs.tabular.tables import Table

        X = read_frame(X, names, extra_columns) if is_frame(X) else X
        few = encode_few(X, names, extra_columns, self.encode_one, self.numbers_one)
        if few is not None:
            return few
        table = X if isinstance(X, Table) else Table.read(X, names, extra_columns)
        dtype, columns = self._encoded_columns(table, names)
        # A column after the other, as `FeatureEncoder` reads them too.
        encoded = np.empty((self.n_encoded, table.n_rows), dtype)
        for column, values in columns:
            encoded[column] = values
        return encoded.T

    def encode_columns(
        self, table: Table, names: Sequence[str] | None = None
    ) -> tuple[npt.NDArray[np.floating[Any]], ...]:
        """The columns of `encode`, arrays of shape (rows,) and one dtype; raises as it does.

        Those that need no conversion are the arrays of the table.
        """
        dtype, columns = self._encoded_columns(table, names)
        encoded = dict(columns)
        return tuple(encoded[column].astype(dtype, copy=False) for column in range(self.n_encoded))

    def _encoded_columns(
        self, table: Table, names: Sequence[str] | None
    ) -> tuple[np.dtype[Any], Iterator[tuple[int, npt.NDArray[Any]]]]:
        """The dtype of `encode`, and the index and the values of each column, which are of any dtype."""
        check_length(len(table.columns), self.n_columns, names)
        numbers = {number.column: table.numbers(number.column, number.kind) for number in self._read}
        dtype = np.result_type(np.float32, *{values.dtype for values in numbers.values()})

        def columns() -> Iterator[tuple[int, npt.NDArray[Any]]]:
            yield from numbers.items()
            for column in self._not_read:
                yield column, np.full(table.n_rows, UNKNOWN, dtype)
            for category in self._coded:
                distinct, inverse = table.columns[category.column].distinct()
                codes = np.array([category.code(value) for value in distinct], dtype)
                yield category.column, codes[inverse]
            calendars = {column: calendar(numbers[column]) for column in dict(self.parts)}
            for i, (column, part) in enumerate(self.parts, self.n_columns):
                yield i, calendars[column][part]

        return dtype, columns()

    def encode_one(self, row: Sequence[Any], names: Sequence[str] | None = None) -> list[Any]:
        """A row as in `encode`, in which only categories and times are converted; numbers stay unchanged.

        `names` are those of the columns, for error messages.

        Raises
        ------
        ValueError, TypeError
            If the row has another number of columns, or a value is not of the kind of its column.
        """
        encoded = list(row)
        check_length(len(encoded), self.n_columns, names)
        column = 0
        try:
            for column in self._not_read:
                encoded[column] = UNKNOWN
            for category in self._coded:
                column = category.column
                encoded[column] = category.code(encoded[column])
            for number in self._read_always:
                column, value = number.column, encoded[number.column]
                # True and False are numbers already.
                if type(value) is not bool or number.kind != "boolean":
                    encoded[column] = number_of(value, number.kind)
        except CellError as error:
            raise error.at(column, names, one_row=True) from None
        if self.parts:
            calendars = {column: calendar(encoded[column]) for column in dict(self.parts)}
            encoded += [calendars[column][part] for column, part in self.parts]
        return encoded

    def numbers_one(self, encoded: Sequence[Any], names: Sequence[str] | None = None) -> list[Any]:
        """A row from `encode_one` with all its numbers read as those of a table are; raises as it does."""
        kinds = {number.column: number.kind for number in self._read if number.kind == "number"}
        return numbers_of(encoded, kinds, names)

    def transform(self, encoded: npt.NDArray[Any], precision: str) -> npt.NDArray[np.floating[Any]]:
        """The features (rows, features) of encoded rows (rows, columns), in `precision`.

        There is at least one feature; if no column varies, it is 0.
        """
        return self.feature_encoder.transform(encoded, precision=precision)

    def forward(
        self,
        network: Network,
        encoded: npt.NDArray[Any],
        n_threads: int | None = None,
        check: ColumnCheck | None = None,
    ) -> npt.NDArray[np.floating[Any]]:
        """The outputs (rows, outputs) of `network` for encoded rows (rows, columns), in one pass.

        `check` reports columns unlike those of training.
        """
        return self.feature_encoder.forward(network, encoded, n_threads=n_threads, check=check)

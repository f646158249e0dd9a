"""The methods of `Predictor` that return tables: `predict_frame` and `predict_batches`."""

from __future__ import annotations

from tinyrs._tinyrs import get_num_threads
from tinyrs.predictor.base import PredictorBase
from tinyrs.tabular.column_names import check_length
from tinyrs.tabular.shift import ShiftCounter, shift_check, warn
from tinyrs.tabular.type_checks import is_frame
from tinyrs.tabular.values import CellError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from tinyrs.tabular.prediction_columns import PredictionColumns

# The rows that `predict_batches` predicts together on one thread: long enough that Python's share is small.
BATCH_ROWS = 1 << 16


class TablePredictions(PredictorBase):
    """The methods of `Predictor` that return tables."""

    def predict_frame(
        self,
        X: Any,
        *,
        columns: Sequence[str] | None = (),
        proba: bool = False,
        prefix: str = "",
        n_threads: int | None = None,
        extra_columns: str = "ignore",
    ) -> Any:
        """The predictions for each row as a data frame.

        Its columns are `label`, the most probable class, and `probability`, what the model gives to it. A
        multilabel model has only a column `probability_CLASS` for each label.

        Parameters
        ----------
        X : data frame
            As in `predict_proba`.
        columns : sequence of str or None
            The columns of X that the result has before those of the predictions; None for all.
        proba : bool
            Whether to add the probability of each class too, as `probability_CLASS`.
        prefix : str
            What the names of all added columns start with.
        n_threads, extra_columns
            As in `predict_proba`. Those of `columns` are not extra columns.

        Returns
        -------
        data frame
            Of the library of X: pandas, with the index of X, or polars; for others a table of pyarrow.

        Raises
        ------
        ValueError, TypeError
            As `predict_proba`, if X is not a data frame, or if two columns would have the same name.
        """
        from tinyrs.tabular.column_names import check_columns
        from tinyrs.tabular.sources import read_frame

        if not is_frame(X):
            raise TypeError(f"X: expected a data frame, got a {type(X).__name__}: see predict_proba")
        names = self.feature_names_in_
        if names is None or columns is None:
            frame = read_frame(X)
            kept = list(frame.columns if columns is None else columns)
            check_columns(frame.columns, [*(names or ()), *kept])
        else:
            kept = list(columns)
            frame = read_frame(X, list(dict.fromkeys([*names, *kept])), extra_columns)
        added = self._prediction_columns(kept, proba, prefix)
        encoded = self._encode(frame, "ignore")
        return added.of(frame, self._probabilities(encoded, None, n_threads, self._check)).to_native()

    def predict_batches(
        self,
        reader: Any,
        *,
        columns: Sequence[str] | None = (),
        proba: bool = False,
        prefix: str = "",
        batch_size: int = BATCH_ROWS,
        n_threads: int | None = None,
        extra_columns: str = "ignore",
    ) -> Any:
        """The predictions for each row of a stream of any length, as another stream.

        Threads predict a batch each while the next batch is read, and memory holds a few batches only. With
        ``n_threads=1``, all work is done in the thread that reads the result. At the end of the stream, there
        is a `tinyrs.DataShiftWarning` for each column that, in all its rows, is unlike that of training.

        Parameters
        ----------
        reader : pyarrow.RecordBatchReader, pyarrow.dataset.Dataset, or object with Arrow's interface
            The rows, for example ``polars_lazy_frame.collect_batches()`` or a relation of DuckDB: anything
            with `__arrow_c_stream__` or `__arrow_c_array__`. Of a dataset, only the columns are read that the
            model needs, and those of `columns`.
        columns, proba, prefix, extra_columns
            As in `predict_frame`.
        batch_size : int
            The largest number of rows of a batch. Larger ones of `reader` are split.
        n_threads : int, optional
            The number of threads that predict; by default `tinyrs.get_num_threads()`.

        Returns
        -------
        pyarrow.RecordBatchReader
            Reads from `reader` as it is read itself. An error in a batch is raised in its place, after all
            batches before it; the row in its message is counted from the start of the stream.

        Raises
        ------
        ValueError, TypeError
            If a column is missing, or `reader` is not such a stream. While the result is read, as
            `predict_proba`.
        ImportError
            If pyarrow is not installed.
        """
        from tinyrs.tabular.batches import BatchSource
        from tinyrs.tabular.sources import require_pyarrow

        pyarrow = require_pyarrow("predict_batches")
        threads = get_num_threads() if n_threads is None else n_threads
        if threads < 1:
            raise ValueError(f"n_threads: expected at least 1, got {threads}")
        source = BatchSource(reader, self.feature_names_in_, columns, batch_size, extra_columns)
        stream = _PredictedStream(self, self._prediction_columns(source.kept, proba, prefix))
        empty = [column.combine_chunks() for column in source.schema.empty_table().columns]
        schema = stream.predict(pyarrow.RecordBatch.from_arrays(empty, schema=source.schema), 0).schema
        return pyarrow.RecordBatchReader.from_batches(schema, stream.batches(source.batches(), threads))

    def _prediction_columns(self, kept: Sequence[str], proba: bool, prefix: str) -> PredictionColumns:
        from tinyrs.tabular.prediction_columns import PredictionColumns

        return PredictionColumns(self._labels, kept, proba, prefix, self.multilabel)


class _PredictedStream:
    """Predicts the batches of a stream; several threads may predict at once."""

    def __init__(self, predictor: TablePredictions, columns: PredictionColumns) -> None:
        self._predictor, self._columns = predictor, columns
        preprocessor, names = predictor.preprocessor, predictor.feature_names_in_
        self._shift = None if preprocessor is None else ShiftCounter(shift_check(preprocessor, names))

    def predict(self, batch: Any, first_row: int) -> Any:
        """The predictions for a record batch, of which `first_row` rows of the stream stand before."""
        try:
            p = self._probabilities(batch)
        except CellError as error:
            raise error.in_row(first_row + error.row, self._predictor.feature_names_in_) from None
        return self._columns.of_batch(batch, p)

    def _probabilities(self, batch: Any) -> Any:
        from tinyrs.tabular.tables import Table

        predictor = self._predictor
        names, preprocessor = predictor.feature_names_in_, predictor.preprocessor
        table = Table.of_batch(batch, names)
        if preprocessor is None:
            check_length(len(table.columns), predictor.n_features_in_, names)
            return predictor._probabilities(table.number_matrix(), None, 1)
        columns = preprocessor.encode_columns(table, names)
        assert self._shift is not None
        self._shift.add(columns, len(batch))
        return preprocessor.feature_encoder.forward(predictor._network, columns, n_threads=1)

    def batches(self, batches: Iterator[Any], threads: int) -> Iterator[Any]:
        """The predictions for record batches, in order; warns at the end of columns unlike training."""
        from contextlib import ExitStack, closing

        from tinyrs.ordered_map import map_in_order, read_ahead

        def work(numbered: tuple[Any, int]) -> Any:
            batch, first_row = numbered
            return self.predict(batch, first_row)

        results: Iterator[Any] = map(work, _numbered(batches))
        with ExitStack() as stack:
            if threads > 1:
                ahead = stack.enter_context(closing(read_ahead(_numbered(batches))))
                results = stack.enter_context(closing(map_in_order(work, ahead, threads)))
            yield from results
        for message in [] if self._shift is None else self._shift.messages():
            warn(message)


def _numbered(batches: Iterator[Any]) -> Iterator[tuple[Any, int]]:
    """The batches, each with the number of rows before it."""
    rows = 0
    for batch in batches:
        yield batch, rows
        rows += len(batch)

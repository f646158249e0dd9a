"""Streams of tables: record batches of Arrow, read from anything with Arrow's interface."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from tinyrs.tabular.column_names import check_columns
from tinyrs.tabular.sources import require_pyarrow
from tinyrs.tabular.type_checks import is_arrow, is_dataset


@dataclass(frozen=True)
class DatasetPart:
    """A part of a dataset of pyarrow, such as a row group of a Parquet file.

    Attributes
    ----------
    scanned : pyarrow.dataset.Fragment or pyarrow.dataset.Dataset
    schema : pyarrow.Schema or None
        What the rows of a fragment are read as.
    """

    scanned: Any
    schema: Any

    @property
    def is_row_group(self) -> bool:
        """Whether it is of a Parquet file."""
        return hasattr(self.scanned, "row_groups")

    @property
    def n_rows(self) -> int:
        """The number of its rows."""
        if self.is_row_group:  # `count_rows` would count the whole file
            return sum(group.num_rows for group in self.scanned.row_groups)
        return int(self.scanned.count_rows())

    def batches(self, columns: Sequence[str], batch_size: int, *, buffered: bool = False) -> Iterator[Any]:
        """Its record batches with these columns, without empty ones.

        A local Parquet file is read a little at a time: half the memory, and what is decoded is still in the
        cache. That means more requests to a remote file, which is therefore read so only with `buffered`.
        """
        pa = require_pyarrow("a dataset")
        options = {} if self.schema is None else {"schema": self.schema}
        if self.is_row_group and (buffered or self.scanned.filesystem.type_name == "local"):
            from pyarrow.dataset import ParquetFragmentScanOptions

            options["fragment_scan_options"] = ParquetFragmentScanOptions(
                use_buffered_stream=True, buffer_size=1 << 16, pre_buffer=False
            )
        batches = self.scanned.to_batches(
            columns=list(columns),
            batch_size=batch_size,
            batch_readahead=1,
            fragment_readahead=1,
            # The default pool returns the memory of batches to the system, which clears it for the next.
            memory_pool=pa.system_memory_pool(),
            **options,
        )
        return (batch for batch in batches if len(batch))


def dataset_parts(dataset: Any) -> Iterator[DatasetPart]:
    """The parts of a dataset, in order.

    Read one after the other, they need a fraction of the memory of one scan, whose buffers are only freed at
    the end of a file. A dataset with a filter is one part: pyarrow does not tell its fragments.
    """
    if getattr(dataset, "_scan_options", None):
        yield DatasetPart(dataset, None)
        return
    for fragment in dataset.get_fragments():
        split = getattr(fragment, "split_by_row_group", None)
        for part in split() if split is not None else [fragment]:
            yield DatasetPart(part, dataset.schema)


class BatchSource:
    """A stream of record batches with the columns that a model needs.

    Parameters
    ----------
    source : object
        A dataset of pyarrow, or an object with `__arrow_c_stream__` or `__arrow_c_array__`.
    names : sequence of str or None
        The columns of the model; None for all columns of the source, by position.
    kept : sequence of str or None
        Other columns to read; None for all.
    batch_size : int
        The largest number of rows of a batch.
    extra_columns : {"ignore", "error"}
        Whether the source may have columns besides those.

    Attributes
    ----------
    kept : list of str
        The names of those columns.
    schema : pyarrow.Schema

    Raises
    ------
    TypeError
        If the source is something else.
    ValueError
        If a column is missing or unexpected, or two columns have the same name.
    """

    def __init__(
        self,
        source: Any,
        names: Sequence[str] | None,
        kept: Sequence[str] | None,
        batch_size: int,
        extra_columns: str,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size: expected at least 1 row, got {batch_size}")
        self._source, self._batch_size = source, batch_size
        if not is_dataset(source):
            self._source = _reader(source)
        self.schema = self._source.schema
        found = self.schema.names
        self.kept = list(found if kept is None else kept)
        wanted = found if names is None else list(dict.fromkeys([*names, *self.kept]))
        check_columns(found, [*wanted, *self.kept], extra_columns, "reader")
        if len(set(found)) < len(found):
            raise ValueError(f"reader: expected different column names, got {found}")
        self._wanted = wanted

    def batches(self) -> Iterator[Any]:
        """The record batches, without empty ones. A stream can be read once."""
        batches = self._source
        if is_dataset(batches):
            parts = dataset_parts(batches)
            batches = chain.from_iterable(part.batches(self._wanted, self._batch_size) for part in parts)
        for batch in batches:
            for start in range(0, len(batch), self._batch_size):
                yield batch.slice(start, self._batch_size)


def _reader(source: Any) -> Any:
    """A pyarrow.RecordBatchReader of an object with Arrow's interface."""
    pa = require_pyarrow("reader: a stream of Arrow")
    if not is_arrow(source):
        raise TypeError(
            "reader: expected a pyarrow.RecordBatchReader, a pyarrow.dataset.Dataset or another object with "
            f"__arrow_c_stream__ or __arrow_c_array__, got a {type(source).__name__}"
            + (": pass its collect_batches()" if hasattr(source, "collect_batches") else "")
        )
    if hasattr(source, "__arrow_c_stream__"):
        return pa.RecordBatchReader.from_stream(source)
    batch = pa.record_batch(source)
    return pa.RecordBatchReader.from_batches(batch.schema, [batch])

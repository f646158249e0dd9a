"""`Scorer`: a trained model as a function of tables, for engines that spread work over processes.

Dask, Ray, Spark and others call a function with one part of a table at a time, in processes of their own. A
`Scorer` is such a function: it is pickled with the bytes of its model, so that the processes need no common
file system, and a process reads the same bytes once. No engine is imported here; `examples/scale/` shows how
to use it with each.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from tinyrs.predictor import Predictor, load, loads
from tinyrs.tabular.type_checks import is_frame


class Scorer:
    """Adds the columns `label` and `probability` to tables.

    `label` is the most probable class of a row, `probability` is what the model gives to it. Threads are
    limited as everywhere in tinyrs: see `tinyrs.get_num_threads`. Dask, Ray and Spark set `OMP_NUM_THREADS`
    in their workers.

    Parameters
    ----------
    model : Predictor, str or path
        A model, or the file of one, which is read at once.
    columns : sequence of str, optional
        The columns of a table that its result has, before those of the predictions. All by default.
    proba : bool
        Whether to add the probability of each class too, as `probability_CLASS`.
    prefix : str
        What the names of all added columns start with.
    n_threads : int, optional
        The largest number of threads of one call.

    Attributes
    ----------
    predictor : Predictor

    Raises
    ------
    TypeError
        If the model is not a Predictor or the file of one.
    ValueError
        If the model is multilabel, or the file is damaged.
    OSError
        If the file cannot be read.
    """

    def __init__(
        self,
        model: Predictor | str | os.PathLike[str],
        *,
        columns: Sequence[str] | None = None,
        proba: bool = False,
        prefix: str = "",
        n_threads: int | None = None,
    ) -> None:
        predictor = load(model) if isinstance(model, (str, os.PathLike)) else model
        if not isinstance(predictor, Predictor):
            raise TypeError(f"model: expected a Predictor or its file, got a {type(predictor).__name__}")
        if predictor.multilabel:
            raise ValueError("model: expected one label for each row, got a multilabel model")
        self.predictor = predictor
        self._columns = None if columns is None else list(columns)
        self._proba, self._prefix, self._n_threads = proba, prefix, n_threads

    def __call__(self, table: Any) -> Any:
        """A table of the same library with the added columns.

        Parameters
        ----------
        table : data frame of pandas or polars, or table or record batch of pyarrow
            May be empty. The columns of the model are found by name.

        Raises
        ------
        TypeError
            If `table` is of another type.
        ValueError, TypeError
            As `Predictor.predict_proba`, and if the table has a column with the name of an added one.
        """
        if type(table).__name__ == "RecordBatch":
            return self._record_batch(table)
        if not is_frame(table):
            hint = "; in Ray, pass batch_format='pyarrow'" if isinstance(table, dict) else ""
            raise TypeError(f"expected a data frame, got a {type(table).__name__}{hint}")
        return self.predictor.predict_frame(
            table,
            columns=self._columns,
            proba=self._proba,
            prefix=self._prefix,
            n_threads=self._n_threads,
        )

    def map(self, tables: Iterable[Any]) -> Iterator[Any]:
        """The result for each table, one after the other, as `mapInArrow` of Spark expects."""
        return map(self, tables)

    def _record_batch(self, batch: Any) -> Any:
        import pyarrow as pa

        table = self(pa.table(batch)).combine_chunks()
        return table.to_batches()[0] if len(table) else pa.RecordBatch.from_pylist([], schema=table.schema)

    def __reduce__(self) -> tuple[Any, ...]:
        options = (self._columns, self._proba, self._prefix, self._n_threads)
        return _restore, (self.predictor.to_bytes(), *options)


# Engines unpickle a function for each task.
_predictor = lru_cache(maxsize=8)(loads)


def _restore(
    model: bytes, columns: Sequence[str] | None, proba: bool, prefix: str, n_threads: int | None
) -> Scorer:
    predictor = _predictor(model)
    assert isinstance(predictor, Predictor)
    return Scorer(predictor, columns=columns, proba=proba, prefix=prefix, n_threads=n_threads)

"""`tinyrs train` on Parquet that --max-memory does not hold, and on folders of Parquet files."""

from __future__ import annotations

import os
import re
import signal
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from conftest import Done, Run
from pyarrow import dataset, parquet
from tinyrs import Predictor, TinyClassifier, load
from tinyrs.classifier.piecewise import PiecewiseTraining

ROWS = 6000
OPTIONS = ["--target", "y", "-o", "m", "--epochs", "3", "--hidden", "8"]
SMALL = ["--max-memory", "800KB"]


def rows() -> pa.Table:
    """Sorted rows with numbers, numbers in text, categories, and the labels 0 and 1, some of them missing."""
    rng = np.random.default_rng(0)
    a, colour = rng.normal(size=ROWS), rng.choice(["red", "green"], ROWS)
    y = np.where(a + (colour == "red") > 0.5, "1", "0").tolist()
    columns = {
        "a": a,
        "text": [f"{value:.1f}" for value in a],
        "colour": colour,
        "unused": rng.normal(size=ROWS),
        "y": [None if i % 100 == 0 else label for i, label in enumerate(y)],
    }
    return pa.table(columns).sort_by("y")


@pytest.fixture
def folder(tinyrs_cli: Run) -> str:
    dataset.write_dataset(rows(), "rows", format="parquet", max_rows_per_group=300, max_rows_per_file=3000)
    return "rows"


def test_rows_that_do_not_fit_are_streamed(
    tinyrs_cli: Run, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources: list[Any] = []
    fit = TinyClassifier.fit

    @wraps(fit)
    def spy(self: TinyClassifier, X: Any, *arguments: Any, **options: Any) -> TinyClassifier:
        sources.append(X)
        return fit(self, X, *arguments, **options)

    monkeypatch.setattr(TinyClassifier, "fit", spy)
    done = tinyrs_cli("train", folder, *OPTIONS, *SMALL, "--drop", "unused", "--report", "report.html")
    assert done.status == 0, done.err
    assert "rows: would need about 3 MB in memory, more than --max-memory" in done.out
    assert "60 rows without a value in y skipped" in done.out
    assert "trained on all 5,940 rows" in done.out
    first, again = ([n for batch in source.batches() for n in batch.numbers] for source in sources)
    assert (len(first), len(again)) == (5346, 5940)
    assert re.search(r"^  text    numbers from -\d", done.out, re.MULTILINE)
    assert re.search(r"^  colour  2 categories: ", done.out, re.MULTILINE)
    model = load("m")
    assert isinstance(model, Predictor)
    assert model.training["rows"] == 5940
    held_out = model.training["held_out"]
    assert (held_out["rows"], held_out["measured_model_rows"]) == (594, 5346)
    assert held_out["accuracy"] > 0.93
    assert model.classes_.tolist() == [0, 1]
    assert model.predict([{"a": 2.0, "text": "2.0", "colour": "red"}]).tolist() == [1]
    # The commands that read tables read the folder too.
    assert tinyrs_cli("evaluate", "m", folder, "--json").json["accuracy"] > 0.9
    assert tinyrs_cli("predict", "m", folder, "-o", "out.csv").status == 0
    assert len(Path("out.csv").read_text().splitlines()) == 1 + ROWS


def test_a_folder_that_fits_is_read_as_one_table(tinyrs_cli: Run, folder: str) -> None:
    parquet.write_table(rows(), "rows.parquet")
    of_folder, of_file = (
        tinyrs_cli("train", data, *OPTIONS, "--json").json for data in (folder, "rows.parquet")
    )
    assert of_folder["held_out"] == of_file["held_out"]


def test_errors(tinyrs_cli: Run, folder: str) -> None:
    def refused(*arguments: str) -> Done:
        done = tinyrs_cli("train", folder, *OPTIONS, *arguments)
        assert done.status in (1, 2)
        assert not Path("m").exists()
        return done

    assert "expected a size such as 50KB or 2GB, got '2 apples'" in refused("--max-memory", "2 apples").err
    assert "--cv needs all rows in memory: use --max-memory 4MB" in refused(*SMALL, "--cv", "3").err
    assert 'no column "z"' in refused(*SMALL, "--target", "z").err
    assert "max_memory: expected at least" in refused("--max-memory", "10KB").err
    table = rows()
    text = table["text"].to_pylist()
    text[ROWS - 3] = "many"
    wrong = table.set_column(1, "text", pa.array(text))
    dataset.write_dataset(wrong, folder, format="parquet", existing_data_behavior="delete_matching")
    error = refused(*SMALL).err
    assert f'rows: row {ROWS - 2}, column "text": expected a number' in error
    a = table["a"].to_numpy().copy()
    a[ROWS - 3] = np.inf
    wrong = table.set_column(0, "a", pa.array(a))
    dataset.write_dataset(wrong, folder, format="parquet", existing_data_behavior="delete_matching")
    assert f'rows: row {ROWS - 2}, column "a": expected a finite number, got inf' in refused(*SMALL).err
    os.mkdir("empty")
    done = tinyrs_cli("predict", "m", "empty")
    assert done.status == 1


def test_ctrl_c_with_keep_writes_the_best_epoch_so_far(
    tinyrs_cli: Run, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    end_epoch, kill = PiecewiseTraining.end_epoch, iter([os.kill])

    def interrupted(run: PiecewiseTraining, n_threads: int | None) -> Any:
        for once in kill:
            once(os.getpid(), signal.SIGINT)
        return end_epoch(run, n_threads)

    with monkeypatch.context() as patched:
        patched.setattr(PiecewiseTraining, "end_epoch", interrupted)
        done = tinyrs_cli("train", folder, *OPTIONS, *SMALL, "--keep", "--json")
    assert done.status == 130
    assert done.err.startswith("tinyrs: interrupted: keeps the best epoch so far")
    assert (done.json["interrupted"], done.json["epochs"]) == (True, 1)
    model = load("m")
    assert isinstance(model, Predictor)
    assert model.training["rows"] == done.json["rows"]

"""`tinyrs train`: what is measured and what is written; class weights, thresholds, and Ctrl-C."""

from __future__ import annotations

import csv
import io
import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tinyrs
from conftest import Done, Run, csv_text, flowers
from sklearn import metrics
from tinyrs.classifier import TinyClassifier
from tinyrs.cli import fitting, train_options
from tinyrs.cli import train as cli_train
from tinyrs.cli.training_data import Part, fold_of_rows, hold_out
from tinyrs.predictor import Predictor

QUICK = ["--hidden", "8", "--epochs", "8"]


def rare(rows: int = 400) -> dict[str, list[Any]]:
    """Two classes that overlap; one row in ten is of the class "yes"."""
    rng = np.random.default_rng(0)
    y = rng.random(rows) < 0.1
    return {
        "a": np.round(rng.normal(size=rows) + 1.5 * y, 3).tolist(),
        "b": np.round(rng.normal(size=rows) + y, 3).tolist(),
        "kind": np.where(y, "yes", "no").tolist(),
    }


@pytest.fixture
def train(tinyrs_cli: Run) -> Run:
    """Runs `tinyrs train` on `rare()`."""
    Path("data.csv").write_text(csv_text(rare()))

    def run(*args: str) -> Done:
        return tinyrs_cli("train", "data.csv", "--target", "kind", "-o", "m", *QUICK, *args)

    return run


def load(path: str = "m") -> Predictor:
    model = tinyrs.load(path)
    assert isinstance(model, Predictor)
    return model


# Refit


def test_the_model_in_the_file_is_trained_on_all_rows(
    tinyrs_cli: Run, train: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = list[int]()

    def fit(part: Part, *args: Any, **others: Any) -> Any:
        seen.append(part.n_rows)
        return fitting.fit(part, *args, **others)

    monkeypatch.setattr(cli_train, "fit", fit)
    done = train()
    assert done.status == 0, done.err
    assert "training again on all 400 rows" in done.out
    assert "wrote m; the model is trained on all 400 rows; next steps:" in done.out
    assert seen[1:] == [400]
    assert seen[0] == pytest.approx(360, abs=2)
    assert load().training["rows"] == 400
    assert load().training["held_out"]["measured_model_rows"] == seen[0]
    done = train("--no-refit")
    assert "wrote m; the model is the one that was measured; next steps:" in done.out
    assert len(seen) == 3
    assert load().training["rows"] == seen[0]


def test_no_refit_writes_the_model_that_was_measured(tinyrs_cli: Run, train: Run) -> None:
    """Its predictions of the held-out rows give the metrics that were printed."""
    found = train("--no-refit", "--json").json["held_out"]
    out = csv.DictReader(io.StringIO(tinyrs_cli("predict", "m", "data.csv").out))
    rows = list(out)
    y = np.array([row["kind"] == "yes" for row in rows]).astype(int)
    held_out = hold_out(y, 0)[1]
    correct = [rows[i]["label"] == rows[i]["kind"] for i in held_out]
    assert found["accuracy"] == pytest.approx(np.mean(correct))


# Cross-validation


def test_cross_validation_predicts_every_row_once(
    tinyrs_cli: Run, train: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = list[int]()

    def fit(part: Part, *args: Any, **others: Any) -> Any:
        sizes.append(part.n_rows)
        return fitting.fit(part, *args, **others)

    monkeypatch.setattr(cli_train, "fit", fit)
    done = train("--cv", "4", "--report", "report.html")
    assert done.status == 0, done.err
    assert sizes == [300, 300, 300, 300, 400]
    assert "on 400 rows that were not used for training (4-fold cross-validation):" in done.out
    assert "accuracy of each fold: " in done.out
    assert load().training["rows"] == 400
    found = train("--cv", "4", "--json").json["held_out"]
    assert (found["rows"], len(found["fold_accuracies"])) == (400, 4)
    assert np.mean(found["fold_accuracies"]) == pytest.approx(found["accuracy"])
    assert np.sum(found["confusion"]) == 400


def test_folds_are_stratified_and_the_only_row_of_a_class_is_trained_on() -> None:
    y = np.repeat([0, 1, 2], [100, 13, 1])
    fold = fold_of_rows(y, 5, seed=3)
    assert np.bincount(fold[y == 0]).tolist() == [20] * 5
    assert set(np.bincount(fold[y == 1])) == {2, 3}
    assert fold[y == 2].tolist() == [-1]


def test_cross_validation_excludes_other_ways_to_measure(train: Run) -> None:
    assert train("--cv", "4", "--valid", "data.csv").status == 2
    assert train("--cv", "4", "--no-refit").status == 2
    assert "rows are too few for --cv 300" in train("--cv", "300").err


# Rare classes


def test_class_weights_change_what_is_learnt(train: Run) -> None:
    recall = {
        weights: train("--class-weight", weights, "--epochs", "60", "--json").json["held_out"]["per_class"][
            1
        ]["recall"]
        for weights in ("no=1,yes=1", "yes=20", "balanced")
    }
    assert recall["no=1,yes=1"] < recall["yes=20"]
    assert recall["no=1,yes=1"] < recall["balanced"]
    for weights, message in [
        ("yse=2", "train: --class-weight: no class 'yse': did you mean 'yes'?"),
        ("yes=0", "expected `balanced` or positive numbers such as yes=5,no=1, got 'yes=0'"),
        ("yes", "expected `balanced` or positive numbers"),
    ]:
        done = train("--class-weight", weights)
        assert (done.status, message in done.err) == (2, True)


@pytest.mark.parametrize("metric", train_options.METRICS)
def test_the_metric_chooses_the_epoch(train: Run, monkeypatch: pytest.MonkeyPatch, metric: str) -> None:
    seen = list[object]()
    fit = TinyClassifier.fit

    def spy(self: TinyClassifier, *args: Any, **options: Any) -> TinyClassifier:
        seen.append(options["eval_metric"])
        return fit(self, *args, **options)

    monkeypatch.setattr(TinyClassifier, "fit", spy)
    assert train("--metric", metric).status == 0
    assert seen == [metric, metric]


def test_a_threshold_is_kept_in_the_model(tinyrs_cli: Run, train: Run) -> None:
    done = train("--threshold", "0.2")
    assert "\nyes is predicted from a probability of 0.2000\n" in done.out

    def predictions(*args: str) -> list[dict[str, str]]:
        done = tinyrs_cli("predict", "m", "data.csv", "--proba", *args)
        assert done.status == 0, done.err
        return list(csv.DictReader(io.StringIO(done.out)))

    for args, threshold in [([], 0.2), (["--threshold", "0.4"], 0.4)]:
        rows = predictions(*args)
        for row in rows:
            assert row["label"] == ("yes" if float(row["probability_yes"]) >= threshold else "no")
            # The probability is that of the label.
            assert row["probability"] == row[f"probability_{row['label']}"]
        confusion = tinyrs_cli("evaluate", "m", "data.csv", "--json", *args).json["confusion"]
        assert sum(row[1] for row in confusion) == sum(row["label"] == "yes" for row in rows)


def test_a_chosen_threshold_is_said_to_be_optimistic(train: Run) -> None:
    done = train("--threshold", "f1", "--report", "r.html")
    said = re.search(
        r"\nyes is predicted from a probability of 0\.\d{4}, which gives the best F1 .*", done.out
    )
    assert said
    assert said[0].endswith("this score is slightly optimistic")
    assert said[0].strip() in Path("r.html").read_text()


@pytest.mark.parametrize("score", ["f1", "balanced_accuracy"])
def test_a_threshold_for_a_score_is_the_best_one(tinyrs_cli: Run, train: Run, score: str) -> None:
    done = train("--threshold", score, "--cv", "3", "--json", "--epochs", "30")
    found = done.json["held_out"]
    assert load().training["threshold"] == found["threshold"]
    # No threshold of the written model on its training rows is far better.
    rows = list(csv.DictReader(io.StringIO(tinyrs_cli("predict", "m", "data.csv", "--proba").out)))
    p, y = (np.array([float(row["probability_yes"]) for row in rows]), [row["kind"] == "yes" for row in rows])
    function = metrics.f1_score if score == "f1" else metrics.balanced_accuracy_score
    best = max(function(y, p >= threshold) for threshold in np.linspace(0.01, 0.99, 99))
    assert function(y, p >= found["threshold"]) > best - 0.15
    assert function(y, p >= found["threshold"]) > function(y, p >= 0.5) - 0.02


def test_a_threshold_needs_two_classes(tinyrs_cli: Run, flower_model: Path) -> None:
    Path("data.csv").write_text(csv_text(flowers(60)))
    args = ["train", "data.csv", "--target", "kind", "-o", "m", *QUICK]
    done = tinyrs_cli(*args, "--threshold", "f1")
    assert (done.status, done.err) == (2, "tinyrs: train: --threshold needs two classes, got 3\n")
    assert tinyrs_cli("predict", flower_model, "data.csv", "--threshold", "0.5").status == 2
    assert "expected a number between 0 and 1" in tinyrs_cli(*args, "--threshold", "nan").err


# Ctrl-C


@contextmanager
def ctrl_c_in_fit(monkeypatch: pytest.MonkeyPatch, *calls: int) -> Iterator[None]:
    """Sends SIGINT a moment after these calls of TinyClassifier.fit have started."""
    count = 0
    fit = TinyClassifier.fit

    def interrupted(self: TinyClassifier, *args: Any, **options: Any) -> TinyClassifier:
        nonlocal count
        count += 1
        timer = threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT])
        if count in calls:
            timer.start()
        try:
            return fit(self, *args, **options)
        finally:
            timer.cancel()

    with monkeypatch.context() as patched:
        patched.setattr(TinyClassifier, "fit", interrupted)
        yield


LONG = ["--epochs", "100000"]


def test_ctrl_c_without_a_terminal_writes_nothing(train: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with ctrl_c_in_fit(monkeypatch, 1):
        done = train(*LONG)
    assert (done.status, done.err) == (130, "tinyrs: interrupted\n")
    assert not Path("m").exists()


def test_ctrl_c_with_keep_writes_the_best_epoch_so_far(train: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with ctrl_c_in_fit(monkeypatch, 1):
        done = train(*LONG, "--keep", "--json")
    assert done.status == 130
    assert done.err.startswith("tinyrs: interrupted: keeps the best epoch so far; press Ctrl-C again")
    assert done.json["interrupted"] is True
    assert 0 < done.json["epochs"] < 100_000
    assert load().training["rows"] == done.json["rows"] < 400
    # The handler is the old one again.
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_while_training_again_keeps_the_measured_model(
    train: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train("--no-refit").status == 0
    measured = [member.parameters() for member in load().network.members]

    def epochs(rows: int) -> int:
        return 100_000 if rows == 400 else 8

    monkeypatch.setattr(fitting, "default_epochs", epochs)
    data = ["train", "data.csv", "--target", "kind", "-o", "m", "--hidden", "8", "--keep"]
    Path("m").unlink()
    with ctrl_c_in_fit(monkeypatch, 2):
        from tinyrs.cli.main import main

        assert main(data) == 130
    found = [member.parameters() for member in load().network.members]
    assert len(found) == 4
    np.testing.assert_equal(found, measured)
    assert load().training["rows"] == load().training["held_out"]["measured_model_rows"]


@pytest.mark.parametrize(("answer", "written"), [("y\n", True), ("n\n", False), ("", False)])
def test_on_a_terminal_there_is_a_question(
    train: Run, monkeypatch: pytest.MonkeyPatch, answer: str, written: bool
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal(answer))
    monkeypatch.setattr(fitting, "can_keep", lambda options: True)
    monkeypatch.setattr(cli_train, "can_keep", lambda options: True)
    with ctrl_c_in_fit(monkeypatch, 1):
        done = train(*LONG)
    assert done.status == 130
    assert "tinyrs: write this model to m? [y/N] " in done.err
    assert Path("m").exists() == written


# Several networks


def test_several_networks_are_one_model(tinyrs_cli: Run, train: Run) -> None:
    done = train("--ensemble", "3")
    assert done.status == 0, done.err
    assert len(load().network.members) == 3
    assert "mean of 3 of" in tinyrs_cli("info", "m").out
    assert tinyrs_cli("info", "m", "--json").json["network"]["members"] == 3
    assert tinyrs_cli("evaluate", "m", "data.csv", "--target", "kind").status == 0
    assert tinyrs_cli("export", "m", "--to", "c", "-o", "m.h").status == 0
    assert train("--max-time", "60", "--quantize", "int8", "--ensemble", "2").status == 0
    assert load().network.weights == "int8"
    assert len(load().network.members) == 2
    assert train("--ensemble", "0").status == 2


# Numeric embeddings


def test_a_numeric_embedding_is_part_of_the_model(tinyrs_cli: Run, train: Run) -> None:
    done = train("--numeric-embedding", "pbld")
    assert done.status == 0, done.err
    assert load().network.numeric_embedding == "pbld"
    assert "numeric embedding pbld" in tinyrs_cli("info", "m").out
    assert tinyrs_cli("info", "m", "--json").json["network"]["numeric_embedding"] == "pbld"
    # By default in two of four networks.
    assert train().status == 0
    assert [member.numeric_embedding for member in load().network.members] == [None, "pbld"] * 2
    assert "numeric embedding pbld in 2 of them" in tinyrs_cli("info", "m").out
    assert train("--numeric-embedding", "none").status == 0
    assert load().network.numeric_embedding is None
    assert train("--numeric-embedding", "plr").status == 2
    refused = train("--numeric-embedding", "pbld", "--budget", "2us")
    assert "excludes" in refused.err
    assert "--numeric-embedding" in refused.err

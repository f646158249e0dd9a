"""What a fitted `TinyClassifier` says about itself: summary, plots, HTML; and its progress bar."""

from __future__ import annotations

import pickle
import re
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from sklearn.datasets import make_multilabel_classification
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tinyrs import TinyClassifier
from tinyrs.tuning.basic_metrics import log_loss

mpl.use("Agg")

N = 400


def small(**options: Any) -> TinyClassifier:
    return TinyClassifier(**{"n_layers": 1, "width": 16, "max_iter": 8, "random_state": 0} | options)


@pytest.fixture(scope="module")
def table() -> tuple[pd.DataFrame, Any]:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "number": rng.normal(size=N),
            "flag": rng.random(N) < 0.5,
            "co\nlour $x$": rng.choice(["red", "green", "blue"], N),
            "when": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 700, N), unit="D"),
        }
    )
    return frame, np.where(frame["number"] > 0, "yes", "no")


@pytest.fixture(scope="module")
def model(table: Any) -> TinyClassifier:
    return small(importance=True).fit(*table)


@pytest.fixture(autouse=True)
def _close_figures() -> Any:
    yield
    plt.close("all")


# The summary.


def test_the_summary_says_what_the_model_is(model: TinyClassifier) -> None:
    text = model.summary()
    for line in (
        "  columns     4 (numbers: 1, booleans: 1, categories: 1, dates: 1)",
        "    number          numbers",
        r"    'co\nlour $x$'  categories: ",
        "  classes     no, yes",
        f"  layers      mean of 4 of {model.network_.layer_sizes[0]}-16-2, selu, f32",
        f"  parameters  {model.network_.n_parameters:,}, {4 * model.network_.n_parameters:,} bytes",
        f"  training    8 epochs; kept epoch {model.best_iteration_ + 1}, temperature ",
        "on the 400 rows that chose the epoch:",
    ):
        assert f"\n{line}" in text
    assert re.search(r"\n  accuracy +\d+\.\d\d%  \d+\.\d% to \d+\.\d% ", text)
    assert all(line.isprintable() for line in text.split("\n"))


def test_the_metrics_are_those_of_the_model_before_the_refit(table: Any) -> None:
    frame, y = table
    measured = small(n_ensemble=1, refit=False).fit(frame, y)
    refitted = small(n_ensemble=1).fit(frame, y)
    of_measured = measured.summary().split("\n\n")[1].split("\n")
    of_refitted = refitted.summary().split("\n\n")[1].split("\n")
    assert of_measured[0] == "on the 80 rows that chose the epoch:"
    assert of_refitted[0] == "on the 80 rows that chose the epoch, before the refit on all rows:"
    assert of_measured[1:] == of_refitted[1:]
    # With an eval_set, the rows are known.
    model = small().fit(frame[:300], y[:300], eval_set=(frame[300:], y[300:]))
    p = model.predict_proba(frame[300:])
    found = re.search(r"log loss +([\d.]+)", model.summary())
    assert found
    targets = (y[300:] == "yes").astype(int)
    assert float(found[1]) == pytest.approx(log_loss(targets, p), abs=6e-5)


def test_summaries_of_other_models(table: Any, tmp_path: Path) -> None:
    with pytest.raises(NotFittedError):
        small().summary()
    frame, y = table
    model = small(early_stopping=False).fit(frame.to_numpy()[:, :2].astype(float), y)
    assert model.summary().endswith(f"temperature {model.temperature_:.4g}")
    assert "columns     2 (numbers: 2)\n" in model.summary()
    assert "rows that chose" not in small().partial_fit(frame, y).summary()
    X, Y = make_multilabel_classification(200, random_state=0)
    labels = small().fit(X, Y).summary()
    assert "  labels      0, 1, 2, 3, 4\n" in labels
    assert re.search(r"\n  accuracy +\d+\.\d\d%  .*\(all labels right\)", labels)
    # A file keeps the curves only, a pickle everything.
    model = small().fit(frame, y)
    model.save(tmp_path / "m")
    loaded = TinyClassifier.load(tmp_path / "m").summary()
    value = model.evals_result_["valid_0"]["log_loss"][model.best_iteration_]
    assert loaded.endswith(f"on the rows that chose the epoch:\n  log_loss           {value:>7.4f}")
    assert pickle.loads(pickle.dumps(model)).summary() == model.summary()


# Plots.


def test_the_plot_of_the_loss(model: TinyClassifier) -> None:
    ax = model.plot_loss()
    lines = {line.get_label(): line for line in ax.get_lines()}
    assert set(lines) == {"training", "valid_0 log_loss", f"kept: epoch {model.best_iteration_ + 1}"}
    np.testing.assert_array_equal(lines["training"].get_ydata(), model.loss_curve_)
    np.testing.assert_array_equal(lines["training"].get_xdata(), np.arange(1, 9))
    curve = model.evals_result_["valid_0"]["log_loss"]
    np.testing.assert_array_equal(lines["valid_0 log_loss"].get_ydata(), curve)
    ax.figure.canvas.draw()


def test_the_plot_of_the_importance(model: TinyClassifier, table: Any) -> None:
    ax = model.plot_importance(max_columns=3)
    widths = [bar.get_bbox().width for bar in ax.containers[0]]
    assert widths == sorted(model.feature_importances_)[1:]
    assert ax.get_yticklabels()[-1].get_text() == "number"
    ax.figure.canvas.draw()
    with pytest.raises(AttributeError, match="importance=True"):
        small().fit(*table).plot_importance()


def counts(ax: Any) -> npt.NDArray[np.int64]:
    """The numbers of rows beside the points."""
    return np.array([int(note.get_text().replace(",", "")) for note in ax.texts])


def test_the_plot_of_the_calibration(model: TinyClassifier, table: Any) -> None:
    frame, y = table
    assert sum(counts(model.plot_calibration())) == N
    ax = model.plot_calibration(frame, y)
    assert sum(counts(ax)) == N
    accuracies = np.asarray(ax.get_lines()[1].get_ydata())
    assert counts(ax) @ accuracies / N == pytest.approx((model.predict(frame) == y).mean())
    X, Y = make_multilabel_classification(200, random_state=0)
    labels = small().fit(X, Y)
    assert sum(counts(labels.plot_calibration(X, Y))) == Y.size


def test_what_cannot_be_plotted(model: TinyClassifier, table: Any) -> None:
    frame, y = table
    with pytest.raises(ValueError, match="expected both X and y, or none"):
        model.plot_calibration(frame)
    with pytest.raises(ValueError, match="expected only classes of the training set, got 'maybe'"):
        model.plot_calibration(frame, ["maybe"] * N)
    with pytest.raises(ValueError, match="no held-out rows: pass X and y"):
        small(early_stopping=False).fit(frame, y).plot_calibration()
    for plot in ("plot_loss", "plot_importance", "plot_calibration"):
        with pytest.raises(NotFittedError):
            getattr(small(), plot)()


@pytest.mark.parametrize("plot", ["plot_loss", "plot_importance", "plot_calibration"])
def test_plots_take_axes_and_need_matplotlib(
    model: TinyClassifier, monkeypatch: pytest.MonkeyPatch, plot: str
) -> None:
    figure = mpl.figure.Figure()
    ax = figure.subplots()
    assert getattr(model, plot)(ax=ax) is ax
    assert plt.get_fignums() == []
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"need matplotlib .*pip install 'tinyrs\[plot\]'"):
        getattr(model, plot)()


# HTML, of scikit-learn.


def test_the_html_is_that_of_scikit_learn(model: TinyClassifier) -> None:
    before, after = small(batch_size=77)._repr_html_(), model._repr_html_()
    assert "Not fitted" in before
    assert "77" in before
    assert "Not fitted" not in after
    assert "Fitted" in after
    assert "feature_importances_" not in before
    # scikit-learn 1.9 lists the fitted attributes.
    for attribute in ("feature_importances_", "best_iteration_", "network_"):
        assert attribute in after
    assert set(model._repr_mimebundle_()) == {"text/plain", "text/html"}
    assert "TinyClassifier" in make_pipeline(StandardScaler(), small())._repr_html_()


# Progress.


def test_one_bar_shows_fit_and_refit(table: Any, capfd: pytest.CaptureFixture[str]) -> None:
    frame, y = table
    model = small(n_ensemble=1, verbose=1).fit(frame, y)
    shown = capfd.readouterr().err
    assert shown.count("\n") == 1
    updates = re.findall(r"(\w+): +\d+%\|[^|]*\| (\d+)/(\d+) ", shown)
    epochs = 8 + model.best_iteration_ + 1
    assert updates[0] == ("fit", "0", "16")
    assert updates[-1] == ("refit", str(epochs), str(epochs))
    small(verbose=1).fit(frame, y)
    assert "fit: 100%|" in capfd.readouterr().err
    small(verbose=1).partial_fit(frame, y)
    assert " 1/1 " in capfd.readouterr().err
    small().fit(frame, y)
    assert capfd.readouterr().err == ""


# n_jobs.


def test_n_jobs_is_an_alias_of_n_threads(table: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    frame, y = table
    monkeypatch.setattr("tinyrs.classifier.parameters.get_num_threads", lambda: 8)
    for options, threads in [
        ({}, None),
        ({"n_threads": 3}, 3),
        ({"n_jobs": 3}, 3),
        ({"n_jobs": 3, "n_threads": 3}, 3),
        ({"n_jobs": -1}, 8),
        ({"n_jobs": -2}, 7),
        ({"n_jobs": -100}, 1),
    ]:
        assert small(**options)._threads == threads
    model = small(n_jobs=2).fit(frame, y)
    np.testing.assert_array_equal(model.predict_proba(frame), small().fit(frame, y).predict_proba(frame))
    assert model.get_params()["n_jobs"] == 2
    assert model.get_params()["n_threads"] is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_jobs": 2, "n_threads": 1}, "got n_jobs=2 and n_threads=1"),
        ({"n_jobs": -1, "n_threads": 1}, "got n_jobs=-1 and n_threads=1"),
        ({"n_jobs": 0}, "n_jobs: expected a number of threads, -1 for all, or None, got 0"),
        ({"n_jobs": 1.5}, "n_jobs"),
    ],
)
def test_contradictions_are_refused(table: Any, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**options).fit(*table)
    fitted = small().fit(*table)
    if message != "n_jobs":
        with pytest.raises(ValueError, match=message):
            fitted.set_params(**options).predict(table[0])

"""`TinyClassifier(n_ensemble=)`: several networks that are trained side by side and averaged."""

from __future__ import annotations

import copy
import pickle
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import tinyrs
from sklearn.metrics import log_loss
from tinyrs import Network, Predictor, TinyClassifier
from tinyrs.classifier import memory_rows
from tinyrs.classifier.data import n_folds, split_rows
from tinyrs.classifier.recipe import train
from tinyrs.tabular.tables import Table


@pytest.fixture(scope="module")
def data() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(240, 5))
    return X, np.array(["no", "yes", "maybe"])[(X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)]


def small(**options: Any) -> TinyClassifier:
    chosen = {"n_ensemble": 3, "n_layers": 2, "width": 16, "max_iter": 15, "random_state": 0} | options
    return TinyClassifier(**chosen)


@pytest.fixture(scope="module")
def fitted(data: Any) -> TinyClassifier:
    return small().fit(*data)


def test_each_row_is_held_out_once_and_classes_are_spread_evenly() -> None:
    targets = np.repeat([0, 1, 2, 3], [40, 21, 8, 1])
    parts = split_rows(targets, 4, 0.2, np.random.RandomState(0))
    held_out = np.concatenate([fold for _, fold in parts if fold is not None])
    # The only row of class 3 is in every training set.
    assert sorted(held_out) == list(range(69))
    for rows, fold in parts:
        assert fold is not None
        assert sorted([*rows, *fold]) == list(range(70))
        assert np.bincount(targets[fold], minlength=3).tolist() in ([10, 5, 2], [10, 6, 2])
    assert split_rows(targets[:49], 4, 0.2, np.random.RandomState(0))[0][1] is None


def test_a_large_table_has_smaller_folds() -> None:
    found = {}
    for n_rows in (4000, 6500, 30_000):
        parts = split_rows(np.arange(n_rows) % 3, 4, 0.2, np.random.RandomState(0))
        folds = [fold for _, fold in parts if fold is not None]
        assert len(np.unique(np.concatenate(folds))) == sum(map(len, folds))
        found[n_rows] = len(folds[0])
    assert found == {4000: 1000, 6500: 1084, 30_000: 3000}
    assert n_folds(100, 2) == 4  # two networks are trained on three quarters of the rows, not on a half
    assert n_folds(100, 12) == 12


@pytest.mark.parametrize("n_of_two", [0, 1, 4, 20])
def test_classes_of_one_row_leave_no_fold_empty(n_of_two: int) -> None:
    targets = np.concatenate([np.repeat(np.arange(n_of_two), 2), n_of_two + np.arange(60 - 2 * n_of_two)])
    parts = split_rows(targets, 4, 0.2, np.random.RandomState(0))
    assert [fold is not None for _, fold in parts] == [n_of_two >= 4] * 4
    for rows, fold in parts:
        assert fold is None or len(fold) >= 2
        assert len(np.unique(targets[rows])) == len(np.unique(targets))


def test_held_out_rows_choose_the_epoch_and_the_temperature(data: Any, fitted: TinyClassifier) -> None:
    X, y = data
    p = fitted.predict_proba(X)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-5)
    assert len(fitted.network_.members) == 3
    assert fitted._held_out is not None
    assert len(fitted._held_out.targets) == len(y) * 3 // 4
    assert not fitted._held_out.refitted
    assert fitted.temperature_ != 1
    # The curves are those of the predictions for held-out rows, each by the network that did not see it.
    assert len(fitted.evals_result_["valid_0"]["log_loss"]) == fitted.n_iter_ == len(fitted.loss_curve_)
    plain = small(calibrate=False, schedule="constant").fit(X, y, eval_metric=["log_loss", "auc"])
    assert plain._held_out is not None
    of_held_out = log_loss(plain._held_out.targets, plain._held_out.probabilities)
    assert plain.evals_result_["valid_0"]["log_loss"][plain.best_iteration_] == pytest.approx(of_held_out)
    np.testing.assert_allclose(np.exp(fitted.predict_log_proba(X)), p, rtol=1e-4)
    assert (fitted.decision_function(X).argmax(axis=1) == p.argmax(axis=1)).all()


def test_the_result_does_not_depend_on_the_number_of_threads(data: Any, fitted: TinyClassifier) -> None:
    for n_threads in (1, 2, 5):
        again = small(n_threads=n_threads).fit(*data)
        np.testing.assert_array_equal(again.predict_proba(data[0]), fitted.predict_proba(data[0]))
        assert again.loss_curve_ == fitted.loss_curve_


def test_one_network_is_the_default(data: Any) -> None:
    one, default = small(n_ensemble=1).fit(*data), TinyClassifier(**small().get_params() | {"n_ensemble": 1})
    np.testing.assert_array_equal(one.predict_proba(data[0]), default.fit(*data).predict_proba(data[0]))
    assert len(one.network_.members) == 1


def test_evaluation_sets_are_predicted_by_the_mean(data: Any) -> None:
    X, y = data
    model = small(calibrate=False, schedule="constant").fit(
        X[:200],
        y[:200],
        eval_set=[(X[:200], y[:200]), (X[200:], y[200:])],
        eval_metric=["log_loss", "accuracy"],
    )
    curves = model.evals_result_
    assert curves["valid_1"]["log_loss"][model.best_iteration_] == pytest.approx(
        log_loss(y[200:], model.predict_proba(X[200:])), rel=1e-4
    )
    assert model.validation_scores_ == curves["valid_1"]["accuracy"]
    assert curves["valid_0"]["accuracy"][model.best_iteration_] == model.score(X[:200], y[:200])
    assert (
        small(importance=True).fit(X[:200], y[:200], eval_set=(X[200:], y[200:])).feature_importances_[0] > 0
    )


@pytest.mark.parametrize("kind", ["sparse", "multilabel", "weights", "tiny"])
def test_kinds_of_data(data: Any, kind: str, tmp_path: Path) -> None:
    X, y = data
    options: dict[str, Any] = {}
    if kind == "sparse":
        X = scipy.sparse.csr_array(X)
    elif kind == "multilabel":
        y = np.column_stack([X[:, 0] > 0, X[:, 1] > 0]).astype(int)
    elif kind == "weights":
        options["sample_weight"] = np.where(np.arange(len(y)) % 3, 1.0, 0.0)
    else:
        X, y = X[:20], y[:20]
    model = small(class_weight="balanced" if kind == "weights" else None).fit(X, y, **options)
    assert (model.validation_scores_ is None) == (kind == "tiny")
    p = model.predict_proba(X)
    model.save(tmp_path / "m")
    for again in (pickle.loads(pickle.dumps(model)), TinyClassifier.load(tmp_path / "m")):
        np.testing.assert_allclose(again.predict_proba(X), p, rtol=1e-5)
    np.testing.assert_allclose(model.predictor().predict_proba(X), p, rtol=1e-5)
    loaded = tinyrs.load(tmp_path / "m")
    assert isinstance(loaded, Predictor)
    np.testing.assert_allclose(loaded.predict_proba(X), p, rtol=1e-5)
    if kind == "multilabel":
        z = model.decision_function(X)
        np.testing.assert_allclose(1 / (1 + np.exp(-z)), p, rtol=1e-4, atol=1e-6)


def test_columns_are_important_for_held_out_rows(data: Any) -> None:
    model = small(importance=True).fit(*data)
    assert set(np.argsort(model.feature_importances_)[-2:]) == {0, 1}


def test_what_needs_a_single_network_says_so(data: Any, fitted: TinyClassifier) -> None:
    with pytest.raises(AttributeError, match=r"coefs_: expected a single network.*network_\.members"):
        fitted.coefs_  # noqa: B018
    assert not hasattr(fitted, "intercepts_")
    with pytest.raises(ValueError, match="n_ensemble"):
        small(n_ensemble=0).fit(*data)


def weights_of(model: TinyClassifier) -> Any:
    return [network.parameters()[0][0].tolist() for network in model.network_.members]


def test_a_warm_start_continues_from_all_networks(data: Any) -> None:
    # A training that is over after one step at a rate of almost 0 shows where it began.
    still = {"learning_rate_init": 1e-12, "max_iter": 1, "calibrate": False}
    model = small(warm_start=True, calibrate=False).fit(*data)
    before = weights_of(model)
    assert before[0] != before[1] != before[2]
    model.set_params(**still).fit(*data)
    for weights, weights_before in zip(weights_of(model), before, strict=True):
        np.testing.assert_allclose(weights, weights_before, atol=1e-6)
    new = weights_of(small(warm_start=True, **still).fit(*data))
    assert weights_of(model.set_params(n_ensemble=2, random_state=0).fit(*data)) == new[:2]


def test_partial_fit_trains_each_network_with_its_own_optimizer(data: Any, fitted: TinyClassifier) -> None:
    X, y = data
    model = small(batch_size=16)
    for _ in range(60):
        model.partial_fit(X, y)
    features = model.preprocessor_.transform(model.preprocessor_.encode(Table.read(X)), "f32")
    for network in model.network_.members:
        assert (model.classes_[network.forward(features).argmax(axis=1)] == y).mean() > 0.8
    # The moments of the steps before count: a model without them goes elsewhere.
    without = pickle.loads(pickle.dumps(model))
    without._optimizers = None
    assert weights_of(model.partial_fit(X, y)) != weights_of(without.partial_fit(X, y))
    # It continues from all networks of a fit, and a new class gets an output in each.
    continued = copy.deepcopy(fitted).partial_fit(X, np.where(X[:, 2] > 1, "new", y))
    assert continued.network_.layer_sizes == (5, 16, 16, 4)
    for weights, weights_before in zip(weights_of(continued), weights_of(fitted), strict=True):
        np.testing.assert_allclose(weights, weights_before, atol=0.05)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_an_interrupted_partial_fit_changes_nothing(data: Any, n_threads: int) -> None:
    def interrupt(_: Any) -> bool:
        raise KeyboardInterrupt

    model = small(n_threads=n_threads).partial_fit(*data)
    before, optimizers = weights_of(model), [repr(o.__reduce__()) for o in model._optimizers or ()]
    with pytest.raises(KeyboardInterrupt):
        model.set_params(callbacks=[interrupt]).partial_fit(*data)
    assert weights_of(model) == before
    assert [repr(o.__reduce__()) for o in model._optimizers or ()] == optimizers
    assert len(optimizers) == 3


def test_the_predictor_is_one_model(data: Any, fitted: TinyClassifier, tmp_path: Path) -> None:
    X = data[0]
    predictor, p = fitted.predictor(), fitted.predict_proba(X)
    np.testing.assert_array_equal(predictor.predict_proba(X), p)
    np.testing.assert_allclose(list(predictor.predict_proba_one(X[0]).values()), p[0], rtol=1e-6)
    predictor.save(tmp_path / "m")
    loaded = tinyrs.load(tmp_path / "m")
    assert isinstance(loaded, Predictor)
    assert loaded.verify() == 0
    np.testing.assert_array_equal(loaded.predict_proba(X), p)
    assert np.abs(predictor.quantize("int8").predict_proba(X) - p).max() < 0.1
    explained = predictor.explain(X[:3])
    np.testing.assert_allclose(
        explained.contributions.sum(axis=1), explained.probability - explained.base, atol=2e-3
    )
    assert "mean of 3 of 5-16-16-3" in fitted.summary()


@pytest.mark.parametrize("kind", [None, "int8", "bf16"])
def test_exports_compute_the_mean(data: Any, fitted: TinyClassifier, kind: Any, tmp_path: Path) -> None:
    X = data[0][:40]
    predictor = fitted.predictor() if kind is None else fitted.predictor().quantize(kind)
    p = predictor.predict_proba(X)
    runtime = pytest.importorskip("onnxruntime")
    predictor.to_onnx(tmp_path / "m.onnx")
    (of_graph,) = runtime.InferenceSession(tmp_path / "m.onnx").run(["probabilities"], {"X": X})
    np.testing.assert_allclose(of_graph, p, atol=1e-4)
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    predictor.to_c(tmp_path / "m.h")
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include "m.h"\nint main(void) { double row[5]; float p[3]; '
        'while (scanf("%lf %lf %lf %lf %lf", row, row + 1, row + 2, row + 3, row + 4) == 5) '
        '{ m_predict_proba(row, p); printf("%.9g %.9g %.9g %d\\n", p[0], p[1], p[2], m_predict(row)); } '
        "return 0; }"
    )
    command = [
        compiler,
        "-std=c99",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-pedantic",
        "main.c",
        "-o",
        "main",
        "-lm",
    ]
    subprocess.run(command, cwd=tmp_path, check=True)
    rows = "\n".join(" ".join(map(repr, row)) for row in X.tolist())
    done = subprocess.run([tmp_path / "main"], input=rows, capture_output=True, text=True, check=True)
    of_header = np.array([line.split() for line in done.stdout.splitlines()], dtype=float)
    np.testing.assert_allclose(of_header[:, :3], p, atol=1e-4)


# Training side by side.


def test_callbacks_see_the_means_in_the_calling_thread(data: Any) -> None:
    seen: list[Any] = []

    def callback(record: Any) -> bool:
        assert threading.current_thread() is threading.main_thread()
        seen.append(dict(record))
        return bool(record["epoch"] == 4)

    model = small(callbacks=[callback]).fit(*data)
    assert [record["epoch"] for record in seen] == [0, 1, 2, 3, 4]
    assert model.n_iter_ == 5
    assert model.loss_curve_ == [record["loss"] for record in seen]
    assert model.validation_scores_ == [record["validation_score"] for record in seen]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_after_an_exception_the_estimator_is_as_before(data: Any, error: type[BaseException]) -> None:
    def callback(record: Any) -> bool:
        if record["epoch"] == 2:
            raise error
        return False

    model = small().fit(*data)
    before, n_threads = model.predict_proba(data[0]), threading.active_count()
    with pytest.raises(error):
        model.set_params(callbacks=[callback], random_state=1).fit(*data)
    np.testing.assert_array_equal(model.predict_proba(data[0]), before)
    assert threading.active_count() == n_threads


def test_an_error_of_one_member_ends_the_training(data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Network] = []

    def second_fails(network: Network, *args: Any, callback: Any, **others: Any) -> Any:
        calls.append(network)
        fails = len(calls) == 2

        def after_epoch(record: Any) -> bool:
            if fails and record["epoch"] == 3:
                raise FloatingPointError("the loss is not finite")
            return bool(callback(record))

        return train(network, *args, callback=after_epoch, **others)

    monkeypatch.setattr(memory_rows, "train", second_fails)
    n_threads = threading.active_count()
    with pytest.raises(FloatingPointError, match="the loss is not finite"):
        small().fit(*data)
    assert len(calls) == 3
    assert threading.active_count() == n_threads


def test_patience_without_validation_rows(data: Any) -> None:
    model = small(early_stopping=False, n_iter_no_change=1, max_iter=500, schedule="constant").fit(*data)
    assert model.n_iter_ < 500
    assert model.loss_curve_[-1] >= min(model.loss_curve_[:-1])
    single = small(n_ensemble=1, early_stopping=False, n_iter_no_change=1, max_iter=500, schedule="constant")
    assert single.fit(*data).n_iter_ < 500

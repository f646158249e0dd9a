"""`Predictor.quantize` and `TinyClassifier.predictor(quantize=)`: what they measure, keep and refuse."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from model_files import classifier, table
from scipy.sparse import csr_matrix
from sklearn.datasets import load_digits
from tinyrs import Network, Predictor, TinyClassifier
from tinyrs.tuning import quantization

FORMATS = ["f16", "bf16", "int8", "int8_weights"]


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    made: Predictor = classifier(precision="f32", max_iter=40).predictor()
    return made


def with_huge_weight() -> tuple[Predictor, Any, Any]:
    """A model whose first layer loses everything in int8: one column of tiny and one of huge weights."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2)).astype(np.float32)
    X[:, 1] *= 1e-4
    y = np.array(["no", "yes"])[(X[:, 0] > 0).astype(int)]
    first = np.array([[1, 0], [0, 1], [1, 1e4]], np.float32)
    first[2] *= [1, 0.1]
    second = np.array([[-5, 0, 0], [5, 0, 0]], np.float32)
    first[0, 1] = 2e3
    layers = [(first, np.zeros(3, np.float32)), (second, np.zeros(2, np.float32))]
    network = Network.from_parameters(layers, activation="tanh", output_activation="softmax", precision="f32")
    made = Predictor(network, None, np.array(["no", "yes"]), feature_names=["x", "z"])
    y = made.predict(X)
    return made, X, y


@pytest.mark.parametrize("kind", FORMATS)
def test_it_measures_what_it_costs(predictor: Predictor, kind: str) -> None:
    X, y = table()
    made = predictor.quantize(kind, X=X, y=y)
    before, after = predictor.predict_proba(X), made.predict_proba(X)
    record = made.quantization
    assert record is not None
    assert record["weights"] == kind
    assert record["layers"] == [kind] * 2
    assert record["rows"] == len(X)
    assert record["largest_difference"] == np.abs(before - after).max() > 0
    changed = predictor.predict(X) != made.predict(X)
    assert record["labels_changed"] == changed.mean()
    assert record["accuracy_before"] == (predictor.predict(X) == y).mean()
    assert record["accuracy"] == (made.predict(X) == y).mean()
    of_truth = [p[list(made.classes_).index(label)] for p, label in zip(after, y, strict=True)]
    assert record["log_loss"] == pytest.approx(-np.log(of_truth).mean())
    # The predictor itself is unchanged.
    assert predictor.quantization is None
    np.testing.assert_array_equal(predictor.predict_proba(X), before)
    assert made.network.nbytes < predictor.network.nbytes
    assert made.training == predictor.training
    assert made.feature_names_in_ == predictor.feature_names_in_


def test_without_rows_or_labels_it_says_less(predictor: Predictor) -> None:
    assert predictor.quantize("int8").quantization == {"weights": "int8", "layers": ["int8", "int8"]}
    record = predictor.quantize("int8", X=table()[0]).quantization
    assert record is not None
    assert set(record) == {"weights", "layers", "rows", "largest_difference", "labels_changed"}
    one_row = predictor.quantize(["f32", "int8"], X=[0.5, "red", None]).quantization
    assert one_row is not None
    assert one_row["rows"] == 1
    assert (one_row["weights"], one_row["layers"]) == ("mixed", ["f32", "int8"])


def test_one_row_at_a_time_gives_the_same(predictor: Predictor) -> None:
    X, _ = table()
    made = predictor.quantize("int8")
    together = made.predict_proba(X)
    for i in (0, 7, 20):
        row = X.iloc[i].tolist()
        np.testing.assert_array_equal(made.predict_proba(row), together[i])
        assert list(made.predict_proba_one(row).values()) == together[i].tolist()


def test_multilabel_and_f64() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 3))
    y = (X > 0).astype(int)
    clf = TinyClassifier(width=8, max_iter=4, random_state=0, precision="f64").fit(X, y)
    made = clf.predictor().quantize("int8", X=X, y=y)
    record = made.quantization
    assert record is not None
    assert record["accuracy"] == (made.predict(X) == y).all(axis=1).mean()
    assert record["labels_changed"] == (made.predict(X) != clf.predict(X)).mean()
    assert made.predict_proba(X).dtype == np.float32


def test_layers_that_cost_most_stay_more_precise() -> None:
    predictor, X, y = with_huge_weight()
    spoilt = predictor.quantize("int8", X=X, y=y).quantization
    assert spoilt is not None
    assert spoilt["accuracy"] < 0.9
    made = predictor.quantize("int8", X=X, y=y, max_drop=0.02)
    record = made.quantization
    assert record is not None
    assert record["layers"] == ["f16", "int8"]
    assert record["accuracy_before"] - record["accuracy"] <= 0.02
    assert made.network.layer_weights == ("f16", "int8")
    assert (made.predict(X) == y).mean() == record["accuracy"]


def test_f32_comes_after_f16() -> None:
    """In the same network with weights that do not fit into f16."""
    predictor, X, y = with_huge_weight()
    (first, bias), last = predictor.network.parameters()
    first[2, 1] = 1e6
    network = Network.from_parameters([(first, bias), last], **predictor.network.options)
    predictor = Predictor(network, None, np.array(["no", "yes"]))
    record = predictor.quantize("int8", X=X, y=y, max_drop=0.02).quantization
    assert record is not None
    assert record["layers"] == ["f32", "int8"]


def test_a_larger_loss_than_max_drop_raises() -> None:
    predictor, X, _ = with_huge_weight()
    network = predictor.network
    # With one layer, no layer may stay.
    one = Network.from_parameters(network.parameters()[:1], activation="tanh", output_activation="softmax")
    single = Predictor(one, None, np.arange(3))
    labels = single.predict(X)
    message = r"accuracy to fall by at most 0.001, but on 300 rows it falls by 0\.\d+, from 1 to 0\.\d+"
    with pytest.raises(ValueError, match=message):
        single.quantize("int8", X=X, y=labels, max_drop=0.001)
    accepted = single.quantize("int8", X=X, y=labels, max_drop=1.0).quantization
    assert accepted is not None
    assert accepted["layers"] == ["int8"]


def test_the_layers_are_few() -> None:
    """Of several layers, only the one that costs most stays."""
    X, y = load_digits(return_X_y=True)
    X = X.astype(np.float32)
    clf = TinyClassifier(hidden_layer_sizes=(32, 32), max_iter=10, random_state=0).fit(X[:800], y[:800])
    predictor = clf.predictor()
    before = predictor.predict_proba(X)

    def predict(network: Network) -> Any:
        """Loses accuracy if the second layer is int8."""
        return before[::-1] if network.layer_weights[1] == "int8" else before

    rows = quantization.Rows(predict, before.argmax(axis=1), multilabel=False)
    made, record = quantization.quantize(predictor.network, "int8", rows, max_drop=0.01)
    assert made.layer_weights == ("int8", "f16", "int8")
    assert record["labels_changed"] == 0


def test_arguments_are_checked(predictor: Predictor) -> None:
    X, y = table()
    with pytest.raises(ValueError, match="quantize: max_drop needs X and y to measure the accuracy on"):
        predictor.quantize("int8", X=X, max_drop=0.1)
    with pytest.raises(ValueError, match="max_drop: expected a number of at least 0, got nan"):
        predictor.quantize("int8", X=X, y=y, max_drop=float("nan"))
    with pytest.raises(ValueError, match="quantize: y needs X, the rows with these labels"):
        predictor.quantize("int8", y=y)
    with pytest.raises(ValueError, match=r"y: expected shape \(300,\), got \(299,\)"):
        predictor.quantize("int8", X=X, y=y[1:])
    with pytest.raises(ValueError, match=r"y: expected classes of the model \(.*green.*\), got 'purple'"):
        predictor.quantize("int8", X=X, y=["purple"] * 300)
    with pytest.raises(ValueError, match="X: expected at least one row to measure on, got none"):
        predictor.quantize("int8", X=X.iloc[:0])
    with pytest.raises(ValueError, match=r"kind: expected .*f16.*, got \W*int4"):
        predictor.quantize("int4", X=X, y=y)
    with pytest.raises(ValueError, match="quantize: expected a network with f32 or f64 weights, got"):
        predictor.quantize("int8").quantize("f16")


def test_a_classifier_measures_on_its_validation_rows() -> None:
    X, y = table()
    clf = classifier(precision="f32")
    record = clf.predictor(quantize="int8").quantization
    assert record["rows"] == 60
    assert {"accuracy", "log_loss", "largest_difference"} <= set(record)
    assert clf.predictor(quantize="f16", max_drop=0.5).quantization["layers"] == ["f16", "f16"]
    assert clf.predictor().quantization is None
    valid = X.iloc[:57], y[:57]
    given = TinyClassifier(width=8, max_iter=2, random_state=0).fit(X, y, eval_set=[valid])
    record = given.predictor(quantize="int8").quantization
    direct = given.predictor().quantize("int8", X=valid[0], y=valid[1]).quantization
    assert record == direct


def test_a_classifier_without_validation_rows_measures_nothing() -> None:
    X, y = table()
    clf = classifier(precision="f32", early_stopping=False)
    assert "rows" not in clf.predictor(quantize="int8").quantization
    with pytest.raises(ValueError, match="max_drop needs X and y"):
        clf.predictor(quantize="int8", max_drop=0.1)
    clf = classifier(precision="f32")
    # Rows do not leave the process.
    restored = pickle.loads(pickle.dumps(clf))
    assert "rows" not in restored.predictor(quantize="int8").quantization
    np.testing.assert_array_equal(
        restored.predictor(quantize="int8").predict_proba(X), clf.predictor(quantize="int8").predict_proba(X)
    )
    clf.partial_fit(X, y)
    assert "rows" not in clf.predictor(quantize="int8").quantization


def test_sparse_rows() -> None:
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(200, 12)) * (rng.random((200, 12)) < 0.3)
    X, y = csr_matrix(dense), dense[:, 0] > 0
    clf = TinyClassifier(width=8, max_iter=4, random_state=0).fit(X, y)
    record = clf.predictor(quantize="f16").quantization
    assert record is not None
    assert record["rows"] == 200
    made = clf.predictor().quantize("int8", X=X, y=y)
    np.testing.assert_array_equal(made.predict_proba(X), made.predict_proba(dense))

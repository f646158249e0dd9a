"""Numeric embeddings: the core against the oracle, the oracle against differences; files and exports."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import tinyrs
from test_onnx import feed_of, largest_difference
from test_oracle_training import check_gradient, differences
from test_to_c import largest_difference as c_difference
from test_to_c import numbers
from test_to_c import run as run_c
from tinyrs import Network, Optimizer, Predictor, TinyClassifier, oracle
from tinyrs.explanation import TOLERANCE
from tinyrs.files import model_file
from tinyrs.history import Record
from tinyrs.oracle import Layer

EMBEDDED, INPUTS, ROWS = 3, 5, 24
OPTIONS: dict[str, Any] = {
    "activation": "selu",
    "output_activation": "softmax",
    "numeric_embedding": "pbld",
}
TOLERANCES = {"f32": 2e-5, "f64": 1e-12}
QUICK: dict[str, Any] = {
    "numeric_embedding": "pbld",
    "n_ensemble": 1,
    "width": 16,
    "max_iter": 40,
    "random_state": 0,
}


def random_layers(dtype: Any = float, embedded: int = EMBEDDED) -> list[Layer]:
    """An embedding of the first 3 of 5 inputs, and two dense layers."""
    rng = np.random.default_rng(0)
    shapes = [(16 * embedded, 1), (3 * embedded, 16), (6, INPUTS + 3 * embedded), (3, 6)]
    return [
        (rng.normal(size=shape).astype(dtype) / shape[1] ** 0.5, rng.normal(size=shape[0]).astype(dtype))
        for shape in shapes
    ]


def random_rows(dtype: Any = float) -> tuple[Any, Any]:
    rng = np.random.default_rng(1)
    return rng.normal(size=(ROWS, INPUTS)).astype(dtype), rng.integers(3, size=ROWS)


def table() -> tuple[pd.DataFrame, Any]:
    rng = np.random.default_rng(2)
    X = pd.DataFrame({"a": rng.normal(size=200), "c": rng.choice(["u", "v"], 200), "b": rng.normal(size=200)})
    X.loc[::7, "b"] = np.nan
    return X, np.where(np.sin(4 * X["a"]) + (X["c"] == "u") > 0.5, "yes", "no")


def assert_same(network: Network, other: Network) -> None:
    assert repr(network) == repr(other)
    for pair, same in zip(network.parameters(), other.parameters(), strict=True):
        for array, equal in zip(pair, same, strict=True):
            np.testing.assert_array_equal(array, equal)


# The oracle.


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
def test_oracle_gradients(loss: str) -> None:
    layers, (x, y) = random_layers(), random_rows()
    targets = y if loss == "cross_entropy" else np.eye(3)[y]

    def value() -> float:
        return oracle.loss_and_gradients(x, targets, layers, loss=loss, **OPTIONS)[0]

    _, gradients = oracle.loss_and_gradients(x, targets, layers, loss=loss, **OPTIONS)
    for pair, parameters in zip(gradients, layers, strict=True):
        for gradient, parameter in zip(pair, parameters, strict=True):
            check_gradient(gradient, differences(value, parameter))


def test_oracle_backward() -> None:
    layers, (x, _) = random_layers(), random_rows()
    d = np.random.default_rng(3).normal(size=(ROWS, 3))
    dx, _ = oracle.backward(x, d, layers, **OPTIONS)
    check_gradient(dx, differences(lambda: float((oracle.forward(x, layers, **OPTIONS) * d).sum()), x))


def test_oracle_embedding_by_its_formula() -> None:
    (w1, b1), (w2, b2), *_ = random_layers()
    x = np.array([0.3, -2.0, 7.0, 11.0])
    got = oracle.embedding_forward(x, (w1, b1), (w2, b2))
    np.testing.assert_array_equal(got[:4], x)
    for c in range(EMBEDDED):
        for o in range(3):
            want = b2[3 * c + o]
            for k in range(16):
                angle = 2 * np.pi * (w1[16 * c + k, 0] * x[c] + b1[16 * c + k])
                want += w2[3 * c + o, k] * np.cos(angle)
            assert got[4 + 3 * c + o] == pytest.approx(want, abs=1e-12)


# The core.


@pytest.mark.parametrize("precision", ["f32", "f64"])
def test_passes_and_gradients_are_those_of_the_oracle(precision: str) -> None:
    dtype = np.float32 if precision == "f32" else np.float64
    tolerance = TOLERANCES[precision]
    layers, (x, y) = random_layers(dtype), random_rows(dtype)
    network = Network.from_parameters(layers, precision=precision, **OPTIONS)
    assert network.layer_sizes == (INPUTS, 6, 3)
    assert network.n_parameters == sum(w.size + b.size for w, b in layers)
    assert network.numeric_embedding == "pbld"
    outputs = network.forward(x)
    np.testing.assert_allclose(outputs, oracle.forward(x, layers, **OPTIONS), atol=tolerance)
    np.testing.assert_array_equal(network.forward(x[3]), outputs[3])
    np.testing.assert_array_equal(network.forward(scipy.sparse.csr_matrix(x)), outputs)
    value, gradients = network.loss_and_gradients(x, y)
    want, same = oracle.loss_and_gradients(x, y, layers, loss="cross_entropy", **OPTIONS)
    assert value == pytest.approx(want, abs=tolerance)
    d: Any = np.random.default_rng(3).normal(size=(ROWS, 3)).astype(dtype)
    dx, backwards = network.backward(x, d)
    oracle_dx, oracle_backwards = oracle.backward(x, d, layers, **OPTIONS)
    np.testing.assert_allclose(dx, oracle_dx, atol=20 * tolerance)
    for got, expected in zip([*gradients, *backwards], [*same, *oracle_backwards], strict=True):
        for array, equal in zip(got, expected, strict=True):
            np.testing.assert_allclose(array, equal, atol=20 * tolerance * abs(equal).max())


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"clip_norm": 0.1},
        {"weight_decay": 0.3, "dropout": 0.2},
        {"learning_rate_factors": [(0.1, 0.2)] * 4},
    ],
    ids=str,
)
def test_training_is_that_of_the_oracle(settings: dict[str, Any]) -> None:
    """Also with weight decay, which leaves the embedding alone."""
    layers, (x, y) = random_layers(), random_rows()
    common = {"learning_rate": 0.01, "epochs": 3, "batch_size": 10, "seed": 4, **settings}
    trained = []
    for n_threads in (1, 2):
        network = Network.from_parameters(layers, precision="f64", **OPTIONS)
        network.fit(x, y, optimizer="adamw", n_threads=n_threads, **common)
        trained.append(network)
    assert_same(*trained)
    oracle.fit(x, y, layers, loss="cross_entropy", optimizer=oracle.Optimizer("adamw"), **common, **OPTIONS)
    for pair, parameters in zip(trained[0].parameters(), layers, strict=True):
        for array, equal in zip(pair, parameters, strict=True):
            np.testing.assert_allclose(array, equal, atol=1e-12)


def test_a_resumed_training_ends_with_the_same_bits(tmp_path: Path) -> None:
    x, y = random_rows(np.float32)
    networks = [Network([INPUTS, 4, 3], seed=3, **OPTIONS) for _ in range(2)]
    networks[0].fit(x, y, epochs=4, seed=1)
    with pytest.raises(KeyboardInterrupt):
        networks[1].fit(x, y, epochs=4, seed=1, checkpoint=tmp_path / "c", callback=interrupt)
    networks[1].fit(x, y, epochs=4, seed=1, resume=tmp_path / "c")
    assert_same(*networks)


def interrupt(record: Record) -> None:
    if record["epoch"] == 2:
        raise KeyboardInterrupt


def test_the_same_seed_draws_the_same_embedding() -> None:
    first, second, other = (Network([3, 4, 2], numeric_embedding="pbld", seed=seed) for seed in (1, 1, 2))
    assert_same(first, second)
    plain, (frequencies, phases) = Network([3, 4, 2], seed=1), first.parameters()[0]
    assert not np.array_equal(frequencies, other.parameters()[0][0])
    assert 0.05 < frequencies.std() < 0.15
    assert abs(phases).max() <= 0.5
    # The last layer has the same shape and the same stream of random numbers.
    np.testing.assert_array_equal(first.parameters()[-1][0], plain.parameters()[-1][0])


def test_unknown_embeddings_and_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r'numeric_embedding: expected one of "pbld", got "plr"'):
        Network([2, 3], numeric_embedding="plr")
    layers = random_layers()
    with pytest.raises(ValueError, match=r"parameters\[1\].W: expected shape \(9, 16\), because 3 inputs"):
        Network.from_parameters([layers[0], layers[2], layers[3]], **OPTIONS)


def test_the_plan_names_the_embedding() -> None:
    network = Network([3, 4, 2], numeric_embedding="pbld", seed=1)
    assert network.explain_plan(1).startswith("embedding: 3 inputs")
    assert "embedding" not in Network([3, 4, 2], seed=1).explain_plan(1)
    assert "networks" not in network.explain_plan(1)


def test_a_step_has_the_bits_of_fit() -> None:
    x, y = random_rows(np.float32)
    fitted, stepped = (Network([INPUTS, 4, 3], seed=3, **OPTIONS) for _ in range(2))
    settings = {"learning_rate": 0.01, "weight_decay": 0.1}
    fitted.fit(x, y, epochs=1, batch_size=ROWS, shuffle=False, optimizer="adamw", **settings)  # type: ignore[arg-type]
    _, gradients = stepped.loss_and_gradients(x, y)
    stepped.apply_gradients(gradients, Optimizer("adamw"), **settings)
    assert_same(fitted, stepped)


# Files.


@pytest.mark.parametrize("weights", ["f32", "f64", "int8", "f16"])
def test_files_and_pickles(tmp_path: Path, weights: str) -> None:
    x, _ = random_rows()
    network = Network([INPUTS, 8, 3], precision="f64" if weights == "f64" else "f32", seed=1, **OPTIONS)
    if weights not in ("f32", "f64"):
        full, network = network, network.quantize(weights)
        assert network.weights == weights
        assert network.layer_weights == (weights, weights)
        np.testing.assert_allclose(network.forward(x), full.forward(x), atol=0.05)
        np.testing.assert_array_equal(network.parameters()[0][0], full.parameters()[0][0])
    network.save(tmp_path / "network")
    for same in (tinyrs.load(tmp_path / "network"), pickle.loads(pickle.dumps(network)), copy.copy(network)):
        assert isinstance(same, Network)
        assert repr(same) == repr(network)
        np.testing.assert_array_equal(same.forward(x), network.forward(x))


def test_files_have_a_format_that_older_versions_refuse(tmp_path: Path) -> None:
    network = Network([3, 4, 2], numeric_embedding="pbld")
    for model in (network, network.quantize("int8"), Network.ensemble([network, network])):
        _, described, tensors = model_file.from_bytes(model_file.network_to_bytes(model))
        assert model_file._format(described.values, tensors) == 5
    x, y = random_rows(np.float32)
    Network([INPUTS, 4, 3], **OPTIONS).fit(x, y, epochs=1, checkpoint=tmp_path / "c")
    assert b'\\"format\\": 5' in (tmp_path / "c").read_bytes()
    # Other models are written as before.
    assert "numeric_embedding" not in Network([3, 2]).options


def test_a_file_without_a_layer_of_the_embedding_is_refused() -> None:
    model, tensors = model_file.describe_network(Network([3, 4, 2], numeric_embedding="pbld"))
    dense: Any = {name: tensor for name, tensor in tensors.items() if not name.startswith("layers.0.")}
    with pytest.raises(ValueError, match=r"layers\.0\.weight: expected a tensor, got None"):
        model_file.restore_network(model_file.Fields("", model), dense)
    whole: Any = tensors
    with pytest.raises(ValueError, match="parameters: expected at least one layer, got none"):
        model_file.restore_network(model_file.Fields("", model | {"n_layers": 2}), whole)


# The classifier, the predictor and the exports.


@pytest.mark.parametrize("precision", ["f32", "f64"])
def test_classifier_predictor_and_exports(tmp_path: Path, precision: str) -> None:
    X, y = table()
    clf = TinyClassifier(precision=precision, **QUICK).fit(X, y)
    # Two columns of numbers; their indicator and the categories pass.
    assert clf.coefs_[0].shape == (1, 2 * 16)
    assert "numeric embedding pbld" in clf.summary()
    p = clf.predict_proba(X)
    assert np.ptp(p) > 0.5
    clf.save(tmp_path / "model")
    loaded = tinyrs.load(tmp_path / "model")
    assert isinstance(loaded, Predictor)
    np.testing.assert_array_equal(loaded.predict_proba(X), p)
    np.testing.assert_array_equal(loaded.predict_proba(X.iloc[0].to_dict()), p[0])
    again = TinyClassifier.load(tmp_path / "model")
    assert again.numeric_embedding == "pbld"
    again.partial_fit(X, y)
    loaded.to_onnx(tmp_path / "model.onnx")
    difference = largest_difference(tmp_path / "model.onnx", loaded, X, feed_of(tmp_path / "model.onnx", X))
    assert difference < TOLERANCES[precision]
    explanation = loaded.explain(X[:5])
    total = explanation.base + explanation.contributions.sum(axis=1)
    np.testing.assert_allclose(total, p[:5].max(axis=1), atol=TOLERANCE)


def test_ensembles_and_c(tmp_path: Path) -> None:
    """In C, rows of numbers are enough."""
    X, y = table()
    Z = X[["a", "b"]].to_numpy()
    one = TinyClassifier(precision="f64", **QUICK).fit(Z, y).predictor()
    clf = TinyClassifier(**QUICK | {"n_ensemble": 2, "precision": "f32"}).fit(Z, y)
    assert "mean of 2 of" in clf.summary()
    several = clf.predictor()
    exact, rounded = (
        {"one": one, "several": several},
        {"int8": one.quantize("int8"), "bf16": high_frequencies()},
    )
    rows = {"bf16": random_rows(np.float32)[0]}
    models = exact | rounded
    answers = run_c(
        tmp_path, {name: (model, numbers(rows.get(name, Z[:20]))) for name, model in models.items()}
    )
    for name, model in models.items():
        x = rows.get(name, Z[:20])
        # Sums of another order may be rounded to another number of 8 or 16 bits.
        eps = np.finfo(model.predict_proba(x).dtype).eps
        limit = 64 * eps if name in exact else 5e-3
        assert c_difference(answers[name], model, x) * eps < limit, name
        model.to_onnx(tmp_path / "m.onnx")
        assert largest_difference(tmp_path / "m.onnx", model, x) < limit, name
    again = pickle.loads(pickle.dumps(several))
    np.testing.assert_array_equal(again.predict_proba(Z), clf.predict_proba(Z))


def high_frequencies() -> Predictor:
    """Two networks whose embeddings tell numbers apart that are the same in bfloat16."""
    (frequencies, phases), *others = random_layers(np.float32)
    member = Network.from_parameters([(100 * frequencies, phases), *others], **OPTIONS)
    plain = Network([member.layer_sizes[0], *member.layer_sizes[1:]], **OPTIONS | {"numeric_embedding": None})
    network = Network.ensemble(network.quantize("bf16") for network in (member, plain, member))
    return Predictor(network, None, np.array(["a", "b", "c"]))


def test_warm_start_and_new_classes() -> None:
    X, y = table()
    clf = TinyClassifier(warm_start=True, **QUICK).fit(X, y)
    before = clf.network_.parameters()
    clf.set_params(max_iter=1, learning_rate_init=1e-9).fit(X, y)
    np.testing.assert_allclose(clf.network_.parameters()[0][0], before[0][0], atol=1e-6)
    clf.partial_fit(X, np.where(X["a"] > 1, "high", y))
    assert clf.predict_proba(X).shape == (200, 3)


def test_a_table_without_numbers_has_no_embedding() -> None:
    X, y = table()
    assert TinyClassifier(**QUICK).fit(X[["c"]], y).network_.numeric_embedding is None


def test_a_sparse_matrix_is_refused() -> None:
    X, y = table()
    with pytest.raises(ValueError, match="numeric_embedding='pbld': expected a dense X, got a sparse matrix"):
        TinyClassifier(**QUICK).fit(scipy.sparse.csr_matrix(X[["a"]]), y)

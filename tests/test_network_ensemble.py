"""`Network.ensemble`: several networks whose outputs are averaged."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import tinyrs
from tinyrs import Network
from tinyrs.files import model_file
from tinyrs.predictor import loads


def members(n: int = 3, sizes: Any = (4, 8, 3), **options: Any) -> list[Network]:
    return [Network(sizes, output_activation="softmax", seed=seed, **options) for seed in range(n)]


@pytest.mark.parametrize("precision", ["f32", "f64"])
def test_an_ensemble_predicts_the_mean(precision: str) -> None:
    networks = members(precision=precision)
    ensemble = Network.ensemble(networks)
    X = np.random.default_rng(0).normal(size=(50, 4))
    want = np.mean([network.forward(X) for network in networks], axis=0)
    np.testing.assert_allclose(ensemble.forward(X), want, rtol=1e-5)
    np.testing.assert_allclose(ensemble.forward_one(X[0].tolist()), want[0], rtol=1e-5)
    np.testing.assert_array_equal(ensemble.forward(scipy.sparse.csr_array(X)), ensemble.forward(X))
    out = np.empty((50, 3), want.dtype)
    assert ensemble.forward(X, out=out, n_threads=1) is out
    np.testing.assert_array_equal(out, ensemble.forward(X))
    assert ensemble.n_parameters == 3 * networks[0].n_parameters
    assert ensemble.nbytes == 3 * networks[0].nbytes
    assert repr(ensemble) == f"Network.ensemble([{networks[0]!r}] * 3)"
    for member, network in zip(ensemble.members, networks, strict=True):
        np.testing.assert_array_equal(member.forward(X), network.forward(X))


def test_an_ensemble_of_one_is_that_network() -> None:
    (network,) = members(1)
    assert repr(Network.ensemble([network])) == repr(network)
    assert len(network.members) == 1
    Network.ensemble([network]).fit(np.zeros((4, 4)), np.zeros(4, int), epochs=1)


def test_an_ensemble_has_no_parameters_to_train() -> None:
    ensemble, X = Network.ensemble(members()), np.zeros((4, 4))
    for call in (
        ensemble.parameters,
        lambda: ensemble.set_parameters([]),
        lambda: ensemble.backward(X, np.zeros((4, 3))),
        lambda: ensemble.fit(X, np.zeros(4, int)),
    ):
        with pytest.raises(ValueError, match="an ensemble has no parameters of its own"):
            call()


def test_members_must_be_alike() -> None:
    ensemble = Network.ensemble(members())
    for wrong, message in {
        (): "at least two networks, got 0",
        (*members(1), *members(1, sizes=(4, 9, 3))): r"members\[1\]: expected the layers \[4, 8, 3\]",
        (*members(1), *members(1, activation="relu")): r"members\[1\]: expected the activations, formats",
        (*members(1), *members(1, precision="f64")): "networks of one precision",
        (members(1)[0], members(1)[0].quantize("int8")): "networks of one precision",
        (
            members(1)[0].quantize("f16"),
            members(1)[0].quantize("int8"),
        ): r"members\[1\]: expected the activations",
        (ensemble, ensemble): "single networks, got an ensemble",
    }.items():
        with pytest.raises(ValueError, match=message):
            Network.ensemble(wrong)
    with pytest.raises(TypeError):
        Network.ensemble([1, 2])  # type: ignore[list-item]


@pytest.mark.parametrize("kind", [None, "int8", ["f16", "f32"]])
def test_an_ensemble_is_copied_pickled_and_quantized(kind: Any, tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(9, 4))
    ensemble = Network.ensemble(members())
    if kind is not None:
        want = np.mean([member.quantize(kind).forward(X) for member in ensemble.members], axis=0)
        ensemble = ensemble.quantize(kind)
        np.testing.assert_allclose(ensemble.forward(X), want, rtol=1e-5)
        with pytest.raises(ValueError, match="expected a network with f32 or f64 weights"):
            ensemble.quantize(kind)
    ensemble.save(tmp_path / "m")
    for again in (copy.copy(ensemble), pickle.loads(pickle.dumps(ensemble)), tinyrs.load(tmp_path / "m")):
        assert isinstance(again, Network)
        np.testing.assert_array_equal(again.forward(X), ensemble.forward(X))
        assert again.layer_weights == ensemble.layer_weights
        assert repr(again) == repr(ensemble)


def test_files_of_ensembles_are_refused_by_older_versions_and_checked() -> None:
    ensemble = Network.ensemble(members())
    kind, model, tensors = model_file.from_bytes(model_file.network_to_bytes(ensemble))
    assert model_file._format(model.values, tensors) == 4
    _, model_of_one, tensors_of_one = model_file.from_bytes(model_file.network_to_bytes(members()[0]))
    assert model_file._format(model_of_one.values, tensors_of_one) == 2
    for n_members in (0, 1, 4, 10**6, "3"):
        data = model_file.to_bytes(kind, model.values | {"n_members": n_members}, tensors)
        with pytest.raises(ValueError, match=r"n_members|members\.3\.layers\.0\.weight"):
            loads(data)

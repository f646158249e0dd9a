"""Ensembles in which some networks have a numeric embedding: passes, files, and the default."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import tinyrs
from test_numeric_embedding import INPUTS, OPTIONS, QUICK, random_layers, random_rows, table
from tinyrs import Network, TinyClassifier
from tinyrs.files import model_file


def mixed_ensemble(weights: str = "f32") -> Network:
    """Three networks, of which the second one has no embedding."""
    members = [Network([INPUTS, 8, 3], seed=seed, **OPTIONS) for seed in range(3)]
    members[1] = Network([INPUTS, 8, 3], seed=1, **OPTIONS | {"numeric_embedding": None})
    return Network.ensemble(member if weights == "f32" else member.quantize(weights) for member in members)


@pytest.mark.parametrize("weights", ["f32", "bf16", "int8"])
@pytest.mark.parametrize("is_mixed", [False, True])
def test_an_ensemble_is_the_mean_of_its_members(weights: str, is_mixed: bool) -> None:
    x, _ = random_rows(np.float32)
    members = mixed_ensemble(weights).members
    members = [members[i] for i in ([0, 1, 2] if is_mixed else [0, 2, 0])]
    ensemble = Network.ensemble(members)
    outputs = ensemble.forward(x, n_threads=1)
    np.testing.assert_allclose(outputs, np.mean([m.forward(x) for m in members], axis=0), atol=1e-6)
    np.testing.assert_array_equal(ensemble.forward(x, n_threads=2), outputs)
    np.testing.assert_array_equal(ensemble.forward(x[3]), outputs[3])
    assert ensemble.n_parameters == sum(member.n_parameters for member in members)
    assert ensemble.nbytes == sum(member.nbytes for member in members)


def test_members_embed_the_same_inputs() -> None:
    members = [Network.from_parameters(random_layers(embedded=n), **OPTIONS) for n in (3, 2)]
    with pytest.raises(
        ValueError, match=r"members\[1\]: expected the activations, formats and embedded inputs"
    ):
        Network.ensemble(members)


def test_the_plan_counts_the_networks_with_an_embedding() -> None:
    assert mixed_ensemble().explain_plan(9).splitlines()[0].endswith(" in 2 of 3 networks")


# Files.


@pytest.mark.parametrize("weights", ["f32", "int8", "bf16"])
def test_files_of_a_mixed_ensemble(tmp_path: Path, weights: str) -> None:
    x, _ = random_rows(np.float32)
    network = mixed_ensemble(weights)
    network.save(tmp_path / "network")
    assert b'\\"format\\": 6' in (tmp_path / "network").read_bytes()
    assert repr(network).count("numeric_embedding='pbld'") == 2
    for same in (tinyrs.load(tmp_path / "network"), pickle.loads(pickle.dumps(network)), copy.copy(network)):
        assert isinstance(same, Network)
        assert repr(same) == repr(network)
        assert [m.numeric_embedding for m in same.members] == ["pbld", None, "pbld"]
        np.testing.assert_array_equal(same.forward(x), network.forward(x))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda members: members.clear(), r"model file: members: expected at least two objects, got \[\]"),
        (lambda members: members.__setitem__(1, 7), r"model file: members\[1\]: expected an object, got 7"),
        (lambda members: members[1].pop("n_layers"), r"model file: members\[1\].n_layers: expected a whole"),
        (
            lambda members: members[0].pop("numeric_embedding"),
            r"parameters\[1\].W: expected 80 columns",
        ),
        (
            lambda members: members[2].update(activation="relu"),
            r"members\[2\]: expected the activations",
        ),
        (
            lambda members: members.append(members[0]),
            r"members.3.layers.0.weight: expected a tensor",
        ),
    ],
)
def test_an_invalid_description_of_a_mixed_ensemble_is_refused(change: Any, message: str) -> None:
    model, tensors = model_file.describe_network(mixed_ensemble())
    whole: Any = tensors
    change(model["members"])
    with pytest.raises(ValueError, match=message):
        model_file.restore_network(model_file.Fields("", model), whole)


# The classifier.


def test_by_default_every_second_network_has_an_embedding() -> None:
    X, y = table()

    def embedded(X: Any, **options: Any) -> list[bool]:
        clf = TinyClassifier(**QUICK | {"numeric_embedding": "auto", "n_ensemble": 4} | options).fit(X, y)
        return [member.numeric_embedding is not None for member in clf.network_.members]

    assert embedded(X) == [False, True, False, True]
    assert embedded(X, n_ensemble=1) == [False]
    assert embedded(scipy.sparse.csr_matrix(X[["a"]])) == [False] * 4
    many = np.random.default_rng(0).normal(size=(len(X), 101))
    assert embedded(many[:, :100]) == [False, True, False, True]
    assert embedded(many) == [False] * 4
    assert embedded(many, numeric_embedding="pbld") == [True] * 4


def test_a_warm_start_begins_anew_if_the_embeddings_differ() -> None:
    X, y = table()
    clf = TinyClassifier(**QUICK | {"numeric_embedding": "auto", "n_ensemble": 2}, warm_start=True).fit(X, y)
    before = clf.network_.members
    still = {"max_iter": 1, "learning_rate_init": 1e-12, "calibrate": False}
    clf.set_params(**still).fit(X, y)
    for member, old in zip(clf.network_.members, before, strict=True):
        np.testing.assert_allclose(member.parameters()[0][0], old.parameters()[0][0], atol=1e-6)
    clf.set_params(numeric_embedding=None).fit(X, y)
    assert clf.network_.numeric_embedding is None
    np.testing.assert_array_equal(clf.predict_proba(X), clf.predict_proba(X)[:1].repeat(len(X), axis=0))

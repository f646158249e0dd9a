"""Model files: saved models load again, and an interrupted save leaves the old file."""

from __future__ import annotations

import json
import os
import pickle
import pickletools
import stat
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import tinyrs
from model_files import classifier, table
from tinyrs import Network, Predictor, TinyClassifier
from tinyrs.files import model_file
from tinyrs.predictor import loads


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    made: Predictor = classifier().predictor()
    return made


def test_a_predictor_predicts_as_its_classifier() -> None:
    clf, (X, _) = classifier(), table()
    predictor = clf.predictor()
    want = clf.predict_proba(X)
    np.testing.assert_array_equal(predictor.predict_proba(X), want)
    np.testing.assert_array_equal(predictor.predict_proba(X[["y", "colour", "x"]]), want)  # by name
    np.testing.assert_array_equal(predictor.predict(X), clf.predict(X))
    row = X.iloc[1].tolist()
    np.testing.assert_array_equal(predictor.predict_proba(row), want[1])
    np.testing.assert_array_equal(predictor.predict_proba(X.to_numpy()), want)
    assert predictor.predict(row) == clf.predict(X)[1]
    # Later training of the classifier does not change the predictor.
    clf.partial_fit(*table())
    np.testing.assert_array_equal(predictor.predict_proba(X), want)
    with pytest.raises(ValueError, match="X: expected 3 columns, got 2"):
        predictor.predict([1.0, 2.0])
    with pytest.raises(ValueError, match=r"X: expected shape \(columns,\) or \(rows, columns\)"):
        predictor.predict(np.zeros((1, 1, 3)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_row_of_numbers(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 5)).astype(dtype)
    clf = TinyClassifier(n_layers=1, width=8, max_iter=2, random_state=0, precision="f32")
    predictor = clf.fit(X, X[:, 0] > 0).predictor()
    want = predictor.predict_proba(X)
    out = np.empty(2, dtype=np.float32)
    for i in (0, 199):
        assert predictor.predict_proba(X[i], out=out) is out
        np.testing.assert_array_equal(out, want[i])
        np.testing.assert_array_equal(
            predictor.predict_proba(X[i].tolist()), predictor.predict_proba(X[i].astype(float))
        )
    assert predictor.predict(X[0]) is np.bool_(X[0, 0] > 0) or isinstance(predictor.predict(X[0]), np.bool_)


@pytest.mark.parametrize(
    "labels",
    [["a", "bb"], [3, -1], [True, False], [1.0, 2.0], np.array(["x", "y"], dtype=object), [3, 2**40]],
)
@pytest.mark.parametrize("precision", ["f32", "f64"])
def test_a_saved_classifier_loads_again(tmp_path: Path, labels: Any, precision: str) -> None:
    X, y = table()
    clf = TinyClassifier(width=8, max_iter=2, random_state=0, precision=precision)
    clf.fit(X, np.asarray(labels)[(y == "none").astype(int)])
    clf.save(tmp_path / "model.safetensors")
    loaded = tinyrs.load(tmp_path / "model.safetensors")
    assert isinstance(loaded, Predictor)
    np.testing.assert_array_equal(loaded.predict_proba(X), clf.predict_proba(X))
    np.testing.assert_array_equal(loaded.predict(X), clf.predict(X))
    assert loaded.classes_.dtype.kind == clf.classes_.dtype.kind
    assert loaded.feature_names_in_ == ("x", "colour", "y")
    assert loaded.training["n_iter"] == 2
    assert loaded.verify() == 0
    again = tmp_path / "again.safetensors"
    loaded.save(again)
    # A predictor saves itself without the parameters of the classifier.
    assert again.read_bytes() == clf.predictor().to_bytes()


def test_a_multilabel_predictor_loads_again() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 3))
    clf = TinyClassifier(width=8, max_iter=2, random_state=0).fit(X, (X > 0).astype(int))
    loaded = loads(clf.predictor().to_bytes())
    assert isinstance(loaded, Predictor)
    assert loaded.multilabel
    np.testing.assert_array_equal(loaded.predict(X), clf.predict(X))


@pytest.mark.parametrize("precision", ["f32", "f64"])
@pytest.mark.parametrize("activation", ["relu", ["tanh", "selu"]])
def test_a_saved_network_loads_again(tmp_path: Path, precision: str, activation: Any) -> None:
    network = Network([3, 5, 7, 2], activation=activation, precision=precision, activation_scale=0.5, seed=1)
    network.save(tmp_path / "network")
    for back in (tinyrs.load(str(tmp_path / "network")), pickle.loads(pickle.dumps(network))):
        assert isinstance(back, Network)
        assert repr(back) == repr(network)
        assert back.options == network.options
        X = np.ones((2, 3))
        np.testing.assert_array_equal(back.forward(X), network.forward(X))


def test_pickle_and_joblib_use_the_bytes_of_the_file(tmp_path: Path, predictor: Predictor) -> None:
    clf, (X, _) = classifier(), table()
    assert predictor.to_bytes() in pickle.dumps(predictor)
    joblib.dump(clf, tmp_path / "clf")
    for back in (pickle.loads(pickle.dumps(clf)), joblib.load(tmp_path / "clf")):
        np.testing.assert_array_equal(back.predict_proba(X), clf.predict_proba(X))
        np.testing.assert_array_equal(back.predict(X), clf.predict(X))
        back.partial_fit(*table())
    assert b"layers.0.weight" in pickle.dumps(clf)
    assert repr(pickle.loads(pickle.dumps(predictor))) == repr(predictor)


def test_other_tools_can_read_the_file(predictor: Predictor) -> None:
    data = predictor.to_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    assert header["layers.0.weight"]["shape"] == list(reversed(predictor.network.layer_sizes[:2]))
    assert json.loads(header["__metadata__"]["tinyrs"])["model"]["feature_names"] == ["x", "colour", "y"]


def test_a_file_does_not_contain_training_data() -> None:
    X, y = table()
    clf: Any = TinyClassifier(width=8, max_iter=1).fit(X[["x", "y"]], y)
    data = clf.predictor().to_bytes()
    # But for minimum, quartiles and maximum of each column.
    known = {value for five in clf.preprocessor_.statistics.quartiles for value in five}
    values = [v for v in X[["x", "y"]].to_numpy().ravel() if float(v) not in known and v == v]
    assert len(values) > 100
    assert not any(v.tobytes() in data for v in values)


def test_loading_needs_numpy_only(tmp_path: Path, predictor: Predictor) -> None:
    predictor.save(tmp_path / "model")
    code = """
        import sys
        for name in ("sklearn", "scipy", "narwhals", "pandas", "joblib"):
            sys.modules[name] = None
        import tinyrs
        predictor = tinyrs.load(sys.argv[1])
        assert predictor.verify() == 0
        print(predictor.predict([0.5, "red", None]))
    """
    run = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "model")]
    assert (
        subprocess.run(run, check=True, capture_output=True, text=True).stdout.strip() in predictor.classes_
    )


def test_a_predictor_without_preprocessing(tmp_path: Path) -> None:
    network = Network([3, 4, 2], output_activation="softmax", precision="f64", seed=1)
    predictor = Predictor(network, None, np.array(["a", "b"]), feature_names=["x", "y", "z"])
    X = np.random.default_rng(0).normal(size=(5, 3))
    want = network.forward(X)
    predictor.save(tmp_path / "model")
    for model in (predictor, tinyrs.load(tmp_path / "model")):
        assert isinstance(model, Predictor)
        np.testing.assert_array_equal(model.predict_proba(X), want)
        np.testing.assert_array_equal(model.predict_proba(pd.DataFrame(X, columns=["x", "y", "z"])), want)
        np.testing.assert_array_equal(model.predict_proba(X[0].tolist()), want[0])
        assert model.verify() == 0
        with pytest.raises(ValueError, match="column 'y': expected a finite number, got nan"):
            model.predict_proba([1.0, None, 2.0])
        with pytest.raises(ValueError, match="X: expected 3 columns, got 2"):
            model.predict_proba([1.0, 2.0])


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_any_python_reads_a_pickle(predictor: Predictor, protocol: int) -> None:
    """A pickle holds the bytes of a model file and the name of the function that reads them."""
    data = pickle.dumps(predictor, protocol)
    arguments = [argument for _, argument, _ in pickletools.genops(data)]
    words = " ".join(argument for argument in arguments if isinstance(argument, str)).split()
    assert words == ["tinyrs.predictor", "loads"]
    assert [argument for argument in arguments if isinstance(argument, bytes)] == [predictor.to_bytes()]


# Writing.


def test_a_kill_leaves_the_old_file_or_the_new(tmp_path: Path) -> None:
    code = """
        import sys, tinyrs
        networks = [tinyrs.Network([300, 300], seed=seed) for seed in (1, 2)]
        networks[0].save(sys.argv[1])  # imports everything that is needed
        print("ready", flush=True)
        while True:
            for network in networks:
                network.save(sys.argv[1])
    """
    path = tmp_path / "model"
    wholes = {model_file.network_to_bytes(Network([300, 300], seed=seed)) for seed in (1, 2)}
    for delay in (0.0, 0.003, 0.01, 0.02, 0.05):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), str(path)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        try:
            process.wait(delay + 0.05)
        except subprocess.TimeoutExpired:
            process.kill()
        process.wait()
        process.stdout.close()
        assert path.read_bytes() in wholes


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, predictor: Predictor) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"old")
    resource = pytest.importorskip("resource", reason="Windows has no limits")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # acts like a full disk
    try:
        with pytest.raises(OSError, match="File too large"):
            predictor.save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [file.name for file in tmp_path.iterdir()] == ["model"]
    assert path.read_bytes() == b"old"
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError, match="path: expected a file, got the folder"):
        predictor.save(tmp_path / "folder")
    with pytest.raises(FileNotFoundError):
        predictor.save(tmp_path / "nowhere" / "model")
    with pytest.raises(FileNotFoundError):
        tinyrs.load(tmp_path / "nowhere")
    predictor.save(path)
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o777 & ~mask
    new = tmp_path / "new"
    predictor.save(new)
    assert stat.S_IMODE(new.stat().st_mode) == 0o666 & ~mask

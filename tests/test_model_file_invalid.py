"""Invalid model files: every file that tinyrs did not write raises ValueError, whatever it holds."""

from __future__ import annotations

import hashlib
import json
import pickle
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tinyrs
from hypothesis import given, settings
from hypothesis import strategies as st
from model_files import classifier, put, rewritten
from scipy.sparse import csr_matrix
from tinyrs import Network, Predictor, TinyClassifier
from tinyrs._tinyrs import Tensor
from tinyrs.files.class_labels import ClassLabels
from tinyrs.predictor import loads


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    made: Predictor = classifier().predictor()
    return made


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("format", 7), r"format: expected at most 6, got 7: the file was written by tinyrs .*, and"),
        (put("format", 0), r"format: expected a whole number from 1 to \d+, got 0"),
        (put("format", True), r"format: expected a whole number, got True"),
        (put("kind", "virus"), r'kind: expected "network", "checkpoint" or "predictor", got \'virus\''),
        (put("model", []), r"model: expected an object, got \[\]"),
        (put("model", "n_columns", 10**12), r"n_columns: expected a whole number from 1"),
        (put("model", "n_columns", 4), r"model.feature_names: expected 4 different names"),
        (put("model", "network", "n_layers", 10**6), r"n_layers: expected a whole number from 1 to"),
        (put("model", "network", "n_layers", 3), r"layers.2.weight: expected a tensor, got None"),
        (put("model", "network", "n_layers", 1), r"model.classes.values: expected 16 classes"),
        (put("model", "network", "precision", "f16"), r'precision: expected "f32" or "f64"'),
        (put("model", "network", "precision", "f32"), r"layers.0.weight: expected float32 of shape"),
        (put("model", "network", "activation", "rm"), r"activation: expected"),
        (put("model", "network", "activation", [1]), r"model.network.activation: expected a list of strings"),
        (put("model", "network", "activation_scale", "1"), r"activation_scale: expected a float, got '1'"),
        (put("model", "network", "activation_scale", 10**400), r"activation_scale: expected a float, got 10"),
        (put("model", "network", "epsilon_exp", KeyError), r"epsilon_exp: expected a float, got None"),
        (put("model", "classes", "values", ["a", "a", "b", "c"]), r"values: expected different classes"),
        (put("model", "classes", "values", ["a"]), r"classes.values: expected 4 classes, one per"),
        (put("model", "classes", "values", [[], {}, 1, 2]), r"classes.values: expected values of dtype"),
        (put("model", "classes", "dtype", "<i4,<i4"), r"classes.values: expected values of dtype '<i4,<i4'"),
        (put("model", "classes", "dtype", "object"), None),
        (put("model", "classes", {"dtype": "|i1", "values": [1, 2, 3, 999]}), r"classes: expected values"),
        (lambda d: d["model"].update(n_columns=2**31 - 1, feature_names=None), r"each of 2147483647 columns"),
        (put("model", "categories", 0, "column", 0), r"expected each of 3 columns once, got \[0, 0, 2\]"),
        (put("model", "categories", 0, "column", -1), r"\[0\].column: expected a whole number from 0"),
        (put("model", "categories", 0, "buckets", 10**9), r"\[0\].buckets: expected a whole number"),
        (put("model", "categories", 0, "buckets", 5), r"model.network: expected 11 inputs"),
        (put("model", "categories", 0, "names", ["a", "a"]), r"\[0\].names: expected different names"),
        (put("model", "categories", 0, "kind", "colour"), r"\[0\].kind: expected one of text, number, "),
        (put("model", "number_kinds", ["number"]), r"number_kinds: expected 2 of number, boolean"),
        (put("model", "number_kinds", ["number", "text"]), r"number_kinds: expected 2 of number, boolean"),
        (put("model", "date_parts", [{"column": 0, "part": "year"}]), r"parts\[0\]: expected a part of a"),
        (put("model", "categories", [7]), r"categories\[0\]: expected an object, got 7"),
        (put("model", "multilabel", 1), r"model.multilabel: expected a bool, got 1"),
        (put("model", "training", None), r"model.training: expected an object, got None"),
    ],
)  # fmt: skip
def test_an_invalid_description_raises(predictor: Predictor, change: Any, message: str | None) -> None:
    data = rewritten(predictor.to_bytes(), change)
    if message is None:
        loads(data)
        return
    with pytest.raises(ValueError, match=rf"^model file: .*{message}"):
        loads(data)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("layers.0.weight", np.full((16, 6), np.nan), "expected finite f64 values, got NaN"),
        ("layers.0.weight", np.ones((16, 7)), r"model.network: expected 6 inputs, .*, got 7"),
        ("layers.0.weight", np.ones(16), r"layers.0.weight: expected float64 of shape \(any, any\)"),
        ("layers.1.bias", np.ones(3), r"layers.1.bias: expected float64 of shape \(4\), got"),
        ("numbers.column", np.array([0, 99]), "model: expected each of 3 columns once"),
        ("numbers.column", np.array([0, -1]), "model: expected each of 3 columns once"),
        ("numbers.scale", np.array([1.0, np.inf]), "centre, scale: expected finite numbers"),
        ("numbers.scale", np.array([1.0, 0.0]), "model.network: expected 5 inputs"),
        ("numbers.flagged", np.array([0, 2], np.uint8).view(bool), "flagged: expected bytes of 0 and 1"),
        ("self_test.rows", np.full((8, 3), np.inf), "self_test: expected finite numbers"),
        ("self_test.outputs", np.zeros((7, 4)), "self_test.outputs: expected float32 or float64 of shape"),
    ],
)  # fmt: skip
def test_invalid_tensors_raise(predictor: Predictor, name: str, value: Any, message: str) -> None:
    data = rewritten(predictor.to_bytes(), lambda _: None, lambda arrays: arrays.update({name: value}))
    with pytest.raises(ValueError, match=f"^model file: .*{message}"):
        loads(data)


def header(text: bytes, data: bytes = b"") -> bytes:
    return len(text).to_bytes(8, "little") + text + data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a model",
        pickle.dumps({"a": 1}),
        header(b"{}"),
        (2**63).to_bytes(8, "little") + b"{}",
        header(b"[" * 100_000),
        header(b'{"a":{"dtype":"F32","shape":[18446744073709551615,2],"data_offsets":[0,8]}}', b"\0" * 8),
        header(b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,9]}}', b"\0" * 9),
        header(b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}', b"\0" * 8),
        header(b'{"__metadata__":{"tinyrs":"{"}}'),
        header(b'{"__metadata__":{"tinyrs":"' + b"[" * 50_000 + b'"}}'),
        header(b'{"__metadata__":{"tinyrs":"NaN"}}'),
        header(b'{"__metadata__":{"tinyrs":"{\\"format\\":' + b"9" * 5000 + b'}"}}'),
        header(b'{"a":{"dtype":"BF16","shape":[],"data_offsets":[0,2]}}', b"ab"),
    ],
)  # fmt: skip
def test_other_files_raise(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ValueError, match=r"^model file: "):
        loads(data)
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(ValueError, match=r"^model file: "):
        tinyrs.load(tmp_path / "file")


def test_mutated_files_raise_or_load_unchanged(predictor: Predictor) -> None:
    data, rng, n_errors = predictor.to_bytes(), np.random.default_rng(0), 0
    for _ in range(10_000):
        mutated = bytearray(data)
        match rng.integers(5):
            case 0:  # a bit flipped
                mutated[rng.integers(len(data))] ^= 1 << rng.integers(8)
            case 1:  # some bytes overwritten
                start, count = rng.integers(len(data)), rng.integers(1, 9)
                mutated[start : start + count] = rng.bytes(len(mutated[start : start + count]))
            case 2:  # cut short
                del mutated[rng.integers(len(data)) :]
            case 3:  # some bytes repeated, or moved
                a, b, count = rng.integers(len(data), size=3)
                mutated[a:a] = data[b : b + count % 64 + 1]
            case _:  # the header's length
                mutated[: rng.integers(1, 9)] = rng.bytes(int(rng.integers(1, 9)))
        try:
            same = loads(bytes(mutated))
        except ValueError as error:
            assert str(error).startswith("model file: ")
            n_errors += 1
        else:
            assert isinstance(same, Predictor)
            assert same.to_bytes() == data
    assert n_errors > 9_900


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values inside a JSON value, and of the value itself."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, item in inside for found in paths(item, (*path, key)))]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)


@settings(max_examples=300, deadline=None)
@given(value=st.dictionaries(st.text(), JSON).map(lambda value: json.loads(json.dumps(value))))
def test_json_and_checksum_match_the_standard_library(value: dict[str, Any]) -> None:
    """So old files still load, and a file can be checked with the standard library."""
    arrays: dict[str, Any] = {
        "b": np.arange(6.0, dtype=np.float32).reshape(2, 3),
        "a\u00e9": np.array([], np.int64),
    }
    tensors = {name: Tensor(a.dtype.str, a.shape, a.tobytes()) for name, a in arrays.items()}
    sha = hashlib.sha256()
    unsigned = {key: item for key, item in value.items() if key != "sha256"}
    sha.update(json.dumps(unsigned, sort_keys=True, separators=(",", ":")).encode())
    for name, array in sorted(arrays.items()):
        sha.update(f"{name} {array.dtype.str} {array.shape};".encode())
        sha.update(array.tobytes())
    text = json.dumps(value)
    try:
        parsed = tinyrs._tinyrs.parse_json(text)
    except ValueError:
        assert "NaN" in text or "Infinity" in text
        return
    assert repr(parsed) == repr(dict(sorted_deeply(value).items()))
    assert tinyrs._tinyrs.digest(text, tensors) == sha.hexdigest()


@pytest.mark.parametrize("dollar", ["$", r"\u0024"])
@pytest.mark.parametrize("text", ['{"%s": "1e5"}', '{"a": [{"%s": "7"}]}', '{"b": "\\\\", "%s": "1"}'])
def test_an_object_is_never_a_number(text: str, dollar: str) -> None:
    """serde_json uses this key internally, for numbers with the text they were written as."""
    with pytest.raises(ValueError, match="the reserved name"):
        tinyrs._tinyrs.parse_json(text % (dollar + "serde_json::private::Number"))
    assert tinyrs._tinyrs.parse_json(text % "serde_json") is not None


def sorted_deeply(value: Any) -> Any:
    """`value` with the keys of every object sorted."""
    if isinstance(value, dict):
        return {key: sorted_deeply(value[key]) for key in sorted(value)}
    return [sorted_deeply(item) for item in value] if isinstance(value, list) else value


def test_tensors() -> None:
    for array in (
        np.arange(6.0, dtype=np.float32).reshape(2, 3),
        np.array([[1.5, np.nan]]),
        np.array([-(2**63), 7]),
        np.array([True, False]),
        np.zeros((0, 3)),
        np.array(2.5),
    ):
        tensor = Tensor(array.dtype.str, array.shape, array.tobytes())
        for same in (tensor, tensor.copy()):
            np.testing.assert_array_equal(np.asarray(same), array)
            assert (same.dtype, same.shape) == (array.dtype.name, array.shape)
            assert same.tobytes() == array.tobytes()
            assert repr(same.tolist()) == repr(array.reshape(-1).tolist())
            assert same.is_finite() == np.isfinite(array).all()
            assert same.is_finite(missing=True)
        np.testing.assert_array_equal(np.asarray(tensor, dtype=np.float32), array.astype(np.float32))
        assert np.array(tensor).flags.writeable
    with pytest.raises(ValueError, match="data: got 4 bytes, which do not fit shape \\(2, 3\\)"):
        Tensor("<f4", (2, 3), b"1234")
    with pytest.raises(ValueError, match=r"dtype: expected one of <f4, <f8, <i8, \|b1, .*, got >f4"):
        Tensor(">f4", (1,), b"1234")
    with pytest.raises(TypeError, match=r"parameters\[0\].W: expected a tensor of f64, got one of float32"):
        Network.from_parameters([(Tensor("<f4", (1, 1), b"1234"), [0.0])], precision="f64")


@settings(max_examples=500, deadline=None)
@given(data=st.data(), value=JSON)
def test_any_field_may_hold_anything(data: st.DataObject, value: Any) -> None:
    original = EXAMPLE
    description = json.loads(tinyrs._tinyrs.read_safetensors(original)[0]["tinyrs"])
    path = data.draw(st.sampled_from([path for path in paths(description) if path]))
    try:
        model = loads(rewritten(original, put(*path, value)))
    except ValueError as error:
        assert str(error).startswith("model file: ")
    else:
        assert isinstance(model, Predictor)
        model.predict([1.0, "red", None])
        model.to_bytes()


EXAMPLE = classifier().predictor().to_bytes()


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_memory_while_loading_is_bounded_by_the_file() -> None:
    """Small files with huge sizes in their description load in a process limited to 1 GiB more memory."""
    resource = pytest.importorskip("resource")
    claims = [
        put("model", "n_columns", 2**31 - 1),
        put("model", "network", "n_layers", 2**31 - 1),
        put("model", "categories", 0, "buckets", 2**16 - 1),
    ]
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size + 2**30, limits[1]))
    try:
        for claim in claims:
            with pytest.raises(ValueError, match="model file: "):
                loads(rewritten(EXAMPLE, claim))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def test_long_labels_take_memory_in_proportion() -> None:
    """An array of strings would take the length of the longest label for each of them."""
    labels = [f"class {i}" for i in range(400)] + ["x" * 100_000]
    network = Network([3, 401], output_activation="softmax", seed=1)
    data = Predictor(network, None, np.array(labels, dtype=object)).to_bytes()
    description = put("model", "classes", "dtype", "<U0")
    data = rewritten(data, description)
    predictor = loads(data)
    assert isinstance(predictor, Predictor)
    tracemalloc.start()
    found = predictor.predict(np.random.default_rng(0).normal(size=(1000, 3)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * len(data) + 10_000_000
    assert found.dtype == object
    assert set(found) <= set(labels)
    assert predictor.classes_.tolist() == labels
    again = loads(predictor.to_bytes())
    assert isinstance(again, Predictor)
    assert again._stored_labels is not None
    assert again._stored_labels.dtype == "<U0"
    short = ClassLabels("<U0", ["a", "b" * 255])
    assert short.array().dtype == np.dtype("<U255")


@pytest.mark.parametrize("size", [1e-40, 1e-310, 1e-31, 1.0, 1e35, 1e100])
def test_sparse_features_of_any_size_can_be_saved(tmp_path: Path, size: float) -> None:
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(200, 6)) * (rng.random((200, 6)) < 0.5)
    y = dense[:, 0] > 0
    X = csr_matrix(dense * [size, 1, 1, 1, 1, size])
    clf = TinyClassifier(width=8, max_iter=3, random_state=0).fit(X, y)
    clf.save(tmp_path / "model")
    loaded = tinyrs.load(tmp_path / "model")
    assert isinstance(loaded, Predictor)
    np.testing.assert_allclose(loaded.predict_proba(X), clf.predict_proba(X), rtol=1e-4, atol=1e-6)
    assert loaded.network.precision == ("f32" if 1e-30 < size < 1e30 or size < 1e-300 else "f64")

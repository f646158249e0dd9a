"""Import from ONNX: damaged and hostile files are errors, and take little memory."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx_graphs import Builder, layer
from tinyrs import Network
from tinyrs.convert.onnx import from_onnx


def test_hostile_files(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    for data in (b"", b"not a model", bytes(1000), Network([2, 2]).__repr__().encode()):
        path.write_bytes(data)
        with pytest.raises(ValueError, match="path: expected an ONNX model, got"):
            from_onnx(path)
    with pytest.raises(FileNotFoundError):
        from_onnx(tmp_path / "absent.onnx")

    g = Builder()
    g.save(path, g.op("Softmax", g.gemm("x", *layer(4, 3))))
    good = onnx.load(path)

    def raises(message: str, change: Any) -> None:
        model = onnx.ModelProto()
        model.CopyFrom(good)
        change(model.graph)
        path.write_bytes(model.SerializeToString())
        with pytest.raises(ValueError, match=message):
            from_onnx(path)

    raises("initializer 'c0': expected a tensor, got", lambda g: g.initializer[0].dims.append(10**12))
    raises("initializer 'c0': expected", lambda g: g.initializer[0].dims.__setitem__(0, -1))
    raises("initializer 'c0': expected a tensor", lambda g: setattr(g.initializer[0], "data_type", 99))
    raises("initializer 'c0'|finite|expected", lambda g: setattr(g.initializer[0], "raw_data", b"\xff" * 48))
    raises("expected no sparse initializers", lambda g: g.sparse_initializer.add())
    raises("expected one input, a matrix, got 2", lambda g: g.input.add(name="z"))
    raises(
        "output '?': expected probabilities or labels".replace("?", "z"),
        lambda g: setattr(g.output[0], "name", "z"),
    )


def shared_weights(depth: int) -> Builder:
    """A graph of `depth` layers that share the weights of one, of 256 KiB."""
    g = Builder()
    x, weight = g.gemm("x", *layer(4, 256)), g.constant(layer(256, 256)[0])
    for _ in range(depth):
        x = g.op("MatMul", g.op("Relu", x), weight)
    g.op("Softmax", x)
    return g


def shared_casts(depth: int) -> Builder:
    """A graph with `depth` casts of a constant, none of which is used."""
    g = Builder()
    constant = g.constant(np.zeros((512, 128)))
    for _ in range(depth):
        g.op("Cast", constant, to=TensorProto.DOUBLE)
    g.op("Softmax", g.gemm("x", *layer(4, 3)))
    return g


def shared_shifts(depth: int) -> Builder:
    """A graph that adds a constant to a wide layer `depth` times."""
    g = Builder()
    x, shift = g.gemm("x", *layer(4, 20_000)), g.constant(np.zeros(20_000))
    for _ in range(depth):
        x = g.op("Add", x, shift)
    g.op("Softmax", x)
    return g


def test_memory_is_in_proportion_to_external_data(tmp_path: Path) -> None:
    """Many arrays can be the same part of a file."""
    g = Builder()
    g.constant(np.zeros((512, 128)))
    path = g.save(tmp_path / "model.onnx", g.op("Softmax", g.gemm("x", *layer(4, 3))))
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="data", size_threshold=1000)
    from_onnx(path)
    model = onnx.load(path, load_external_data=False)
    for i in range(1000):
        model.graph.initializer.append(model.graph.initializer[0])
        model.graph.initializer[-1].name = f"copy {i}"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match=r"copy \d\d': expected arrays in proportion to a file of"):
        from_onnx(path)


@pytest.mark.parametrize("build", [shared_weights, shared_casts, shared_shifts])
def test_memory_is_in_proportion_to_the_file(tmp_path: Path, build: Any) -> None:
    """Nodes can share an array, but not make a small file take much memory."""
    g = build(3)
    from_onnx(g.save(tmp_path / "model.onnx", f"v{len(g.nodes) - 1}"))
    g = build(1000)
    path = g.save(tmp_path / "model.onnx", f"v{len(g.nodes) - 1}")
    assert path.stat().st_size < 1_000_000
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"expected arrays in proportion to a file of [\d,]+ bytes"):
            from_onnx(path)
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()


def test_long_labels_are_objects(tmp_path: Path) -> None:
    g = Builder()
    probabilities = g.op("Softmax", g.gemm("x", *layer(4, 3)))
    classes = ["a", "b", "c" * 1000]
    named = g.op("ZipMap", probabilities, domain="ai.onnx.ml", classlabels_strings=classes)
    predictor = from_onnx(g.save(tmp_path / "model.onnx", named))
    assert predictor.classes_.dtype == object
    assert predictor.classes_.tolist() == classes

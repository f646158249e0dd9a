"""Exports of quantized networks: C headers and ONNX graphs compute what the oracle computes."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
from test_to_c import FLAGS, compiler, numbers, run
from tinyrs import Network, Predictor, TinyClassifier
from tinyrs import oracle_quantized as quantized
from tinyrs.oracle import ACTIVATIONS

EPS = float(np.finfo(np.float32).eps)
# One format for all layers, and one for each of three layers.
KINDS: list[Any] = [*quantized.FORMATS, ["int8", "f32", "bf16"], ["f16", "int8_weights", "int8"]]


def network(kind: Any, activation: str = "selu", output_activation: str = "softmax", seed: int = 1) -> Any:
    rng = np.random.default_rng(seed)
    layers = [(rng.normal(0, i**-0.5, (o, i)), rng.normal(size=o)) for i, o in ((7, 33), (33, 16), (16, 3))]
    full = Network.from_parameters(layers, activation=activation, output_activation=output_activation)
    return full.quantize(kind)


def rows(n: int = 12) -> npt.NDArray[np.float32]:
    X = np.random.default_rng(1).normal(0, 3, (n, 7)).astype(np.float32)
    X[0], X[1] = 0, [1e15, 1, -1, 0, 3, 1e-20, 7]
    return X


def onnx_outputs(path: Path, X: Any) -> Any:
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    session = onnxruntime.InferenceSession(path, options)
    return session.run(["probabilities"], {session.get_inputs()[0].name: X})[0]


def steps(kind: Any, output: str, want: Any) -> Any:
    """The allowed error: rounding of sums, and hidden values that are rounded to the next integer."""
    rounding = 64 * EPS * np.maximum(1, np.abs(want))
    flips = {"f16": 0, "int8_weights": 0}.get(str(kind), 2e-2)
    scale = np.abs(want).max(axis=-1, keepdims=True) if output in ("identity", "same") else 1
    return rounding + flips * scale


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_c_and_onnx_compute_what_tinyrs_computes(tmp_path: Path, kind: Any) -> None:
    X = rows()
    models = {}
    for activation in ACTIVATIONS:
        for output in ("softmax", "identity"):
            made = network(kind, activation, output)
            models[f"{activation}_{output}"] = (Predictor(made, None, np.arange(3)), numbers(X))
    answers = run(tmp_path, models)
    for name, (predictor, _) in models.items():
        want = predictor.predict_proba(X)
        allowed = steps(kind, name.rpartition("_")[2], want)
        assert (np.abs(answers[name][1] - want) <= allowed).all(), name
        predictor.to_onnx(tmp_path / "model.onnx")
        assert (np.abs(onnx_outputs(tmp_path / "model.onnx", X) - want) <= allowed).all(), name
        # Most rows agree but for rounding.
        close = np.abs(answers[name][1] - want) <= 64 * EPS * np.maximum(1, np.abs(want))
        assert close.mean() > 0.7, name


@pytest.mark.filterwarnings("ignore:.*consider dropping:UserWarning")
@pytest.mark.parametrize("kind", quantized.FORMATS)
def test_a_table_with_preprocessing(tmp_path: Path, kind: str) -> None:
    """Numbers with missing values and categories that are numbers, by both exports."""
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=300), rng.integers(0, 4, 300)])
    X[::9] = np.nan
    options: dict[str, Any] = {"hidden_layer_sizes": (24, 24), "max_iter": 8, "random_state": 0}
    clf = TinyClassifier(categorical_features=[1], precision="f32", **options).fit(X, X[:, 1] == 2)
    predictor = clf.predictor(quantize=kind)
    want = predictor.predict_proba(X[:60])
    allowed = steps(kind, "softmax", want)
    predictor.to_onnx(tmp_path / "model.onnx")
    assert (np.abs(onnx_outputs(tmp_path / "model.onnx", X[:60]) - want) <= allowed).all()
    rows = [[a, f"t_encode_1({b})"] for a, b in numbers(X[:60])]
    assert (np.abs(run(tmp_path, {"t": (predictor, rows)})["t"][1] - want) <= allowed).all()


def first_layer(kind: str) -> tuple[Any, Any, npt.NDArray[np.float32]]:
    """A network of one layer, as stored, and rows with ties and limits."""
    rng = np.random.default_rng(5)
    weight = rng.normal(size=(5, 65)).astype(np.float32)
    weight[2] = 0
    made = Network.from_parameters([(weight, rng.normal(size=5).astype(np.float32))], precision="f32")
    X = rng.normal(size=(40, 65)).astype(np.float32)
    X[0] = 0
    X[1] = np.arange(65) - 31.5
    X[1, 0] = 127  # the scale is 1: all other inputs are in the middle of two integers
    X[2] *= 1e-42
    X[3] *= 1e37
    return made.quantize(kind), quantized.quantize(made.parameters(), kind)[0], X


def test_the_integers_of_c_are_those_of_the_oracle(tmp_path: Path) -> None:
    """Integers of the inputs, and their sums, are equal, and so are the outputs of one layer."""
    made, layer, X = first_layer("int8")
    Predictor(made, None, np.arange(5)).to_c(tmp_path / "m.h")
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include "m.h"\n'
        f"static const float rows[{len(X)}][65] = {{\n"
        + ",\n".join("{" + ", ".join(f"{float(v).hex()}f" for v in row) + "}" for row in X)
        + "};\n"
        f"""int main(void) {{
    int8_t q[65]; int i, j; double row[65]; float z[5];
    for (i = 0; i < {len(X)}; i++) {{
        float scale = m_quantize(rows[i], 65, q);
        for (j = 0; j < 65; j++) {{ printf("%d ", q[j]); row[j] = rows[i][j]; }}
        for (j = 0; j < 5; j++) printf("%ld ", (long)m_dot(q, m_w0 + 65 * j, 65));
        m_predict_proba(row, z);
        printf("%.9g ", (double)scale);
        for (j = 0; j < 5; j++) printf("%.9g ", (double)z[j]);
        printf("\\n");
    }}
    return 0;
}}
"""
    )
    # Without contraction, which would round product and sum at once.
    command = [compiler(), *FLAGS, "-ffp-contract=off", "main.c", "-o", "main", "-lm"]
    subprocess.run(command, cwd=tmp_path, check=True)
    text = subprocess.run([tmp_path / "main"], capture_output=True, check=True, text=True).stdout
    got = np.array([line.split() for line in text.splitlines()], float)
    q, scale = quantized.quantize_rows(X)
    np.testing.assert_array_equal(got[:, :65], q)
    np.testing.assert_array_equal(got[:, 65:70], quantized.integer_sums(q, layer.weight))
    np.testing.assert_array_equal(got[:, 70].astype(np.float32), scale)
    want = quantized.dense_forward_quantized(X, layer)
    np.testing.assert_array_equal(got[:, 71:].astype(np.float32), want)


@pytest.mark.parametrize("kind", ["int8", "int8_weights"])
def test_the_weights_of_a_header_take_a_quarter_of_the_flash(tmp_path: Path, kind: str) -> None:
    made, _, _ = first_layer(kind)
    Predictor(made, None, np.arange(5)).to_c(tmp_path / "m.h")
    (tmp_path / "main.c").write_text(
        '#include "m.h"\nint main(void) { return sizeof m_w0 == 5 * 65 && sizeof m_s0 == 5 * 4 ? 0 : 1; }\n'
    )
    subprocess.run([compiler(), "-std=c99", "main.c", "-o", "main", "-lm"], cwd=tmp_path, check=True)
    assert subprocess.run([tmp_path / "main"]).returncode == 0


def test_a_row_of_the_graph_does_not_depend_on_the_others(tmp_path: Path) -> None:
    Predictor(network("int8"), None, np.arange(3)).to_onnx(tmp_path / "model.onnx")
    X = rows()
    together = onnx_outputs(tmp_path / "model.onnx", X)
    alone = np.concatenate([onnx_outputs(tmp_path / "model.onnx", X[[i]]) for i in range(len(X))])
    np.testing.assert_array_equal(alone, together)


def test_one_layer_of_the_graph_is_that_of_the_oracle(tmp_path: Path) -> None:
    made, layer, X = first_layer("int8")
    Predictor(made, None, np.arange(5)).to_onnx(tmp_path / "model.onnx")
    want = quantized.dense_forward_quantized(X, layer)
    np.testing.assert_array_equal(onnx_outputs(tmp_path / "model.onnx", X), want)


@pytest.mark.parametrize(
    ("kind", "share"), [("f16", 0.5), ("bf16", 0.5), ("int8", 0.25), ("int8_weights", 0.25)]
)
def test_a_graph_has_the_size_of_the_weights(tmp_path: Path, kind: str, share: float) -> None:
    full = Network([200, 300, 2], output_activation="softmax", precision="f32", seed=0)
    for name, made in {"full": full, "small": full.quantize(kind)}.items():
        Predictor(made, None, np.arange(2)).to_onnx(tmp_path / name)
    ratio = (tmp_path / "small").stat().st_size / (tmp_path / "full").stat().st_size
    assert ratio == pytest.approx(share, abs=0.02)

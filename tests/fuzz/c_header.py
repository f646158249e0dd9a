"""Generated C: compiled with sanitizers, it predicts what tinyrs does, for any numbers and strings."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
import test_to_c
from tinyrs import Network, Predictor, TinyClassifier

from fuzz.harness import FOLDER, Source, refuses

SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g"]
ROWS = 20


def c_string(text: str) -> str:
    return '"' + "".join(f"\\{byte:03o}" for byte in text.encode("utf-8", "surrogatepass")) + '"'


def random_predictor(source: Source, x: Any) -> Predictor:
    """A network of random sizes on numbers, or a classifier trained on numbers and strings."""
    precision = source.pick(["f32", "f64"])
    if x.dtype == object:
        y = np.arange(ROWS) % 2
        options = {"hidden_layer_sizes": (3,), "max_iter": 1, "random_state": 0, "precision": precision}
        return TinyClassifier(**options).fit(x, y).predictor()  # type: ignore[arg-type]
    sizes = [x.shape[1], *(1 + source.whole(40) for _ in range(source.whole(3))), 1 + source.whole(5)]
    network = Network(
        sizes,
        activation=source.pick(["tanh", "relu", "leaky_relu", "selu", "gelu", "silu", "sigmoid", "identity"]),
        output_activation=source.pick(["softmax", "identity", "same"]),
        precision=precision,
        seed=source.whole(1000),
    )
    return Predictor(network, None, np.arange(sizes[-1]))


def seeds() -> dict[str, bytes]:
    return {f"{kind}-{i}": kind.encode() + bytes(range(i, i + 90)) for kind in "ns" for i in (0, 1, 50)}


def one(data: bytes) -> None:
    source = Source(data[1:])
    if data.startswith(b"s"):
        x: Any = np.array([[source.text(), source.real()] for _ in range(ROWS)], dtype=object)
        finite = [value if np.isfinite(value) else None for value in x[:, 1]]
        x[:, 1] = finite
        rows = [
            [f"fuzzed_encode_0({c_string(text)})", "NAN" if value is None else repr(float(value))]
            for text, value in x.tolist()
        ]
    else:
        bounded = [max(-1e6, min(1e6, source.real())) for _ in range(3 * ROWS)]
        x = np.nan_to_num(np.array(bounded)).reshape(ROWS, 3)
        rows = test_to_c.numbers(x)
    predictor = refuses(lambda: random_predictor(source, x))
    if predictor is None or refuses(lambda: predictor.to_c(FOLDER / "fuzzed.h") or True) is None:
        return
    if x.dtype == object and "fuzzed_encode_0" not in (FOLDER / "fuzzed.h").read_text():
        return  # all strings are numbers, or the column is left out
    with patch.object(test_to_c, "FLAGS", [*test_to_c.FLAGS, *SANITIZERS]):
        answers = test_to_c.run(FOLDER, {"fuzzed": (predictor, rows)})
    difference = test_to_c.largest_difference(answers["fuzzed"], predictor, x)
    assert difference < 256, f"C and tinyrs differ by {difference} eps"

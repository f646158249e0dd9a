"""What a process imports between its start and its first prediction: not NumPy, and little else."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tinyrs
from tinyrs import Network, Predictor

# Modules that take longer to import than all of tinyrs.
SLOW = {"numpy", "typing", "dataclasses", "json", "hashlib", "functools", "re", "threadpoolctl"}
GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Runs code in an interpreter that has tinyrs but not NumPy, and returns what it prints."""
    folder = tmp_path_factory.mktemp("packages")
    (folder / "tinyrs").symlink_to(Path(tinyrs.__file__).parent, target_is_directory=True)

    def run(code: str) -> str:
        code = f"import sys\nsys.path.append({str(folder)!r})\n{textwrap.dedent(code)}"
        done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


@pytest.fixture(scope="module")
def plain() -> Predictor:
    network = Network([3, 5, 2], output_activation="softmax", seed=1)
    return Predictor(network, None, np.array(["no", "yes"]), feature_names=["x", "y", "z"])


def known_row(predictor: Predictor) -> list[object]:
    """A row with the most frequent category in each column of categories."""
    row: list[object] = [0.5] * predictor.n_features_in_
    assert predictor.preprocessor is not None
    for category in predictor.preprocessor.categories:
        row[category.column] = category.names[0]
    return row


def test_a_model_loads_and_predicts_without_numpy(
    bare: Callable[[str], str], plain: Predictor, tmp_path: Path
) -> None:
    plain.save(tmp_path / "plain")
    plain.network.save(tmp_path / "network")
    golden = tinyrs.load(GOLDEN / "v1-predictor.safetensors")
    assert isinstance(golden, Predictor)
    code = f"""
    import tinyrs
    plain = tinyrs.load({str(tmp_path / "plain")!r})
    print(plain.predict_proba_one([0.5, 1, -2.0]))
    print(plain.predict_one({{"z": -2.0, "x": 0.5, "y": 1}}), plain)
    table = tinyrs.load({str(GOLDEN / "v1-predictor.safetensors")!r})
    # Of known categories: to print a warning takes other modules.
    print(table.predict_proba_one({known_row(golden)!r}))
    print(tinyrs.load({str(tmp_path / "network")!r}).forward_one((0.5, 1, -2.0)))
    print({SLOW!r} & set(sys.modules))
    """
    probabilities, label, table, outputs, slow = bare(code).splitlines()
    want = plain.predict_proba(np.array([0.5, 1, -2.0]))
    assert probabilities == repr(dict(zip(["no", "yes"], want.tolist(), strict=True)))
    assert label == f"{plain.predict(np.array([0.5, 1, -2.0]))} {plain!r}"
    assert outputs == repr(want.tolist())
    assert table == repr(golden.predict_proba_one(known_row(golden)))
    assert slow == "set()"


@pytest.mark.parametrize("kind", ["f16", "bf16", "int8", "int8_weights"])
def test_a_quantized_model_loads_and_predicts_without_numpy(
    bare: Callable[[str], str], plain: Predictor, tmp_path: Path, kind: str
) -> None:
    quantized = plain.quantize(kind, X=np.eye(3))
    quantized.save(tmp_path / "model")
    quantized.network.save(tmp_path / "network")
    code = f"""
    import tinyrs
    model = tinyrs.load({str(tmp_path / "model")!r})
    print(model.predict_proba_one([0.5, 1, -2.0]))
    print(model.quantization["labels_changed"], model.network.weights)
    print(tinyrs.load({str(tmp_path / "network")!r}).forward_one((0.5, 1, -2.0)))
    print({SLOW!r} & set(sys.modules))
    """
    probabilities, facts, outputs, slow = bare(code).splitlines()
    want = quantized.predict_proba(np.array([0.5, 1, -2.0])).tolist()
    assert probabilities == repr(dict(zip(["no", "yes"], want, strict=True)))
    assert facts == f"0.0 {kind}"
    assert outputs == repr(want)
    assert slow == "set()"


def test_methods_that_need_numpy_raise_without_it(
    bare: Callable[[str], str], plain: Predictor, tmp_path: Path
) -> None:
    plain.save(tmp_path / "plain")
    code = f"""
    import tinyrs
    try:
        tinyrs.load({str(tmp_path / "plain")!r}).predict([0.5, 1, -2.0])
    except ModuleNotFoundError as error:
        print(error)
    """
    assert bare(code) == "No module named 'numpy'"

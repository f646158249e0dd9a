"""What a process needs from its start to its first prediction: no NumPy, and little else."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import tinyrs
from tinyrs import Network, Predictor

# What would take longer to import than all of tinyrs.
SLOW = {"numpy", "typing", "dataclasses", "json", "hashlib", "functools", "re", "threadpoolctl"}
GOLDEN = Path(__file__).parent / "golden"


def bare(code: str) -> str:
    """What `code` prints in an interpreter without site-packages, where NumPy cannot be found."""
    path = Path(tinyrs.__file__).parent.parent
    code = (
        f"import sys; sys.path = [{str(path)!r}, *[p for p in sys.path if 'site-packages' not in p]]\n{code}"
    )
    run = [sys.executable, "-S", "-c", code]
    done = subprocess.run(run, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    network = Network([3, 5, 2], output_activation="softmax", seed=1)
    predictor = Predictor(network, None, np.array(["no", "yes"]), feature_names=["x", "y", "z"])
    predictor.save(tmp_path_factory.mktemp("model") / "plain")
    return predictor


def test_a_model_is_loaded_and_asked_without_numpy(plain: Predictor, tmp_path: Path) -> None:
    plain.save(tmp_path / "plain")
    plain.network.save(tmp_path / "network")
    code = f"""
    import tinyrs
    plain = tinyrs.load({str(tmp_path / "plain")!r})
    print(plain.predict_proba_one([0.5, 1, -2.0]))
    print(plain.predict_one({{"z": -2.0, "x": 0.5, "y": 1}}), plain)
    table = tinyrs.load({str(GOLDEN / "v1-predictor.safetensors")!r})
    print(table.predict_proba_one([0.5] * table.n_features_in_))
    print(tinyrs.load({str(tmp_path / "network")!r}).forward_one((0.5, 1, -2.0)))
    print({SLOW!r} & set(sys.modules))
    """
    probabilities, label, table, outputs, slow = bare(textwrap.dedent(code)).splitlines()
    want = plain.predict_proba(np.array([0.5, 1, -2.0]))
    assert probabilities == repr(dict(zip(["no", "yes"], want.tolist(), strict=True)))
    assert label == f"{plain.predict(np.array([0.5, 1, -2.0]))} {plain!r}"
    assert outputs == repr(want.tolist())
    golden = tinyrs.load(GOLDEN / "v1-predictor.safetensors")
    assert isinstance(golden, Predictor)
    assert table == repr(golden.predict_proba_one([0.5] * golden.n_features_in_))
    assert slow == "set()"


def test_what_needs_numpy_says_so(plain: Predictor, tmp_path: Path) -> None:
    plain.save(tmp_path / "plain")
    code = f"""
    import tinyrs
    try:
        tinyrs.load({str(tmp_path / "plain")!r}).predict([0.5, 1, -2.0])
    except ModuleNotFoundError as error:
        print(error)
    """
    assert bare(textwrap.dedent(code)) == "No module named 'numpy'"

"""Training in several processes of MPI, one of which is killed; run by `make scale`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tinyrs

MPIEXEC = Path(sys.executable).with_name("mpiexec")

# The training makes a generator for each epoch.
KILL_IN_EPOCH_2 = """
import os, signal, numpy as np
from mpi4py import MPI
make = np.random.default_rng
def default_rng(epoch):
    if epoch == 2 and MPI.COMM_WORLD.Get_rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return make(epoch)
np.random.default_rng = default_rng
"""
SHOW_EPOCHS = """
import numpy as np
make = np.random.default_rng
def default_rng(epoch):
    print(epoch, flush=True)
    return make(epoch)
np.random.default_rng = default_rng
"""


def train(folder: Path, ranks: int, *more: str, code: str = "") -> subprocess.CompletedProcess[str]:
    """Trains in `ranks` processes. `code` runs in them before."""
    script = f"{code}\nimport mpi_train; mpi_train.main()"
    data = [folder / "X.npy", folder / "y.npy", folder / f"{ranks}.safetensors"]
    settings = [
        "--hidden",
        "64",
        "--epochs",
        "4",
        "--blocks",
        "4",
        "--block-rows",
        "64",
        "--learning-rate",
        "0.01",
    ]
    command = [MPIEXEC, "-n", str(ranks), sys.executable, "-c", script, *data, *settings, *more]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)


@pytest.fixture
def folder(tmp_path: Path, digits: Any) -> Path:
    X, y = digits
    np.save(tmp_path / "X.npy", X.astype(np.float32))
    np.save(tmp_path / "y.npy", y)
    return tmp_path


def test_the_bits_do_not_depend_on_the_number_of_processes(folder: Path, digits: Any) -> None:
    for ranks in (1, 2, 4):
        done = train(folder, ranks)
        assert done.returncode == 0, done.stderr
    files = [(folder / f"{ranks}.safetensors").read_bytes() for ranks in (1, 2, 4)]
    assert files == files[:1] * 3
    network = tinyrs.load(folder / "2.safetensors")
    assert isinstance(network, tinyrs.Network)
    assert (network.forward(digits[0]).argmax(axis=1) == digits[1]).mean() > 0.8


def test_a_killed_process_ends_all_and_the_checkpoint_continues_with_the_same_bits(folder: Path) -> None:
    whole = train(folder, 1)
    assert whole.returncode == 0, whole.stderr
    checkpoint = folder / "checkpoint"
    done = train(folder, 2, "--checkpoint", str(checkpoint), code=KILL_IN_EPOCH_2)
    assert done.returncode != 0
    assert not (folder / "2.safetensors").exists()
    assert checkpoint.exists()
    done = train(folder, 2, "--checkpoint", str(checkpoint), code=SHOW_EPOCHS)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split()) == ["2", "2", "3", "3"]
    assert (folder / "2.safetensors").read_bytes() == (folder / "1.safetensors").read_bytes()


def test_processes_bound_to_a_core_use_one_thread() -> None:
    code = "import cases_of_scale; print(*cases_of_scale.threads())"
    command = [MPIEXEC, "-n", "2", "-bind-to", "core", sys.executable, "-c", code]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120)
    assert done.stdout.split("\n")[:2] == ["1 0"] * 2, done.stderr


def test_numbers_of_processes_that_are_no_powers_of_two_are_refused(folder: Path) -> None:
    done = train(folder, 3)
    assert done.returncode != 0
    assert "expected powers of two" in done.stderr

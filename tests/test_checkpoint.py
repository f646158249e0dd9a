"""Checkpoints: an interrupted training that is resumed ends with the same bits."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tinyrs
from scipy.sparse import csr_matrix
from tinyrs import History, Network, Optimizer
from tinyrs.files import model_file

rng = np.random.default_rng(0)
X = rng.normal(size=(300, 5))
y = (X[:, 0] > X[:, 1]).astype(int)
VALIDATION = (X[200:], y[200:])


def network(precision: str = "f32", seed: int = 1) -> Network:
    return Network([5, 16, 2], activation="relu", output_activation="softmax", precision=precision, seed=seed)


def fit(net: Network, **options: Any) -> History:
    return net.fit(X[:200], y[:200], **{"epochs": 7, "batch_size": 32, "seed": 3, "dropout": 0.1} | options)


def same(a: Network, b: Network) -> bool:
    pairs = zip(a.parameters(), b.parameters(), strict=True)
    return all(np.array_equal(v, w) for one, other in pairs for v, w in zip(one, other, strict=True))


def without_times(history: History) -> list[dict[str, Any]]:
    timed = {"seconds", "samples_per_second"}
    return [{k: v for k, v in record.items() if k not in timed} for record in history.records]


@pytest.mark.parametrize("precision", ["f32", "f64"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"optimizer": "sgd", "schedule": "one_cycle"},
        {"validation": VALIDATION, "monitor": "score", "optimizer": "adamw", "weight_decay": 0.1},
        {"validation": VALIDATION, "patience": 2, "learning_rate": 0.1},
        {"learning_rate_factors": [(1, 0.1), (0.5, 1)], "clip_norm": 1.0, "shuffle": False},
    ],
)
def test_training_resumes_from_a_checkpoint(tmp_path: Path, precision: str, options: dict[str, Any]) -> None:
    path, want = tmp_path / "run", network(precision)
    history = fit(want, **options)

    def stop(record: Any) -> bool:
        return bool(record["epoch"] == 3)

    fit(network(precision), **options, callback=stop, checkpoint=path, checkpoint_every=2)
    resumed = network(precision, seed=99)  # its own parameters are replaced
    again = fit(resumed, **options, resume=path, n_threads=1)
    assert same(resumed, want)
    assert without_times(again) == without_times(history)
    assert (again.best_epoch, again.stopped_by) == (history.best_epoch, history.stopped_by)
    loaded = tinyrs.load(path)
    assert isinstance(loaded, Network)
    assert loaded.options == want.options


def test_resuming_a_finished_training_changes_nothing(tmp_path: Path) -> None:
    want, resumed = network(), network(seed=2)
    fit(want, validation=VALIDATION, checkpoint=tmp_path / "run", checkpoint_every=100)
    history = fit(resumed, validation=VALIDATION, resume=tmp_path / "run")
    assert len(history) == 7
    assert same(resumed, want)


def test_a_random_seed_is_kept(tmp_path: Path) -> None:
    want, resumed = network(), network()
    fit(want, seed=None, checkpoint=tmp_path / "run", checkpoint_every=6, callback=lambda r: r["epoch"] == 5)
    fit(want, seed=None, resume=tmp_path / "run")
    fit(resumed, seed=None, resume=tmp_path / "run")
    assert same(resumed, want)


def test_the_optimizer_resumes_too(tmp_path: Path) -> None:
    used, fresh = Optimizer("adamw", beta2=0.95), Optimizer("adamw", beta2=0.95)
    want, resumed = network(), network()
    fit(want, optimizer=used)
    fit(want, optimizer=used, checkpoint=tmp_path / "run")
    fit(resumed, optimizer=fresh, resume=tmp_path / "run")
    assert same(resumed, want)
    assert fresh.steps == used.steps == 2 * 7 * 7
    with pytest.raises(ValueError, match="resume: the checkpoint was written with optimizer="):
        fit(resumed, optimizer=Optimizer("adamw"), resume=tmp_path / "run")
    fit(resumed, optimizer=fresh)  # the optimizer is no longer in use


SCRIPT = """
    import sys
    from pathlib import Path
    import numpy as np
    from tinyrs import Network
    path = Path(sys.argv[1])
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 20)).astype(np.float32)
    y = (X[:, 0] > 0).astype(int)
    net = Network([20, 64, 64, 2], output_activation="softmax", seed=1)
    net.fit(X, y, epochs=200, seed=5, checkpoint=path, resume=path if path.exists() else None)
    net.save(sys.argv[2])
"""


def last_change(path: Path) -> int | None:
    """The time of the last change of a file, or None if there is no file."""
    return path.stat().st_mtime_ns if path.exists() else None


def test_a_killed_training_ends_with_the_same_bits(tmp_path: Path) -> None:
    run = [sys.executable, "-c", textwrap.dedent(SCRIPT)]
    subprocess.run([*run, tmp_path / "one", tmp_path / "want"], check=True)
    # Each of four processes is killed as soon as it has written a checkpoint, on machines of any speed.
    for _ in range(4):
        before = last_change(tmp_path / "other")
        process = subprocess.Popen([*run, tmp_path / "other", tmp_path / "got"])
        try:
            while last_change(tmp_path / "other") == before:
                assert process.poll() is None, "the process ended without a checkpoint"
                time.sleep(0.001)
        finally:
            process.kill()
            process.wait()
        assert not (tmp_path / "got").exists()
    subprocess.run([*run, tmp_path / "other", tmp_path / "got"], check=True)
    assert (tmp_path / "got").read_bytes() == (tmp_path / "want").read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": 4}, "resume: the checkpoint was written with seed=3, got seed=4"),
        ({"epochs": 8}, "resume: the checkpoint was written with epochs=7, got epochs=8"),
        (
            {"schedule": "coslog4"},
            "resume: the checkpoint was written with schedule='constant', got schedule='coslog4'",
        ),
        ({"optimizer": "sgd"}, "resume: the checkpoint was written with optimizer="),
        (
            {"validation": VALIDATION},
            "resume: the checkpoint was written without validation X, got one",
        ),
        ({"checkpoint_every": 0}, "checkpoint_every: expected an integer of at least 1, got 0"),
    ],
)
def test_a_checkpoint_with_other_settings_is_refused(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    path, net = tmp_path / "run", network()
    fit(network(), checkpoint=path)
    with pytest.raises(ValueError, match=message):
        fit(net, resume=path, **options)
    assert same(net, network())


def changed(array: Any) -> Any:
    """A copy of an array with another last element."""
    array = np.array(array)
    array.reshape(-1)[-1] = 1 - array.reshape(-1)[-1]
    return array


@pytest.mark.parametrize("precision", ["f32", "f64"])
def test_a_checkpoint_of_other_data_is_refused(tmp_path: Path, precision: str) -> None:
    weights = np.ones(200)
    data: dict[str, Any] = {"X": X[:200], "y": y[:200], "sample_weight": weights, "validation": VALIDATION}

    def run(**others: Any) -> None:
        network(precision).fit(**data | others, epochs=2, seed=3)

    run(checkpoint=tmp_path / "run")
    # The same numbers in other arrays are the same data.
    copies = {"X": np.asfortranarray(X[:200]), "y": y[:200].tolist(), "sample_weight": weights.astype(int)}
    run(resume=tmp_path / "run", **copies)
    for name, others in {
        "X": {"X": changed(X[:200])},
        "y": {"y": changed(y[:200])},
        "sample_weight": {"sample_weight": changed(weights)},
        "validation X": {"validation": (changed(VALIDATION[0]), VALIDATION[1])},
        "validation y": {"validation": (VALIDATION[0], changed(VALIDATION[1]))},
    }.items():
        with pytest.raises(ValueError, match=f"^resume: {name} differs from the {name} of the checkpoint"):
            run(resume=tmp_path / "run", **others)
    with pytest.raises(ValueError, match="the checkpoint was written with sample_weight, got none"):
        run(resume=tmp_path / "run", sample_weight=None)
    with pytest.raises(ValueError, match="the checkpoint was written with validation X, got none"):
        run(resume=tmp_path / "run", validation=None)


def test_sparse_data_and_distributions_have_digests_too(tmp_path: Path) -> None:
    sparse, targets = csr_matrix(X[:200] * (X[:200] > 1)), np.eye(2)[y[:200]]
    network().fit(sparse, targets, epochs=2, checkpoint=tmp_path / "run")
    network().fit(sparse.copy(), targets.copy(), epochs=2, resume=tmp_path / "run")
    moved = sparse.copy()
    moved.indices[-1] = 4 if moved.indices[-1] != 4 else 3
    for other, name in ((moved, "X"), (sparse * 2, "X"), (sparse, "y")):
        with pytest.raises(ValueError, match=f"resume: {name} differs"):
            network().fit(other, targets if name == "X" else targets[::-1], epochs=2, resume=tmp_path / "run")


def test_an_old_checkpoint_resumes_with_any_data(tmp_path: Path) -> None:
    """Checkpoints that were written before there were digests have none."""
    path, want, resumed = tmp_path / "run", network(), network()
    fit(want)
    fit(network(), checkpoint=path, checkpoint_every=3, callback=lambda record: record["epoch"] == 2)
    kind, model, views = model_file.from_bytes(path.read_bytes())
    del model.values["settings"]["data"], model.values["settings"]["precision"]
    path.write_bytes(model_file.to_bytes(kind, model.values, {n: np.asarray(v) for n, v in views.items()}))
    fit(resumed, resume=path)
    assert same(resumed, want)


def test_infinite_scores_are_kept(tmp_path: Path) -> None:
    """Targets that hardly vary have an R^2 of -inf."""
    targets = np.zeros((100, 1))
    targets[0] = 1e-160

    def run(**files: Any) -> History:
        net = Network([5, 1], precision="f64", seed=1)
        return net.fit(X[:100], targets, validation=(X[:100], targets), epochs=2, seed=1, **files)

    want = run(checkpoint=tmp_path / "run")
    assert want.records[0]["validation_score"] == -np.inf
    assert without_times(run(resume=tmp_path / "run")) == without_times(want)
    assert isinstance(tinyrs.load(tmp_path / "run"), Network)


def test_other_files_are_refused(tmp_path: Path) -> None:
    net = network()
    net.save(tmp_path / "network")
    with pytest.raises(ValueError, match="resume: expected a checkpoint, got a model file of kind 'network'"):
        fit(net, resume=tmp_path / "network")
    with pytest.raises(FileNotFoundError):
        fit(net, resume=tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError):
        fit(net, checkpoint=tmp_path / "nowhere" / "run")
    fit(net, checkpoint=tmp_path / "run")
    with pytest.raises(
        ValueError, match="the checkpoint was written with precision='f32', got precision='f64'"
    ):
        fit(network("f64"), resume=tmp_path / "run")
    with pytest.raises(ValueError, match="resume: expected a checkpoint of a network of"):
        fit(Network([5, 17, 2], output_activation="softmax"), resume=tmp_path / "run")


def test_damage_is_detected(tmp_path: Path) -> None:
    path = tmp_path / "run"
    fit(network(), checkpoint=path, validation=VALIDATION)
    data = path.read_bytes()
    for _ in range(300):
        mutated = bytearray(data)
        mutated[rng.integers(len(data))] ^= 1 << rng.integers(8)
        path.write_bytes(mutated)
        with pytest.raises(ValueError, match=r"^model file: "):
            fit(network(), resume=path, validation=VALIDATION)


def test_tensors_and_fields_are_validated(tmp_path: Path) -> None:
    path = tmp_path / "run"
    fit(network(), checkpoint=path)
    kind, model, views = model_file.from_bytes(path.read_bytes())
    tensors = {name: np.asarray(view) for name, view in views.items()}

    def refused(message: str, changed: dict[str, Any], more: dict[str, Any]) -> None:
        path.write_bytes(model_file.to_bytes(kind, model.values | changed, tensors | more))
        with pytest.raises(ValueError, match=f"^model file: .*{message}"):
            fit(network(), resume=path)

    refused("first.0.weight: expected float32 of shape", {}, {"first.0.weight": np.zeros(79, np.float32)})
    refused("best.0.weight: expected a tensor, got None", {"has_best": True}, {})
    refused("records: expected a list of objects", {"records": 3}, {})
    refused(
        r"records\[0\].epoch: expected 0, the position in the list, got 1",
        {"records": model.values["records"][1:]},
        {},
    )
    optimizer = {"steps": 1, "keywords": {"algorithm": "rm -rf"}}
    refused("model.optimizer: expected the numbers of an Optimizer", {"optimizer": optimizer}, {})

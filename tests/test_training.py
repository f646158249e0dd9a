"""Training: equal to the oracle step by step, and the behaviour of `fit` that users rely on."""

from __future__ import annotations

import copy
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from typing import Any

import numpy as np
import pytest
import tinyrs
from tinyrs import oracle
from tinyrs.history import Record
from tinyrs.oracle import Layer

DTYPES: dict[str, type[np.floating[Any]]] = {"f32": np.float32, "f64": np.float64}
ALLOWED = [
    (loss, output)
    for loss, outputs in {
        "cross_entropy": ("softmax", "identity"),
        "binary_cross_entropy": ("sigmoid", "identity"),
        "squared_error": oracle.OUTPUT_ACTIVATIONS,
    }.items()
    for output in outputs
]


def network(sizes: list[int], seed: int = 1, **options: Any) -> tinyrs.Network:
    return tinyrs.Network(sizes, seed=seed, **{"precision": "f64"} | options)


def copies(net: tinyrs.Network) -> list[Layer]:
    return [(weight.copy(), bias.copy()) for weight, bias in net.parameters()]


def targets(loss: str, rows: int, outputs: int, *, labels: bool = False, seed: int = 3) -> Any:
    rng = np.random.default_rng(seed)
    if labels:
        return rng.integers(0, outputs, rows)
    y = rng.uniform(0, 1, (rows, outputs))
    return y / y.sum(axis=1, keepdims=True) if loss == "cross_entropy" else y


def assert_close(got: list[Layer], want: list[Layer], tolerance: float) -> None:
    """Asserts that each array of `got` equals that of `want` up to `tolerance` times its norm."""
    for i, (pair, wanted) in enumerate(zip(got, want, strict=True)):
        for name, a, b in zip("Wb", pair, wanted, strict=True):
            assert a.shape == b.shape
            error = np.linalg.norm(a - b) / np.linalg.norm(b)
            assert error <= tolerance, f"{name} of layer {i}: off by {error:.1e} of its norm"


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("activation", oracle.ACTIVATIONS)
@pytest.mark.parametrize(("loss", "output_activation"), ALLOWED)
def test_gradients_equal_those_of_the_oracle(
    precision: str, activation: str, loss: str, output_activation: str
) -> None:
    rng = np.random.default_rng(0)
    options: dict[str, Any] = {
        "activation": activation,
        "output_activation": output_activation,
        "activation_scale": 0.75,
    }
    net = network([13, 33, 17, 5], precision=precision, **options)
    x = rng.normal(size=(37, 13)).astype(DTYPES[precision])
    smoothing = 0.0 if loss == "squared_error" else 0.1
    weight = rng.uniform(0.1, 2, 37)
    for labels in [False, True] if loss == "cross_entropy" else [False]:
        y = targets(loss, 37, 5, labels=labels)
        value, gradients = net.loss_and_gradients(
            x, y, loss=loss, sample_weight=weight, label_smoothing=smoothing
        )
        wide = [(w.astype(float), b.astype(float)) for w, b in net.parameters()]
        want, wanted = oracle.loss_and_gradients(
            x.astype(float),
            y,
            wide,
            loss=loss,
            sample_weight=weight,
            label_smoothing=smoothing,
            **options,
        )
        # k eps for sums of k terms, in three layers, forward and backward.
        tolerance = 6 * 37 * float(np.finfo(DTYPES[precision]).eps)
        assert value == pytest.approx(want, rel=tolerance)
        assert_close(gradients, wanted, tolerance)


@pytest.mark.parametrize("output_activation", oracle.OUTPUT_ACTIVATIONS)
def test_backward_equals_that_of_the_oracle(output_activation: str) -> None:
    rng = np.random.default_rng(0)
    options: dict[str, Any] = {"activation": ["selu", "gelu"], "output_activation": output_activation}
    net = network([13, 33, 17, 5], **options)
    x, d = rng.normal(size=(37, 13)), rng.normal(size=(37, 5))
    dx, gradients = net.backward(x, d)
    want, wanted = oracle.backward(x, d, net.parameters(), **options)
    np.testing.assert_allclose(dx, want, rtol=1e-10, atol=1e-13)
    assert_close(gradients, wanted, 1e-12)


def test_an_empty_batch_has_a_zero_gradient() -> None:
    net = network([13, 33, 5])
    net.backward(np.ones((7, 13)), np.ones((7, 5)))
    dx, gradients = net.backward(np.ones((0, 13)), np.ones((0, 5)))
    assert dx.shape == (0, 13)
    assert all((array == 0).all() for pair in gradients for array in pair)


def test_the_comparison_rejects_one_wrong_sign() -> None:
    net = network([4, 3, 2])
    _, gradients = net.loss_and_gradients(np.ones((5, 4)), np.ones((5, 2)))
    wrong = copy.deepcopy(gradients)
    wrong[1][1][0] *= -1
    assert_close(gradients, gradients, 1e-12)
    with pytest.raises(AssertionError, match="b of layer 1"):
        assert_close(wrong, gradients, 1e-3)


OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"momentum": 0.0},
    "momentum": {"momentum": 0.9},
    "nesterov": {"momentum": 0.8, "nesterov": True},
    "adam": {"beta1": 0.8, "beta2": 0.99, "epsilon": 1e-6},
    "adamw": {},
}


@pytest.mark.parametrize("schedule", oracle.SCHEDULES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_fifty_steps_equal_those_of_the_oracle(optimizer: str, schedule: str, digits: Any) -> None:
    x, y = digits
    algorithm = "sgd" if optimizer in {"momentum", "nesterov"} else optimizer
    options: dict[str, Any] = {"activation": "tanh", "output_activation": "softmax"}
    net = network([64, 23, 10], **options)
    layers = copies(net)
    # 10 epochs of 5 batches; the last batch is smaller.
    training: dict[str, Any] = {
        "schedule": schedule,
        "learning_rate": 0.01,
        "batch_size": 32,
        "epochs": 10,
        "weight_decay": 0.02,
        "weight_decay_schedule": "flat_cosine",
        "dropout": 0.25,
        "dropout_schedule": "flat_cosine",
        "label_smoothing": 0.1,
        "smoothing_prior": [0.55] + [0.05] * 9,
        "clip_norm": 0.7,
        "sample_weight": np.linspace(0.5, 2, 140),
        "learning_rate_factors": [(1.0, 0.1), (3.0, 0.5)],
        "seed": 1 << 40,
    }
    history = net.fit(
        x[:140], y[:140], optimizer=tinyrs.Optimizer(algorithm, **OPTIMIZERS[optimizer]), **training
    )
    losses = oracle.fit(
        x[:140],
        y[:140],
        layers,
        loss="cross_entropy",
        optimizer=oracle.Optimizer(algorithm, **OPTIMIZERS[optimizer]),
        **options,
        **training,
    )
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-9)
    assert_close(net.parameters(), layers, 1e-9)


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy"])
def test_the_reported_training_loss_has_no_label_smoothing(loss: str) -> None:
    """Otherwise it could not be compared with the validation loss."""
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(40, 7)), targets(loss, 40, 5, labels=loss == "cross_entropy")
    output = "softmax" if loss == "cross_entropy" else "sigmoid"
    net = network([7, 9, 5], output_activation=output)
    exact, smoothed = (
        net.loss_and_gradients(x, y, loss=loss, label_smoothing=smoothing)[0] for smoothing in (0.0, 0.3)
    )
    assert smoothed != pytest.approx(exact, rel=1e-3)
    # One batch of all rows: the loss is that of the initial network.
    history = net.fit(x, y, loss=loss, label_smoothing=0.3, epochs=1, batch_size=40)
    assert history["loss"] == pytest.approx([exact], rel=1e-12)


@pytest.mark.parametrize("n_threads", [2, 3, 8])
def test_the_bits_do_not_depend_on_threads(n_threads: int, digits: Any) -> None:
    x, y = digits
    trained = []
    for threads in [1, n_threads]:
        net = network([64, 300, 10], precision="f32", output_activation="softmax")
        net.fit(x, y, epochs=2, dropout=0.2, seed=5, n_threads=threads)
        trained.append(pickle.dumps(net.parameters()))
    assert trained[0] == trained[1]


def test_equivalent_forms_of_targets_give_the_same_training(digits: Any) -> None:
    x, y = digits
    onehot = np.eye(10)[y]
    results = []
    for form in [y, y.tolist(), y.astype(np.uint8), onehot, onehot.astype(np.float32)]:
        net = network([64, 8, 10], output_activation="softmax")
        net.fit(x, form, epochs=1, seed=0)
        results.append(net.parameters()[0][0])
    for other in results[1:]:
        np.testing.assert_allclose(other, results[0], rtol=1e-12, atol=1e-15)
    # Two classes as booleans; a y of shape (rows,) for one output.
    network([64, 2], output_activation="softmax").fit(x, y > 4, epochs=1)
    for loss, output in [("binary_cross_entropy", "sigmoid"), ("squared_error", "identity")]:
        flat, column = (network([64, 1], output_activation=output) for _ in range(2))
        flat.fit(x, (y > 4) * 1.0, loss=loss, epochs=1, seed=0)
        column.fit(x, ((y > 4) * 1.0)[:, None], loss=loss, epochs=1, seed=0)
        assert pickle.dumps(flat.parameters()) == pickle.dumps(column.parameters())


def test_scores_are_those_of_scikit_learn(digits: Any) -> None:
    x, y = digits
    train, held = slice(0, 1000), slice(1000, None)
    net = network([64, 32, 10], activation="relu", output_activation="softmax")
    history = net.fit(x[train], y[train], epochs=5, validation=(x[held], y[held]), restore_best=False)
    accuracy = (net.forward(x[held]).argmax(axis=1) == y[held]).mean()
    assert history["validation_score"][-1] == pytest.approx(accuracy)

    t = np.stack([x[:, 5], x[:, 20] * 3], axis=1)
    net = network([64, 32, 2])
    history = net.fit(x[train], t[train], epochs=5, validation=(x[held], t[held]), restore_best=False)
    residual = ((net.forward(x[held]) - t[held]) ** 2).sum()
    total = ((t[held] - t[held].mean(axis=0)) ** 2).sum()
    assert history["validation_score"][-1] == pytest.approx(1 - residual / total)

    many = (x[:, 20:23] > 0.5) * 1.0
    net = network([64, 3], output_activation="sigmoid")
    history = net.fit(x[train], many[train], epochs=5, validation=(x[held], many[held]), restore_best=False)
    right = ((net.forward(x[held]) > 0.5) == (many[held] > 0.5)).all(axis=1).mean()
    assert history["validation_score"][-1] == pytest.approx(right)


def test_a_callback_sees_each_record_and_the_parameters_of_its_epoch(digits: Any) -> None:
    x, y = digits
    net = network([64, 16, 10], output_activation="softmax")
    seen: list[tuple[Record, float]] = []

    def callback(record: Record) -> bool:
        seen.append((record, float((net.forward(x[:500]).argmax(axis=1) == y[:500]).mean())))
        return len(seen) == 3

    history = net.fit(x, y, epochs=10, validation=(x[:500], y[:500]), callback=callback, restore_best=False)
    assert history.stopped_by == "callback"
    assert len(history) == len(seen) == 3
    for i, (record, accuracy) in enumerate(seen):
        assert record == history.records[i]
        assert set(record) == {
            "epoch",
            "loss",
            "validation_loss",
            "validation_score",
            "learning_rate",
            "seconds",
            "samples_per_second",
        }
        assert record["epoch"] == i
        assert record["validation_score"] == pytest.approx(accuracy)
    assert len({accuracy for _, accuracy in seen}) > 1


def test_an_error_in_a_callback_is_raised_by_fit(digits: Any) -> None:
    net = network([64, 16, 10], output_activation="softmax")
    with pytest.raises(ZeroDivisionError):
        net.fit(*digits, callback=lambda record: 1 // 0)
    # It can be changed and trained again.
    net.set_parameters(net.parameters())
    net.fit(*digits, epochs=1)


def test_a_network_in_training_can_be_read_but_not_changed(digits: Any) -> None:
    net = network([64, 16, 10], output_activation="softmax")
    caught = []

    def callback(record: Record) -> None:
        for change in (lambda: net.set_parameters(net.parameters()), lambda: net.fit(*digits)):
            with pytest.raises(RuntimeError, match="the network is being trained by another thread"):
                change()
            caught.append(record)

    net.fit(*digits, epochs=2, callback=callback)
    assert len(caught) == 4


def test_an_optimizer_keeps_its_state_and_is_pickled_with_it(digits: Any) -> None:
    x, y = digits
    options: dict[str, Any] = {"epochs": 1, "shuffle": False}
    through, stopped = (network([64, 16, 10], output_activation="softmax") for _ in range(2))
    optimizer = tinyrs.Optimizer("adamw", beta2=0.99)
    through.fit(x, y, optimizer=optimizer, **options | {"epochs": 3})
    assert optimizer.steps == 3 * 8
    kept = tinyrs.Optimizer("adamw", beta2=0.99)
    for _ in range(3):
        stopped.fit(x, y, optimizer=kept, **options)
        stopped, kept = pickle.loads(pickle.dumps((stopped, kept)))
        kept = copy.deepcopy(kept)
    assert pickle.dumps(through.parameters()) == pickle.dumps(stopped.parameters())
    assert repr(kept) == "Optimizer('adamw', beta1=0.9, beta2=0.99, epsilon=1e-8) after 24 steps"
    with pytest.raises(ValueError, match="optimizer: expected one used with a network of sizes"):
        network([64, 10], output_activation="softmax").fit(x, y, optimizer=kept)
    with pytest.raises(
        ValueError,
        match="optimizer: the network is f32, but the optimizer was used with f64; pass a new Optimizer",
    ):
        network([64, 16, 10], output_activation="softmax", precision="f32").fit(x, y, optimizer=kept)
    # Both errors left the state unchanged.
    assert kept.steps == 24


def test_divergence_says_what_to_try_and_restores_the_network(digits: Any) -> None:
    x, y = digits
    net = network([64, 16, 10], precision="f32", activation="relu", output_activation="softmax")
    before = pickle.dumps(net.parameters())
    with pytest.raises(
        FloatingPointError, match=r"in epoch 0 at learning rate 1e30; try a smaller learning_rate"
    ):
        net.fit(x, y, optimizer="sgd", learning_rate=1e30)
    assert pickle.dumps(net.parameters()) == before


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"X": np.ones(64)}, ValueError, r"X: expected shape \(rows, features\), got \(64,\)"),
        ({"X": np.ones((7, 63))}, ValueError, "X: expected 64 features, got 63"),
        ({"X": np.ones((0, 64)), "y": np.ones(0, int)}, ValueError, "X: expected from 1 to"),
        (
            {"X": np.full((7, 64), np.nan)},
            ValueError,
            "X: expected finite f64 values, got NaN at row 0, column 0",
        ),
        ({"X": "seven"}, TypeError, "X: expected an array of real numbers"),
        ({"y": np.ones(6, int)}, ValueError, "y: expected 7 rows, one per row of X, got 6"),
        ({"y": np.full(7, 10)}, ValueError, "y: expected labels from 0 to 9, got 10 at row 0"),
        ({"y": np.full(7, -1)}, ValueError, "y: expected labels of at least 0, got -1 at row 0"),
        ({"y": np.ones(7)}, TypeError, "y: expected integer labels, got ndarray of dtype float64"),
        ({"y": np.ones((7, 9))}, ValueError, r"y: expected shape \(7, 10\), got \(7, 9\)"),
        ({"y": np.ones((7, 10))}, ValueError, "y: expected rows that sum to 1, got 10 at row 0"),
        ({"y": np.ones((7, 10, 1))}, ValueError, r"y: expected shape \(rows,\) or \(rows, outputs\)"),
        ({"loss": "hinge"}, ValueError, 'loss: expected one of "cross_entropy"'),
        ({"loss": "binary_cross_entropy"}, ValueError, r"y: expected shape \(rows, 10\), got \(7,\)"),
        (
            {"optimizer": "rmsprop"},
            ValueError,
            'optimizer: expected one of "sgd", "adam", "adamw", got "rmsprop"',
        ),
        ({"optimizer": 3}, TypeError, "optimizer: expected a name or an Optimizer"),
        ({"schedule": "linear"}, ValueError, 'schedule: expected one of "constant"'),
        ({"learning_rate": 0.0}, ValueError, "learning_rate: expected a finite number above 0, got 0"),
        ({"learning_rate": np.inf}, ValueError, "learning_rate: expected a finite number above 0, got inf"),
        ({"learning_rate_factors": 3}, TypeError, "learning_rate_factors: expected a sequence of pairs"),
        ({"batch_size": 0}, ValueError, "batch_size: expected an integer of at least 1, got 0"),
        ({"epochs": 2.5}, TypeError, "epochs: expected an integer of at least 1, got 2.5"),
        (
            {"sample_weight": np.ones((7, 1))},
            ValueError,
            r"sample_weight: expected shape \(rows,\), got \(7, 1\)",
        ),
        ({"sample_weight": np.zeros(7)}, ValueError, "sample_weight: expected at least one weight above 0"),
        ({"validation": 3}, TypeError, r"validation: expected a pair \(X, y\)"),
        ({"validation": (np.ones((2, 3)), [0, 1])}, ValueError, "validation X: expected 64 features, got 3"),
        (
            {"validation": (np.ones((2, 64)), [0, 10])},
            ValueError,
            "validation y: expected labels from 0 to 9",
        ),
        ({"monitor": "score"}, ValueError, "monitor: expected"),
        ({"seed": -1}, ValueError, "seed: expected an integer of at least 0, got -1"),
        ({"callback": 3}, TypeError, "callback: expected a callable"),
    ],
)
def test_invalid_arguments_are_named_and_change_nothing(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    net = network([64, 16, 10], output_activation="softmax")
    before = pickle.dumps(net.parameters())
    with pytest.raises(error, match=message):
        net.fit(**{"X": np.ones((7, 64)), "y": np.ones(7, int)} | arguments)
    assert pickle.dumps(net.parameters()) == before
    net.set_parameters(net.parameters())


def test_other_threads_run_while_it_trains(digits: Any) -> None:
    x, y = np.tile(digits[0], (10, 1)), np.tile(digits[1], 10)
    net = network([64, 256, 256, 10], output_activation="softmax")
    trainer = threading.Thread(target=net.fit, args=(x, y), kwargs={"epochs": 2})
    counts = 0
    trainer.start()
    while trainer.is_alive():
        counts += 1
        net.forward(x[:1])
    trainer.join()
    assert counts > 100


def test_passes_of_other_threads_do_not_block_training(digits: Any) -> None:
    x, y = np.tile(digits[0], (10, 1)), np.tile(digits[1], 10)
    net = network([64, 128, 10], output_activation="softmax")
    done = threading.Event()

    def predict() -> None:
        # These passes are long enough to release the GIL, so that a pass is running nearly all the time.
        while not done.is_set():
            net.forward(x)

    threads = [threading.Thread(target=predict) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        history = net.fit(x, y, epochs=5, callback=lambda record: None)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert len(history) == 5


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
def test_ctrl_c_stops_training_and_keeps_the_last_finished_epoch() -> None:
    program = textwrap.dedent("""
        import time, pickle, numpy as np, tinyrs
        rng = np.random.default_rng(0)
        X, y = rng.normal(size=(20_000, 200)).astype("f4"), rng.integers(0, 10, 20_000)
        net, twin = (tinyrs.Network([200, 256, 10], output_activation="softmax", seed=1) for _ in range(2))
        epochs = 0
        def callback(record):
            global epochs
            epochs = record["epoch"] + 1
            print("epoch", flush=True)
        try:
            net.fit(X, y, epochs=10**6, callback=callback, seed=0)
        except KeyboardInterrupt:
            when, left, finished = time.time(), pickle.dumps(net.parameters()), []
            # The signal may arrive between the end of an epoch and the first line of the callback.
            save = lambda record: finished.append(pickle.dumps(twin.parameters()))
            twin.fit(X, y, epochs=epochs + 1, callback=save, seed=0)
            print("interrupted", when, left in finished[-2:], flush=True)
    """)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "epoch\n"
        time.sleep(0.1)
        sent = time.time()
        process.send_signal(signal.SIGINT)
        word, when, finished = next(line for line in process.stdout if line != "epoch\n").split()
        assert process.wait(30) == 0
    assert (word, finished) == ("interrupted", "True")
    # Usually less than 0.2 s; the rest is for a busy machine.
    assert float(when) - sent < 2


def test_progress_goes_to_standard_error(digits: Any, capfd: pytest.CaptureFixture[str]) -> None:
    network([64, 8, 10], output_activation="softmax").fit(*digits, epochs=2, progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "2/2" in err
    assert "loss=" in err


@pytest.mark.parametrize("init", ["glorot_uniform", "he_normal", "orthogonal", "log_uniform"])
def test_the_initial_weights_depend_on_init_and_seed(init: str) -> None:
    one, other, third = (network([20, 30, 5], init=init, seed=seed) for seed in (1, 1, 2))
    assert pickle.dumps(one.parameters()) == pickle.dumps(other.parameters())
    assert pickle.dumps(one.parameters()) != pickle.dumps(third.parameters())
    if init == "orthogonal":
        weight = one.parameters()[0][0]
        np.testing.assert_allclose(weight.T @ weight, np.eye(20), atol=1e-12)
    with pytest.raises(ValueError, match='init: expected one of "glorot_uniform"'):
        network([2, 2], init="zeros")


def test_a_list_of_activations_has_one_per_hidden_layer() -> None:
    names = ["selu", "gelu"]
    net = network([3, 4, 5, 2], activation=names, output_activation="same")
    assert net.activation == names
    assert pickle.loads(pickle.dumps(net)).activation == names
    assert repr(net) == (
        "Network([3, 4, 5, 2], activation=['selu', 'gelu'], output_activation='same', precision='f64')"
    )
    x = np.linspace(-2, 2, 6).reshape(2, 3)
    want = oracle.forward(x, net.parameters(), activation=names, output_activation="same")
    np.testing.assert_allclose(net.forward(x), want, rtol=1e-13)
    with pytest.raises(
        ValueError, match="activation: expected one name, or 2 names, one for each hidden layer, got 3 names"
    ):
        network([3, 4, 5, 2], activation=["tanh"] * 3)
    with pytest.raises(TypeError, match="activation: expected a name or a list of names"):
        network([3, 4, 2], activation=3)


def test_an_optimizer_that_does_not_fit_keeps_its_state() -> None:
    data: dict[str, Any] = {"X": np.ones((8, 4)), "y": np.zeros((8, 3))}
    net, optimizer = network([4, 3], precision="f32"), tinyrs.Optimizer("adam")
    net.fit(**data, optimizer=optimizer, epochs=2)
    before = pickle.dumps(optimizer)
    for other, message in [
        (
            network([4, 3], precision="f64"),
            "optimizer: the network is f64, but the optimizer was used with f32; pass",
        ),
        (network([4, 5, 3], precision="f32"), "optimizer: expected"),
    ]:
        with pytest.raises(ValueError, match=message):
            other.fit(**data, optimizer=optimizer)
        assert pickle.dumps(optimizer) == before

    def callback(_: Any) -> None:
        network([4, 3], precision="f32").fit(**data, optimizer=optimizer)

    with pytest.raises(RuntimeError, match="optimizer: it is in use by another call of fit"):
        net.fit(**data, optimizer=optimizer, callback=callback)
    assert repr(optimizer).endswith("after 3 steps")

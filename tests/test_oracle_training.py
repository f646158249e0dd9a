"""The oracle's training: gradients against central differences, updates against scalar formulas."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tinyrs import oracle
from tinyrs.oracle import Array, Layer

COMBINATIONS = [
    (loss, output, activation)
    for loss, outputs in oracle.LOSSES.items()
    for output in outputs
    for activation in oracle.ACTIVATIONS
]
BATCH, SIZES = 6, [4, 5, 7, 3]


def random_layers(sizes: list[int], dtype: npt.DTypeLike = float, seed: int = 0) -> list[Layer]:
    rng = np.random.default_rng(seed)
    return [
        (rng.normal(size=(o, i)).astype(dtype) / math.sqrt(i), rng.normal(size=o).astype(dtype))
        for i, o in pairwise(sizes)
    ]


def random_targets(loss: str, kind: str = "soft") -> npt.NDArray[Any]:
    rng = np.random.default_rng(2)
    if loss == "cross_entropy":
        return rng.integers(3, size=BATCH) if kind == "labels" else rng.dirichlet(np.ones(3), size=BATCH)
    return rng.random((BATCH, 3)) if loss == "binary_cross_entropy" else rng.normal(size=(BATCH, 3))


def random_masks(p: float = 0.3) -> list[Array]:
    rng = np.random.default_rng(3)
    return [(rng.random((BATCH, width)) >= p) / (1 - p) for width in SIZES[1:-1]]


def differences(f: Callable[[], float], parameter: Array, h: float = 1e-5) -> Array:
    """df / dparameter by central differences, one element at a time."""
    gradient = np.empty_like(parameter)
    for index in np.ndindex(parameter.shape):
        value = parameter[index]
        parameter[index] = value + h
        above = f()
        parameter[index] = value - h
        below = f()
        parameter[index] = value
        gradient[index] = (above - below) / (2 * h)
    return gradient


def check_gradient(gradient: Array, expected: Array) -> None:
    """The errors of central differences, h^2 times a third derivative and eps / h, are about 1e-10 each."""
    assert gradient.shape == expected.shape
    assert np.abs(gradient - expected).max() <= 1e-7 * np.abs(expected).max()


# Gradients.


@pytest.mark.parametrize(("loss", "output", "activation"), COMBINATIONS)
def test_gradients_match_central_differences(loss: str, output: str, activation: str) -> None:
    layers = random_layers(SIZES)
    x = np.random.default_rng(1).normal(size=(BATCH, SIZES[0]))
    smoothing = 0.0 if loss == "squared_error" else 0.1
    plain: dict[str, Any] = {}
    everything: dict[str, Any] = {
        "sample_weight": np.random.default_rng(4).uniform(0.2, 3, BATCH),
        "label_smoothing": smoothing,
        "smoothing_prior": None
        if loss == "squared_error"
        else [0.5] + [0.5 / (SIZES[-1] - 1)] * (SIZES[-1] - 1),
        "masks": random_masks(),
    }
    for options in (plain, everything):
        for y in (random_targets(loss, "labels"), random_targets(loss)):

            def run(y: npt.NDArray[Any] = y, options: dict[str, Any] = options) -> tuple[float, list[Layer]]:
                return oracle.loss_and_gradients(
                    x,
                    y,
                    layers,
                    loss=loss,
                    activation=activation,
                    output_activation=output,
                    activation_scale=1.25,
                    **options,
                )

            _, gradients = run()
            assert len(gradients) == len(layers)
            for layer, layer_gradients in zip(layers, gradients, strict=True):
                for parameter, gradient in zip(layer, layer_gradients, strict=True):
                    check_gradient(gradient, differences(lambda run=run: run()[0], parameter))  # type: ignore[misc]


@pytest.mark.parametrize("activation", oracle.ACTIVATIONS)
@pytest.mark.parametrize("output", oracle.OUTPUT_ACTIVATIONS)
def test_backward_matches_central_differences(output: str, activation: str) -> None:
    layers, rng = random_layers(SIZES), np.random.default_rng(1)
    x, d = rng.normal(size=(BATCH, SIZES[0])), rng.normal(size=(BATCH, SIZES[-1]))
    options: dict[str, Any] = {
        "activation": ["tanh", activation],
        "output_activation": output,
        "activation_scale": 1.25,
    }

    def f() -> float:
        return float((d * oracle.forward(x, layers, **options)).sum())

    dx, gradients = oracle.backward(x, d, layers, **options)
    check_gradient(dx, differences(f, x))
    for layer, layer_gradients in zip(layers, gradients, strict=True):
        for parameter, gradient in zip(layer, layer_gradients, strict=True):
            check_gradient(gradient, differences(f, parameter))


def test_check_gradient_rejects_a_wrong_sign_and_zeros() -> None:
    expected = np.random.default_rng(0).normal(size=(5, 4))
    check_gradient(expected.copy(), expected)
    smallest = np.unravel_index(np.abs(expected).argmin(), expected.shape)
    wrong = expected.copy()
    wrong[smallest] *= -1
    for gradient in (wrong, np.zeros_like(expected)):
        with pytest.raises(AssertionError):
            check_gradient(gradient, expected)


@pytest.mark.parametrize("activation", oracle.ACTIVATIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_derivatives_are_finite_and_at_zero_the_left_ones(activation: str, dtype: type[np.floating]) -> None:
    largest = float(np.finfo(dtype).max)
    z = np.array([-largest, -1e5, 0, 1e5, largest], dtype)
    with np.errstate(over="ignore"):
        y, dy = oracle.activate(z, activation), oracle.derivative(z, activation)
    assert y.dtype == dy.dtype == dtype
    assert np.isfinite(y).all()
    assert np.isfinite(dy).all()
    at_zero = {"sigmoid": 0.25, "relu": 0, "leaky_relu": 0.01, "gelu": 0.5, "silu": 0.5}
    at_zero["selu"] = 1.0507009873554804934 * 1.6732632423543772848
    assert dy[2] == pytest.approx(at_zero.get(activation, 1), rel=1e-6)


# Losses.


def small_loss(z: list[list[float]], y: npt.ArrayLike, **options: Any) -> float:
    """The loss of a network with the outputs z."""
    x = np.array(z)
    layer = (np.eye(x.shape[1]), np.zeros(x.shape[1]))
    options = {"output_activation": "identity", **options}
    return oracle.loss_and_gradients(x, y, [layer], activation="tanh", **options)[0]


def test_losses_match_their_formulas() -> None:
    z = [[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]]
    logs = [[v - math.log(sum(map(math.exp, row))) for v in row] for row in z]
    labels = (-logs[0][2] - logs[1][0]) / 2
    assert small_loss(z, [2, 0], loss="cross_entropy") == pytest.approx(labels, rel=1e-14)
    assert small_loss(z, [[0, 0, 1], [1, 0, 0]], loss="cross_entropy") == pytest.approx(labels, rel=1e-14)
    smoothed = 0.7 * labels + 0.3 * -sum(map(sum, logs)) / 6
    mixed = [[0.05, 0.2, 0.75], [0.75, 0.2, 0.05]]
    assert small_loss(
        z, [2, 0], loss="cross_entropy", label_smoothing=0.3, smoothing_prior=[1 / 6, 2 / 3, 1 / 6]
    ) == pytest.approx(small_loss(z, mixed, loss="cross_entropy"), rel=1e-14)
    assert small_loss(z, [2, 0], loss="cross_entropy", label_smoothing=0.3) == pytest.approx(
        smoothed, rel=1e-14
    )
    weighted = (3 * -logs[0][2] + 1 * -logs[1][0]) / 4
    assert small_loss(z, [2, 0], loss="cross_entropy", sample_weight=[3, 1]) == pytest.approx(
        weighted, rel=1e-14
    )

    y = [[1.0, 0.0, 0.25], [0.0, 1.0, 1.0]]
    p = [[1 / (1 + math.exp(-v)) for v in row] for row in z]
    for smoothing in (0.0, 0.2):
        terms = [
            -(t * math.log(q) + (1 - t) * math.log(1 - q))
            for q_row, y_row in zip(p, y, strict=True)
            for q, t in zip(q_row, ((1 - smoothing) * v + smoothing / 2 for v in y_row), strict=True)
        ]
        got = small_loss(z, y, loss="binary_cross_entropy", label_smoothing=smoothing)
        assert got == pytest.approx(sum(terms) / 6, rel=1e-14)

    assert small_loss([[1.0], [4.0]], [3, 5], loss="squared_error") == (4 + 1) / 2
    assert small_loss([[1.0, 2.0]], [[1, 5]], loss="squared_error") == 9 / 2


@pytest.mark.parametrize(
    ("loss", "output"), [(loss, o) for loss in oracle.LOSSES for o in oracle.LOSSES[loss]]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_losses_of_the_largest_numbers_are_finite(loss: str, output: str, dtype: type[np.floating]) -> None:
    largest = np.finfo(dtype).max
    x = np.array([[largest, -largest], [-largest, largest], [0, largest]], dtype)
    layer = (np.eye(2, dtype=dtype), np.zeros(2, dtype))
    y = np.array([[0, 1], [0, 1], [1, 0]], dtype)
    value, ((_, db),) = oracle.loss_and_gradients(
        x, y, [layer], loss=loss, activation="tanh", output_activation=output
    )
    assert math.isfinite(value)
    assert db.dtype == dtype
    assert np.isfinite(db).all()


def test_scaled_weights_are_not_scaled_again() -> None:
    z, y = [[0.0], [0.0]], [1, 2]
    weighted: dict[str, Any] = {"loss": "squared_error", "sample_weight": [6, 2]}
    assert small_loss(z, y, **weighted) == (6 * 1 + 2 * 4) / 8
    assert small_loss(z, y, weights_are_scaled=True, **weighted) == (6 * 1 + 2 * 4) / 2


def test_invalid_arguments_raise() -> None:
    z, y = [[0.0, 1.0]], [[0, 1]]
    with pytest.raises(ValueError, match=r"loss: expected one of cross_entropy, .* got 'hinge'"):
        small_loss(z, y, loss="hinge")
    with pytest.raises(
        ValueError, match=r"output_activation for cross_entropy: expected one of softmax, iden"
    ):
        small_loss(z, y, loss="cross_entropy", output_activation="sigmoid")
    with pytest.raises(ValueError, match=r"label_smoothing: expected 0 for squared_error, got 0\.1"):
        small_loss(z, y, loss="squared_error", label_smoothing=0.1)
    with pytest.raises(ValueError, match=r"y: expected shape \(1, 2\), got \(1,\)"):
        small_loss(z, [1], loss="squared_error")
    with pytest.raises(ValueError, match=r"sample_weight: expected shape \(1,\), got \(2,\)"):
        small_loss(z, y, loss="squared_error", sample_weight=[1, 2])
    with pytest.raises(ValueError, match=r"optimizer: expected one of sgd, adam, adamw, got 'lion'"):
        oracle.Optimizer("lion")
    with pytest.raises(ValueError, match=r"schedule: expected one of constant, .* got 'linear'"):
        oracle.schedule("linear", 0.5)
    with pytest.raises(ValueError, match=r"activation: expected one of sigmoid, .* got 'swish'"):
        oracle.derivative(np.zeros(1), "swish")
    with pytest.raises(ValueError, match="dropout: expected 0 <= p < 1, got 1"):
        fit_blobs(random_layers([2, 2]), dropout=1.0)


# Randomness.


def slow_mix(x: int) -> int:
    x ^= x >> 16
    x = x * 0x7FEB352D % 2**32
    x ^= x >> 15
    x = x * 0x846CA68B % 2**32
    return x ^ x >> 16


def slow_key(seed: int, *words: int) -> int:
    h = slow_mix(seed % 2**32)
    for word in (seed >> 32, *words):
        h = slow_mix((h + word) % 2**32)
    return h


def test_mix_and_key_match_python_integers() -> None:
    numbers = [0, 1, 2, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]
    mixed = oracle.mix(np.array(numbers, np.uint32))
    assert mixed.dtype == np.uint32
    assert mixed.tolist() == [slow_mix(n) for n in numbers]
    # A fixed value, in case both functions change together.
    assert mixed[1] == slow_mix(1) == 0x688990C0
    for seed in (0, 42, 2**32, 2**64 - 1):
        assert oracle.key(seed, 1, 2**32 - 1).tolist() == [slow_key(seed, 1, 2**32 - 1)]
        rows = np.arange(3, dtype=np.uint32)
        assert oracle.key(seed, 1, 7, rows).tolist() == [slow_key(seed, 1, 7, r) for r in range(3)]


def test_each_epoch_has_another_order() -> None:
    orders = [oracle.shuffled(1000, seed, epoch) for seed in (0, 2**40) for epoch in range(3)]
    for order in orders:
        assert sorted(order.tolist()) == list(range(1000))
    assert len({tuple(order.tolist()) for order in orders}) == len(orders)
    hashes = [slow_mix((slow_key(2**40, 0, 2) + i) % 2**32) for i in range(1000)]
    assert orders[-1].tolist() == sorted(range(1000), key=hashes.__getitem__)


def test_dropout_masks_have_the_right_share_of_zeros_and_mean_1() -> None:
    batch, widths = 200, [300, 500]
    for p in (0.1, 0.5, 0.8):
        masks = oracle.dropout_masks(batch, widths, p, 5, 3, np.dtype(np.float32))
        for layer, (mask, width) in enumerate(zip(masks, widths, strict=True)):
            assert mask.shape == (batch, width)
            assert mask.dtype == np.float32
            assert set(np.unique(mask)) == {np.float32(0), np.float32(1 / (1 - p))}
            deviation = math.sqrt(p * (1 - p) / mask.size)
            assert abs((mask == 0).mean() - p) < 5 * deviation
            assert abs(mask.mean(dtype=float) - 1) < 5 * deviation / (1 - p)
            for r, j in ((0, 0), (7, 11), (199, 299)):
                u = slow_mix((slow_key(5, 1, 3, layer, r) + j) % 2**32)
                assert (mask[r, j] == 0) == (u >> 8 < math.floor(p * 2**24))
    again = oracle.dropout_masks(batch, widths, 0.5, 5, 4, np.dtype(np.float32))
    first = oracle.dropout_masks(batch, widths, 0.5, 5, 3, np.dtype(np.float32))
    assert 0.45 < (again[0] == first[0]).mean() < 0.55
    assert 0.45 < (first[0] == first[1][:, :300]).mean() < 0.55


# Schedules.


@pytest.mark.parametrize(
    ("name", "points"),
    [
        ("constant", {0: 1, 0.5: 1, 1: 1}),
        ("warmup_cosine", {0: 0, 0.05: 0.5, 0.1: 1, 0.55: 0.5, 1: 0}),
        ("one_cycle", {0: 1 / 25, 0.15: (1 + 1 / 25) / 2, 0.3: 1, 0.65: (1 + 1 / 25e4) / 2, 1: 1 / 25e4}),
        (
            "coslog4",
            {0: 0, (2**0.5 - 1) / 15: 1, 1 / 15: 0, 3 / 15: 0, 7 / 15: 0, (2**3.5 - 1) / 15: 1, 1: 0},
        ),
        ("flat_cosine", {0: 1, 0.25: 1, 0.5: 1, 0.75: 0.5, 1: 0}),
    ],
)
def test_schedules_at_known_points(name: str, points: dict[float, float]) -> None:
    for t, expected in points.items():
        value = oracle.schedule(name, t)
        assert type(value) is float
        assert value == pytest.approx(expected, abs=1e-13)


def test_schedules_are_all_tested_and_stay_between_0_and_1() -> None:
    assert set(oracle.SCHEDULES) == {"constant", "warmup_cosine", "one_cycle", "coslog4", "flat_cosine"}
    for name in oracle.SCHEDULES:
        assert all(0 <= oracle.schedule(name, t) <= 1 for t in np.linspace(0, 1, 1001))


# Optimizers.


def slow_steps(name: str, w: float, gradients: list[float], rate: float, decay: float, **how: Any) -> float:
    """One parameter after an update for each gradient."""
    m = v = 0.0
    for t, g in enumerate(gradients, 1):
        if name == "adamw":
            w -= rate * decay * w
        else:
            g += decay * w
        if name == "sgd":
            m = how["momentum"] * m + g
            w -= rate * (g + how["momentum"] * m if how["nesterov"] else m)
        else:
            b1, b2 = how["beta1"], how["beta2"]
            m = b1 * m + (1 - b1) * g
            v = b2 * v + (1 - b2) * g * g
            w -= rate * (m / (1 - b1**t)) / (math.sqrt(v / (1 - b2**t)) + how["epsilon"])
    return w


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("sgd", {"momentum": 0.0, "nesterov": False}),
        ("sgd", {"momentum": 0.8, "nesterov": False}),
        ("sgd", {"momentum": 0.8, "nesterov": True}),
        ("adam", {"beta1": 0.8, "beta2": 0.9, "epsilon": 1e-3}),
        ("adamw", {"beta1": 0.8, "beta2": 0.9, "epsilon": 1e-3}),
    ],
)
@pytest.mark.parametrize("clip_norm", [None, 0.5, 100.0])
def test_two_updates_match_scalar_formulas(name: str, how: dict[str, Any], clip_norm: float | None) -> None:
    layers = random_layers([2, 3, 1])
    before = [(W.copy(), b.copy()) for W, b in layers]
    gradients = [random_layers([2, 3, 1], seed=seed) for seed in (1, 2)]
    factors = [(2.0, 0.5), (1.0, 3.0)]
    optimizer = oracle.Optimizer(name, **how)
    clipped = []
    for step_gradients in gradients:
        norm = math.sqrt(sum(float((g * g).sum()) for layer in step_gradients for g in layer))
        clipped.append(1.0 if clip_norm is None else clip_norm / max(norm, clip_norm))
        optimizer.update(
            layers,
            step_gradients,
            0.1,
            weight_decay=0.3,
            clip_norm=clip_norm,
            learning_rate_factors=factors,
        )
    assert (clip_norm == 0.5) == (max(clipped) < 1)
    for number, layer in enumerate(layers):
        for which, decay in ((0, 0.3), (1, 0.0)):  # biases do not decay
            for index, after in np.ndenumerate(layer[which]):
                g = [c * float(s[number][which][index]) for c, s in zip(clipped, gradients, strict=True)]
                rate = 0.1 * factors[number][which]
                w = slow_steps(name, float(before[number][which][index]), g, rate, decay, **how)
                assert after == pytest.approx(w, rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("name", oracle.OPTIMIZERS)
def test_moments_never_become_denormal(name: str) -> None:
    layers = [(np.ones((1, 2), np.float32), np.ones(1, np.float32))]
    optimizer = oracle.Optimizer(name, momentum=0.5, beta1=0.5, beta2=0.5)
    for g in [1e-18, *[0.0] * 150]:
        gradients = [(np.full((1, 2), g, np.float32), np.full(1, g, np.float32))]
        optimizer.update(layers, gradients, 0.1)
        for moments in optimizer.moments[0]:
            for moment in moments:
                assert moment.dtype == np.float32
                assert ((moment == 0) | (np.abs(moment) >= np.finfo(np.float32).tiny)).all()
    assert all((moment == 0).all() for moments in optimizer.moments[0] for moment in moments)
    assert layers[0][0].dtype == np.float32


# Training.


def blobs(n: int = 90) -> tuple[Array, npt.NDArray[np.int64]]:
    """Three well-separated classes in the plane."""
    y = np.arange(n) % 3
    centres = np.array([[0.0, 2.0], [2.0, -1.0], [-2.0, -1.0]])
    return centres[y] + 0.3 * np.random.default_rng(0).normal(size=(n, 2)), y


def fit_blobs(layers: list[Layer], **options: Any) -> list[float]:
    x, y = blobs()
    optimizer = options.pop("optimizer", None) or oracle.Optimizer("adam")
    defaults: dict[str, Any] = {
        "loss": "cross_entropy",
        "activation": "relu",
        "output_activation": "softmax",
        "learning_rate": 0.02,
        "batch_size": 16,
        "epochs": 25,
    }
    return oracle.fit(x, y, layers, optimizer=optimizer, **{**defaults, **options})


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("sgd", {"schedule": "one_cycle", "weight_decay": 1e-3}),
        ("adam", {"schedule": "coslog4", "activation": ["gelu"], "dropout": 0.2}),
        ("adamw", {"schedule": "warmup_cosine", "label_smoothing": 0.05, "clip_norm": 1.0}),
    ],
)
def test_fit_learns_separable_classes(dtype: npt.DTypeLike, name: str, options: dict[str, Any]) -> None:
    layers = random_layers([2, 16, 3], dtype)
    losses = fit_blobs(layers, optimizer=oracle.Optimizer(name), seed=7, **options)
    x, y = blobs()
    p = oracle.forward(x, layers, activation=options.get("activation", "relu"), output_activation="softmax")
    assert p.dtype == dtype
    assert (p.argmax(axis=1) == y).all()
    assert len(losses) == 25
    assert losses[-1] < 0.5 * losses[0]


def test_fit_matches_a_loop_over_its_steps() -> None:
    """Two epochs of 90 samples in batches of 40, with order, weights, masks and rates written out."""
    x, y = blobs()
    weights = np.random.default_rng(1).uniform(0.1, 5, len(x))
    common: dict[str, Any] = {"loss": "cross_entropy", "activation": "tanh", "output_activation": "softmax"}
    layers = random_layers([2, 8, 5, 3])
    (loss, _) = oracle.fit(
        x,
        y,
        layers,
        **common,
        optimizer=oracle.Optimizer("adamw"),
        learning_rate=0.1,
        schedule="one_cycle",
        batch_size=40,
        epochs=2,
        weight_decay=0.2,
        weight_decay_schedule="flat_cosine",
        dropout=0.4,
        dropout_schedule="flat_cosine",
        sample_weight=weights,
        seed=9,
        learning_rate_factors=[(1.0, 0.1)] * 3,
    )
    again, optimizer = random_layers([2, 8, 5, 3]), oracle.Optimizer("adamw")
    totals = [0.0, 0.0]
    for step in range(6):
        epoch, t = step // 3, step / 6
        rows = oracle.shuffled(90, 9, epoch)[step % 3 * 40 :][:40]
        assert len(rows) == (10 if step % 3 == 2 else 40)
        p = 0.4 * oracle.schedule("flat_cosine", t)
        w = (weights / weights.mean())[rows]
        value, gradients = oracle.loss_and_gradients(
            x[rows],
            y[rows],
            again,
            **common,
            sample_weight=w,
            masks=oracle.dropout_masks(len(rows), [8, 5], p, 9, step, np.dtype(np.float64)),
        )
        # loss_and_gradients scaled the weights to mean 1 over the batch; fit scales over all samples.
        gradients = [(w.mean() * dW, w.mean() * db) for dW, db in gradients]
        totals[epoch] += value * w.sum()
        optimizer.update(
            again,
            gradients,
            0.1 * oracle.schedule("one_cycle", t),
            weight_decay=0.2 * oracle.schedule("flat_cosine", t),
            learning_rate_factors=[(1.0, 0.1)] * 3,
        )
    assert loss == pytest.approx(totals[0] / 90, rel=1e-12)
    for layer, other in zip(layers, again, strict=True):
        for parameter, expected in zip(layer, other, strict=True):
            assert np.abs(parameter - expected).max() <= 1e-10 * np.abs(expected).max()


def test_without_shuffling_batches_are_in_order_and_zero_weights_have_no_effect() -> None:
    x, y = blobs()
    in_order, doubled = random_layers([2, 4, 3]), random_layers([2, 4, 3])
    options: dict[str, Any] = {
        "loss": "cross_entropy",
        "activation": "tanh",
        "output_activation": "identity",
        "learning_rate": 0.1,
        "epochs": 2,
        "shuffle": False,
        "batch_size": 10,
    }
    first = oracle.fit(x[:30], y[:30], in_order, optimizer=oracle.Optimizer("sgd", momentum=0.0), **options)
    # The last 60 samples have weight 0, so those of the others are 3 after scaling to mean 1.
    options["learning_rate"] = 0.1 / 3
    second = oracle.fit(
        x,
        y,
        doubled,
        optimizer=oracle.Optimizer("sgd", momentum=0.0),
        sample_weight=[1] * 30 + [0] * 60,
        **options,
    )
    assert second == pytest.approx(first, rel=1e-12)
    for (W, _), (V, _) in zip(in_order, doubled, strict=True):
        assert np.allclose(W, V, rtol=1e-12, atol=0)

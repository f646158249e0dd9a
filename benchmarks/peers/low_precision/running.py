"""Measures forward passes in low precision on one workload: verify, take turns, verify again.

Errors are relative: the largest difference from the oracle in f64 with unquantized weights, over the largest
output. Libraries quantize in different ways, so an answer is right if its error is at most a few times that
of the plain algorithm for its format, which `tinyrs.oracle_quantized` specifies.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import numpy as np
from tinyrs import oracle_quantized
from tinyrs.bench.verify import Agreement, WrongAnswerError
from tinyrs.oracle import Array

from peers.low_precision.engines import OURS, LowPrecision
from peers.running import SHALLOW, Check, Checks, Outcome, Settings, Timing, fits, measure, reference_of
from peers.workloads import Workload

# Times the error of the plain algorithm: one scale for a whole batch or layer is less accurate than one for
# each row and output, and so are 7 bits.
_ERROR_FACTOR = 4
# Allowing a larger relative error would accept wrong answers.
_MAX_ALLOWED = 0.25
# Rows of a check, so that the largest error is not that of one lucky row.
_ROWS = 16
# Copies of the weights in f32 that would take as much memory as all engines. Measured without PyTorch: 22.
_COPIES = 25


def compare(workload: Workload, engines: Mapping[str, LowPrecision], settings: Settings) -> Outcome:
    """Builds, verifies, times and frees the engines of one workload. Its errors are relative."""
    outcome = Outcome(workload)
    if fits(outcome, engines, _COPIES):
        checks = _checks(workload, dict.fromkeys(engine.format for engine in engines.values()))
        makes = {name: engine.make for name, engine in engines.items()}
        measure(outcome, makes, settings, lambda name: checks[engines[name].format])
    return outcome


def _checks(workload: Workload, formats: Iterable[str]) -> dict[str, Checks]:
    """The checks of each format: the first layers and the whole network, both on several inputs."""
    inputs = workload.inputs()
    each = max(1, _ROWS // workload.batch // 2)
    several = [*inputs[:each], *inputs[-each:]]
    head = _checks_of(workload.head(SHALLOW), several, formats)
    whole = _checks_of(workload, several, formats)
    return {name: Checks(head[name], whole[name], whole[name]) for name in formats}


def _checks_of(workload: Workload, inputs: Sequence[Array], formats: Iterable[str]) -> dict[str, Check]:
    x = np.concatenate(inputs)
    reference = reference_of(workload, x)
    right = reference.output
    # Biases, activations and sums are in f32, or may be.
    rounding = float(reference.allowed.max() / np.abs(right).max())
    checks = {}
    for name in formats:
        allowed = rounding
        if name != "f32":
            answer = forward(workload, x, name)
            if name == "bf16":
                # Libraries have activations and outputs in bf16 too.
                answer = oracle_quantized.round_to_bfloat16(answer)
            allowed += _ERROR_FACTOR * relative_error(answer, right)
        checks[name] = Check(workload, inputs, partial(check, right, allowed))
    return checks


def forward(workload: Workload, x: Array, weights: str) -> Array:
    """The output of `oracle_quantized` for x (batch, inputs), with weights in the format `weights`.

    Holds one layer at a time.
    """
    layers = workload.parameters()
    for i, layer in enumerate(layers):
        x = oracle_quantized.forward_quantized(
            x,
            oracle_quantized.quantize([layer], weights),
            activation=workload.activation,
            output_activation="same" if i + 1 < len(layers) else workload.output_activation,
        )
    return x


def relative_error(answer: Array, right: Array) -> float:
    """The largest difference over the largest right value."""
    return float(np.abs(answer.astype(np.float64) - right).max() / np.abs(right).max())


def check(right: Array, allowed: float, answer: Array) -> Agreement:
    """Compares an answer with the oracle's. Raises WrongAnswerError."""
    if answer.shape != right.shape:
        raise WrongAnswerError(f"expected an answer of shape {right.shape}, got {answer.shape}")
    if not allowed <= _MAX_ALLOWED:
        raise WrongAnswerError(
            f"cannot be verified: this format may change outputs by {allowed:.1%} of the largest one"
        )
    error = relative_error(answer, right)
    # Also finds NaN.
    if not error <= allowed:
        raise WrongAnswerError(
            f"off by {error:.1e} of the largest output, but only {allowed:.1e} is allowed in this format"
        )
    return Agreement(error, allowed)


def is_ours(engine: str) -> bool:
    """Whether the engine is a format of tinyrs."""
    return engine.split()[0] == OURS


def contenders(outcome: Outcome) -> list[Timing]:
    """Each engine with its faster number of threads, fastest first."""
    found = (outcome.best(name) for name in dict.fromkeys(t.engine for t in outcome.timings))
    return sorted((t for t in found if t), key=lambda t: t.median_ms)


def fastest(outcome: Outcome, than: Timing, *, peer: bool = False) -> Timing | None:
    """The fastest timing whose error is not larger than that of `than`; with `peer`, not of tinyrs.

    The error of an engine may depend on the number of threads. Errors are compared as they are printed, to
    two digits.
    """
    found = (t for t in outcome.timings if _printed(t.error) <= _printed(than.error))
    candidates = (t for t in found if not (peer and is_ours(t.engine)))
    return min(candidates, key=lambda t: t.median_ms, default=None)


def ratio(outcome: Outcome, weights: str) -> float | None:
    """The time of the fastest peer whose error is not larger, over that of tinyrs in a format."""
    ours = outcome.best(f"{OURS} {weights}")
    theirs = fastest(outcome, ours, peer=True) if ours else None
    return theirs.median_ms / ours.median_ms if ours and theirs else None


def gain(outcome: Outcome, weights: str) -> float | None:
    """The time of tinyrs in f32 over that in a format."""
    f32, ours = (outcome.best(f"{OURS} {name}") for name in ("f32", weights))
    return f32.median_ms / ours.median_ms if f32 and ours else None


def _printed(error: float) -> float:
    return float(f"{error:.1e}")

"""`__setstate__` of Optimizer and TinyClassifier with changed states: restored, or refused with an error.

Unpickling untrusted bytes runs code; but a state from another version or a damaged one must not crash.
"""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import numpy as np
from tinyrs import Optimizer, TinyClassifier

from fuzz.harness import Source, network

X = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
Y = np.arange(12) % 2
USED = Optimizer("adam")
network().fit(X, Y, epochs=1, optimizer=USED)
STATE = USED.__reduce__()[2]
CLASSIFIER = TinyClassifier(hidden_layer_sizes=(4,), max_iter=1, random_state=0).fit(X, Y)


def array(source: Source) -> Any:
    dtype = source.pick(["f4", "f8", "i8", "U1", "O", "c8", "?"])
    shape = tuple(source.whole(4) for _ in range(source.whole(3)))
    values = np.zeros((2, *shape), dtype=dtype)
    return source.pick(
        [values, values[::-1], np.full(shape, np.nan, "f4"), np.full(shape, np.inf), values.tolist()]
    )


def optimizer_state(source: Source) -> Any:
    state: dict[Any, Any] = copy.deepcopy(STATE)
    for _ in range(source.whole(3)):
        key = source.pick([*sorted(state, key=str), "other"])
        kind = source.whole(4)
        if kind == 0:
            state.pop(key, None)
        elif kind == 1:
            state[key] = source.json()
        elif kind == 2 and isinstance(state.get(key), list) and state[key]:
            state[key][source.whole(len(state[key]) - 1)] = (array(source), array(source))
        elif kind == 3:
            state[key] = [(array(source), array(source)) for _ in range(source.whole(3))]
        else:
            state[key] = array(source)
    return state


def change_an_optimizer(source: Source) -> None:
    state, optimizer = optimizer_state(source), Optimizer(source.pick(["adam", "sgd"]))
    try:
        optimizer.__setstate__(state)
    except (TypeError, ValueError, OverflowError):
        assert optimizer.steps == 0
    copy.copy(optimizer)
    repr(optimizer)
    trained = network()
    # The state may be of other sizes or another precision.
    with contextlib.suppress(ValueError, FloatingPointError):
        trained.fit(X, Y, epochs=1, optimizer=optimizer)
    assert np.isfinite(trained.forward(X)).all()


def change_a_classifier(source: Source) -> None:
    state = CLASSIFIER.__getstate__()
    for _ in range(source.whole(2)):
        key = source.pick(sorted(state))
        if isinstance(state[key], bytes) and source.whole(1):
            damaged = bytearray(state[key])
            damaged[source.whole(len(damaged) - 1)] = source.whole(255)
            state[key] = bytes(damaged)
        elif source.whole(1):
            del state[key]
        else:
            state[key] = source.pick([source.json(), array(source)])
    restored = TinyClassifier()
    try:
        restored.__setstate__(state)
        restored.predict_proba(X)
    except Exception:  # the state is any Python object: only a crash or a hang is a finding
        pass
    np.testing.assert_equal(CLASSIFIER.predict(X).shape, (12,))


def seeds() -> dict[str, bytes]:
    return {f"{kind}-{i}": kind.encode() + bytes(range(i, i + 64)) for kind in "oc" for i in (0, 3, 90)}


def one(data: bytes) -> None:
    source = Source(data[1:])
    (change_a_classifier if data.startswith(b"c") else change_an_optimizer)(source)

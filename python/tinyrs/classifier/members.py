"""The networks that one `fit` trains."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

from tinyrs._tinyrs import Network
from tinyrs.history import Record
from tinyrs.tuning.calibration import divide_logits

Callback = Callable[[Record], object]


def all_of(callbacks: Sequence[Callback]) -> Callable[[Record], bool]:
    """A callback that calls all of `callbacks`, and returns True if one of them does."""
    # Not any(): each callback is called after each epoch.
    return lambda record: sum(bool(call(record)) for call in callbacks) > 0


class Members(tuple[Network, ...]):
    """The networks of an ensemble, or the only network of a fit."""

    def averaged(self) -> Network:
        """A copy of the networks as one whose outputs are their means."""
        return Network.ensemble(self)

    def parameters(self) -> list[Any]:
        """The parameters of each network."""
        return [network.parameters() for network in self]

    def set_parameters(self, parameters: Sequence[Any]) -> None:
        for network, of_network in zip(self, parameters, strict=True):
            network.set_parameters(of_network)

    def divided(self, temperature: float) -> Members:
        """Copies of the networks, whose logits are divided by `temperature`."""
        copies = Members(map(copy.copy, self))
        for network in copies:
            divide_logits(network, temperature)
        return copies

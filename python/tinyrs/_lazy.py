"""NumPy, imported on first use.

A process that loads a model and predicts one row does not need NumPy, whose import takes longer than
everything else that it does. The modules that it imports must not import NumPy, typing, dataclasses or json
at their top; tests/test_cold_start.py checks this. Their annotations use these modules for type checkers
only."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _NumPy:
    def __getattr__(self, name: str) -> Any:
        import numpy

        value = getattr(numpy, name)
        setattr(self, name, value)  # the next access does not call __getattr__
        return value


np = _NumPy()

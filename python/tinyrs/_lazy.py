"""NumPy, imported when it is first needed: that takes longer than everything else from the start of a process
to its first prediction, and one row can be predicted without it.

Nothing on that way may import it, nor typing, dataclasses or json, which together would double the time;
`tests/test_cold_start.py` says if it does. So the names in annotations there are for type checkers alone."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _NumPy:
    def __getattr__(self, name: str) -> Any:
        import numpy

        value = getattr(numpy, name)
        setattr(self, name, value)  # found without coming here from now on
        return value


np = _NumPy()

"""The energy that the processor packages have used, from the counters of RAPL, where they can be read."""

from __future__ import annotations

from pathlib import Path

ROOT = Path("/")


class Meter:
    """Reads the counters when it is made; `joules` is the energy since then.

    Counts all processes of the machine. `joules` is None if there is no counter, or if one cannot be read,
    as without the rights of root.
    """

    def __init__(self, root: Path = ROOT) -> None:
        # intel-rapl:0 is a package; intel-rapl:0:0 is a part of it. AMD's counters have these names too.
        self._packages = sorted((root / "sys/class/powercap").glob("intel-rapl:[0-9]"))
        self._start = [_read(package / "energy_uj") for package in self._packages]

    def joules(self) -> float | None:
        total = 0
        for package, start in zip(self._packages, self._start, strict=True):
            end, size = _read(package / "energy_uj"), _read(package / "max_energy_range_uj")
            if start is None or end is None:
                return None
            # The counter starts again at 0 after its largest value.
            total += end - start if end >= start else end - start + (size or 0)
        return total / 1e6 if self._packages else None


def _read(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None

"""The machine and the installed versions that influence the speed of a pass.

Every function that reads system files takes their root folder, so that tests can pass a made-up machine.
Values that the system does not report are None.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

import tinyrs

ROOT = Path("/")
# Bytes of second-level cache per core if the system does not report them: most cores since 2020 have more.
_USUAL_L2 = 1 << 20


def _read(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


def _number(text: str | None) -> int | None:
    """The first word of `text` as a number; None if it is not one (such as "max") or is missing."""
    digits = text.split()[0] if text else ""
    return int(digits) if digits.isdecimal() else None


def _cgroups(controller: str, root: Path) -> Iterator[Path]:
    """The folders of this process's control group and of its parents, of version 2 or of `controller`.

    The limits of all parents apply. In a container, the path may be that of the host and not exist here;
    the top folder is then that of the container.
    """
    for line in (_read(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / (controller if controllers else "")
        group = Path(path.strip("/"))
        yield from (top / part for part in (group, *group.parents))


def usable_cores() -> int:
    """The number of cores in the affinity mask of this process."""
    affinity: Callable[[int], set[int]] | None = getattr(os, "sched_getaffinity", None)  # Linux
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def cpu_quota(root: Path = ROOT) -> float | None:
    """The lowest CPU quota of the control groups, in cores; None without a quota."""
    quotas = []
    for group in _cgroups("cpu", root):
        quota, period = (
            _number(_read(group / "cpu.cfs_quota_us")),
            _number(_read(group / "cpu.cfs_period_us")),
        )
        both = (_read(group / "cpu.max") or "").split()
        if len(both) == 2:
            quota, period = _number(both[0]), _number(both[1])
        if quota and period:
            quotas.append(quota / period)
    return min(quotas, default=None)


def available_memory(root: Path = ROOT) -> int | None:
    """Bytes that can be allocated without swapping, from the kernel's estimate and the control groups."""
    candidates = []
    for line in (_read(root / "proc/meminfo") or "").splitlines():
        if line.startswith("MemAvailable:"):
            candidates.append(int(line.split()[1]) * 1024)
    for group in _cgroups("memory", root):
        for limit_file, usage_file, reclaimable in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            limit, usage = _number(_read(group / limit_file)), _number(_read(group / usage_file))
            if limit is not None and usage is not None:
                # Cached file pages count as used, but the kernel reclaims them.
                stat = dict(line.split() for line in (_read(group / "memory.stat") or "").splitlines())
                candidates.append(limit - usage + int(stat.get(reclaimable, 0)))
    if not candidates and hasattr(os, "sysconf"):  # macOS: only the total is known.
        candidates.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return max(0, min(candidates)) if candidates else None


def private_cache(threads: int, root: Path = ROOT) -> int:
    """Bytes of second-level cache of `threads` threads on different cores."""
    for index in sorted((root / "sys/devices/system/cpu/cpu0/cache").glob("index*")):
        if _read(index / "level") == "2":
            kib, sharers = _number((_read(index / "size") or "").rstrip("K")), _sharers(index)
            if kib:
                return threads * kib * 1024 // sharers
    return threads * _USUAL_L2


def _sharers(index: Path) -> int:
    """The number of processors that share the cache: hyperthreads, or a cluster of small cores."""
    count = 0
    for part in (_read(index / "shared_cpu_list") or "0").split(","):
        first, _, last = part.partition("-")
        count += int(last or first) - int(first) + 1
    return count


def peak_memory(root: Path = ROOT) -> int | None:
    """The peak resident memory of this process in bytes.

    Prefers VmHWM, because ru_maxrss starts at the value of the parent process after exec.
    """
    for line in (_read(root / "proc/self/status") or "").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return None
    # The unit is bytes on macOS and KiB elsewhere.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def cpu_model(root: Path = ROOT) -> str:
    """The name of the processor."""
    for line in (_read(root / "proc/cpuinfo") or "").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def blas() -> str | None:
    """Name and version of NumPy's BLAS; None before NumPy 1.25, which does not report them."""
    try:
        found = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        return f"{found['name']} {found['version']}"
    except (TypeError, KeyError):
        return None


def commit(folder: Path) -> str | None:
    """The git commit of `folder`, with -dirty if files were changed; None outside a repository."""
    if not (folder / ".git").exists():
        return None
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--exclude=*", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def describe(folder: Path) -> dict[str, str | int | float | None]:
    """The environment that is reported with results. `folder` contains the tool."""
    build = tinyrs.build_info()
    return {
        "cpu": cpu_model(),
        "instruction_set": build["isa"],
        "usable_cores": usable_cores(),
        "cpu_quota": cpu_quota(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": blas(),
        "tinyrs": build["version"],
        "build_profile": build["profile"],
        "commit": commit(folder),
    }

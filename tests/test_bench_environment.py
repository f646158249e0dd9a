"""The environment of the benchmark tools, read from made-up machines."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tinyrs.bench import environment

MEMINFO = "MemTotal:  16000000 kB\nMemFree:  1000 kB\nMemAvailable:    8000000 kB\n"


def machine(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_quotas_and_memory_limits_of_all_parents_apply_in_cgroups_2(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        {
            "proc/meminfo": MEMINFO,
            "proc/self/cgroup": "0::/slice/inner\n",
            "sys/fs/cgroup/slice/inner/cpu.max": "max 100000\n",
            "sys/fs/cgroup/slice/inner/memory.max": "max\n",
            "sys/fs/cgroup/slice/cpu.max": "150000 100000\n",
            "sys/fs/cgroup/slice/memory.max": "1000000\n",
            "sys/fs/cgroup/slice/memory.current": "900000\n",
            "sys/fs/cgroup/slice/memory.stat": "anon 300000\ninactive_file 500000\n",
            "sys/fs/cgroup/cpu.max": "800000 100000\n",
        },
    )
    assert environment.cpu_quota(root) == 1.5
    assert environment.available_memory(root) == 600_000


def test_quota_and_memory_of_cgroups_1(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        {
            "proc/meminfo": MEMINFO,
            # The path is that of the host; in the container only the top folder exists.
            "proc/self/cgroup": "5:cpuacct,cpu:/docker/abc\n4:memory:/docker/abc\n0::/\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "2000000\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "500000\n",
            "sys/fs/cgroup/memory/memory.stat": "total_inactive_file 1000\n",
        },
    )
    assert environment.cpu_quota(root) == 0.5
    assert environment.available_memory(root) == 1_501_000


def test_no_limits(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        {
            "proc/meminfo": MEMINFO,
            "proc/self/cgroup": "5:cpu:/\n0::/\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
    )
    assert environment.cpu_quota(root) is None
    assert environment.available_memory(root) == 8_000_000 * 1024


@pytest.mark.parametrize(("shared", "expected"), [("0", 2 << 20), ("0-1", 1 << 20), ("0,4", 1 << 20)])
def test_private_cache(tmp_path: Path, shared: str, expected: int) -> None:
    cache = "sys/devices/system/cpu/cpu0/cache/index"
    root = machine(
        tmp_path,
        {
            f"{cache}0/level": "1\n",
            f"{cache}0/size": "48K\n",
            f"{cache}2/level": "2\n",
            f"{cache}2/size": "2048K\n",
            f"{cache}2/shared_cpu_list": f"{shared}\n",
        },
    )
    assert environment.private_cache(1, root) == expected
    assert environment.private_cache(3, root) == 3 * expected


def test_an_unknown_machine(tmp_path: Path) -> None:
    assert environment.cpu_quota(tmp_path) is None
    assert environment.private_cache(2, tmp_path) == 2 << 20
    assert environment.cpu_model(tmp_path)


def test_this_machine() -> None:
    described = environment.describe(Path(__file__).parent)
    assert 1 <= environment.usable_cores() <= (os.cpu_count() or 1)
    assert described["commit"] is None
    assert described["instruction_set"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems report the value of getrusage")
def test_peak_memory_is_that_of_this_process_and_not_of_its_parent() -> None:
    ballast = bytearray(300_000_000)
    code = "from tinyrs.bench import environment as e; print(e.peak_memory())"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert len(ballast) > int(child.stdout) > 10_000_000
    peak = environment.peak_memory()
    assert peak is not None
    assert peak > len(ballast)

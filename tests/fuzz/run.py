#!/usr/bin/env python3
"""Fuzzes targets with atheris: `make fuzz`.

    python tests/fuzz/run.py --seconds 100 [TARGET]...

Each target runs in a process of its own, for an equal share of the time, with limits on memory and on the
time of an input. An input that fails is saved as `crash-...` in the current folder: after the fix, move it to
`tests/fuzz/corpus/TARGET/`, which the default tests replay.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
TARGETS = (
    *(
        "model_file",
        "checkpoint",
        "onnx_file",
        "benchmark_yaml",
        "csv_table",
        "parquet_table",
        "pickled_state",
    ),
    *("c_header", "html_report"),
)
LIMITS = ["-rss_limit_mb=3000", "-malloc_limit_mb=1000", "-timeout=60", "-max_len=8192"]


def fuzz(name: str, flags: list[str]) -> None:
    """Fuzzes one target in this process until libFuzzer ends it."""
    import atheris

    with atheris.instrument_imports(include=["tinyrs", "json", "yaml"]):
        target = import_module(f"fuzz.{name}")
    with tempfile.TemporaryDirectory() as folder:
        for seed, content in target.seeds().items():
            (Path(folder) / seed).write_bytes(content)
        kept = [str(path) for path in [HERE / "corpus" / name] if path.is_dir()]
        # The first folder takes new inputs.
        atheris.Setup([sys.argv[0], *LIMITS, *flags, folder, *kept], target.one)
        atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], help="default: all")
    parser.add_argument("--seconds", type=int, default=100, help="for all targets together")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    targets = args.targets or TARGETS
    seconds = max(1, args.seconds // len(targets))
    if args.alone:
        fuzz(targets[0], [f"-max_total_time={seconds}"])
        return 0
    failed = []
    for name in targets:
        print(f"=== {name}: {seconds} s", flush=True)
        command = [sys.executable, __file__, name, "--alone", "--seconds", str(seconds)]
        if subprocess.run(command).returncode:
            failed.append(name)
    print(f"fuzz: {len(targets) - len(failed)} passed, {len(failed)} failed", *failed)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())

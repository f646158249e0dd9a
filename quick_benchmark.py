#!/usr/bin/env python3
"""Times a pass of one network, after checking that its answer is right.

./quick_benchmark.py -p f32 -n 50 -l 100 -d 1024 -a sigmoid
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

try:
    from tinyrs.bench import cli, config
    from tinyrs.bench.config import Case, Output, Plan
except ImportError as error:
    print(f"quick_benchmark.py: error: {error} ({sys.executable})", file=sys.stderr)
    print("install tinyrs: make dev, then run .venv/bin/python quick_benchmark.py ...", file=sys.stderr)
    sys.exit(2)

# The flags behind settings that are checked after argparse has read them.
SETTING_NAMES = {
    "math.precision": "argument -p/--precision",
    "shape": "argument -l/--layers, -d/--dimension, -b/--batch",
    "output.json": "argument --json",
    "output.csv": "argument --csv",
}


def parser() -> cli.Parser:
    parser = cli.Parser(description=(__doc__ or "").partition("\n")[0], allow_abbrev=False)
    add = parser.add_argument
    positive = cli.integer_flag(config.integer(1))
    any_file = cli.flag(config.file_path())
    add(
        "-n",
        "--nepochs",
        type=positive,
        required=True,
        help="number of runs: passes with different random inputs",
    )
    add(
        "-p",
        "--precision",
        type=cli.flag(config.choice(config.PRECISIONS)),
        required=True,
        help="f32, f64 (also f4, f8), f16, bf16, int8 or int8_weights",
    )
    add("-l", "--layers", type=positive, required=True, help="number of weight matrices")
    add("-d", "--dimension", type=positive, required=True, help="width of every layer")
    add(
        "-a",
        "--activation",
        type=cli.flag(config.choice(config.ACTIVATIONS)),
        required=True,
        help="sigmoid or tanh",
    )
    add("-t", "--threads", type=positive, help="number of threads (default: all that the process may use)")
    add(
        "--epsilon",
        type=cli.flag(config.epsilon),
        default=config.DEFAULT_EPSILON,
        help="margin of the stabilizer for exp and for squares (default: %(default)s)",
    )
    add(
        "--pass",
        dest="mode",
        type=cli.flag(config.choice(config.MODES)),
        default="forward",
        help="forward; backward: forward and backward; train: also a step of Adam (default: %(default)s)",
    )
    add("-b", "--batch", type=positive, default=1, help="samples per pass (default: %(default)s)")
    add(
        "--engine",
        type=cli.flag(config.choice(config.ENGINES)),
        default=("tinyrs",),
        help="tinyrs, numpy or both (default: tinyrs)",
    )
    add(
        "--seed",
        type=cli.integer_flag(config.integer(0)),
        default=config.DEFAULT_SEED,
        help="seed of weights and inputs (default: %(default)s)",
    )
    add(
        "--warmup",
        type=cli.integer_flag(config.integer(0)),
        default=config.DEFAULT_WARMUP,
        help="untimed passes before the first timed one (default: %(default)s)",
    )
    add("--json", type=any_file, metavar="FILE", help="write all results, with the time of each pass")
    add("--csv", type=any_file, metavar="FILE", help="write one row per engine")
    cli.add_cost_flags(parser)
    add("--quiet", action="store_true", help="print only the first line")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    flags = parser().parse_args(argv)
    case = Case(
        layers=flags.layers,
        dimension=flags.dimension,
        activation=flags.activation,
        precision=flags.precision,
        batch=flags.batch,
        mode=flags.mode,
        threads=flags.threads,
        epsilon_exp=flags.epsilon,
        epsilon_square=flags.epsilon,
    )
    plan = Plan(
        cases=(case,),
        nepochs=flags.nepochs,
        engines=flags.engine,
        warmup=flags.warmup,
        seed=flags.seed,
        output=Output(json=flags.json, csv=flags.csv),
        cost=cli.cost(flags),
    )
    return cli.execute(
        plan,
        setting_name=SETTING_NAMES.__getitem__,
        folder=Path(__file__).parent,
        quiet=flags.quiet,
    )


if __name__ == "__main__":
    sys.exit(cli.run_tool("quick_benchmark.py", main))

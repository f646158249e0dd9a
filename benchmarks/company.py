#!/usr/bin/env python3
"""Times single calls of tinyrs, onnxruntime and NumPy beside other busy code: median, p90 and p99.

    ./benchmarks/company.py                                  # everything: about half an hour
    ./benchmarks/company.py --only 'batch 32' --company alone 'one busy process'
    ./benchmarks/company.py --quick                          # checks that it works: two minutes

Each engine runs in a separate process. "tinyrs" is the default: as many threads as it finds useful. The
last columns are the median and the p99 of the default over the best of all other contenders.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from peers import company, report
from tinyrs.bench.harness import Percentiles
from tinyrs.bench.isolated import WorkerError


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="+", metavar="TEXT", help="workloads whose name contains a TEXT")
    parser.add_argument("--company", nargs="+", metavar="TEXT", help="companies of these names")
    parser.add_argument(
        "--seconds", type=float, default=2.0, help="length of a measurement (default: %(default)s)"
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of a second each, small networks only")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables")
    return parser.parse_args()


def row(company_name: str, results: dict[str, Percentiles]) -> list[str]:
    """The cells of a company: each contender's median (p99) in microseconds, then the two ratios."""
    cells = [company_name]
    for name, *_ in company.CONTENDERS:
        found = results.get(name)
        cells.append(f"{1e3 * found.median_ms:,.1f} ({1e3 * found.p99_ms:,.0f})" if found else "")
    others = [found for name, found in results.items() if name != "tinyrs"]
    if "tinyrs" in results and others:
        default = results["tinyrs"]
        cells.append(f"{default.median_ms / min(other.median_ms for other in others):.2f}")
        cells.append(f"{default.p99_ms / min(other.p99_ms for other in others):.2f}")
    return cells


def main() -> int:
    flags = arguments()
    seconds = 0.1 if flags.quick else flags.seconds
    workloads: list[company.AnyWorkload] = [*company.PASSES, *company.FITS]
    if flags.quick:
        workloads = [*company.PASSES[:3], company.FITS[0]]
    if flags.only:
        workloads = [w for w in workloads if any(text in w.name for text in flags.only)]
    companies = [c for c in company.COMPANIES if not flags.company or c.name in flags.company]
    header = [*(name for name, *_ in company.CONTENDERS), "median, ratio", "p99, ratio"]
    tables, measured = [], []
    for workload in workloads:
        rows = []
        for around in companies:
            results: dict[str, Percentiles] = {}
            for name, *_ in company.CONTENDERS:
                try:
                    found = company.run(workload, around, name, seconds)
                except WorkerError as error:
                    print(f"{workload.name}, {around.name}, {name}: {error}", file=sys.stderr)
                    continue
                if found:
                    results[name] = found
            rows.append(row(around.name, results))
            times = {name: asdict(found) for name, found in results.items()}
            measured.append({"workload": workload.name, "company": around.name, "times": times})
        tables.append(report.Table([[f"{workload.name}: median (p99), us", *header], *rows]))
        report.show([tables[-1]])
    if flags.json:
        about = report.describe(Path(__file__).resolve().parent.parent)
        flags.json.write_text(json.dumps({"about": about, "results": measured}, indent=1))
    if flags.markdown:
        flags.markdown.write_text("\n".join(table.markdown() for table in tables))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The directive `benchmark-table`: the results in a JSON file of `benchmark.py` as a table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from tinyrs.bench.report import duration

Result = dict[str, Any]


def table(rows: list[list[str]]) -> nodes.table:
    """A table whose first row is its header."""
    header, *body = (
        nodes.row("", *(nodes.entry("", nodes.paragraph(text=cell)) for cell in row)) for row in rows
    )
    columns = [nodes.colspec(colwidth=1) for _ in rows[0]]
    parts = [*columns, nodes.thead("", header), nodes.tbody("", *body)]
    return nodes.table("", nodes.tgroup("", *parts, cols=len(columns)))


def cells(result: Result) -> list[str]:
    return [
        f"{result['layers']} x {result['dimension']}",
        str(result["batch"]),
        result["engine"],
        duration(result["median_ms"]),
        duration(result["p99_ms"]),
        f"{result['gflops']:,.1f}",
        f"{result['limit_share']:.0%} of {result['limit']}",
        f"{result['error']:.0e}",
    ]


class BenchmarkTable(SphinxDirective):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        _, path = self.env.relfn2path(self.arguments[0])
        self.env.note_dependency(path)
        try:
            found = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            return [self.state.document.reporter.warning(f"{error}; make docs measures it", line=self.lineno)]
        machine = found["environment"]
        header = ["network", "batch", "engine", "median", "p99", "GFLOP/s", "share of the limit", "error"]
        where = (
            f"{found['name']}; tinyrs {machine['tinyrs']} on {machine['usable_cores']} cores of "
            f"{machine['cpu']}, {machine['instruction_set']}, NumPy {machine['numpy']}, {machine['blas']}"
        )
        return [nodes.paragraph(text=where), table([header, *map(cells, found["results"])])]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("benchmark-table", BenchmarkTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""Tables whose reports are hard to lay out, and a parser of pages. Shared by the tests of the report."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from datetime import datetime
from html.parser import HTMLParser
from typing import Any

import numpy as np
from tinyrs.bench.config import Cost, Price
from tinyrs.bench.serving.outcomes import Outcome, Result, Served
from tinyrs.bench.serving.settings import SCENARIOS, Settings

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Parses a page into elements and text, and asserts that all elements are closed in the right order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((name, dict(attributes)))
        if name not in VOID:
            self.open.append(name)

    def handle_endtag(self, name: str) -> None:
        assert self.open.pop() == name

    def handle_data(self, text: str) -> None:
        self.text += text

    def titles(self) -> list[str]:
        """The tooltips."""
        return [attributes["title"] or "" for _, attributes in self.elements if "title" in attributes]


def check_charts(page: str) -> int:
    """Asserts that each chart is valid XML inside its view box; the number of charts."""
    svgs = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    for svg in svgs:
        root = ET.fromstring(svg)
        _, _, width, height = map(float, root.attrib["viewBox"].split())
        for element in root.iter():
            for name in ("x", "x1", "x2", "cx"):
                assert -1 <= float(element.get(name, 0)) <= width
            for name in ("y", "y1", "y2", "cy"):
                assert -1 <= float(element.get(name, 0)) <= height
            assert "nan" not in " ".join(element.attrib.values()).lower()
    return len(svgs)


def long_names() -> dict[str, list[Any]]:
    """Two classes and columns with long names that differ in their middle only, one of them rare."""
    rng = np.random.default_rng(0)
    y = (rng.random(400) < 0.15).astype(int)
    purchases = "number_of_previous_purchases_in_the_last_calendar_year_{}cluding_returns_and_refunds"
    return {
        purchases.format("in"): rng.poisson(3 + 2 * y).tolist(),
        purchases.format("ex"): rng.poisson(3 + y).tolist(),
        "Wert der Bestellung einschlie\u00dflich Mehrwertsteuer und Versandkosten (EUR)": rng.normal(
            size=400
        ).tolist(),
        "country of delivery": np.array(
            ["Bosnia and Herzegovina", "South Georgia and the South Sandwich Islands"]
        )[rng.integers(0, 2, 400)].tolist(),
        "kind": np.array(
            [
                "the customer keeps the goods for at least thirty days",
                "the customer returns the goods for at most half the price",
            ]
        )[y].tolist(),
    }


def many_classes(n_classes: int, rows: int = 1500) -> dict[str, list[Any]]:
    """Clusters of `n_classes` classes in six columns."""
    rng = np.random.default_rng(1)
    y = np.arange(rows) % n_classes
    X = rng.normal(size=(n_classes, 6))[y] + 0.5 * rng.normal(size=(rows, 6))
    columns = {f"f{j}": X[:, j].round(3).tolist() for j in range(6)}
    return columns | {"kind": [f"class number {k:02}" for k in y]}


def many_columns() -> dict[str, list[Any]]:
    """500 columns, of which the first three matter."""
    rng = np.random.default_rng(2)
    y = rng.integers(0, 4, 300)
    X = rng.normal(size=(300, 500))
    X[:, :3] += 3 * y[:, None]
    columns = {f"sensor_{j:03}_in_millivolt": X[:, j].round(2).tolist() for j in range(500)}
    return columns | {"kind": y.tolist()}


TABLES = {
    "long names": long_names,
    "12 classes": lambda: many_classes(12),
    "60 classes": lambda: many_classes(60),
    "500 columns": many_columns,
}


def benchmark_page() -> str:
    """The page of `tinyrs bench` about four models, one with a long name, in all scenarios."""
    from tinyrs.cli.report import serving_page
    from tinyrs.cli.report.provenance import FileDigest, ServingProvenance

    rng = np.random.default_rng(0)
    names = (
        "a.safetensors",
        "b.safetensors",
        "c.safetensors",
        "a_very_long_name_of_a_model_2026-11-27.safetensors",
    )
    results = []
    for number, name in enumerate(names):
        found = []
        for scenario in SCENARIOS:
            times = (2.0 + number) * rng.lognormal(0, 1.2, 5000)
            reasons = ("too short: 0.5 s, expected at least 10 s",) if number == 1 else ()
            found.append(
                Outcome(scenario, reasons, 10.0, 5000, 10**6 // (number + 1), times, times, 1e4, 500.0)
            )
        accuracy = {"error": 0.2 / (number + 1), "log_loss": 0.3 / (number + 1), "rows": 400}
        results.append(Result(name, 10_000 * (number + 1), 12.0, tuple(found), accuracy))
    price = Price(0.0725, "USD", "c7g.large", "AWS", "us-east-1", 2, "2026-07-20", "source")
    served = Served(
        Settings(tuple(SCENARIOS), qps=1e4, slo_us=500.0),
        {"cpu": "A processor with a long name @ 2.40 GHz", "system": "Linux", "cpu_quota": None},
        "400 rows of held_out.csv",
        cost=Cost(price, 0.3),
        results=results,
    )
    model = FileDigest("a.safetensors", 10_000, 64 * "0")
    made = ServingProvenance("tinyrs bench " + " ".join(names), datetime(2026, 11, 27, 12), (model,), None)
    return serving_page.page(served, made)

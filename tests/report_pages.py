"""Tables whose reports are hard to lay out, and a parser of pages. Shared by the tests of the report."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import numpy as np

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

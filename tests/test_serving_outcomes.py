"""Results of scenarios: costs, energy, histograms, the front, and the search for the highest rate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tinyrs.bench.config import Cost, Price, RefusedError
from tinyrs.bench.serving import outcomes, plot, search, settings, text
from tinyrs.bench.serving.energy import Meter
from tinyrs.bench.serving.outcomes import Outcome, Point, Result, Served
from tinyrs.bench.serving.settings import Company, Settings

COST = Cost(Price(3.6, "EUR", date="2026-01-02", machine="m", provider="p", region="r", vcpu=2), 0.5)


def outcome(scenario: str, microseconds: float = 10.0, **changes: Any) -> Outcome:
    times = np.full(1000, microseconds)
    measured: dict[str, Any] = {"seconds": 10.0, "queries": 1000, "rows": 20_000, "joules": 4.0}
    return Outcome(scenario, (), latency_us=times, service_us=times, **measured | changes)


def served(*models: tuple[str, float, float], cost: Cost | None = COST) -> Served:
    """Results of models, each with its name, its error, and its microseconds a row."""
    results = [
        Result(
            name,
            1000,
            60.0,
            (outcome("offline", rows=int(1e7 / us)), outcome("single_stream", us)),
            {"error": error, "log_loss": 2 * error, "rows": 100},
        )
        for name, error, us in models
    ]
    return Served(Settings(), {"cpu": "c"}, "100 rows of x", cost=cost, results=results)


def test_costs() -> None:
    # 0.001 EUR a second, 2000 rows a second.
    (row,) = Result("m", 5, 60.0, (outcome("offline"),)).rows(COST)
    assert row["per_million"] == pytest.approx(0.5)
    assert row["per_million_utilised"] == pytest.approx(1.0)
    assert row["training_cost"] == pytest.approx(0.06)
    assert (row["currency"], row["price_date"]) == ("EUR", "2026-01-02")
    assert row["joules_per_million"] == pytest.approx(200)


def test_every_table_has_the_date_of_the_price() -> None:
    found = served(("a", 0.1, 1.0), ("b", 0.2, 2.0))
    assert "EUR / M, price 2026-01-02" in text.table(found)[0]
    assert "EUR / M, price 2026-01-02" in text.pareto(found)[0]
    assert "price 2026-01-02" in plot.plane(found)[0]
    assert "2026-01-02" in text.text(found)


def test_every_row_of_the_table_has_the_accuracy() -> None:
    header, *rows = text.table(served(("a", 0.1, 1.0)))
    where = header.index("error")
    assert [row[where : where + 2] for row in rows] == [["0.1000", "0.2000"]] * 2


def test_energy_is_read_or_not_readable(tmp_path: Path) -> None:
    assert Meter(tmp_path).joules() is None
    package = tmp_path / "sys/class/powercap/intel-rapl:0"
    part = tmp_path / "sys/class/powercap/intel-rapl:0:0"
    for folder in (package, part):
        folder.mkdir(parents=True)
        (folder / "energy_uj").write_text("9000000\n")
        (folder / "max_energy_range_uj").write_text("10000000\n")
    meter = Meter(tmp_path)
    (package / "energy_uj").write_text("9500000\n")
    # The part belongs to the package, and is not counted again.
    (part / "energy_uj").write_text("9400000\n")
    assert meter.joules() == 0.5
    # The counter has started again.
    (package / "energy_uj").write_text("500000\n")
    assert meter.joules() == 1.5
    (package / "energy_uj").unlink()
    assert meter.joules() is None
    found = served(("a", 0.1, 1.0))
    assert "J / M" in text.table(found)[0]
    unread = Result("a", None, None, (outcome("offline", joules=None),))
    assert "Energy: not readable" in text.text(Served(Settings(), {}, results=[unread]))


def test_the_front() -> None:
    cheap, good = Point("cheap", 0.3, 1.0, 1.0, 10), Point("good", 0.1, 9.0, 9.0, 90)
    beaten, equal = Point("beaten", 0.3, 2.0, 1.0, 10), Point("equal", 0.3, 1.0, 1.0, 10)
    assert outcomes.front([beaten, cheap, good, equal]) == [cheap, good, equal]
    # What was not measured decides nothing.
    assert outcomes.front([cheap, Point("unknown", None, 0.5, None, None)])[0].model == "unknown"


def test_the_front_of_the_plane_is_a_line_that_falls() -> None:
    found = served(("a", 0.3, 1.0), ("b", 0.1, 4.0), ("c", 0.2, 5.0), ("d", 0.05, 9.0))
    _, placed = plot.plane(found)
    assert [point.model for point, _, _ in plot.front_of(placed)] == ["a", "b", "d"]
    # Without a price, x is the latency.
    name, placed = plot.plane(served(("a", 0.3, 7.0), cost=None))
    assert ("us" in name, [(x, y) for _, x, y in placed]) == (True, [(7.0, 0.3)])


def test_histograms_hold_every_query() -> None:
    rng = np.random.default_rng(0)
    for times in (rng.lognormal(2, 2, 10_000), np.array([1.0]), np.array([10.0, 10.0, 1000.0])):
        found = outcomes.histogram(times)
        assert sum(found["counts"]) == len(times)
        assert len(found["edges_us"]) == len(found["counts"]) + 1
        assert found["edges_us"][0] <= times.min() * 1.0001
        assert times.max() <= found["edges_us"][-1] * 1.0001


def test_json_and_csv() -> None:
    found = served(("a", 0.1, 1.0))
    document = json.loads(found.to_json())
    assert document["price"]["date"] == "2026-01-02"
    assert [r["scenario"] for r in document["results"]] == ["offline", "single_stream"]
    assert document["results"][0]["latency_histogram"]["counts"]
    header, *rows = found.to_csv().splitlines()
    assert len(rows) == 2
    assert header.startswith("schema,model,scenario,verdict")


@pytest.mark.parametrize("limit", [3.0, 40.0, 99.0])
def test_the_search_finds_the_highest_rate(limit: float) -> None:
    tried = list[float]()

    def meets(rate: float) -> bool:
        tried.append(rate)
        return rate <= limit

    found = search.highest_rate(meets, 100.0)
    assert found is not None
    assert limit - 100 / 2**7 <= found <= limit
    assert len(tried) == 7
    assert search.highest_rate(lambda rate: False, 100.0) is None


def test_company() -> None:
    assert settings.company("busy:1") == Company(busy=1)
    assert settings.company("busy:2, copies:3") == Company(2, 3)
    assert [str(c) for c in (Company(), Company(1), Company(1, 2))] == ["alone", "busy:1", "busy:1 copies:2"]
    for wrong in ("", "busy", "busy:0", "idle:1", "copies:x", 3, None):
        with pytest.raises(RefusedError, match="expected busy:N, copies:N or both"):
            settings.company(wrong)

"""Prices: what `--price` accepts, prices.csv, and the cost of a million predictions."""

from __future__ import annotations

import csv
import datetime
import json
import re
from pathlib import Path

import pytest
from conftest import Tool, one_line
from tinyrs.bench import prices, report
from tinyrs.bench.config import Case, Cost, Price, RefusedError

SMALL = ["-p", "f32", "-n", "5", "-l", "3", "-d", "16", "-a", "sigmoid"]


@pytest.mark.parametrize(
    ("text", "per_hour", "currency"),
    [
        ("0.0425", 0.0425, "USD"),
        ("0.0425 USD", 0.0425, "USD"),
        ("0,05 EUR", 0.05, "EUR"),
        ("0,05€", 0.05, "€"),
        (" $.5 ", 0.5, "$"),
        ("CHF 3", 3.0, "CHF"),
    ],
)
def test_a_price_is_a_number_with_or_without_a_currency(text: str, per_hour: float, currency: str) -> None:
    assert prices.parse(text) == Price(per_hour, currency)


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "1.2.3", "1,000.5", "$1 USD", "nan", "inf", "1e3", "USD", "c7g.larg"]
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(
        RefusedError, match=r"expected a price per hour such as 0\.0425 or '0,05 EUR', or a mach"
    ):
        prices.parse(text)


def test_a_misspelled_machine_is_suggested() -> None:
    with pytest.raises(RefusedError, match=r"did you mean c7g\.large\?"):
        prices.parse("c7g.larg")


def test_every_price_has_its_source_and_date(root: Path) -> None:
    rows = (root / "python/tinyrs/bench/prices.csv").read_text().splitlines()[1:]
    assert len(rows) == len(prices.machines()) > 0
    for name, price in prices.machines().items():
        assert prices.parse(name) is price
        assert price.per_hour > 0
        assert price.date is not None
        assert datetime.date(2026, 1, 1) <= datetime.date.fromisoformat(price.date)
        assert re.fullmatch(r"https://\S+", price.source or "")
        assert None not in vars(price).values()


@pytest.mark.parametrize("text", ["0", "1.1", "-0.5", "nan", "half"])
def test_utilisation_is_a_share(text: str) -> None:
    assert prices.utilisation("0.3") == 0.3
    with pytest.raises(RefusedError, match="expected a number above 0 and up to 1"):
        prices.utilisation(text)


def test_the_cost_of_a_million() -> None:
    # 3600 USD an hour are 1 USD a second; a million samples at 4 million a second take a quarter of one.
    assert Cost(Price(3600, "USD")).per_million(4e6) == 0.25


@pytest.mark.parametrize(
    ("amount", "text"), [(0.0000493123, "0.0000493"), (0.25, "0.25"), (1234.5, "1230"), (3.0, "3.00")]
)
def test_money_is_never_a_power_of_ten(amount: float, text: str) -> None:
    assert float(report.money(amount)) == pytest.approx(float(text))
    assert "e" not in report.money(amount)


def test_quick_benchmark_prints_and_writes_the_cost(run_benchmark: Tool, tmp_path: Path) -> None:
    flags = ["--price", "c7g.large", "--utilisation", "0.25", "--json", "x.json", "--csv", "x.csv"]
    done = run_benchmark("quick_benchmark.py", *SMALL, "-b", "2", *flags)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^USD per million predictions +0\.\d+$", done.stdout, re.MULTILINE)
    assert re.search(r"^  at 0\.25 utilisation +0\.\d+$", done.stdout, re.MULTILINE)
    price = prices.machines()["c7g.large"]
    assert f"USD an hour: c7g.large, 2 vCPU, AWS us-east-1, {price.date}\n" in done.stdout
    document = json.loads((tmp_path / "x.json").read_text())
    (result,) = document["results"]
    assert (document["price"]["date"], document["utilisation"]) == (price.date, 0.25)
    assert result["per_million"] == pytest.approx(price.per_hour / 3600 * 1e6 / result["samples_per_s"])
    assert result["per_million_utilised"] == pytest.approx(4 * result["per_million"])
    with (tmp_path / "x.csv").open() as file:
        assert float(next(csv.DictReader(file))["per_million"]) == result["per_million"]


def test_without_a_price_there_is_no_cost(run_benchmark: Tool) -> None:
    done = run_benchmark("quick_benchmark.py", *SMALL)
    assert "million" not in done.stdout
    done = run_benchmark("quick_benchmark.py", *SMALL, "--utilisation", "0.5")
    assert (done.returncode, done.stdout) == (2, "")
    assert one_line(done.stderr)
    assert "argument --utilisation: needs --price" in done.stderr
    done = run_benchmark("quick_benchmark.py", *SMALL, "--price", "free")
    assert done.returncode == 2
    assert "argument --price: expected a price per hour" in done.stderr


def test_a_sweep_has_a_column_for_the_cost(run_benchmark: Tool, tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    (tmp_path / "a.yaml").write_text(
        "version: 2\nbenchmark:\n  nepochs: 2\n  shape: {layers: 1, dimension: [8, 16]}\n"
        "  math: {precision: f32, activation: sigmoid}\n  output: {markdown: a.md}\n"
    )
    done = run_benchmark("benchmark.py", "-c", "a.yaml", "--price", "0,05 EUR", "--utilisation", "0.5")
    assert (done.returncode, done.stderr) == (0, "")
    assert "EUR / M: cost of a million samples at 0.5 utilisation.\nPrice 0.05" in done.stdout
    for text in (done.stdout.splitlines()[0], (tmp_path / "a.md").read_text()):
        assert "EUR / M" in text


def test_a_sample_of_training_is_not_a_prediction() -> None:
    assert report.samples(Case(1, 8, "tanh", mode="train")) == "samples"

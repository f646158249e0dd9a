"""What makes a measurement valid, and percentiles at 99 % confidence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tinyrs.bench.serving import verdict
from tinyrs.bench.serving.verdict import Measured, Rules


def measured(count: int = 1000, **changes: Any) -> Measured:
    """Queries of 10 us each, for 10 seconds."""
    times = np.full(count, 10.0)
    quiet: dict[str, Any] = {"seconds": 10.0, "service_us": times, "latency_us": times, "waiting_share": 0.0}
    return Measured(**quiet | changes)


def test_a_quiet_long_measurement_is_valid() -> None:
    assert verdict.reasons(measured(), Rules(0.99)) == []
    assert verdict.reasons(measured(), Rules(0.99, deadline_us=10.0, rate=100.0)) == []
    # Of a rate without a percentile, one query is enough.
    assert verdict.reasons(measured(1), Rules(None)) == []
    assert verdict.reasons(measured(waiting_share=None), Rules(0.99)) == []


@pytest.mark.parametrize(
    ("changes", "rules", "reason"),
    [
        ({"seconds": 3.0}, {}, "too short: 3 s, expected at least 10 s"),
        ({"count": 661}, {}, "too few queries: 661, expected at least 662 for the 99th percentile"),
        ({"waiting_share": 0.07}, {}, "noisy machine: a worker waited for a core 7% of the time"),
        (
            {"service_us": np.repeat([10.0, 14.0], 500)},
            {},
            "noisy machine: the median time of a query",
        ),
        ({}, {"deadline_us": 9.0}, "deadline missed: 99th percentile 10 us, expected at most 9 us"),
        ({"late_s": 1.0}, {"rate": 100.0}, "overloaded: the last answer came 1 s after the last request"),
    ],
)
def test_each_reason(changes: dict[str, Any], rules: dict[str, Any], reason: str) -> None:
    (found,) = verdict.reasons(measured(**changes), Rules(0.99, **rules))
    assert found.startswith(reason)


def test_the_noise_of_wanted_company_is_no_fault() -> None:
    noisy = measured(waiting_share=0.5)
    assert len(verdict.reasons(noisy, Rules(0.99))) == 1
    assert verdict.reasons(noisy, Rules(0.99, company=True)) == []


def test_min_queries_are_those_of_loadgen() -> None:
    assert [verdict.min_queries(p) for p in (0.9, 0.97, 0.99)] == [64, 219, 662]


def test_the_upper_percentile_is_seldom_too_low() -> None:
    rng = np.random.default_rng(0)
    for count in (700, 5000):
        samples = rng.random((600, count))
        bounds = np.array([verdict.upper_percentile(sample, 0.99) for sample in samples])
        # The true percentile is 0.99. The plain one is below it half of the time.
        assert (bounds < 0.99).mean() < 0.03
        assert (np.percentile(samples, 99, axis=1) < 0.99).mean() > 0.3
    assert np.median(bounds) < 0.994
    # So many queries that the binomial coefficients overflow.
    assert verdict.upper_percentile(np.arange(1_000_000), 0.99) == pytest.approx(990_000, rel=1e-3)


def test_too_few_times_have_no_upper_percentile() -> None:
    with pytest.raises(ValueError, match="times: expected at least 662, got 661"):
        verdict.upper_percentile(np.ones(661), 0.99)

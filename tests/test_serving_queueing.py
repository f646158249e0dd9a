"""The arithmetic of queues: arrivals, latencies of given service times, and the M/D/c queue."""

from __future__ import annotations

import numpy as np
import pytest
from tinyrs.bench.serving import queueing


def test_arrivals_are_poisson() -> None:
    times = queueing.poisson_arrivals(rate=5000, seconds=20, seed=0)
    assert len(times) == pytest.approx(100_000, rel=0.02)
    assert (np.diff(times) >= 0).all()
    assert 0 < times[0] < times[-1] < 20e9
    gaps = np.diff(times)
    # The gaps are exponential: mean and standard deviation are equal.
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.02)
    assert (queueing.poisson_arrivals(5000, 20, 0) == times).all()
    assert len(queueing.poisson_arrivals(0.001, 1, 0)) == 0


def test_latencies_of_one_server() -> None:
    # The second and the third request wait for the one before; the last one finds the server free.
    assert queueing.latencies([0, 1, 2, 30], [5, 5, 5, 5], 1).tolist() == [5, 9, 13, 5]


def test_latencies_of_two_servers() -> None:
    # The third request is taken by the server that is free first, at 3.
    assert queueing.latencies([0, 1, 2], [10, 2, 4], 2).tolist() == [10, 2, 5]


@pytest.mark.parametrize("servers", [1, 3])
@pytest.mark.parametrize("load", [0.3, 0.8])
def test_the_formula_is_what_simulation_finds(servers: int, load: float) -> None:
    service, rate = 2.0, load * servers / 2.0
    arrivals = queueing.poisson_arrivals(rate, 30_000 / rate, seed=3) / 1e9
    waits = queueing.latencies(arrivals.tolist(), [service] * len(arrivals), servers) - service
    for share in (0.9, 0.99):
        expected = float(np.quantile(waits, share))
        assert queueing.waiting_time(share, rate, service, servers) == pytest.approx(
            expected, rel=0.12, abs=0.02
        )


def test_the_formula_has_the_mean_of_pollaczek_and_khinchine() -> None:
    load = 0.8
    waits = [queueing.waiting_time(share, load, 1.0, 1) for share in np.linspace(0.005, 0.995, 100)]
    assert np.mean(waits) == pytest.approx(load / (2 * (1 - load)), rel=0.02)


def test_most_requests_do_not_wait_at_low_load() -> None:
    assert queueing.waiting_time(0.9, rate=0.05, service=1.0, servers=1) == 0.0


@pytest.mark.parametrize("rate", [0.0, 1.0, 2.0])
def test_a_load_of_1_has_no_waiting_time(rate: float) -> None:
    with pytest.raises(ValueError, match="load: expected above 0 and below 1, got"):
        queueing.waiting_time(0.99, rate, 1.0, 1)

"""Percentiles as people get them: none without enough behind it, a bound where messages were never sent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqviz.checks.percentiles import BEHIND, figures
from mqviz.telemetry.histogram import Histogram

MS = 1_000_000


def of(*values_ns: int) -> Histogram:
    """A histogram of these durations."""
    found = Histogram()
    for value in values_ns:
        found.record(value)
    return found


def test_of_nothing_nothing_is_known() -> None:
    found = figures(of())
    assert (found.count, found.mean, found.p50, found.p99, found.p999, found.max) == (
        0,
        None,
        None,
        None,
        None,
        None,
    )
    assert found.at_least == {}


@pytest.mark.parametrize(
    ("count", "known"),
    [
        (1, set()),
        (19, set()),
        (20, {"p50"}),
        (99, {"p50"}),
        (100, {"p50", "p90"}),
        (999, {"p50", "p90"}),
        (1_000, {"p50", "p90", "p99"}),
        (9_999, {"p50", "p90", "p99"}),
        (10_000, {"p50", "p90", "p99", "p999"}),
    ],
)
def test_a_percentile_needs_ten_samples_behind_it(count: int, known: set[str]) -> None:
    found = figures(of(*[MS] * count))
    assert {name for name in ("p50", "p90", "p99", "p999") if getattr(found, name) is not None} == known
    assert found.count == count
    assert found.max == MS


def test_percentiles_are_within_the_histograms_error() -> None:
    found = figures(of(*(n * 1_000 for n in range(1, 1_001))))
    assert found.p50 == pytest.approx(500_000, rel=0.005)
    assert found.p90 == pytest.approx(900_000, rel=0.005)
    assert found.p99 == pytest.approx(990_000, rel=0.005)
    assert found.max == MS
    assert found.mean == pytest.approx(500_500)


def test_those_that_were_never_sent_stand_above_all_that_came() -> None:
    found = figures(of(*[MS] * 500), censored=500, censored_ns=7 * MS)
    assert found.p50 == pytest.approx(MS, rel=0.005)
    assert (found.p90, found.p99) == (None, None)
    assert found.at_least == {"p90": 7 * MS, "p99": 7 * MS}
    assert (found.count, found.censored, found.max) == (500, 500, MS)


def test_a_few_that_were_never_sent_move_the_percentile_up() -> None:
    values = [MS] * 900 + [9 * MS] * 80
    assert figures(of(*values)).p90 == pytest.approx(MS, rel=0.005)
    found = figures(of(*values), censored=20, censored_ns=30 * MS)
    assert found.p90 == pytest.approx(MS, rel=0.005)
    assert found.at_least == {"p99": 30 * MS}


@given(st.integers(0, 3_000), st.integers(0, 3_000))
def test_a_percentile_is_known_or_a_bound_or_neither(count: int, censored: int) -> None:
    found = figures(of(*[MS] * count), censored, 5 * MS if censored else None)
    for name, percent in (("p50", 50.0), ("p90", 90.0), ("p99", 99.0)):
        value, bound = getattr(found, name), found.at_least.get(name)
        enough = (count + censored) * (100 - percent) >= BEHIND * 100
        assert [value is not None, bound is not None].count(True) == enough
        if enough:
            assert (bound is not None) == (percent * (count + censored) > 100 * count)

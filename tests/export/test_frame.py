"""A run as tables: one row a link, one a link and subscriber, one a time and link."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mqviz
from mqviz.api import Run
from mqviz.export import frame
from mqviz.simulation.scenario import loads, push_pull, topology
from mqviz.telemetry.clock import Anchor
from mqviz.telemetry.store import Store

SCENARIO = """
duration = "900ms"
warmup = "300ms"
node = [
    {name = "a", role = "producer", rate = "500/s", size = "100B"},
    {name = "b", role = "consumer"},
    {name = "c", role = "consumer", count = 2},
]
link = [
    {from = "a", to = "b", pattern = "push-pull", transport = "ipc"},
    {from = "a", to = "c", pattern = "pub-sub"},
]
"""
LINKS = ["a -> b", "a -> c"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A short run that has ended."""
    return mqviz.run(loads(SCENARIO), engine="python", out=tmp_path_factory.mktemp("runs") / "run")


def test_the_summary_has_a_row_for_each_link_and_units_in_its_names(run: Run) -> None:
    found = run.summary()
    report = run.report()["links"]
    assert list(found["link"]) == LINKS
    assert list(found["pattern"]) == ["push-pull", "pub-sub"]
    assert list(found["transport"]) == ["ipc", "tcp"]
    for column, key in (("sent", "sent"), ("received", "received"), ("throughput_per_s", "throughput")):
        assert list(found[column]) == [report[link][key] for link in LINKS]
    for link, row in zip(LINKS, found.to_dict("records"), strict=True):
        assert row["response_p50_ns"] == report[link]["latency_ns"]["response"]["p50"] > 0
        assert row["backlog_max_messages"] == report[link]["backlog"]["max"]
    for column in found.columns:
        if "_p" in column and "per_s" not in column:
            assert column.endswith("_ns"), column


def test_what_is_not_known_is_missing_and_not_zero(run: Run) -> None:
    found = run.summary()
    assert found["response_p99.9_ns"].isna().all()
    assert found["service_p50_ns"].isna().all()
    assert all(pd.api.types.is_numeric_dtype(found[name]) for name in found.columns if name.endswith("_ns"))


def test_the_books_close_in_every_row(run: Run) -> None:
    found = run.books()
    assert list(zip(found["link"], found["subscriber"], strict=True)) == [
        ("a -> b", ""),
        ("a -> c", ""),
        ("a -> c", "c.0"),
        ("a -> c", "c.1"),
    ]
    lost = found[[column for column in found.columns if column.startswith("lost_")]]
    assert lost.shape[1] == 9
    assert (found["sent"] == found["received"] + found["in_flight"] + lost.sum(axis=1)).all()
    whole, *each = found[found["link"] == "a -> c"]["received"]
    assert whole == sum(each)


def test_the_timeline_has_a_row_for_each_time_and_link(run: Run) -> None:
    found = run.timeline()
    assert len(found) % 2 == 0
    assert list(found["link"][:2]) == LINKS
    assert not found.duplicated(["time_s", "link"]).any()
    assert found["time_s"].is_monotonic_increasing
    assert list(found["phase"].unique()) == ["starting", "warm-up", "measure", "drain", "ended"]
    for link in LINKS:
        mine = found[found["link"] == link]
        for column in ("due", "sent", "received", "received_bytes"):
            assert mine[column].is_monotonic_increasing, column
        assert mine["received"].iloc[-1] == run.report()["links"][link]["received"]
        assert mine["backlog_messages"].iloc[-1] == 0
        inside = mine[mine["phase"] == "measure"]
        assert (inside["time_s"] > 0.2).all()
        rates = inside["throughput_per_s"].dropna()
        assert 200 < rates.mean() / (2 if link == "a -> c" else 1) < 1_000
        assert inside["response_p50_ns"].notna().any()
    assert found["time_s"].min() < 0.3


def test_a_rate_is_the_difference_to_the_row_before(run: Run) -> None:
    mine = run.timeline()
    mine = mine[mine["link"] == "a -> b"]
    rate = mine["received"].diff() / mine["time_s"].diff()
    assert np.isnan(mine["throughput_per_s"].iloc[0])
    np.testing.assert_allclose(mine["throughput_per_s"].iloc[1:], rate.iloc[1:], rtol=1e-6)


def test_a_coarser_timeline_ends_with_the_same_counts(run: Run) -> None:
    fine, coarse = frame.timeline(run.store, 0), frame.timeline(run.store, 1)
    assert 0 < len(coarse) < len(fine)
    for link in LINKS:
        last = [each[each["link"] == link].iloc[-1] for each in (fine, coarse)]
        assert last[0]["received"] == last[1]["received"]


def test_counts_are_whole_numbers(run: Run) -> None:
    for table in (run.summary(), run.books(), run.timeline()):
        for column in ("sent", "received"):
            assert pd.api.types.is_integer_dtype(table[column]), column


def test_of_a_run_without_a_row_the_timeline_is_empty() -> None:
    assert frame.timeline(Store(topology(push_pull()), Anchor(0, 0))).empty

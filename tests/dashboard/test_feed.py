from __future__ import annotations

import json
import struct
from typing import Any

import msgspec
import numpy as np
import pytest

from mqviz.dashboard.feed import MOST_ROWS, Feed


def head(data: bytes) -> dict[str, Any]:
    (length,) = struct.unpack_from("<I", data)
    found: dict[str, Any] = msgspec.json.decode(data[4 : 4 + length])
    return found


def times(data: bytes) -> np.ndarray:
    (length,) = struct.unpack_from("<I", data)
    return np.frombuffer(data, "<f8", head(data)["rows"], 4 + length)


def test_rows_after_a_snapshot_continue_it_without_a_gap(lab: Any) -> None:
    lab.run_for(30)
    feed = Feed(lab.store)
    snapshot = feed.snapshot(0, 600)
    lab.run_for(5)
    rows = [json.loads(row) for row in feed.read_rows()]
    fine = [row for row in rows if row[0] == 0]
    assert [row[1] for row in fine] == [head(snapshot)["sequence"] + n for n in range(1, 6)]
    assert [row[2] for row in fine] == pytest.approx([3.1, 3.2, 3.3, 3.4, 3.5])
    assert {len(row) for row in rows} == {3 + len(head(snapshot)["columns"])}


def test_a_row_says_the_same_as_the_snapshot_that_has_it(lab: Any) -> None:
    lab.run_for(30)
    feed = Feed(lab.store)
    lab.tick()
    row = json.loads(feed.read_rows()[0])
    data = feed.snapshot(0, 5)
    told = head(data)
    columns = np.frombuffer(data[-4 * 5 * len(told["columns"]) :], "<f4").reshape(-1, 5)
    assert told["sequence"] == row[1]
    known = [np.nan if value is None else value for value in row[3:]]
    np.testing.assert_allclose(columns[:, -1], known, rtol=1e-4)


@pytest.mark.parametrize(("tier", "rows"), [(0, 120), (1, 12), (2, 1)])
def test_every_tier_is_told(lab: Any, tier: int, rows: int) -> None:
    feed = Feed(lab.store)
    lab.run_for(121)
    told = [json.loads(row) for row in feed.read_rows()]
    assert sum(row[0] == tier for row in told) in (rows, rows + 1)
    assert head(feed.snapshot(tier, 600))["rows"] in (rows, rows + 1)


def test_nothing_is_told_before_load_flows(new_lab: Any) -> None:
    lab = new_lab(live=False)
    feed = Feed(lab.store)
    assert head(feed.snapshot(0, 600))["rows"] == 0
    lab.begin(1_000_000_000_000)
    lab.run_for(3)
    assert feed.read_rows() == []
    feed.read_marks()
    assert head(feed.snapshot(0, 600))["rows"] == 3


def test_a_snapshot_is_made_once_for_all_who_ask(lab: Any) -> None:
    lab.run_for(10)
    feed = Feed(lab.store)
    assert feed.snapshot(0, 600) is feed.snapshot(0, 600)
    lab.tick()
    assert head(feed.snapshot(0, 600))["rows"] == 11


def test_nobody_can_ask_for_more_than_there_may_be(lab: Any) -> None:
    lab.run_for(10)
    feed = Feed(lab.store)
    assert head(feed.snapshot(0, 10**12))["rows"] == 10
    assert head(feed.snapshot(0, -5))["rows"] == 1
    assert MOST_ROWS == 1200


def test_rows_that_nobody_looked_at_are_skipped(lab: Any) -> None:
    feed = Feed(lab.store)
    lab.run_for(10)
    feed.skip_rows()
    assert feed.read_rows() == []
    lab.tick()
    assert len(feed.read_rows()) >= 1
    assert len(times(feed.snapshot(0, 600))) == 11


def test_events_and_phases_are_told_by_the_time_of_the_run(lab: Any) -> None:
    feed = Feed(lab.store)
    lab.run_for(20)
    lab.kill("pricing", 1)
    fresh = feed.read_marks()
    assert fresh == [
        {"t": 0.5, "kind": "phase", "text": "measure"},
        {"t": 2.0, "kind": "event", "text": "kill pricing.1"},
    ]
    assert feed.read_marks() == []
    assert [mark["text"] for mark in feed.marks] == ["warm-up", "measure", "kill pricing.1"]
    assert set(feed.phases) == {"starting", "warm-up", "measure"}

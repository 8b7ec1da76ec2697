from __future__ import annotations

import time

from mqviz.telemetry import clock


def test_wall_time_is_told_from_the_anchor():
    anchor = clock.Anchor(1_000, 5_000_000)
    assert anchor.wall(1_250) == 5_000_250
    assert anchor.wall(900) == 4_999_900


def test_an_anchor_ties_both_clocks_at_one_moment():
    before = time.monotonic_ns(), time.time_ns()
    anchor = clock.anchor()
    after = time.monotonic_ns(), time.time_ns()
    assert before[0] <= anchor.monotonic_ns <= after[0]
    assert before[1] <= anchor.wall_ns <= after[1]


def test_of_three_readings_the_shortest_counts(monkeypatch):
    monotonic = iter([0, 100, 200, 210, 300, 340])
    wall = iter([1_000, 2_000, 3_000])
    monkeypatch.setattr(clock.time, "monotonic_ns", lambda: next(monotonic))
    monkeypatch.setattr(clock.time, "time_ns", lambda: next(wall))
    assert clock.anchor() == clock.Anchor(205, 2_000)

"""What fills a notebook's charts: every row once, then the last minute, in the end the whole run."""

from __future__ import annotations

from typing import Any

import pytest

from mqviz.dashboard import window
from mqviz.dashboard.window import SPAN_S, Piece, Window


def times(piece: Piece) -> list[float | None]:
    return piece.charts["throughput"]["t"]


def test_every_row_comes_once(lab: Any) -> None:
    reader = Window(lab.store)
    seen = []
    for ticks in (3, 1, 0, 7):
        lab.run_for(ticks)
        seen += times(reader.read())
    assert seen == [round(tick / 10, 3) for tick in range(1, 12)]
    assert reader.read().empty


def test_nothing_is_shown_before_load_flows(new_lab: Any) -> None:
    lab = new_lab(live=False)
    piece = Window(lab.store).read()
    assert piece.empty
    assert (piece.start_s, piece.end_s) == (0.0, SPAN_S)


def test_all_columns_are_plain_numbers_of_one_length(lab: Any) -> None:
    lab.run_for(30)
    for columns in Window(lab.store).read().charts.values():
        assert {len(values) for values in columns.values()} == {30}
        assert all(value is None or type(value) is float for values in columns.values() for value in values)


def test_rates_are_the_same_in_pieces_and_at_once(lab: Any) -> None:
    reader = Window(lab.store)
    pieces: list[float | None] = []
    for _ in range(15):
        lab.run_for(2)
        pieces += reader.read().charts["throughput"]["received_0"]
    whole = reader.last().charts["throughput"]["received_0"]
    assert pieces == whole
    assert pieces[-1] == pytest.approx(2_000, rel=0.2)


def test_a_stack_has_no_holes(lab: Any) -> None:
    lab.run_for(5)
    charts = Window(lab.store).read().charts
    for name in ("backlog", "losses"):
        assert None not in [value for values in charts[name].values() for value in values]


def test_the_last_minute_ends_where_reading_has_come_to(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "MOST_ROWS", 60)
    monkeypatch.setattr(window, "SPAN_S", 6.0)
    reader = Window(lab.store)
    lab.run_for(65)
    reader.read()
    lab.run_for(5)
    last = reader.last()
    assert len(times(last)) == 60
    assert times(last)[-1] == 6.5
    assert (last.start_s, last.end_s) == (0.5, 6.5)
    assert times(reader.read()) == [6.6, 6.7, 6.8, 6.9, 7.0]


def test_events_come_once_and_again_with_the_last_minute(lab: Any) -> None:
    reader = Window(lab.store)
    lab.run_for(10)
    lab.kill("pricing", 1)
    assert reader.read().events == [1.0]
    lab.run_for(10)
    lab.pause("orders")
    assert reader.last().events == [1.0]
    assert reader.read().events == [2.0]


def test_a_long_run_is_whole_in_coarser_rows(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "MOST_ROWS", 60)
    lab.run_for(120)
    lab.stop()
    whole = Window(lab.store).whole()
    assert times(whole)[:3] == [1.0, 2.0, 3.0]
    assert (whole.start_s, whole.end_s) == (0.0, pytest.approx(12.0, abs=1.0))


def test_a_short_run_fills_the_chart(lab: Any) -> None:
    lab.run_for(50)
    lab.stop()
    assert Window(lab.store).whole().end_s == pytest.approx(5.0, abs=0.2)

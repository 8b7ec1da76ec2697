"""Rows of a store as the lists that fill the charts of a notebook: what is new, or all that is shown."""

from __future__ import annotations

import math
from typing import NamedTuple

from mqviz.charts import backlog, board, losses
from mqviz.charts.rates import LEAD_ROWS
from mqviz.dashboard.feed import END
from mqviz.telemetry.sample import Mark
from mqviz.telemetry.store import Store
from mqviz.telemetry.tiers import Rows

SPAN_S = 60.0
"""What is shown while load flows; in the end it is the whole run."""

MOST_ROWS = 600
"""Points a line; more cost time and space and nobody sees them."""

STACKED = (backlog.NAME, losses.NAME)

Columns = dict[str, list[float | None]]


class Piece(NamedTuple):
    """Columns of each chart, with the time `t` among them, the times of events, and the time axis."""

    charts: dict[str, Columns]
    events: list[float]
    start_s: float
    end_s: float

    @property
    def empty(self) -> bool:
        """Nothing is new."""
        return not self.events and not any(columns["t"] for columns in self.charts.values())


class Window:
    """Reads one store, for all displays of a lab."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.origin_ns: int | None = None
        self.phases: dict[str, int] = {}
        """When each phase began, monotonic ns."""
        self._events: list[float] = []
        self._told = 0
        self._cursor = 0
        self._mark_cursor = 0
        self._end_s = 0.0

    def read(self) -> Piece:
        """What came since the last call."""
        self._read_marks()
        known = self._cursor
        # and those before: rates are differences
        rows, self._cursor = self.store.since(max(known - LEAD_ROWS, 0))
        events, self._told = self._events[self._told :], len(self._events)
        return self._piece(rows, known, events)

    def last(self) -> Piece:
        """The last minute of what `read` has given."""
        first = max(self._cursor - MOST_ROWS, 0)
        rows = self.store.since(max(first - LEAD_ROWS, 0))[0]
        return self._piece(rows, first, self._events[: self._told], before=self._cursor)

    def whole(self) -> Piece:
        """The run from its start to its end."""
        self._read_marks()
        for tier in (0, 1, 2):
            cursor = self.store.since(END, tier)[1]
            if cursor <= MOST_ROWS or tier == 2:
                break
        rows = self.store.since(0, tier)[0]
        return self._piece(rows, 0, self._events)._replace(start_s=0.0, end_s=self._end_s or SPAN_S)

    def _read_marks(self) -> None:
        marks, self._mark_cursor = self.store.marks(self._mark_cursor)
        self.phases |= {str(mark.data.get("phase")): mark.at_ns for mark in marks if mark.kind == "phase"}
        if self.origin_ns is None:
            self.origin_ns = board.origin_ns(marks)
        self._events += [at_s for mark in marks if (at_s := self._at_s(mark)) > 0]

    def _at_s(self, mark: Mark) -> float:
        """When an event was, 0 for what is none."""
        if mark.kind != "event" or self.origin_ns is None:
            return 0.0
        return round((mark.at_ns - self.origin_ns) / 1e9, 3)

    def _piece(self, rows: Rows, first: int, events: list[float], before: int = END) -> Piece:
        charts: dict[str, Columns] = {}
        times = board.seconds(rows.at_ns, self.origin_ns or 0)
        use = (times > 0) & (rows.sequence >= first) & (rows.sequence < before) & (self.origin_ns is not None)
        for name, columns in board.columns(rows, self.store.topology).items():
            # a stack cannot have a hole: what is on top of it would vanish too
            hole = 0.0 if name in STACKED else None
            charts[name] = {"t": [round(at_s, 3) for at_s in times[use].tolist()]}
            for column, values in columns.items():
                charts[name][column] = [_short(value, hole) for value in values[use].tolist()]
        if use.any():
            self._end_s = max(self._end_s, float(times[use][-1]))
        end_s = max(self._end_s, SPAN_S)
        return Piece(charts, events, end_s - SPAN_S, end_s)


def _short(value: float, hole: float | None) -> float | None:
    """Five digits are more than a chart shows, and half the bytes."""
    return float(f"{value:.5g}") if math.isfinite(value) else hole

"""What a viewer is fed: the columns of all charts as rows of a tier, from one store and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np

from mqviz.charts import board
from mqviz.charts.rates import F64, LEAD_ROWS, per_second
from mqviz.dashboard import encode
from mqviz.telemetry.columns import WHOLE
from mqviz.telemetry.sample import Mark
from mqviz.telemetry.store import Store
from mqviz.telemetry.tiers import Rows

TIERS = (0, 1, 2)
END = 1 << 62
"""A cursor after every row."""

MOST_ROWS = 1200
"""A viewer cannot ask for more than this at once."""


class Feed:
    """Reads one store for all viewers: new rows once, snapshots on demand."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._cursors = {tier: store.since(0, tier)[1] for tier in TIERS}
        self._mark_cursor = 0
        self.origin_ns: int | None = None
        self.phases: dict[str, int] = {}
        """When each phase began, monotonic ns."""
        self.marks: list[dict[str, Any]] = []
        self._kept: dict[tuple[int, int], tuple[int, bytes]] = {}
        self.read_marks()

    def read_marks(self) -> list[dict[str, Any]]:
        """What happened since the last call; those before load flowed are not told."""
        marks, self._mark_cursor = self.store.marks(self._mark_cursor)
        self.phases |= {str(mark.data.get("phase")): mark.at_ns for mark in marks if mark.kind == "phase"}
        if self.origin_ns is None:
            self.origin_ns = board.origin_ns(marks)
        if self.origin_ns is None:
            return []
        fresh = [told for mark in marks if (told := _told(mark, self.origin_ns))]
        self.marks += fresh
        return fresh

    def read_rows(self) -> list[str]:
        """The rows that came since the last call, encoded, oldest first, tier by tier."""
        lines: list[str] = []
        for tier in TIERS:
            known = self._cursors[tier]
            rows, self._cursors[tier] = self.store.since(max(known - LEAD_ROWS, 0), tier)
            if self._cursors[tier] == known or self.origin_ns is None:
                continue
            times, table = self._table(rows)
            columns = list(table.values())
            for place in np.flatnonzero((times > 0) & (rows.sequence >= known)):
                values = [float(column[place]) for column in columns]
                lines.append(encode.row(tier, int(rows.sequence[place]), float(times[place]), values))
        return lines

    def skip_rows(self) -> None:
        """Nobody looks on: what came is read when somebody asks."""
        for tier in TIERS:
            self._cursors[tier] = self.store.since(END, tier)[1]

    def snapshot(self, tier: int, count: int) -> bytes:
        """The last `count` rows of a tier; empty before load flows."""
        count = max(1, min(count, MOST_ROWS))
        cursor = self.store.since(END, tier)[1]
        kept = self._kept.get((tier, count))
        if kept is not None and kept[0] == cursor:
            return kept[1]
        rows, cursor = self.store.since(max(cursor - count - LEAD_ROWS, 0), tier)
        times, table = self._table(rows)
        use = (times > 0) & (rows.sequence >= cursor - count) & (self.origin_ns is not None)
        head = {"tier": tier, "sequence": cursor - 1}
        data = encode.snapshot(head, times[use], {name: column[use] for name, column in table.items()})
        self._kept[tier, count] = (cursor, data)
        return data

    def _table(self, rows: Rows) -> tuple[F64, dict[str, F64]]:
        """Times and every column: those of the charts, then those of the figures strip."""
        table: dict[str, F64] = {}
        for columns in board.columns(rows, self.store.topology).values():
            table.update(columns)
        table["received"] = per_second(rows, rows.column(WHOLE, "received"))
        table["backlog"] = rows.column(WHOLE, "backlog")
        table["lost"] = per_second(rows, rows.column(WHOLE, "lost"))
        return board.seconds(rows.at_ns, self.origin_ns or 0), table


def _told(mark: Mark, origin_ns: int) -> dict[str, Any] | None:
    """A mark as the page lists it."""
    # a death comes with the event that it was, a birth is not news
    if mark.kind in ("event", "phase") and mark.at_ns >= origin_ns:
        at_s = round((mark.at_ns - origin_ns) / 1e9, 3)
        return {"t": at_s, "kind": mark.kind, "text": mark.text}
    return None

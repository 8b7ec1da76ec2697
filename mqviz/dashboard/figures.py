"""The numbers beside the charts: the figures strip and the state of every node, read from a store."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from mqviz.charts.rates import F64, per_second
from mqviz.dashboard.feed import END
from mqviz.telemetry.columns import BY_DESIGN, CAUSES, UNRESOLVED, WHOLE
from mqviz.telemetry.histogram import BINS, HIGH_NS, I64, Histogram
from mqviz.telemetry.store import Store
from mqviz.telemetry.tiers import Rows

SECOND = 10  # rows of tier 0
SPAN = 10 * SECOND
"""Percentiles of the strip come from the merged bins of the last 10 s."""

PERCENTS = (50.0, 99.0, 99.9)


def last(store: Store, tier: int, count: int) -> Rows:
    """The last `count` rows of a tier."""
    _, cursor = store.since(END, tier)
    return store.since(max(cursor - count, 0), tier)[0]


def merged(rows: Rows) -> Histogram:
    """End-to-end durations of some rows as one histogram."""
    counts = np.zeros(BINS, np.uint64)
    for positions, added in rows.bins("", "end_to_end"):
        np.add.at(counts, positions, added.astype(np.uint64))
    top = int(np.flatnonzero(counts)[-1]) if counts.any() else 0
    return Histogram(counts, max_ns=int(HIGH_NS[top]))


def live(store: Store) -> dict[str, Any]:
    """While load flows: rates of the last second, percentiles of the last 10 s, totals so far."""
    rows = last(store, 0, SPAN + 1)
    minute = last(store, 1, 61)
    received = per_second(rows, rows.column(WHOLE, "received"))
    backlog = rows.column(WHOLE, "backlog")
    p50, p99, p999 = merged(rows).percentiles(PERCENTS)
    before = mean(per_second(minute, minute.column(WHOLE, "received"))[:5]) if len(minute) > 30 else None
    return {
        "throughput": newest(received),
        "throughput_before": before,
        "p50": p50, "p99": p99, "p999": p999,
        "backlog": newest(backlog),
        "backlog_slope": _slope(rows.at_ns, backlog),
        **losses(store),
    }  # fmt: skip


def final(store: Store, phases: dict[str, int]) -> dict[str, Any]:
    """When the run is over: the measure phase as a whole. `phases`: when each began, monotonic ns."""
    histogram = store.histogram(None, "end_to_end", "measure")
    p50, p99, p999 = histogram.percentiles(PERCENTS)
    begin = phases.get("measure")
    end = phases.get("drain", phases.get("ended"))
    throughput = None
    if begin is not None and end is not None:
        rows = last(store, 1, 1800)
        inside = (rows.at_ns >= begin) & (rows.at_ns <= end)
        throughput = mean(per_second(rows, rows.column(WHOLE, "received"))[inside])
    return {
        "throughput": throughput, "throughput_before": None,
        "p50": p50, "p99": p99, "p999": p999,
        "backlog": newest(last(store, 0, 1).column(WHOLE, "backlog")), "backlog_slope": None,
        **losses(store),
    }  # fmt: skip


def losses(store: Store) -> dict[str, Any]:
    """Totals by cause over all links, what is not known yet, and where most was lost."""
    causes = dict.fromkeys(CAUSES, 0)
    unresolved = 0
    worst: dict[str, Any] | None = None
    for link in store.topology.links:
        for cause, count in store.totals(link.name).lost.items():
            if cause == UNRESOLVED:
                unresolved += count
                continue
            causes[cause] = causes.get(cause, 0) + count
            if cause not in BY_DESIGN and count and (worst is None or count > worst["count"]):
                worst = {"cause": cause, "link": f"{link.source} → {link.target}", "count": count}
    lost = sum(count for cause, count in causes.items() if cause not in BY_DESIGN)
    return {"lost": lost, "causes": causes, "unresolved": unresolved, "worst": worst}


def nodes(store: Store, instances: Iterable[Any]) -> list[dict[str, Any]]:
    """Each node of the scenario: what it does now, and which of its instances live (1) or not (0)."""
    rows = last(store, 0, SECOND + 1)

    def rate(link: str, field: str) -> float | None:
        return newest(per_second(rows, rows.column(link, field)))

    lives: dict[str, list[Any]] = {}
    for instance in instances:
        lives.setdefault(instance.node, []).append(instance)
    told = []
    for node in store.topology.nodes:
        own = sorted(lives.get(node.name, ()), key=lambda instance: int(instance.index))
        inward = [link.name for link in store.topology.links if link.target == node.name]
        outward = [link.name for link in store.topology.links if link.source == node.name]
        alive = sum(instance.alive for instance in own)
        busy = newest(per_second(rows, rows.column(node.name, "busy_ns")))
        told.append(
            {
                "alive": alive,
                "lives": "".join("1" if instance.alive else "0" for instance in own),
                "paused": bool((newest(rows.column(node.name, "paused")) or 0) > 0),
                "sent": _sum(rate(link, "published") for link in outward),
                "received": _sum(rate(link, "received") for link in inward),
                "waiting": _sum(newest(rows.column(link, "backlog")) for link in inward),
                "busy": None if busy is None or not alive else min(busy / 1e9 / alive, 1.0),
            }
        )
    return told


def mean(values: F64) -> float | None:
    """Of what is known."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def newest(values: F64) -> float | None:
    """The last value, None where it is not known."""
    return float(values[-1]) if len(values) and np.isfinite(values[-1]) else None


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _slope(at_ns: I64, values: F64) -> float | None:
    """Growth a second, by least squares."""
    known = np.isfinite(values)
    if known.sum() < 2 * SECOND:
        return None
    times = (at_ns[known] - at_ns[known][0]) / 1e9
    return float(np.polyfit(times, values[known], 1)[0])

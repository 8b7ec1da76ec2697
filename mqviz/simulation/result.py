"""Result: what a run came to, as one document; what `mqviz run --json` prints and run.json keeps.

Counts cover the whole run; rates, backlog and durations the measure phase (durations by the flag of the
intended time).
"""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np

from mqviz.checks import verdict
from mqviz.checks.percentiles import Figures, figures
from mqviz.simulation.scenario import Expect, Scenario
from mqviz.telemetry.columns import BY_DESIGN, CAUSES, UNRESOLVED
from mqviz.telemetry.ledger import LinkTotals
from mqviz.telemetry.store import Store
from mqviz.telemetry.tiers import Rows

DURATIONS = ("response", "lateness", "blocked", "transit", "service")


def document(store: Store, scenario: Scenario, engine: str, state: str = "ended") -> dict[str, Any]:
    """The document of a run that has ended, or of one that still runs (then as far as it is known)."""
    window = Window(store)
    findings: list[verdict.Finding] = []
    links: dict[str, Any] = {}
    for link in store.topology.links:
        totals = store.totals(link.name)
        durations = {name: figures(store.histogram(link.name, name, "measure")) for name in DURATIONS}
        durations["response"] = figures(
            store.histogram(link.name, "response", "measure"), totals.censored, totals.censored_ns
        )
        block = {
            "pattern": link.pattern,
            "transport": link.transport,
            "offered_rate": window.rate(link.name, "due"),
            "achieved_rate": window.rate(link.name, "published"),
            "throughput": window.rate(link.name, "received"),
            **counts(totals),
            "published": totals.published,
            "bytes": totals.received_bytes,
            "backlog": window.backlog(link.name, totals),
            "latency_ns": {name: told(found) for name, found in durations.items()},
        }
        if link.pattern == "pub-sub":
            block["per_subscriber"] = {
                name: {**counts(one), "due": one.sent, "bytes": one.received_bytes}
                for name, one in sorted(store.subscribers(link.name).items(), key=_index)
            }
        links[link.name] = block
        findings += verdict.lateness(link.name, durations["lateness"], durations["response"])
        findings += verdict.books(
            link.name, totals.sent, totals.received, totals.in_flight, sum(totals.lost.values())
        )
    findings += verdict.samples(store.samples_lost)
    judged = verdict.judge(findings)
    found = {
        "command": "run",
        "scenario": scenario.name,
        "engine": engine,
        "state": state,
        "verdict": judged.verdict,
        "reasons": list(judged.reasons),
        "measured_s": window.seconds,
        "end_to_end_ns": told(figures(store.histogram(None, "end_to_end", "measure"))),
        "links": links,
        "events": [
            {"at_s": round((mark.at_ns - window.began_ns) / 1e9, 3), "text": mark.text}
            for mark in store.marks()[0]
            if mark.kind == "event"
        ],
        "samples_lost": store.samples_lost,
    }
    found["expectations"] = [expectation(expect, found) for expect in scenario.expects]
    return found


def _index(subscriber: tuple[str, LinkTotals]) -> int:
    return int(subscriber[0].rpartition(".")[2])


def counts(totals: LinkTotals) -> dict[str, Any]:
    """The counters of a link or subscriber under their names in the document."""
    return {
        # the word of a killed producer may be some ms old, and what was sent was due
        "due": max(totals.due, totals.published),
        "sent": totals.sent,
        "unsent": totals.unsent,
        "received": totals.received,
        "in_flight": totals.in_flight,
        "foreign": totals.foreign,
        "lost": dict(totals.lost),
    }


def told(found: Figures) -> dict[str, Any]:
    """Figures as a plain dict; `at_least` only where there is one."""
    plain: dict[str, Any] = msgspec.to_builtins(found)
    if not plain["at_least"]:
        del plain["at_least"]
    return plain


class Window:
    """The measure phase in the rows of the finest tier that still has its beginning."""

    def __init__(self, store: Store) -> None:
        phases = {m.data["phase"]: m.at_ns for m in store.marks()[0] if m.kind == "phase"}
        self.began_ns = phases.get("warm-up", phases.get("measure", store.anchor.monotonic_ns))
        start = phases.get("measure", self.began_ns)
        end = phases.get("drain", math.inf)
        self._rows: Rows | None = None
        self._inside = np.zeros(0, bool)
        for tier in (0, 1, 2):
            rows, _ = store.since(0, tier)
            if len(rows):
                self._rows = rows
                self._inside = (rows.at_ns >= start) & (rows.at_ns <= end)
                if rows.at_ns[0] <= start:
                    break

    @property
    def seconds(self) -> float:
        """Between the first and the last row of the phase."""
        times = self._times()
        return round(float(times[-1] - times[0]) / 1e9, 3) if len(times) > 1 else 0.0

    def _times(self) -> Any:
        return self._rows.at_ns[self._inside] if self._rows is not None else np.zeros(0)

    def _column(self, owner: str, field: str) -> Any:
        assert self._rows is not None
        return self._rows.column(owner, field)[self._inside]

    def rate(self, owner: str, field: str) -> float | None:
        """Per second over the phase, None when it is too short to say."""
        if self.seconds <= 0:
            return None
        values = self._column(owner, field)
        return round(float(values[-1] - values[0]) / self.seconds, 2)

    def backlog(self, link: str, totals: LinkTotals) -> dict[str, Any]:
        """Mean and highest over the phase, and what is left."""
        if not self._inside.any() or self._rows is None:
            return {"mean": None, "max": None, "end": totals.in_flight}
        high = self._rows.high(link, "backlog")[self._inside]
        mean = self._rows.mean(link, "backlog")[self._inside]
        return {
            "mean": round(float(np.nanmean(mean)), 2),
            "max": int(np.nanmax(high)),
            "end": totals.in_flight,
        }


COMPARE = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b,
}


def expectation(expect: Expect, found: dict[str, Any]) -> dict[str, Any]:
    """Whether an expectation was met; a value that is not known has not met it."""
    value = metric(expect.link, expect.metric, found)
    met = value is not None and COMPARE[expect.operator](value, expect.value)
    return {"metric": expect.text, "met": bool(met), "value": value}


def metric(link: str | None, name: str, found: dict[str, Any]) -> float | None:
    """The value of a metric such as `response.p99`, `lost`, `throughput` or `lost.hwm`.

    Without a link: end-to-end for response, the sum over links for counts and rates.
    """
    head, _, rest = name.partition(".")
    blocks = [found["links"][link]] if link else list(found["links"].values())
    if head == "end_to_end" or (head == "response" and link is None):
        return _number(found["end_to_end_ns"].get(rest or "p99"))
    if head in DURATIONS:
        values = [_number(block["latency_ns"][head].get(rest or "p99")) for block in blocks]
        known = [v for v in values if v is not None]
        return max(known) if known and len(known) == len(values) else None
    if head == "lost":
        causes = [rest] if rest else [cause for cause in (*CAUSES, UNRESOLVED) if cause not in BY_DESIGN]
        return float(sum(b["lost"][cause] for b in blocks for cause in causes))
    if head == "backlog":
        values = [_number(block["backlog"].get(rest or "max")) for block in blocks]
        return None if None in values else float(sum(v for v in values if v is not None))
    values = [_number(block.get(head)) for block in blocks]
    return None if None in values else float(sum(v for v in values if v is not None))


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None

"""Frames: results as tidy DataFrames, units in the column names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mqviz.telemetry.columns import CAUSES, lost_field
from mqviz.telemetry.store import Store

PERCENTILES = ("mean", "p50", "p90", "p99", "p99.9", "max")


def summary(found: dict[str, Any]) -> pd.DataFrame:
    """One row per link, from the document of a run."""
    rows = []
    for name, block in found["links"].items():
        row = {
            "link": name,
            "pattern": block["pattern"],
            "transport": block["transport"],
            "offered_per_s": block["offered_rate"],
            "achieved_per_s": block["achieved_rate"],
            "throughput_per_s": block["throughput"],
            "due": block["due"],
            "sent": block["sent"],
            "unsent": block["unsent"],
            "received": block["received"],
            "in_flight": block["in_flight"],
            "lost": sum(block["lost"].values()),
            "received_bytes": block["bytes"],
            "backlog_mean_messages": block["backlog"]["mean"],
            "backlog_max_messages": block["backlog"]["max"],
        }
        for duration, figures in block["latency_ns"].items():
            for percentile in PERCENTILES:
                row[f"{duration}_{percentile}_ns"] = figures[percentile]
        rows.append(row)
    table = pd.DataFrame(rows).convert_dtypes()
    # a column of which nothing is known would be one of objects
    return table.astype(dict.fromkeys(table.columns[table.isna().all()], "Float64"))


def books(found: dict[str, Any]) -> pd.DataFrame:
    """One row per link, and per subscriber in pub-sub: what was sent and what became of it.

    sent = received + in_flight + all columns that begin with `lost_`.
    """
    rows = []
    for name, block in found["links"].items():
        rows.append(_account(name, "", block))
        for subscriber, one in block.get("per_subscriber", {}).items():
            rows.append(_account(name, subscriber, one))
    return pd.DataFrame(rows)


def _account(link: str, subscriber: str, block: dict[str, Any]) -> dict[str, Any]:
    row = {"link": link, "subscriber": subscriber}
    row.update({key: block[key] for key in ("due", "sent", "unsent", "received", "in_flight", "foreign")})
    row.update({lost_field(cause): block["lost"][cause] for cause in (*CAUSES, "unresolved")})
    return row


def timeline(store: Store, tier: int | None = None) -> pd.DataFrame:
    """One row per (time_s, link), oldest first.

    `time_s` counts from the start of the load. Counts are cumulative, rates and percentiles those of the
    row's own span. `tier`: 0 = 100 ms, 1 = 1 s, 2 = 10 s; None: the finest that still has the beginning.
    """
    marks = store.marks()[0]
    phases = sorted((m.at_ns, m.data["phase"]) for m in marks if m.kind == "phase")
    began = next((at for at, phase in phases if phase in ("warm-up", "measure")), store.anchor.monotonic_ns)
    rows = store.since(0, tier or 0)[0]
    if tier is None:
        for finer in (0, 1, 2):
            candidate = store.since(0, finer)[0]
            if len(candidate):
                rows = candidate
                if candidate.at_ns[0] <= began:
                    break
    if not len(rows):
        return pd.DataFrame()
    times = np.array([at for at, _ in phases])
    names = np.array([phase for _, phase in phases])
    place = np.searchsorted(times, rows.at_ns, "right") - 1
    frames = []
    for link in store.topology.links:
        name = link.name
        columns: dict[str, Any] = {
            "time_s": (rows.at_ns - began) / 1e9,
            "link": name,
            "phase": np.where(place >= 0, names[place.clip(0)], "starting"),
        }
        for field in ("due", "sent", "unsent", "received", "worked_off", "foreign"):
            columns[field] = rows.column(name, field).astype(np.int64)
        columns["offered_per_s"] = rows.rate(name, "due")
        columns["achieved_per_s"] = rows.rate(name, "published")
        columns["throughput_per_s"] = rows.rate(name, "received")
        columns["received_bytes"] = rows.column(name, "received_bytes").astype(np.int64)
        columns["backlog_messages"] = rows.column(name, "backlog")
        columns["unresolved_messages"] = rows.column(name, "unresolved")
        for cause in CAUSES:
            columns[lost_field(cause)] = rows.column(name, lost_field(cause)).astype(np.int64)
        for duration in ("response", "transit"):
            for field, percentile in (("p50", "p50"), ("p90", "p90"), ("p99", "p99"), ("p999", "p99.9")):
                columns[f"{duration}_{percentile}_ns"] = rows.column(name, f"{duration}_{field}")
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames).sort_values(["time_s", "link"], kind="stable", ignore_index=True)

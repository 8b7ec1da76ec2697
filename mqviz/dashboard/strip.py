"""The header and the five figures of a lab as HTML, for places without the page's own script: the notebook."""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape
from typing import Any

from mqviz.dashboard.host import OVER, Instance

THIN = "\u202f"
"""Groups thousands, and parts a number from its unit."""

DASH = "–"
"""What is not known."""


def header(name: str, state: str, elapsed_s: float, engine: str, error: str | None) -> str:
    """Which lab this is and how far it is."""
    told = [f"<b>{escape(name)}</b>", f"<i>{escape(state)}</i>", f"<span>{clock(elapsed_s)}</span>"]
    if state != "idle":
        told.append(f"<span>{escape(engine)} engine</span>")
    if error:
        told.append(f"<em>{escape(error)}</em>")
    return f"<header>{''.join(told)}</header>"


def strip(state: str, figures: dict[str, Any] | None, instances: Iterable[Instance]) -> str:
    """Throughput, end-to-end p99, backlog, losses and what is alive; the same five as on the page."""
    found = figures or {}
    over = state in OVER
    lost = found.get("lost")
    cells = [
        _cell(
            "Throughput", count(found.get("throughput")), "msg/s",
            "mean of the measure phase" if over else "received, on all links",
        ),
        _cell("End-to-end p99", *duration(found.get("p99")), _percentiles(found)),
        _cell("Backlog", count(found.get("backlog")), "messages", "at the end" if over else _trend(found)),
        _cell("Lost", count(lost), "messages", _losses(found, over), wrong=bool(lost)),
        _alive(state, list(instances)),
    ]  # fmt: skip
    return f"<main>{''.join(cells)}</main>"


def _cell(label: str, value: str, unit: str, note: str, *, wrong: bool = False) -> str:
    shown = "" if value == DASH else f"<small>{unit}</small>" if unit else ""
    kind = ' class="wrong"' if wrong else ""
    return f"<section{kind}><h4>{label}</h4><strong>{value}{shown}</strong><p>{escape(note)}</p></section>"


def _percentiles(found: dict[str, Any]) -> str:
    if found.get("p50") is None:
        return "no message yet"
    told = (THIN.join(duration(found.get(name))) for name in ("p50", "p999"))
    return "p50 {} · p99.9 {}".format(*told)


def _trend(found: dict[str, Any]) -> str:
    backlog, slope = found.get("backlog"), found.get("backlog_slope")
    if backlog is None:
        return "no message yet"
    if slope is None or abs(slope) < max(1.0, backlog * 0.01):
        return "steady"
    return f"grows {count(slope)}/s" if slope > 0 else f"drains in {max(1, round(backlog / -slope))} s"


def _losses(found: dict[str, Any], over: bool) -> str:
    if found.get("lost") is None:
        return "no message yet"
    unresolved = found["unresolved"]
    told = [f"{found['worst']['cause']} on {found['worst']['link']}"] if found["worst"] else []
    told += [f"{count(unresolved)} not known yet"] if unresolved else []
    return " · ".join(told) or ("the books close" if over else "none proven")


def _alive(state: str, instances: list[Instance]) -> str:
    down = [instance.name for instance in instances if not instance.alive]
    flows = state in ("warm-up", "measure", "drain")
    note = {"idle": "not started", "starting": "starting"}.get(state, "the run is over")
    if flows:
        more = f" and {len(down) - 2} more" if len(down) > 2 else ""
        note = f"{', '.join(down[:2])}{more} down" if down else "all running"
    alive = len(instances) - len(down)
    value = f"{alive} / {len(instances)}" if instances else DASH
    return _cell("Instances alive", value, "", note, wrong=flows and bool(down))


def count(value: float | None) -> str:
    """Thousands apart, millions in short: `59 988`, `1.23 M`."""
    if value is None or not math.isfinite(value):
        return DASH
    size = abs(value)
    for scale, unit in ((1e9, "G"), (1e6, "M")):
        if size >= scale:
            return f"{value / scale:.3g}{THIN}{unit}"
    if size >= 10 or value == int(value):
        return f"{round(value):,}".replace(",", THIN)
    return f"{value:.1f}"


def duration(ns: float | None) -> tuple[str, str]:
    """Three digits, and the unit that suits them."""
    if ns is None or not math.isfinite(ns):
        return DASH, ""
    for scale, unit in ((1e9, "s"), (1e6, "ms"), (1e3, "µs")):
        if ns >= scale:
            value = ns / scale
            return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2}f}", unit
    return f"{ns:.0f}", "ns"


def clock(seconds: float) -> str:
    """m:ss, or h:mm:ss."""
    minutes, whole = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{whole:02}" if hours else f"{minutes}:{whole:02}"

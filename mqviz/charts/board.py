"""A board: the charts of one scenario with one time axis, and the columns that fill them from a store's rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from bokeh.plotting import figure

from mqviz.charts import backlog, latency, losses, throughput
from mqviz.charts.frame import Shared
from mqviz.charts.rates import F64
from mqviz.charts.series import series
from mqviz.charts.theme import Palette
from mqviz.telemetry.columns import CAUSES, lost_field
from mqviz.telemetry.sample import Mark
from mqviz.telemetry.tiers import Rows
from mqviz.telemetry.topology import Topology

CHARTS = {chart.NAME: chart for chart in (throughput, latency, backlog, losses)}


def draw(
    topology: Topology, palette: Palette, shared: Shared | None = None, *, legend: bool = False
) -> dict[str, figure]:
    """All figures by name; they share the time range and the events of `shared`."""
    shared = shared or Shared()
    return {name: chart.draw(topology, palette, shared, legend=legend) for name, chart in CHARTS.items()}


def columns(rows: Rows, topology: Topology) -> dict[str, dict[str, F64]]:
    """What belongs into the source `mq:NAME` of each chart, without the time `t`.

    Hand in LEAD_ROWS more than are drawn: the first rows have no rates of their own.
    """
    return {name: chart.columns(rows, topology) for name, chart in CHARTS.items()}


def seconds(at_ns: npt.NDArray[np.int64], origin_ns: int) -> F64:
    """The time axis: seconds since load began to flow."""
    return (at_ns - origin_ns) / 1e9


def origin_ns(marks: Iterable[Mark]) -> int | None:
    """When load began to flow: the first warm-up or measure phase; None before."""
    for mark in marks:
        if mark.kind == "phase" and mark.data.get("phase") in ("warm-up", "measure"):
            return mark.at_ns
    return None


def legends(topology: Topology, palette: Palette) -> dict[str, list[dict[str, Any]]]:
    """What an HTML legend shows: per chart the label, colour and column of each line, and its unit.

    A cause of losses that is by design has no line: its column is None.
    """
    lines = [(place, line.label, line.colour(palette)) for place, line in enumerate(series(topology))]
    return {
        throughput.NAME: [
            {"label": label, "colour": colour, "column": f"received_{place}", "unit": "/s"}
            for place, label, colour in lines
        ],
        backlog.NAME: [
            {"label": label, "colour": colour, "column": f"waiting_{place}", "unit": ""}
            for place, label, colour in lines
        ],
        latency.NAME: [
            {"label": label, "colour": colour, "column": name, "unit": "ms"}
            for (name, label), colour in zip(latency.PERCENTILES, latency.colours(palette), strict=True)
        ],
        losses.NAME: [
            {
                "label": cause,
                "colour": losses.colour(cause, palette) if cause in losses.ALARMING else palette.line,
                "column": lost_field(cause) if cause in losses.ALARMING else None,
                "unit": "/s",
            }
            for cause in CAUSES
        ],
    }

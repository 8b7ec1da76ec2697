"""End-to-end latency: percentiles of each bucket, from the origin's intended send to the last node's end of work."""

from __future__ import annotations

from typing import Any

from bokeh.models import Line, VArea
from bokeh.plotting import figure

from mqviz.charts.frame import Shared, frame, legend_below, source
from mqviz.charts.rates import F64
from mqviz.charts.theme import Palette
from mqviz.telemetry.tiers import Rows
from mqviz.telemetry.topology import Topology

NAME = "latency"
TITLE = "End-to-end latency"
HINT = "log scale"

PERCENTILES = (("p50", "p50"), ("p90", "p90"), ("p99", "p99"), ("p999", "p99.9"))
"""Column (and field of the store), and what people call it."""


def colours(palette: Palette) -> tuple[str, str, str, str]:
    """A colour a percentile, from cool to hot."""
    return palette.series[0], palette.series[4], palette.series[3], palette.dim


def columns(rows: Rows, topology: Topology) -> dict[str, F64]:
    """The percentiles in milliseconds; NaN where nothing arrived."""
    return {name: rows.column("", f"end_to_end_{name}") / 1e6 for name, _ in PERCENTILES}


def draw(topology: Topology, palette: Palette, shared: Shared, *, legend: bool = False) -> figure:
    """The figure; its source is `mq:latency`."""
    data = source(NAME, [name for name, _ in PERCENTILES])
    plot = frame(shared, palette, log=True)
    tints = colours(palette)
    for low, high, tint in (("p50", "p90", tints[0]), ("p90", "p99", tints[1])):
        plot.add_glyph(data, VArea(x="t", y1=low, y2=high, fill_color=tint, fill_alpha=0.16))
    items: list[tuple[str, list[Any]]] = []
    for (name, label), tint in reversed(list(zip(PERCENTILES, tints, strict=True))):
        thin = name == "p999"
        drawn = plot.add_glyph(
            data,
            Line(
                x="t", y=name, line_color=tint,
                line_width=1 if thin else 1.6, line_dash=[2, 3] if thin else "solid",
            ),
        )  # fmt: skip
        items.insert(0, (label, [drawn]))
    if legend:
        legend_below(plot, palette, items)
    return plot

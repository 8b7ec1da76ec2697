"""Backlog: messages sent, not yet received and not known lost, stacked by link."""

from __future__ import annotations

from bokeh.plotting import figure

from mqviz.charts.frame import Shared, frame, legend_below, source
from mqviz.charts.rates import F64, total
from mqviz.charts.series import series
from mqviz.charts.theme import Palette
from mqviz.telemetry.tiers import Rows
from mqviz.telemetry.topology import Topology

NAME = "backlog"
TITLE = "Backlog"
HINT = "messages waiting, stacked by link"


def columns(rows: Rows, topology: Topology) -> dict[str, F64]:
    """Messages per line; the client draws them on top of each other."""
    return {
        f"waiting_{place}": total(rows, line.links, "backlog") for place, line in enumerate(series(topology))
    }


def draw(topology: Topology, palette: Palette, shared: Shared, *, legend: bool = False) -> figure:
    """The figure; its source is `mq:backlog`."""
    lines = series(topology)
    names = [f"waiting_{place}" for place in range(len(lines))]
    data = source(NAME, names)
    plot = frame(shared, palette)
    drawn = plot.varea_stack(
        names, x="t", source=data, color=[line.colour(palette) for line in lines], fill_alpha=0.75
    )
    if legend:
        legend_below(plot, palette, [(line.label, [area]) for line, area in zip(lines, drawn, strict=True)])
    return plot

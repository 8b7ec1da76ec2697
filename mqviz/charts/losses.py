"""Losses: messages proven lost, a second, stacked by cause.

`unresolved` (in flight or lost, not known yet) is no loss yet, and what a filter or an option asks for is no
reason for alarm: neither is drawn here, or it would hide what matters.
"""

from __future__ import annotations

from bokeh.plotting import figure

from mqviz.charts.frame import Shared, frame, legend_below, source
from mqviz.charts.rates import F64, per_second, total
from mqviz.charts.theme import Palette
from mqviz.telemetry.columns import BY_DESIGN, CAUSES, lost_field
from mqviz.telemetry.tiers import Rows
from mqviz.telemetry.topology import Topology

NAME = "losses"
TITLE = "Losses"
HINT = "messages/s, by cause"


ALARMING = tuple(cause for cause in CAUSES if cause not in BY_DESIGN)


def colour(cause: str, palette: Palette) -> str:
    """The colour of a cause."""
    return palette.causes[CAUSES.index(cause)]


def columns(rows: Rows, topology: Topology) -> dict[str, F64]:
    """Per cause: lost a second, over all links."""
    links = [link.name for link in topology.links]
    return {field: per_second(rows, total(rows, links, field)) for field in map(lost_field, ALARMING)}


def draw(topology: Topology, palette: Palette, shared: Shared, *, legend: bool = False) -> figure:
    """The figure; its source is `mq:losses`."""
    names = [lost_field(cause) for cause in ALARMING]
    data = source(NAME, names)
    plot = frame(shared, palette)
    drawn = plot.varea_stack(
        names, x="t", source=data, color=[colour(cause, palette) for cause in ALARMING], fill_alpha=0.8
    )
    if legend:
        legend_below(plot, palette, [(cause, [area]) for cause, area in zip(ALARMING, drawn, strict=True)])
    return plot

"""Throughput: deliveries a second on each link, and dashed beside it what was due."""

from __future__ import annotations

import numpy as np
from bokeh.models import Line
from bokeh.plotting import figure

from mqviz.charts.frame import Shared, frame, legend_below, source
from mqviz.charts.rates import F64, per_second, total
from mqviz.charts.series import series
from mqviz.charts.theme import Palette
from mqviz.telemetry.tiers import Rows
from mqviz.telemetry.topology import Topology

NAME = "throughput"
TITLE = "Throughput"
HINT = "messages/s received over the last second, dashed = offered"


def columns(rows: Rows, topology: Topology) -> dict[str, F64]:
    """Per line: received and offered, a second."""
    found: dict[str, F64] = {}
    for place, line in enumerate(series(topology)):
        found[f"received_{place}"] = per_second(rows, total(rows, line.links, "received"))
        found[f"offered_{place}"] = sum((_offered(rows, link) for link in line.links), np.zeros(len(rows)))
    return found


def _offered(rows: Rows, link: str) -> F64:
    """What was due, counted in deliveries: a publication is due to each of its subscribers."""
    published = rows.column(link, "published")
    copies = np.divide(rows.column(link, "sent"), published, out=np.ones(len(rows)), where=published > 0)
    return per_second(rows, rows.column(link, "due")) * copies


def draw(topology: Topology, palette: Palette, shared: Shared, *, legend: bool = False) -> figure:
    """The figure; its source is `mq:throughput`."""
    lines = series(topology)
    data = source(
        NAME, [f"{what}_{place}" for place in range(len(lines)) for what in ("received", "offered")]
    )
    plot = frame(shared, palette)
    items = []
    for place, line in enumerate(lines):
        colour = line.colour(palette)
        plot.add_glyph(
            data,
            Line(
                x="t",
                y=f"offered_{place}",
                line_color=colour,
                line_alpha=0.55,
                line_dash=[4, 4],
                line_width=1,
            ),
        )
        drawn = plot.add_glyph(data, Line(x="t", y=f"received_{place}", line_color=colour, line_width=1.6))
        items.append((line.label, [drawn]))
    if legend:
        legend_below(plot, palette, items)
    return plot

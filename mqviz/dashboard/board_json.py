"""The charts of a scenario as JSON for the browser: built once for all viewers, one for each theme."""

from __future__ import annotations

from typing import Any

from bokeh.core.json_encoder import serialize_json
from bokeh.document import Document

from mqviz.charts import board
from mqviz.charts.theme import Palette
from mqviz.telemetry.topology import Topology


def board_json(topology: Topology, palette: Palette) -> bytes:
    """One Bokeh document with all figures (so they share time and events), and the legends beside them."""
    figures = board.draw(topology, palette)
    document = Document()
    for figure in figures.values():
        document.add_root(figure)
    plain: dict[str, Any] = dict(document.to_json(deferred=False))
    # definitions of all of Panel's own models, 150 kB that no figure uses
    plain.pop("defs", None)
    told: dict[str, Any] = {
        "document": plain,
        "roots": {name: figure.id for name, figure in figures.items()},
        "charts": {name: {"title": chart.TITLE, "hint": chart.HINT} for name, chart in board.CHARTS.items()},
        "legends": board.legends(topology, palette),
    }
    text: str = serialize_json(told)
    return text.encode()

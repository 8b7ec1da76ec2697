"""The charts of a scenario as JSON for the browser: built once for all viewers, one for each theme."""

from __future__ import annotations

from typing import Any

from bokeh.core.json_encoder import serialize_json
from bokeh.core.validation import silence
from bokeh.core.validation.warnings import MISSING_RENDERERS
from bokeh.embed.util import standalone_docs_json_and_render_items

from mqviz.charts import board
from mqviz.charts.theme import Palette
from mqviz.telemetry.topology import Topology

silence(MISSING_RENDERERS, True)


def board_json(topology: Topology, palette: Palette) -> bytes:
    """One Bokeh document with all figures, where each belongs, and the legends beside them."""
    figures = board.draw(topology, palette)
    documents, _ = standalone_docs_json_and_render_items(list(figures.values()))
    (document,) = documents.values()
    told: dict[str, Any] = {
        "document": document,
        "roots": {name: figure.id for name, figure in figures.items()},
        "charts": {
            name: {"title": chart.TITLE, "hint": chart.HINT} for name, chart in board.CHARTS.items()
        },
        "legends": board.legends(topology, palette),
    }
    return serialize_json(told).encode()

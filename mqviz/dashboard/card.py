"""The card: one display of a lab in a notebook, as one Bokeh layout that starts empty and is filled by pieces."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import msgspec
from bokeh.layouts import column, row
from bokeh.models import Column, ColumnDataSource, CustomJS, Div, InlineStyleSheet
from bokeh.plotting import figure

from mqviz.charts import board, losses
from mqviz.charts.frame import Shared
from mqviz.charts.theme import DARK, LIGHT
from mqviz.dashboard import strip
from mqviz.dashboard.window import Piece
from mqviz.telemetry.topology import Topology

STATIC = Path(__file__).parent / "static"
PLOT_HEIGHT = 190


class Card:
    """Header, five figures and two by two charts. `layout` belongs into one document."""

    def __init__(self, topology: Topology) -> None:
        shared = Shared()
        sheet = InlineStyleSheet(css=(STATIC / "card.css").read_text())
        self._header, self._strip = _text(sheet), _text(sheet)
        self._legends = board.legends(topology, LIGHT)
        self._heads: dict[str, Div] = {}
        cells = []
        figures = board.draw(topology, LIGHT, shared)
        for name, plot in figures.items():
            self._heads[name] = _text(sheet)
            plot.update(height=PLOT_HEIGHT, sizing_mode="stretch_width")
            cells.append(column(self._heads[name], plot, sizing_mode="stretch_width"))
        self.layout: Column = column(
            self._header,
            self._strip,
            row(*cells[:2], sizing_mode="stretch_width"),
            row(*cells[2:], sizing_mode="stretch_width"),
            sizing_mode="stretch_width",
        )
        # one property carries all that is new: one event a push, and the browser draws when it has the time
        self._inbox = ColumnDataSource(name="mq:inbox")
        self._inbox.js_on_change("tags", _script("card_inbox.js", **_targets(figures, shared)))
        self._first = next(iter(figures.values()))
        self._first.js_on_change("inner_width", _script("card_start.js", inbox=self._inbox, pairs=_pairs()))
        self.tell("", "", {})

    @property
    def drawn(self) -> bool:
        """A browser has drawn it, and the kernel has heard so."""
        return self._first.inner_width is not None

    def tell(self, header: str, figures: str, causes: dict[str, int]) -> None:
        """Set the texts: header, figures strip, and how much was lost of which cause."""
        texts = {self._header: header, self._strip: figures}
        for name, div in self._heads.items():
            chart, legend = board.CHARTS[name], self._legends[name]
            numbers = causes if name == losses.NAME else {}
            if name == losses.NAME:
                legend = [item for item in legend if causes.get(item["label"])]
            texts[div] = _head(chart.TITLE, chart.HINT, legend, numbers)
        for div, text in texts.items():
            # an assignment is an event, even of the same text
            if div.text != text:
                div.text = text

    def fill(self, piece: Piece) -> None:
        """Show a piece and nothing else."""
        self._send(piece, fresh=True)

    def add(self, piece: Piece) -> None:
        """Show a piece after what is there."""
        if not piece.empty:
            self._send(piece, fresh=False)

    def _send(self, piece: Piece, *, fresh: bool) -> None:
        self._inbox.tags = [msgspec.json.encode({"fresh": fresh, **piece._asdict()}).decode()]


def _targets(figures: dict[str, figure], shared: Shared) -> dict[str, Any]:
    sources = {name: plot.select_one({"name": f"mq:{name}"}) for name, plot in figures.items()}
    return {"sources": sources, "time": shared.time, "events": shared.events}


def _pairs() -> dict[str, str]:
    """Each colour of the light theme and what it is in the dark one."""
    light = (*LIGHT.series, *LIGHT.causes, LIGHT.dim, LIGHT.warn, LIGHT.line)
    dark = (*DARK.series, *DARK.causes, DARK.dim, DARK.warn, DARK.line)
    return dict(zip(light, dark, strict=True))


def _script(name: str, **args: Any) -> CustomJS:
    return CustomJS(args=args, code=(STATIC / name).read_text())


def _text(sheet: InlineStyleSheet) -> Div:
    return Div(sizing_mode="stretch_width", disable_math=True, stylesheets=[sheet], margin=(0, 5, 0, 5))


def _head(title: str, hint: str, legend: list[dict[str, Any]], causes: dict[str, int]) -> str:
    """Title and legend of a chart; the theme's script gives the colour variables other values in the dark."""
    entries = []
    for item in legend:
        colour, label = item["colour"], item["label"]
        swatch = f'<i style="background:var(--mq-{colour[1:]},{colour})"></i>'
        number = f" <b>{strip.count(causes[label])}</b>" if label in causes else ""
        entries.append(f"<span>{swatch}{escape(label)}{number}{'' if item['column'] else ' by design'}</span>")
    return f"<h3>{title} <small>{hint}</small></h3><nav>{''.join(entries)}</nav>"

"""The card: one display of a lab in a notebook, as one Bokeh layout that starts empty and is filled by pieces."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from bokeh.core.property.descriptors import UnsetValueError
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


class Words(NamedTuple):
    """What a card tells beside its charts."""

    header: str
    figures: str
    causes: dict[str, int]  # losses so far


class Card:
    """Header, five figures and two by two charts. `layout` belongs into one document."""

    def __init__(self, topology: Topology, words: Words) -> None:
        self._legends = board.legends(topology, LIGHT)
        self._told = self._texts(words)
        sheet = InlineStyleSheet(css=(STATIC / "card.css").read_text())
        divs = {
            name: Div(text=text, disable_math=True, sizing_mode="stretch_width", stylesheets=[sheet])
            for name, text in self._told.items()
        }
        shared = Shared()
        figures = board.draw(topology, LIGHT, shared)
        cells = []
        for name, plot in figures.items():
            plot.update(height=PLOT_HEIGHT, sizing_mode="stretch_width")
            cells.append(column(divs[name], plot, sizing_mode="stretch_width"))
        self.layout: Column = column(
            divs["header"],
            divs["figures"],
            row(*cells[:2], sizing_mode="stretch_width"),
            row(*cells[2:], sizing_mode="stretch_width"),
            sizing_mode="stretch_width",
        )
        self._turn = 0
        # one property carries all that is new: one event a push, and the browser draws when it has the time
        self._inbox = ColumnDataSource(name="mq:inbox")
        self._inbox.js_on_change("tags", _script("card_inbox.js", divs=divs, **_targets(figures, shared)))
        self._first = next(iter(figures.values()))
        self._first.js_on_change("inner_width", _script("card_start.js", inbox=self._inbox, pairs=_pairs()))

    @property
    def drawn(self) -> bool:
        """A browser has drawn it, and the kernel has heard so."""
        try:
            return bool(self._first.inner_width)
        except UnsetValueError:
            return False

    def fill(self, piece: Piece, words: Words) -> None:
        """Show a piece and nothing else."""
        self._told = self._texts(words)
        self._send(piece, self._told, fresh=True)

    def add(self, piece: Piece, words: Words) -> None:
        """Show a piece after what is there."""
        texts = self._texts(words)
        news = {name: text for name, text in texts.items() if text != self._told[name]}
        self._told = texts
        if news or not piece.empty:
            self._send(piece, news, fresh=False)

    def _send(self, piece: Piece, texts: dict[str, str], *, fresh: bool) -> None:
        self._turn += 1  # the same again must be a change too
        message = {"turn": self._turn, "fresh": fresh, "texts": texts, **piece._asdict()}
        text = msgspec.json.encode(message).decode()
        # nbclient takes every message with this word in it for one of a widget, and fails
        self._inbox.tags = [text.replace("state", "stat\\u0065")]

    def _texts(self, words: Words) -> dict[str, str]:
        """HTML by the name of its place."""
        told = {"header": words.header, "figures": words.figures}
        for name, chart in board.CHARTS.items():
            causes = words.causes if name == losses.NAME else {}
            items = [item for item in self._legends[name] if name != losses.NAME or causes.get(item["label"])]
            told[name] = _head(chart.TITLE, chart.HINT, items, causes)
        return told


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


def _head(title: str, hint: str, items: list[dict[str, Any]], causes: dict[str, int]) -> str:
    """Title and legend of a chart; the start script gives the colour variables other values in the dark."""
    entries = []
    for item in items:
        colour, label = item["colour"], item["label"]
        swatch = f'<i style="background:var(--mq-{colour[1:]},{colour})"></i>'
        number = f" <b>{strip.count(causes[label])}</b>" if label in causes else ""
        entries.append(
            f"<span>{swatch}{escape(label)}{number}{'' if item['column'] else ' by design'}</span>"
        )
    return f"<h3>{title} <small>{hint}</small></h3><nav>{''.join(entries)}</nav>"

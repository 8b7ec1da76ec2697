"""The card: one display of a lab in a notebook, as one Bokeh layout that starts empty and is filled by pieces."""

from __future__ import annotations

from pathlib import Path

from bokeh.layouts import column, row
from bokeh.models import ColumnDataSource, Column, CustomJS, Div, InlineStyleSheet, Range1d
from bokeh.plotting import figure

from mqviz.charts import board
from mqviz.charts.frame import Shared
from mqviz.charts.theme import DARK, LIGHT
from mqviz.dashboard.window import MOST_ROWS, Piece
from mqviz.telemetry.topology import Topology

STATIC = Path(__file__).parent / "static"
PLOT_HEIGHT = 230


class Card:
    """Header, five figures and two by two charts. `layout` belongs into one document."""

    def __init__(self, topology: Topology) -> None:
        self._shared = Shared()
        figures = board.draw(topology, LIGHT, self._shared, legend=True)
        self._sources: dict[str, ColumnDataSource] = {}
        for name, plot in figures.items():
            self._sources[name] = _source(plot, f"mq:{name}")
            chart = board.CHARTS[name]
            _title(plot, chart.TITLE, chart.HINT)
        # the first thing that is known of a drawn figure in the browser is its size
        self._first = next(iter(figures.values()))
        self._first.js_on_change("inner_width", _follow_theme())
        sheet = InlineStyleSheet(css=(STATIC / "card.css").read_text())
        self._header = _text(sheet)
        self._strip = _text(sheet)
        throughput, latency, backlog, losses = (figures[name] for name in board.CHARTS)
        self.layout: Column = column(
            self._header,
            self._strip,
            row(throughput, latency, sizing_mode="stretch_width"),
            row(backlog, losses, sizing_mode="stretch_width"),
            sizing_mode="stretch_width",
        )

    @property
    def drawn(self) -> bool:
        """A browser has drawn it, and the kernel has heard so."""
        return self._first.inner_width is not None

    def tell(self, header: str, strip: str) -> None:
        """Set the texts; the same text again costs nothing."""
        for div, text in ((self._header, header), (self._strip, strip)):
            if div.text != text:
                div.text = text

    def fill(self, piece: Piece) -> None:
        """Show a piece and nothing else."""
        for name, source in self._sources.items():
            source.data = dict(piece.charts[name])
        self._shared.events.data = {"t": list(piece.events)}
        self._move(piece)

    def add(self, piece: Piece) -> None:
        """Show a piece after what is there."""
        for name, source in self._sources.items():
            if piece.charts[name]["t"]:
                source.stream(piece.charts[name], MOST_ROWS)
        if piece.events:
            self._shared.events.stream({"t": piece.events})
        self._move(piece)

    def _move(self, piece: Piece) -> None:
        time: Range1d = self._shared.time
        if (time.start, time.end) != (piece.start_s, piece.end_s):
            time.update(start=piece.start_s, end=piece.end_s)


def _source(plot: figure, name: str) -> ColumnDataSource:
    found = plot.select_one({"name": name})
    assert isinstance(found, ColumnDataSource)
    return found


def _title(plot: figure, text: str, hint: str) -> None:
    plot.update(height=PLOT_HEIGHT, sizing_mode="stretch_width")
    plot.title.update(
        text=f"{text}  ({hint})", text_color=LIGHT.dim, text_font_size="12px", text_font_style="normal"
    )


def _text(sheet: InlineStyleSheet) -> Div:
    return Div(sizing_mode="stretch_width", disable_math=True, stylesheets=[sheet], margin=(0, 5, 0, 5))


def _follow_theme() -> CustomJS:
    """The notebook's theme is known in the browser only, and may change there at any time."""
    pairs = {
        **dict(zip(LIGHT.series + LIGHT.causes, DARK.series + DARK.causes, strict=True)),
        LIGHT.dim: DARK.dim,
        LIGHT.warn: DARK.warn,
    }
    return CustomJS(args={"pairs": pairs}, code=(STATIC / "theme_of_notebook.js").read_text())

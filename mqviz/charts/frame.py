"""The empty figure that every chart starts from: axes over the time of the run, quiet grid, no toolbar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bokeh.models import (
    AdaptiveTicker,
    BasicTicker,
    ColumnDataSource,
    CustomJSTickFormatter,
    DataRange1d,
    LogTicker,
    NumeralTickFormatter,
    Range1d,
    VSpan,
)
from bokeh.plotting import figure

from mqviz.charts.theme import Palette

FONT = "Roboto, system-ui, sans-serif"

CLOCK = """
const s = Math.round(tick * 10) / 10, w = Math.floor(s), p = (n) => String(n).padStart(2, "0");
const h = Math.floor(w / 3600), m = Math.floor(w / 60) % 60;
const tail = s === w ? "" : (s - w).toFixed(1).slice(1);
return (h ? h + ":" + p(m) : m) + ":" + p(w % 60) + tail;
"""
"""Seconds of the run as m:ss or h:mm:ss."""

DURATION = """
const r = (v) => String(parseFloat(v.toPrecision(3)));
return tick >= 1000 ? r(tick / 1000) + " s" : tick >= 1 ? r(tick) + " ms" : r(tick * 1000) + " µs";
"""
"""Milliseconds with the unit that suits them."""


class Shared:
    """What the figures of one board have in common: the time they show and the events on it."""

    def __init__(self) -> None:
        self.time = Range1d(0, 60, name="mq:time")
        self.events = ColumnDataSource({"t": []}, name="mq:events")


def source(name: str, columns: Sequence[str]) -> ColumnDataSource:
    """An empty source for the client to find by its name."""
    # lists, not arrays: small updates of a notebook then go as one JSON frame
    return ColumnDataSource({"t": [], **{column: [] for column in columns}}, name=f"mq:{name}")


def frame(shared: Shared, palette: Palette, *, log: bool = False, **options: Any) -> figure:
    """A figure over the shared time."""
    if log:
        values: dict[str, Any] = {"y_axis_type": "log", "y_range": DataRange1d(range_padding=0.06)}
    else:
        # an all-zero chart has no height of its own: `min_interval` gives it one
        values = {"y_range": DataRange1d(start=0, range_padding=0.08, min_interval=1)}
    plot = figure(
        x_range=shared.time,
        toolbar_location=None,
        tools="",
        sizing_mode="stretch_both",
        min_border_left=52,
        min_border_right=10,
        min_border_top=4,
        min_border_bottom=0,
        background_fill_alpha=0,
        border_fill_alpha=0,
        outline_line_alpha=0,
        **values,
        **options,
    )
    plot.toolbar.active_drag = None
    for axis in (plot.xaxis, plot.yaxis):
        axis.axis_line_alpha = 0
        axis.major_tick_line_alpha = 0
        axis.minor_tick_line_alpha = 0
        axis.major_label_text_color = palette.dim
        axis.major_label_text_font = FONT
        axis.major_label_text_font_size = "11px"
        axis.major_label_standoff = 6
    plot.xaxis.formatter = CustomJSTickFormatter(code=CLOCK)
    plot.xaxis.ticker = AdaptiveTicker(
        base=60, mantissas=[1, 2, 5, 10, 15, 30], min_interval=1, desired_num_ticks=5, num_minor_ticks=0
    )
    if log:
        plot.yaxis.formatter = CustomJSTickFormatter(code=DURATION)
        plot.yaxis.ticker = LogTicker(desired_num_ticks=4, num_minor_ticks=0)
    else:
        plot.yaxis.formatter = NumeralTickFormatter(format="0.[0]a")
        plot.yaxis.ticker = BasicTicker(desired_num_ticks=4, num_minor_ticks=0, min_interval=1)
    plot.xgrid.grid_line_alpha = 0
    plot.ygrid.grid_line_color = palette.dim
    plot.ygrid.grid_line_alpha = 0.18
    plot.ygrid.ticker = plot.yaxis.ticker
    plot.add_glyph(
        shared.events,
        VSpan(x="t", line_color=palette.warn, line_alpha=0.45, line_width=1, line_dash=[3, 3]),
    )
    return plot


def legend_below(plot: figure, palette: Palette, items: list[tuple[str, list[Any]]]) -> None:
    """A small legend under the plot, for places without an HTML one: it never covers data."""
    from bokeh.models import Legend, LegendItem

    legend = Legend(
        items=[LegendItem(label=label, renderers=renderers) for label, renderers in items],
        orientation="horizontal",
        nrows="auto" if len(items) <= 5 else 2,
        label_text_color=palette.dim,
        label_text_font=FONT,
        label_text_font_size="11px",
        background_fill_alpha=0,
        border_line_alpha=0,
        glyph_height=10,
        glyph_width=14,
        spacing=8,
        padding=2,
        margin=0,
    )
    plot.add_layout(legend, "below")

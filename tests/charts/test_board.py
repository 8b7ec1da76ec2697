from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bokeh.document import Document
from bokeh.models import ColumnDataSource, Legend
from bokeh.models.expressions import Stack

from mqviz.charts import board
from mqviz.charts.theme import DARK, LIGHT, PALETTES
from mqviz.telemetry.columns import CAUSES
from mqviz.telemetry.sample import Mark


def document(lab: Any, palette: Any = DARK, *, legend: bool = False) -> Document:
    found = Document()
    for plot in board.draw(lab.shape, palette, legend=legend).values():
        found.add_root(plot)
    return found


def source(found: Document, name: str) -> ColumnDataSource:
    (source,) = {s for s in found.select({"type": ColumnDataSource}) if s.name == f"mq:{name}"}
    return source


def test_every_source_has_exactly_the_columns_that_rows_fill(lab: Any) -> None:
    rows, _ = lab.store.since(0)
    filled = board.columns(rows, lab.shape)
    found = document(lab)
    assert set(filled) == set(board.CHARTS)
    for name, columns in filled.items():
        assert set(source(found, name).data) == {"t", *columns}
        assert all(len(values) == len(rows) for values in columns.values())


def test_every_glyph_reads_a_column_that_is_there(lab: Any) -> None:
    for name, plot in board.draw(lab.shape, DARK).items():
        for renderer in plot.renderers:
            read = {
                field
                for spec in renderer.glyph.properties_with_values().values()
                for value in [getattr(spec, "expr", spec)]
                for field in (value.fields if isinstance(value, Stack) else [getattr(value, "field", None)])
                if field
            }
            assert read, name
            assert read <= set(renderer.data_source.data), name


def test_charts_share_one_time_axis_and_one_set_of_events(lab: Any) -> None:
    plots = list(board.draw(lab.shape, DARK).values())
    assert len({plot.x_range.id for plot in plots}) == 1
    assert (
        len({r.data_source.id for plot in plots for r in plot.renderers if r.data_source.name == "mq:events"})
        == 1
    )


def test_the_values_are_those_of_the_store(lab: Any) -> None:
    rows, _ = lab.store.since(0)
    filled = board.columns(rows, lab.shape)
    for place, link in enumerate(lab.shape.links):
        np.testing.assert_array_equal(
            filled["backlog"][f"waiting_{place}"], rows.column(link.name, "backlog")
        )
        received = rows.column(link.name, "received")
        last = filled["throughput"][f"received_{place}"][-1]
        assert last == pytest.approx(received[-1] - received[-11])
    p99 = rows.column("", "end_to_end_p99")
    np.testing.assert_allclose(filled["latency"]["p99"], p99 / 1e6)
    lost = sum(values[-1] for values in filled["losses"].values())
    assert lost == pytest.approx(rows.column("", "lost")[-1] - rows.column("", "lost")[-11])


def test_what_is_offered_is_counted_in_deliveries(lab: Any) -> None:
    rows, _ = lab.store.since(0)
    offered = board.columns(rows, lab.shape)["throughput"]
    for place, link in enumerate(lab.shape.links):
        sent = rows.column(link.name, "sent")
        assert offered[f"offered_{place}"][-1] == pytest.approx(sent[-1] - sent[-11], rel=0.02)


@pytest.mark.parametrize("theme", PALETTES)
def test_a_link_has_the_same_colour_in_every_legend(lab: Any, theme: str) -> None:
    legends = board.legends(lab.shape, PALETTES[theme])
    colours = [
        {item["label"]: item["colour"] for item in legends[name]} for name in ("throughput", "backlog")
    ]
    assert colours[0] == colours[1]
    assert len(set(colours[0].values())) == len(lab.shape.links)


def test_legend_columns_are_columns_of_their_charts(lab: Any) -> None:
    rows, _ = lab.store.since(0)
    filled = board.columns(rows, lab.shape)
    for name, items in board.legends(lab.shape, LIGHT).items():
        assert {item["column"] for item in items} - {None} == {
            column for column in filled[name] if not column.startswith("offered")
        }


def test_what_is_lost_by_design_is_in_the_legend_and_not_drawn(lab: Any) -> None:
    items = {item["label"]: item["column"] for item in board.legends(lab.shape, DARK)["losses"]}
    assert [label for label, column in items.items() if column is None] == ["no-subscriber", "conflated"]
    assert list(items) == list(CAUSES)


def test_a_legend_of_bokeh_stands_below_the_plot_and_only_when_asked_for(lab: Any) -> None:
    for plot in board.draw(lab.shape, DARK, legend=True).values():
        assert any(isinstance(model, Legend) for model in plot.below)
        assert not any(isinstance(model, Legend) for model in plot.center)
    assert not list(document(lab).select({"type": Legend}))


def test_time_begins_when_load_flows() -> None:
    marks = [
        Mark(1, "phase", "starting", {"phase": "starting"}),
        Mark(2, "birth"),
        Mark(5, "phase", "warm-up", {"phase": "warm-up"}),
        Mark(9, "phase", "measure", {"phase": "measure"}),
    ]
    assert board.origin_ns(marks) == 5
    assert board.origin_ns(marks[:2]) is None
    np.testing.assert_allclose(board.seconds(np.array([5, 1_500_000_005]), 5), [0, 1.5])

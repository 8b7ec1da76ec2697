from __future__ import annotations

from typing import Any

import pytest

from mqviz.dashboard import figures
from mqviz.dashboard.feed import Feed


def test_live_figures_are_of_the_last_seconds(lab: Any) -> None:
    lab.run_for(120)
    found = figures.live(lab.store)
    rows, _ = lab.store.since(0)
    received = rows.column("", "received")
    assert found["throughput"] == pytest.approx(received[-1] - received[-11])
    assert found["backlog"] == rows.column("", "backlog")[-1]
    assert found["p50"] < found["p99"] <= found["p999"]
    assert found["throughput_before"] is None


def test_percentiles_of_the_strip_are_those_of_the_merged_bins(lab: Any) -> None:
    lab.run_for(60)
    whole = lab.store.histogram(None, "end_to_end")
    p50, p99 = whole.percentiles([50, 99])
    found = figures.live(lab.store)
    assert (found["p50"], found["p99"]) == (p50, p99)


def test_a_minute_later_there_is_something_to_compare_with(lab: Any) -> None:
    lab.run_for(400)
    assert figures.live(lab.store)["throughput_before"] == pytest.approx(9600, rel=0.1)


def test_a_backlog_that_grows_says_how_fast(lab: Any) -> None:
    lab.run_for(20)
    lab.kill("pricing", 0)
    lab.kill("pricing", 1)
    lab.run_for(100)
    # 2,400 a second come in and one instance works off 1,100
    assert figures.live(lab.store)["backlog_slope"] == pytest.approx(1300, rel=0.1)


def test_losses_name_the_worst_cause_and_its_link(lab: Any) -> None:
    lab.model.capacity["analytics"] = 500.0
    lab.run_for(100)
    found = figures.losses(lab.store)
    assert found["lost"] == found["causes"]["hwm"] > 1000
    assert found["worst"] == {
        "cause": "hwm", "link": "pricing → analytics", "count": found["causes"]["hwm"],
    }  # fmt: skip


def test_without_a_message_nothing_is_claimed(new_lab: Any) -> None:
    found = figures.live(new_lab(live=False).store)
    assert found["throughput"] is found["p99"] is found["backlog"] is found["backlog_slope"] is None
    assert found["lost"] == 0
    assert found["worst"] is None


def test_when_it_is_over_the_figures_are_of_the_measure_phase(lab: Any) -> None:
    lab.run_for(100)
    lab.stop()
    feed = Feed(lab.store)
    found = figures.final(lab.store, feed.phases)
    measured = lab.store.histogram(None, "end_to_end", "measure")
    assert found["p99"] == measured.percentile(99)
    assert found["throughput"] == pytest.approx(9600, rel=0.1)
    assert found["backlog"] == 0


def test_each_node_says_what_it_does(lab: Any) -> None:
    lab.run_for(30)
    lab.kill("pricing", 2)
    lab.run_for(30)
    lab.pause("refunds")
    found = dict(
        zip([n.name for n in lab.shape.nodes], figures.nodes(lab.store, lab.instances()), strict=True)
    )
    assert found["pricing"]["lives"] == "110"
    assert found["pricing"]["alive"] == 2
    assert found["pricing"]["busy"] == pytest.approx(1, abs=0.01)
    assert found["orders"]["sent"] == pytest.approx(2000, rel=0.15)
    assert found["orders"]["received"] is None
    assert found["ledger"]["received"] == pytest.approx(2200, rel=0.15)
    assert found["ledger"]["waiting"] >= 0


def test_nodes_of_a_lab_that_has_not_begun_have_no_instances(new_lab: Any) -> None:
    lab = new_lab(live=False)
    for node in figures.nodes(lab.store, []):
        assert (node["alive"], node["lives"], node["busy"]) == (0, "", None)

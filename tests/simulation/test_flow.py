"""Messages per second at each node, from the rates alone."""

from __future__ import annotations

import math

from mqviz.simulation import flow
from mqviz.simulation.document import loads
from mqviz.simulation.scenario import load, with_settings


def test_a_pipeline_carries_the_sum_of_its_producers_and_topics_take_their_share() -> None:
    rates = flow.arriving_rates(
        with_settings(load("order-pipeline"), ["orders.rate=900", "refunds.rate=100"])
    )
    assert rates == {
        "orders": 900,
        "refunds": 100,
        "pricing": 1000,
        "ledger": 1000,
        "analytics": 750,
        "audit": 250,
    }


def test_each_subscriber_of_a_mesh_gets_a_copy_a_paired_one_only_its_publishers() -> None:
    text = """
[[node]]
name = "p"
role = "producer"
count = 4
rate = 100
[[node]]
name = "c"
role = "consumer"
count = 8
[[link]]
from = "p"
to = "c"
pattern = "pub-sub"
"""
    assert flow.arriving_rates(loads(text))["c"] == 800
    assert flow.arriving_rates(loads(text + 'wiring = "paired"'))["c"] == 200
    assert flow.arriving_rates(loads(text.replace("pub-sub", "push-pull")))["c"] == 100
    assert math.isinf(flow.arriving_rates(loads(text.replace("100", '"max"')))["c"])

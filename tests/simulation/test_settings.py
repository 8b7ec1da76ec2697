"""Changes by name, before a run and during one."""

from __future__ import annotations

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqviz.errors import BadInput, ScenarioError
from mqviz.simulation.scenario import changed, load, loads, to_toml, with_settings

SCENARIO = load("order-pipeline")


def test_settings_reach_the_whole_a_node_and_a_link() -> None:
    after = with_settings(
        SCENARIO,
        [
            "seed=3",
            "engine=python",
            "orders.rate=2000/s",
            "orders.count = 4",
            '"orders -> pricing".send_hwm=10',
            "orders->pricing.conflate=true",
            "pricing -> ledger.topics=gbp=2,eur,usd",
            "ledger.subscribe=eur,gbp",
            "pricing.service=uniform(1ms, 2ms)",
        ],
    )
    assert (after.seed, after.engine) == (3, "python")
    assert (after.node("orders").rate, after.node("orders").count) == (2000, 4)
    assert (after.link("orders -> pricing").send_hwm, after.link("orders -> pricing").conflate) == (10, True)
    assert after.link("pricing -> ledger").topics == {"gbp": 2, "eur": 1, "usd": 1}
    assert after.node("pricing").service.text == "uniform(1ms, 2ms)"
    assert SCENARIO.seed == 7  # the one before is as it was
    assert loads(to_toml(after)) == after


def test_a_mapping_may_hold_numbers() -> None:
    after = with_settings(SCENARIO, {"orders.rate": 750, "pricing.count": 2})
    assert (after.node("orders").rate, after.node("pricing").count) == (750, 2)


def test_settings_are_checked_together_not_one_by_one() -> None:
    after = with_settings(SCENARIO, ["duration=2s", "warmup=1s"])
    assert (after.duration_ns, after.warmup_ns) == (2 * 10**9, 10**9)


def test_a_shorter_duration_takes_the_warm_up_and_later_events_along() -> None:
    text = to_toml(SCENARIO) + '\n[[event]]\nat = "20s"\naction = "kill"\nnode = "pricing"\n'
    shorter = with_settings(loads(text), ["duration=5s"])
    assert (shorter.duration_ns, shorter.warmup_ns, shorter.events) == (5 * 10**9, 10**9, ())
    kept = with_settings(loads(text), ["duration=25s"])
    assert (kept.warmup_ns, len(kept.events)) == (5 * 10**9, 1)
    assert with_settings(loads(text), ["duration=endless"]).duration_ns is None


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("seed", '"seed" is not written as KEY=VALUE, such as orders.rate=2000/s'),
        ("sed=3", 'scenario: unknown key "sed"; did you mean "seed"?'),
        ("order.rate=5", 'there is no node or link "order"; did you mean "orders"?'),
        ("orders.rat=5", 'node "orders": unknown key "rat"; did you mean "rate"?'),
        ("orders.rate=fast", 'node "orders", rate: "fast" is not a rate such as 5000/s, 5k/s or "max"'),
        ("orders.name=x", 'node "orders": name cannot be set, other parts refer to it'),
        (
            "order -> pricing.send_hwm=1",
            'there is no node or link "order -> pricing"; did you mean "orders -> pricing"?',
        ),
        ("pricing.rate=5", 'node "pricing", rate: only a producer has a rate, this is a worker'),
    ],
)
def test_a_setting_that_cannot_be_is_told(setting: str, sentence: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        with_settings(SCENARIO, [setting])
    assert str(caught.value) == sentence


def test_a_live_change_gives_another_node() -> None:
    orders = SCENARIO.node("orders")
    after = changed(orders, rate="2k/s", size=64, count=3)
    assert (after.rate, after.size.mean, after.count, after.name) == (2000, 64, 3, "orders")
    assert math.isinf(changed(orders, rate="max").rate)
    assert changed(SCENARIO.node("pricing"), service="5ms").service.mean == 5e6


@pytest.mark.parametrize(
    ("node", "fields", "sentence"),
    [
        ("orders", {"rate": 0}, 'node "orders", rate: 0 is not a rate from 0.001/s to 100M/s; "max" sends'),
        (
            "orders",
            {"rate": 1e12},
            'node "orders", rate: 1000000000000.0 is not a rate from 0.001/s to 100M/s',
        ),
        ("orders", {"service": "1ms"}, 'node "orders", service: a producer has no service time'),
        ("ledger", {"rate": 5}, 'node "ledger", rate: only a producer has a rate'),
        ("orders", {"count": 0}, 'node "orders", count: 0 is not a whole number from 1 to 1000'),
        ("orders", {"arrivals": "constant"}, 'node "orders": unknown key "arrivals"; there are count, rate'),
        ("orders", {"size": "1B"}, 'node "orders", size: a message has at least 40B'),
    ],
)
def test_a_live_change_that_cannot_be_is_told(node: str, fields: dict[str, object], sentence: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        changed(SCENARIO.node(node), **fields)
    assert str(caught.value).startswith(sentence)


@given(st.text(max_size=60) | st.sampled_from(["orders.", "seed=", '"orders -> pricing".']).flatmap(
    lambda start: st.text(max_size=30).map(start.__add__)
))  # fmt: skip
def test_any_setting_is_taken_or_refused(setting: str) -> None:
    with contextlib.suppress(BadInput):
        with_settings(SCENARIO, [setting])

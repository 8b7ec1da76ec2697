"""The scenarios that come with mqviz."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from mqviz.errors import ScenarioError
from mqviz.simulation import builtin, flow
from mqviz.simulation.scenario import load, loads, to_toml, with_settings


def test_the_default_comes_first() -> None:
    assert builtin.names() == [
        "order-pipeline",
        "bursty-producers",
        "fan-out",
        "many-small",
        "slow-subscriber",
    ]


def test_an_unknown_name_is_told() -> None:
    with pytest.raises(ScenarioError, match='no built-in scenario "fanout"; did you mean "fan-out"'):
        builtin.path("fanout")


@pytest.mark.parametrize("name", builtin.names())
def test_each_loads_teaches_something_and_reads_back(name: str) -> None:
    scenario = load(name)
    assert 20 <= len(scenario.lesson) <= 110
    assert scenario.duration_ns == 60 * 10**9
    assert loads(to_toml(scenario)) == scenario
    assert with_settings(scenario, ["duration=3s"]).warmup_ns <= 3 * 10**9 // 2


@pytest.mark.parametrize("name", builtin.names())
def test_each_asks_for_a_modest_load(name: str) -> None:
    # sends and deliveries a second; what they cost in CPU depends on the engine and on how often it wakes up
    assert sum(flow.arriving_rates(load(name)).values()) <= (20_000 if name == "many-small" else 5_000)


def test_the_slow_subscriber_is_past_its_marks_within_a_second() -> None:
    scenario = load("slow-subscriber")
    link = scenario.link("ticker -> slow")
    surplus = scenario.node("ticker").rate - 1e9 / scenario.node("slow").service.mean
    room = link.send_hwm + link.receive_hwm + 2 * (link.send_buffer + link.receive_buffer) / 1024
    assert room / surplus < 1
    assert room * scenario.node("slow").service.mean < scenario.drain_ns


def test_a_wheel_brings_them_along() -> None:
    root = Path(__file__).parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text())
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert included["assets/scenarios"] == "mqviz/scenarios"

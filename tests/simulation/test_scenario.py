"""Scenarios from names, files and arguments, and what a store is told of them."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from mqviz.errors import BadInput, ScenarioError
from mqviz.simulation.scenario import load, loads, push_pull, to_toml, topology

DESIGNED = """
name = "order pipeline"
duration = "60s"           # includes warm-up, not drain
warmup = "5s"
seed = 7
engine = "auto"

[[node]]
name = "orders"
role = "producer"
count = 2
rate = "1000/s"
arrivals = "poisson"
size = "1KiB"

[[node]]
name = "pricing"
role = "worker"
count = 3
service = "exponential(2ms)"

[[node]]
name = "ledger"
role = "consumer"
subscribe = ["eur"]

[[link]]
from = "orders"
to = "pricing"
pattern = "push-pull"
transport = "tcp"
send_hwm = 1000
receive_hwm = 1000

[[link]]
from = "pricing"
to = "ledger"
pattern = "pub-sub"
topics = { eur = 3, usd = 1 }

[[event]]
at = "20s"
action = "kill"
node = "pricing"
instance = 1

[[expect]]
metric = "orders -> pricing: response.p99 < 50ms"
"""


def test_the_designed_example_loads_with_every_value() -> None:
    scenario = loads(DESIGNED)
    assert (scenario.name, scenario.seed, scenario.engine) == ("order pipeline", 7, "auto")
    assert (scenario.duration_ns, scenario.warmup_ns, scenario.drain_ns) == (60 * 10**9, 5 * 10**9, 10**10)
    orders, pricing, ledger = scenario.nodes
    assert (orders.role, orders.count, orders.rate, orders.size.mean) == ("producer", 2, 1000, 1024)
    assert (pricing.service.kind, pricing.service.mean, pricing.service_mode) == ("exponential", 2e6, "sleep")
    assert ledger.subscribe == ("eur",)
    first, second = scenario.links
    assert (first.name, first.topics, first.linger_ns) == ("orders -> pricing", {"": 1}, 0)
    assert (second.transport, second.send_buffer, second.topics) == ("tcp", -1, {"eur": 3, "usd": 1})
    (event,) = scenario.events
    assert (event.at_ns, event.action, event.node, event.instance) == (20 * 10**9, "kill", "pricing", 1)
    (expect,) = scenario.expects
    assert (expect.link, expect.metric, expect.operator, expect.value) == (
        "orders -> pricing",
        "response.p99",
        "<",
        50e6,
    )


def test_a_store_is_told_of_nodes_and_links_and_where_end_to_end_ends() -> None:
    told = topology(loads(DESIGNED))
    assert [(node.name, node.role, node.count) for node in told.nodes] == [
        ("orders", "producer", 2),
        ("pricing", "worker", 3),
        ("ledger", "consumer", 1),
    ]
    assert [(link.name, link.terminal) for link in told.links] == [
        ("orders -> pricing", False),
        ("pricing -> ledger", True),
    ]
    assert told.links[1].topics == ("eur", "usd")


def test_a_file_loads_and_gives_its_name_to_a_scenario_without_one(tmp_path: Path) -> None:
    file = tmp_path / "my load.toml"
    file.write_text(DESIGNED.replace('name = "order pipeline"', ""))
    assert load(file).name == "my load"
    assert load(str(file)) == load(file)


def test_a_replay_file_is_found_beside_the_scenario(tmp_path: Path) -> None:
    (tmp_path / "times.txt").write_text("1\n2\n")
    file = tmp_path / "s.toml"
    file.write_text(DESIGNED.replace('"poisson"', '"replay(times.txt)"').replace('rate = "1000/s"', ""))
    orders = load(file).nodes[0]
    assert orders.rate == 1  # as recorded: two in 2 s
    assert orders.arrivals.path == str((tmp_path / "times.txt").resolve())
    assert loads(to_toml(load(file))) == load(file)


def test_a_scenario_that_ran_elsewhere_is_read_without_its_replay_file() -> None:
    text = DESIGNED.replace('"poisson"', '"replay(/nowhere/times)"')
    assert loads(text, here=False).nodes[0].arrivals.text == "replay(/nowhere/times)"
    with pytest.raises(ScenarioError, match='node "orders", arrivals: there is no replay file'):
        loads(text)


def test_what_is_neither_a_name_nor_a_file_is_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ScenarioError, match='did you mean "order-pipeline"'):
        load("oder-pipeline")
    for source in (tmp_path, tmp_path / "pipe", "/dev/zero", "a\0b", "x" * 10_000, ""):
        with pytest.raises(BadInput, match="is neither a built-in scenario nor a file"):
            load(source)


def test_a_file_of_more_than_a_megabyte_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "large.toml"
    file.write_text("# pad\n" * 200_000)
    with pytest.raises(ScenarioError, match="scenario: larger than 1000 KB"):
        load(file)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "binary.toml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ScenarioError, match="not UTF-8 text"):
        load(file)


def test_push_pull_is_a_scenario_of_two_nodes() -> None:
    scenario = push_pull(
        producers=2, consumers=3, rate=1_000, service="exponential(2ms)", duration="4s", seed=3
    )
    producer, consumer = scenario.nodes
    assert (producer.count, producer.rate, consumer.count, consumer.service.mean) == (2, 1000, 3, 2e6)
    assert (scenario.links[0].pattern, scenario.seed) == ("push-pull", 3)
    assert (scenario.duration_ns, scenario.warmup_ns) == (4 * 10**9, 800_000_000)
    assert loads(to_toml(scenario)) == scenario


def test_push_pull_without_a_duration_is_endless_and_refuses_what_it_does_not_know() -> None:
    scenario = push_pull(rate="max", transport="ipc")
    assert (scenario.duration_ns, scenario.warmup_ns) == (None, 2 * 10**9)
    assert math.isinf(scenario.nodes[0].rate)
    with pytest.raises(ScenarioError, match='push_pull: unknown key "durations"; did you mean "duration"'):
        push_pull(durations="5s")
    with pytest.raises(ScenarioError, match="producers, count: 0 is not a whole number from 1 to 1000"):
        push_pull(producers=0)

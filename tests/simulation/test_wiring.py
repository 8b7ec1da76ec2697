"""Plans of runners, producer numbers, endpoints."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from mqviz.errors import CannotRun
from mqviz.simulation import plan
from mqviz.simulation.scenario import loads
from mqviz.simulation.wiring import SPARE_PRODUCERS, Wiring

SCENARIO = """
seed = 9
node = [
    {name = "a", role = "producer", count = 3, rate = "900/s", arrivals = "constant", size = "1KiB"},
    {name = "b", role = "worker", count = 2, service = "exponential(2ms)"},
    {name = "c", role = "consumer", subscribe = ["eu", "us"]},
    {name = "d", role = "consumer"},
]
link = [
    {from = "a", to = "b", pattern = "push-pull", send_hwm = 5, linger = "20ms"},
    {from = "b", to = "c", pattern = "pub-sub", topics = {eur = 3, usd = 1, yen = 2}, transport = "ipc"},
    {from = "a", to = "d", pattern = "push-pull", wiring = "paired", transport = "inproc"},
]
"""


@pytest.fixture
def wiring() -> Wiring:
    """Of SCENARIO, in a folder that does not exist."""
    return Wiring(loads(SCENARIO), Path("/private"), "python", 77)


def test_producer_numbers_are_never_used_twice_on_a_link(wiring: Wiring) -> None:
    born = [wiring.new_instance("a", index, life) for index, life in ((0, 0), (1, 0), (0, 1), (0, 2))]
    assert [placed.numbers["a -> b"] for placed in born] == [0, 1, 2, 3]
    assert [placed.numbers["a -> d"] for placed in born] == [0, 1, 2, 3]
    assert [placed.name for placed in born] == ["a.0", "a.1", "a.0", "a.0"]
    assert wiring.new_instance("b", 0, 0).numbers == {"b -> c": 0}
    assert wiring.new_instance("c", 0, 0).numbers == {}


def test_there_is_room_for_the_first_and_the_spare_producers(wiring: Wiring) -> None:
    wiring.check_room("a", 3 + SPARE_PRODUCERS)
    for index in range(3):
        wiring.new_instance("a", index, 0)
    wiring.check_room("a", SPARE_PRODUCERS)
    wiring.check_room("d", 1000)
    with pytest.raises(CannotRun, match=r'link "a -> b" has had 3 producers .* no room for 25 more'):
        wiring.check_room("a", SPARE_PRODUCERS + 1)


def test_a_runner_is_told_all_it_needs(wiring: Wiring) -> None:
    placed = [wiring.new_instance("a", index, 0) for index in (0, 1)]
    told = wiring.runner_plan([placed])
    assert (told.runner, told.engine, told.seed, told.run_number) == ("runner-0", "python", 9, 77)
    assert told.probe == "/private/runner-0.probe"
    assert [p.runner for p in placed] == ["runner-0", "runner-0"]
    (loop,) = told.loops
    assert (loop.node, loop.role, loop.count, loop.rate, loop.arrivals) == (
        "a",
        "producer",
        3,
        900.0,
        "constant",
    )
    assert (loop.size, loop.service, loop.spin) == ("1KiB", "0s", False)
    assert [i.index for i in loop.instances] == [0, 1]
    first, second = loop.instances[1].sends
    assert (first.link, first.bind, first.number) == ("a -> b", "tcp://127.0.0.1:*", 1)
    assert (first.send_hwm, first.linger_ms, first.peers) == (5, 20, 2)
    assert (second.bind, second.peers) == ("inproc://2-1", 1)
    assert msgspec.json.decode(msgspec.json.encode(told), type=plan.RunnerPlan) == told


def test_each_runner_has_a_name_of_its_own(wiring: Wiring) -> None:
    names = [wiring.runner_plan([[wiring.new_instance("a", i, 0)]]).runner for i in range(3)]
    assert names == ["runner-0", "runner-1", "runner-2"]


def test_a_subscriber_has_rows_for_the_topics_that_it_hears(wiring: Wiring) -> None:
    (loop,) = wiring.runner_plan([[wiring.new_instance("c", 0, 0)]]).loops
    (into,) = loop.instances[0].receives
    assert (into.link, into.topics, into.subscribe) == ("b -> c", ("eur", "usd", "yen"), ("eu", "us"))
    assert into.rows == (2 + SPARE_PRODUCERS) * 2
    assert into.terminal
    (loop,) = wiring.runner_plan([[wiring.new_instance("b", 1, 0)]]).loops
    (into,) = loop.instances[0].receives
    assert (into.rows, into.terminal, into.subscribe) == (3 + SPARE_PRODUCERS, False, ("",))
    (out,) = loop.instances[0].sends
    assert (out.topics, out.weights) == (("eur", "usd", "yen"), (3.0, 1.0, 2.0))
    assert out.bind == "ipc:///private/1-0.ipc"
    assert loop.rate is None


def test_max_is_told_as_no_rate() -> None:
    toml = SCENARIO.replace('"900/s"', '"max"')
    wiring = Wiring(loads(toml), Path("/private"), "native", 1)
    (loop,) = wiring.runner_plan([[wiring.new_instance("a", 0, 0)]]).loops
    assert loop.rate is None
    assert loop.role == "producer"


def test_live_changes_are_in_the_plans_of_those_who_come_later(wiring: Wiring) -> None:
    wiring.nodes["a"] = msgspec.structs.replace(wiring.nodes["a"], rate=50.0, count=4)
    (loop,) = wiring.runner_plan([[wiring.new_instance("a", 3, 0)]]).loops
    assert (loop.rate, loop.count) == (50.0, 4)


def test_who_is_joined_follows_the_links_wiring(wiring: Wiring) -> None:
    a, b = wiring.new_instance("a", 2, 0), wiring.new_instance("b", 1, 0)
    d = wiring.new_instance("d", 0, 0)
    assert wiring.joined(wiring.links["a -> b"], a, b)
    assert wiring.joined(wiring.links["a -> d"], a, d)
    wiring.nodes["d"] = msgspec.structs.replace(wiring.nodes["d"], count=3)
    assert not wiring.joined(wiring.links["a -> d"], a, d)

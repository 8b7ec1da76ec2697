"""Deaths in a running lab: the books still close exactly, and what has died can live again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from mqviz.api import Lab, Run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

Account = Callable[[Run], dict[str, Any]]

PIPELINE = """
seed = 3
warmup = "100ms"
drain = "5s"
node = [
    {name = "orders", role = "producer", count = 2, rate = "600/s", size = "100B"},
    {name = "pricing", role = "worker", count = 2, service = "exponential(1ms)", size = "100B"},
    {name = "ledger", role = "consumer", count = 2},
]
link = [
    {from = "orders", to = "pricing", pattern = "push-pull"},
    {from = "pricing", to = "ledger", pattern = "push-pull"},
]
"""
FIRST, SECOND = "orders -> pricing", "pricing -> ledger"

FEED = """
seed = 3
warmup = "100ms"
drain = "5s"
node = [
    {name = "prices", role = "producer", count = 2, rate = "1000/s", size = "100B"},
    {name = "desk", role = "consumer", count = 2},
]
link = [{from = "prices", to = "desk", pattern = "pub-sub", topics = {eur = 3, usd = 1}}]
"""
FEED_LINK = "prices -> desk"


def pid_of(lab: Lab, name: str) -> int:
    pid = next(view.pid for view in lab.instances() if view.name == name)
    assert pid is not None
    return pid


def only(block: dict[str, Any], *causes: str) -> None:
    """No other cause of a loss than these."""
    others = {cause: n for cause, n in block["lost"].items() if n and cause not in causes}
    assert others == {}, block


@pytest.mark.parametrize(
    ("engine", "node"),
    [("python", "orders"), ("python", "pricing"), ("python", "ledger"), ("native", "pricing")],
    indirect=["engine"],
)
def test_after_a_kill_and_a_revival_the_books_close_exactly(
    labs: Any, books_close: Account, engine: str, node: str
) -> None:
    lab = labs.start(PIPELINE, engine=engine)
    labs.received(lab, SECOND, 200)
    assert lab.kill(node, 1) == [f"{node}.1"]
    view = next(v for v in lab.instances() if v.name == f"{node}.1")
    assert (view.alive, view.pid, view.state, view.incarnation) == (False, None, "dead", 0)
    labs.received(lab, SECOND, 100)
    assert lab.revive(node) == [f"{node}.1"]
    view = next(v for v in lab.instances() if v.name == f"{node}.1")
    assert (view.alive, view.state, view.incarnation) == (True, "running", 1)
    labs.received(lab, SECOND, 300)
    run = lab.stop()
    found = books_close(run)
    for block in found.values():
        only(block, "peer-death")
    assert found[SECOND]["sent"] <= found[FIRST]["received"]
    assert [e["text"] for e in run.report()["events"]] == [f"kill {node}.1", f"start {node}.1"]
    if node == "orders":
        assert found[SECOND]["lost"]["peer-death"] == 0


@pytest.mark.parametrize("node", ["orders", "pricing"])
def test_a_runner_that_was_killed_from_outside_is_told_and_the_counts_are_exact(
    labs: Any, books_close: Account, node: str
) -> None:
    lab = labs.start(PIPELINE)
    labs.received(lab, SECOND, 200)
    os.kill(pid_of(lab, f"{node}.0"), signal.SIGKILL)
    labs.until(lambda: not lab.instances()[[v.name for v in lab.instances()].index(f"{node}.0")].alive)
    labs.received(lab, SECOND, 200)
    run = lab.stop()
    for block in books_close(run).values():
        only(block, "peer-death")
    assert [e["text"] for e in run.report()["events"]] == [f"{node}.0 ended by itself (signal 9)"]


@pytest.mark.parametrize("node", ["a", "b"])
def test_a_kill_at_full_speed_leaves_as_many_sent_as_received_and_lost(
    labs: Any, books_close: Account, engine: str, node: str
) -> None:
    toml = """
        warmup = "100ms"
        node = [
            {name = "a", role = "producer", rate = "max", size = "100B"},
            {name = "b", role = "consumer", count = 2},
        ]
        link = [{from = "a", to = "b", pattern = "push-pull"}]
    """
    lab = labs.start(toml, engine=engine)
    labs.received(lab, "a -> b", 5_000)
    lab.kill(node, 0)
    if node == "b":
        labs.received(lab, "a -> b", 5_000)
    block = books_close(lab.stop())["a -> b"]
    only(block, "peer-death")
    if node == "b":
        assert block["lost"]["peer-death"] < 200_000  # two marks, and what the kernel holds at 100 B


def test_what_waits_for_a_killed_consumer_is_lost_with_it_and_not_more(
    labs: Any, books_close: Account
) -> None:
    toml = PIPELINE.replace("exponential(1ms)", "20ms").replace("count = 2, service", "count = 1, service")
    lab = labs.start(toml)
    labs.until(lambda: lab.store.totals(FIRST).in_flight > 200, "a backlog")
    lab.kill("pricing", 0)
    at_death = lab.store.totals(FIRST)
    labs.until(lambda: lab.store.totals(FIRST).lost["unresolved"] > 0, "unresolved after the death")
    lab.revive("pricing")
    labs.received(lab, FIRST, 20)
    block = books_close(lab.stop())[FIRST]
    only(block, "peer-death", "linger")
    # what was in its pipe and its kernel buffers; what the producers still held went to the new one
    assert 0 < block["lost"]["peer-death"] <= block["sent"] - at_death.received


@pytest.mark.parametrize(
    ("engine", "victim"), [("python", "prices"), ("python", "desk"), ("native", "desk")], indirect=["engine"]
)
def test_a_publisher_or_subscriber_may_die_and_come_back(
    labs: Any, books_close: Account, engine: str, victim: str
) -> None:
    lab = labs.start(FEED, engine=engine)
    labs.received(lab, FEED_LINK, 300)
    lab.kill(victim, 0)
    labs.received(lab, FEED_LINK, 200)
    lab.revive(victim, 0)
    labs.received(lab, FEED_LINK, 300)
    block = books_close(lab.stop())[FEED_LINK]
    only(block, "peer-death", "slow-joiner", "no-subscriber")
    assert set(block["per_subscriber"]) == {"desk.0", "desk.1"}
    other = block["per_subscriber"]["desk.1"]
    if victim == "desk":
        assert other["sent"] == other["received"] == block["published"]
        dead = block["per_subscriber"]["desk.0"]
        assert 0 < dead["received"] < other["received"]
        # it is owed nothing for the time when it was dead
        assert dead["sent"] < other["sent"]
        assert dead["sent"] == dead["received"] + sum(dead["lost"].values())
    else:
        assert other["received"] > 0.9 * block["published"]


@pytest.mark.parametrize("engine", ["native"], indirect=True)
def test_a_late_subscriber_is_owed_what_is_published_from_then_on(
    labs: Any, books_close: Account, engine: str
) -> None:
    lab = labs.start(FEED.replace("count = 2}", "count = 1}"), engine=engine)
    labs.received(lab, FEED_LINK, 500)
    lab.set("desk", count=2)
    labs.until(lambda: "desk.1" in lab.store.subscribers(FEED_LINK))
    labs.until(lambda: lab.store.subscribers(FEED_LINK)["desk.1"].received > 200)
    block = books_close(lab.stop())[FEED_LINK]
    only(block, "slow-joiner")
    first, late = (block["per_subscriber"][name] for name in ("desk.0", "desk.1"))
    assert first["sent"] == first["received"] == block["published"]
    assert late["sent"] < first["sent"] - 400
    assert late["lost"]["slow-joiner"] < 200


@pytest.mark.parametrize("engine", ["native"], indirect=True)
def test_all_consumers_may_die_and_the_producers_wait(labs: Any, books_close: Account, engine: str) -> None:
    toml = PIPELINE.replace("link = [\n", "link = [\n").replace(
        'size = "100B"},\n    {name = "pricing"', 'size = "1KiB"},\n    {name = "pricing"'
    )
    lab = labs.start(toml, engine=engine)
    labs.received(lab, SECOND, 100)
    lab.kill("ledger", 0)
    lab.kill("ledger", 1)
    labs.until(lambda: lab.store.totals(SECOND).blocked == 2, "both workers blocked")
    assert lab.revive("ledger") == ["ledger.0", "ledger.1"]
    labs.until(lambda: lab.store.totals(SECOND).blocked == 0, "workers free again")
    labs.received(lab, SECOND, 100)
    for block in books_close(lab.stop()).values():
        only(block, "peer-death")


def test_the_agent_is_started_again_and_no_count_is_missing(labs: Any, nothing_lost: Account) -> None:
    lab = labs.start(PIPELINE)
    labs.received(lab, SECOND, 200)
    labs.agents()[0].kill()
    labs.until(lambda: len(lab.run.report()["events"]) == 1, "the death of the agent")
    labs.received(lab, SECOND, 300)
    run = lab.stop()
    nothing_lost(run)
    assert [event["text"] for event in run.report()["events"]] == [
        "the agent ended (exit code -9) and was started again"
    ]


def test_the_agents_death_at_the_very_end_costs_no_count(labs: Any, nothing_lost: Account) -> None:
    lab = labs.start(PIPELINE)
    labs.received(lab, SECOND, 200)
    labs.agents()[0].kill()
    nothing_lost(lab.stop())


def test_an_agent_that_dies_again_and_again_ends_the_run_with_a_sentence(labs: Any) -> None:
    lab = labs.start(PIPELINE)
    for _ in range(4):
        labs.until(labs.agents)
        victim = labs.agents()[0]
        victim.kill()
        victim.wait()
    assert lab.wait(10)
    assert lab.state == "failed"
    assert lab.orchestrator.error == "the agent ended 4 times, last with exit code -9"
    assert lab.stop().state == "failed"


@pytest.mark.parametrize("engine", ["native"], indirect=True)
def test_a_kill_in_a_packed_node_names_all_that_died(labs: Any, books_close: Account, engine: str) -> None:
    toml = """
        warmup = "100ms"
        node = [
            {name = "a", role = "producer", count = 20, rate = "1000/s", size = "100B"},
            {name = "b", role = "consumer", count = 20},
        ]
        link = [{from = "a", to = "b", pattern = "push-pull", transport = "ipc", wiring = "paired"}]
    """
    lab = labs.start(toml, engine=engine)
    labs.received(lab, "a -> b", 100)
    names = lab.kill("b", 3)
    assert names == [f"b.{i}" for i in range(10)]
    assert lab.revive("b") == names
    labs.received(lab, "a -> b", 500)
    only(books_close(lab.stop())["a -> b"], "peer-death")


def test_the_only_producer_may_die_and_the_run_still_ends(labs: Any, books_close: Account) -> None:
    lab = labs.start(PIPELINE.replace("count = 2, rate", "count = 1, rate"))
    labs.received(lab, SECOND, 100)
    lab.kill("orders", 0)
    for block in books_close(lab.stop()).values():
        only(block, "peer-death")


@pytest.mark.parametrize("transport", ["ipc", "inproc"])
def test_kills_over_other_transports(labs: Any, books_close: Account, transport: str) -> None:
    toml = PIPELINE.replace('pattern = "push-pull"', f'pattern = "push-pull", transport = "{transport}"')
    lab = labs.start(toml)
    labs.received(lab, SECOND, 200)
    names = lab.kill("pricing", 0)
    if transport == "inproc":
        everyone = ["orders.0", "orders.1", "pricing.0", "pricing.1", "ledger.0", "ledger.1"]
        assert names == everyone
    else:
        assert names == ["pricing.0"]
        labs.received(lab, SECOND, 100)
        lab.revive("pricing")
        labs.received(lab, SECOND, 100)
    for block in books_close(lab.stop()).values():
        only(block, "peer-death")

"""Whole runs without accidents: every message that was due is sent and received, on both engines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mqviz.api import Run
from mqviz.simulation.arrivals import parse_arrivals, stream
from mqviz.simulation.schedule import seed_of

pytestmark = pytest.mark.timeout(300)  # the native engine may have to be compiled first

NS = 1_000_000_000
Account = Callable[[Run], dict[str, Any]]


def producer(name: str, rate: str = "1000/s", **fields: object) -> str:
    return _block("node", name=name, role="producer", rate=rate, size="100B", **fields)


def worker(name: str, **fields: object) -> str:
    return _block("node", name=name, role="worker", **fields)


def consumer(name: str, **fields: object) -> str:
    return _block("node", name=name, role="consumer", **fields)


def link(source: str, target: str, pattern: str = "push-pull", **fields: object) -> str:
    return _block("link", **{"from": source, "to": target, "pattern": pattern}, **fields)


def _block(kind: str, **fields: object) -> str:
    return f"[[{kind}]]\n" + "".join(f"{key} = {_written(value)}\n" for key, value in fields.items())


def _written(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_written(item)}" for key, item in value.items()) + " }"
    return str(value).lower() if isinstance(value, bool) else repr(value).replace("'", '"')


def scenario(*blocks: str, duration: str = "600ms", warmup: str = "100ms", seed: int = 5) -> str:
    return f'duration = "{duration}"\nwarmup = "{warmup}"\nseed = {seed}\n' + "".join(blocks)


def test_a_short_run_closes_its_books(labs: Any, nothing_lost: Account) -> None:
    toml = scenario(producer("a"), consumer("b"), link("a", "b"), duration="300ms", warmup="50ms")
    found = nothing_lost(labs.run(toml))
    assert 200 < found["a -> b"]["received"] < 400


CLOSED = {
    "tcp": [producer("a", count=2), consumer("b", count=2), link("a", "b", transport="tcp")],
    "ipc": [producer("a", count=2), consumer("b", count=2), link("a", "b", transport="ipc")],
    "inproc": [producer("a", count=2), consumer("b", count=2), link("a", "b", transport="inproc")],
    "pub-sub over tcp": [producer("a"), consumer("b", count=3), link("a", "b", "pub-sub")],
    "pub-sub over ipc": [producer("a"), consumer("b"), link("a", "b", "pub-sub", transport="ipc")],
    "pub-sub over inproc": [producer("a"), consumer("b"), link("a", "b", "pub-sub", transport="inproc")],
    "many packed in few processes": [
        producer("a", rate="2000/s", count=20),
        consumer("b", count=20),
        link("a", "b", wiring="paired", transport="ipc"),
    ],
    "fan-in of two nodes": [
        producer("a", rate="500/s"),
        producer("b", rate="300/s", arrivals="constant"),
        consumer("c"),
        link("a", "c"),
        link("b", "c", "pub-sub"),
    ],
    "fan-out to several patterns": [
        producer("a", rate="500/s"),
        consumer("b"),
        consumer("c", count=2),
        consumer("d"),
        link("a", "b"),
        link("a", "c", "pub-sub"),
        link("a", "d", transport="ipc"),
    ],
    "three stages": [
        producer("a", rate="500/s", count=2),
        worker("b", count=3, service="exponential(1ms)"),
        worker("c"),
        consumer("d", service="200us"),
        consumer("e"),
        link("a", "b"),
        link("b", "c", transport="ipc"),
        link("c", "d", "pub-sub"),
        link("c", "e"),
    ],
    "three stages in one process": [
        producer("a", rate="500/s"),
        worker("b", count=2),
        consumer("c"),
        link("a", "b", transport="inproc"),
        link("b", "c", transport="inproc"),
    ],
    "sizes and bursts": [
        _block("node", name="a", role="producer", rate="500/s", size="uniform(40B, 60KiB)",
               arrivals="bursts(200ms, 0.2)"),
        consumer("b"),
        link("a", "b"),
    ],
}  # fmt: skip


NATIVE = (
    "tcp",
    "inproc",
    "pub-sub over tcp",
    "many packed in few processes",
    "three stages",
    "sizes and bursts",
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "case"),
    [*(("python", case) for case in CLOSED), *(("native", case) for case in NATIVE)],
    indirect=["engine"],
)
def test_nothing_is_lost_and_nothing_in_flight_at_the_end(
    labs: Any, nothing_lost: Account, engine: str, case: str
) -> None:
    run = labs.run(scenario(*CLOSED[case]), engine=engine)
    assert run.engine == engine
    found = nothing_lost(run)
    for name, block in found.items():
        per = block.get("per_subscriber", {"": block})
        for one in per.values():
            assert one["received"] == block.get("published", block["sent"]), name
        assert block["latency_ns"]["response"]["count"] > 0, name


@pytest.mark.slow
def test_in_a_mesh_every_consumer_gets_its_share_and_paired_ones_their_own(labs: Any) -> None:
    nodes = [producer("a", count=4, arrivals="constant"), consumer("b", count=2), consumer("c", count=2)]
    run = labs.run(scenario(*nodes, link("a", "b", "pub-sub"), link("a", "c", "pub-sub", wiring="paired")))
    links = run.report()["links"]
    mesh, paired = links["a -> b"], links["a -> c"]
    assert [one["received"] for one in mesh["per_subscriber"].values()] == [mesh["published"]] * 2
    # producers 0 and 2 are joined to consumer 0, 1 and 3 to consumer 1
    halves = [one["received"] for one in paired["per_subscriber"].values()]
    assert sum(halves) == paired["published"]
    assert abs(halves[0] - halves[1]) <= 2
    assert paired["lost"]["no-subscriber"] == 0


@pytest.mark.slow
def test_a_subscriber_is_owed_only_what_it_subscribed_to(
    labs: Any, books_close: Account, engine: str
) -> None:
    topics = {"eur": 3, "usd": 1, "yen": 1}
    nodes = [
        producer("a"),
        consumer("all"),
        consumer("europe", subscribe=["eur"]),
        consumer("west", subscribe=["eur", "us"]),
    ]
    links = [link("a", name, "pub-sub", topics=topics) for name in ("all", "europe", "west")]
    found = books_close(labs.run(scenario(*nodes, *links, duration="1s"), engine=engine))
    got = {name: found[f"a -> {name}"]["received"] for name in ("all", "europe", "west")}
    published = found["a -> all"]["published"]
    assert got["all"] == published
    assert 0.5 * published < got["europe"] < 0.7 * published
    assert 0.7 * published < got["west"] < 0.9 * published
    for name in ("europe", "west"):
        block = found[f"a -> {name}"]
        assert block["published"] == published
        assert block["lost"] == {**block["lost"], "no-subscriber": published - got[name]}
        assert block["sent"] == published


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "pattern"), [("python", "push-pull"), ("native", "pub-sub")], indirect=["engine"]
)
def test_a_conflating_link_says_what_it_replaced(
    labs: Any, books_close: Account, engine: str, pattern: str
) -> None:
    parts = [producer("a"), consumer("b", service="20ms"), link("a", "b", pattern, conflate=True)]
    block = books_close(labs.run(scenario(*parts), engine=engine))["a -> b"]
    assert block["lost"]["conflated"] > 0.7 * block["sent"]
    # what was replaced before the first one came cannot be told from what was sent before it listened
    assert {cause for cause, n in block["lost"].items() if n} <= {"conflated", "slow-joiner"}


@pytest.mark.slow
@pytest.mark.parametrize("pattern", ["push-pull", "pub-sub"])
def test_as_fast_as_possible_has_no_response_and_no_lateness(
    labs: Any, books_close: Account, engine: str, pattern: str
) -> None:
    parts = [producer("a", rate="max"), consumer("b"), link("a", "b", pattern)]
    run = labs.run(scenario(*parts), engine=engine)
    block = books_close(run)["a -> b"]
    assert block["received"] > 2_000
    assert block["unsent"] == 0
    for duration in ("response", "lateness"):
        assert block["latency_ns"][duration]["count"] == 0
        assert block["latency_ns"][duration]["p50"] is None
        assert block["latency_ns"][duration]["max"] is None
    assert block["latency_ns"]["transit"]["p50"] > 0
    assert run.report()["end_to_end_ns"]["p99"] is None
    if pattern == "push-pull":
        assert block["sent"] == block["received"]


@pytest.mark.slow
def test_behind_tiny_marks_the_producer_is_blocked_and_the_rest_is_unsent(
    labs: Any, books_close: Account, engine: str
) -> None:
    small = {"send_hwm": 1, "receive_hwm": 1, "send_buffer": "4KiB", "receive_buffer": "4KiB"}
    parts = [
        _block("node", name="a", role="producer", rate="1000/s", size="4KiB", arrivals="constant"),
        consumer("b", service="10ms"),
        link("a", "b", **small),
    ]
    run = labs.run(scenario(*parts, duration="1s", warmup="0s"), engine=engine)
    block = books_close(run)["a -> b"]
    assert block["due"] == 1000
    assert block["sent"] == block["received"] < 300
    assert block["unsent"] == 1000 - block["sent"]
    assert block["latency_ns"]["blocked"]["max"] > 1_000_000
    assert run.store.totals("a -> b").blocked_ns > 0.5 * NS
    # most of what was due has no response: the percentiles among them are bounds
    response = block["latency_ns"]["response"]
    assert response["censored"] > 500
    assert response["p90"] is None
    assert response["at_least"]["p90"] > 0


@pytest.mark.slow
def test_a_worker_that_cannot_send_on_blocks_what_comes_in(labs: Any, books_close: Account) -> None:
    small = {"send_hwm": 1, "receive_hwm": 1, "send_buffer": "4KiB", "receive_buffer": "4KiB"}
    parts = [
        _block("node", name="a", role="producer", rate="1000/s", size="4KiB", arrivals="constant"),
        _block("node", name="b", role="worker", size="4KiB"),
        consumer("c", service="10ms"),
        link("a", "b", **small),
        link("b", "c", **small),
    ]
    found = books_close(labs.run(scenario(*parts, duration="1s")))
    assert found["a -> b"]["due"] == 1000
    assert found["a -> b"]["unsent"] > 500
    assert found["b -> c"]["sent"] == found["a -> b"]["received"] == found["b -> c"]["received"]


def expected_due(seed: int, node: str, count: int, rate: float, duration_ns: int) -> int:
    """How many intended times the seed has within a run."""
    total = 0
    for index in range(count):
        numbers = seed_of(seed, node, index, 0, "arrivals", 0)
        times = stream(parse_arrivals("poisson"), rate, 0, numbers, index, count).next(10_000)
        total += int(np.count_nonzero(times < duration_ns))
    return total


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "seed"), [("python", 1), ("native", 1), ("python", 2)], indirect=["engine"]
)
def test_how_many_are_due_is_what_the_seed_says(labs: Any, engine: str, seed: int) -> None:
    parts = [producer("a", count=2), consumer("b"), link("a", "b")]
    block = labs.run(scenario(*parts, seed=seed), engine=engine).report()["links"]["a -> b"]
    assert block["due"] == expected_due(seed, "a", 2, 1000.0, 600_000_000)
    assert block["sent"] == block["due"]


@pytest.mark.slow
def test_two_hundred_small_pairs_hold_their_rate(labs: Any, nothing_lost: Account, engine: str) -> None:
    parts = [
        producer("sensors", rate="10000/s", count=200),
        consumer("collectors", count=200),
        link("sensors", "collectors", transport="ipc", wiring="paired"),
    ]
    run = labs.run(scenario(*parts, duration="5s", warmup="1s"), engine=engine)
    block = nothing_lost(run)["sensors -> collectors"]
    assert block["due"] == expected_due(5, "sensors", 200, 10_000.0, 5 * NS)
    assert block["achieved_rate"] >= 0.98 * block["offered_rate"]
    assert len(run.report()["links"]) == 1

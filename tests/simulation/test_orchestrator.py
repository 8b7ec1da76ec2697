"""Steering: what can be changed in a running lab, when, and what is refused."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq

from mqviz.api import Lab, Run
from mqviz.errors import CannotRun, MissingExtra, RunnerFailed, ScenarioError
from mqviz.simulation.orchestrator import Orchestrator
from mqviz.simulation.scenario import loads, push_pull
from mqviz.simulation.wiring import Wiring

pytestmark = pytest.mark.timeout(300)

Account = Callable[[Run], dict[str, Any]]

PAIR = """
warmup = "50ms"
drain = "5s"
node = [
    {name = "a", role = "producer", count = 2, rate = "400/s", size = "100B", arrivals = "constant"},
    {name = "b", role = "consumer", count = 2},
]
link = [{from = "a", to = "b", pattern = "push-pull"}]
"""
LINK = "a -> b"


def due(lab: Lab) -> int:
    return int(lab.store.totals(LINK).due)


def events(run: Run) -> list[str]:
    return [event["text"] for event in run.report()["events"]]


def rate_over(lab: Lab, seconds: float) -> float:
    """Messages that have become due per second of the clock that the counts were read by."""
    rows = lab.store.since(0)[0]
    begun = rows.at_ns[-1]
    while rows.at_ns[-1] - begun < seconds * 1e9:
        time.sleep(0.05)
        rows = lab.store.since(0)[0]
    inside = rows.at_ns >= begun
    counts, times = rows.column(LINK, "due")[inside], rows.at_ns[inside]
    return float((counts[-1] - counts[0]) / (times[-1] - times[0]) * 1e9)


@pytest.mark.slow
def test_a_rate_goes_up_and_down_and_nothing_is_lost(labs: Any, nothing_lost: Account, engine: str) -> None:
    lab = labs.start(PAIR, engine=engine)
    labs.received(lab, LINK, 50)
    lab.set("a", rate="4000/s")
    assert lab.orchestrator.node("a").rate == 4000
    labs.until(lambda: 3_000 < rate_over(lab, 0.5) < 5_000, "the higher rate")
    lab.set("a", rate=100)
    labs.until(lambda: 50 < rate_over(lab, 0.7) < 200, "the lower rate")
    run = lab.stop()
    nothing_lost(run)
    assert events(run) == ["set a: rate = 4000/s", "set a: rate = 100"]


@pytest.mark.slow
def test_a_rate_may_become_max_and_a_number_again(labs: Any, nothing_lost: Account, engine: str) -> None:
    lab = labs.start(PAIR, engine=engine)
    labs.received(lab, LINK, 50)
    lab.set("a", rate="max")
    labs.received(lab, LINK, 4_000)
    lab.set("a", rate="200/s")
    labs.until(lambda: lab.store.totals(LINK).in_flight == 0, "the queue is worked off")
    labs.received(lab, LINK, 50)
    nothing_lost(lab.stop())


@pytest.mark.slow
def test_sizes_and_service_times_change_from_the_next_message_on(
    labs: Any, nothing_lost: Account, engine: str
) -> None:
    lab = labs.start(PAIR, engine=engine)
    labs.received(lab, LINK, 50)
    lab.set("a", size="2KiB")
    lab.set("b", service="3ms")
    before = lab.store.totals(LINK)
    labs.received(lab, LINK, 200)
    after = lab.store.totals(LINK)
    more = after.received - before.received
    assert after.received_bytes - before.received_bytes > 0.7 * more * 2048
    lab.set("b", service=0)
    lab.set("a", size=64)
    labs.received(lab, LINK, 100)
    run = lab.stop()
    nothing_lost(run)
    assert run.store.histogram(LINK, "service").max_ns >= 3_000_000
    assert events(run) == [
        "set a: size = 2KiB",
        "set b: service = 3ms",
        "set b: service = 0",
        "set a: size = 64",
    ]


@pytest.mark.slow
def test_counts_go_up_and_down(labs: Any, nothing_lost: Account) -> None:
    lab = labs.start(PAIR)
    labs.received(lab, LINK, 50)
    lab.set("b", count=4)
    lab.set("a", count=3)
    assert [v.name for v in lab.instances() if v.alive] == ["a.0", "a.1", "a.2", "b.0", "b.1", "b.2", "b.3"]
    labs.received(lab, LINK, 200)
    lab.set("a", count=1)
    assert [v.name for v in lab.instances() if v.alive] == ["a.0", "b.0", "b.1", "b.2", "b.3"]
    assert {v.state for v in lab.instances() if not v.alive} == {"stopped"}
    # the one that is left has the whole rate
    labs.until(lambda: 300 < rate_over(lab, 0.5) < 500, "the whole rate")
    lab.set("a", count=2)
    assert next(v for v in lab.instances() if v.name == "a.1").incarnation == 1
    labs.received(lab, LINK, 100)
    run = lab.stop()
    block = nothing_lost(run)[LINK]
    assert block["received"] > 350
    assert int(run.timeline()["received"].iloc[-1]) == block["received"]


@pytest.mark.slow
def test_a_paused_producer_accrues_nothing(labs: Any, nothing_lost: Account) -> None:
    lab = labs.start(PAIR)
    labs.received(lab, LINK, 50)
    lab.pause("a")
    assert {v.state for v in lab.instances() if v.node == "a"} == {"paused"}
    labs.until(lambda: lab.store.since(0)[0].column("a", "paused")[-1] == 2, "both are seen to be paused")
    labs.until(lambda: due(lab) == lab.store.totals(LINK).received, "what was due has come")
    standing = due(lab)
    rows = lab.store.since(0)[1]
    labs.until(lambda: lab.store.since(0)[1] >= rows + 5, "half a second")
    assert due(lab) == standing
    lab.resume("a")
    assert {v.state for v in lab.instances() if v.node == "a"} == {"running"}
    labs.received(lab, LINK, 100)
    run = lab.stop()
    nothing_lost(run)
    assert events(run) == ["pause a", "resume a"]


@pytest.mark.slow
def test_a_paused_consumer_lets_the_backlog_grow_and_then_works_it_off(
    labs: Any, nothing_lost: Account, engine: str
) -> None:
    lab = labs.start(PAIR, engine=engine)
    labs.received(lab, LINK, 50)
    lab.pause("b")
    labs.until(lambda: lab.store.totals(LINK).in_flight > 150, "a backlog")
    lab.resume("b")
    labs.until(lambda: lab.store.totals(LINK).in_flight < 20, "no backlog")
    nothing_lost(lab.stop())


@pytest.mark.slow
def test_instances_may_be_added_while_the_others_are_paused(labs: Any, nothing_lost: Account) -> None:
    lab = labs.start(PAIR)
    labs.received(lab, LINK, 50)
    lab.pause("b")
    lab.set("a", count=3)
    lab.set("b", count=3)
    assert {v.state for v in lab.instances() if v.node == "b"} == {"paused"}
    lab.resume("b")
    labs.received(lab, LINK, 100)
    nothing_lost(lab.stop())


@pytest.mark.slow
def test_what_waits_for_a_consumer_that_is_paused_at_the_end_was_not_dropped(labs: Any) -> None:
    toml = PAIR.replace("push-pull", "pub-sub")
    lab = labs.start(toml)
    labs.received(lab, LINK, 50)
    lab.pause("b")
    labs.until(lambda: lab.store.totals(LINK).in_flight > 150, "a backlog")
    lost = lab.stop(1.0).report()["links"][LINK]["lost"]
    assert lost["linger"] > 150
    assert lost["hwm"] == 0


@pytest.mark.slow
def test_an_instance_may_be_stopped_and_started(labs: Any, books_close: Account) -> None:
    lab = labs.start(PAIR)
    labs.received(lab, LINK, 50)
    for node in ("a", "b"):
        lab.halt(node, 1)
        assert next(v for v in lab.instances() if v.name == f"{node}.1").state == "stopped"
        labs.received(lab, LINK, 50)
        assert lab.revive(node) == [f"{node}.1"]
        assert lab.revive(node) == []
        labs.received(lab, LINK, 50)
    run = lab.stop()
    block = books_close(run)[LINK]
    # what had been sent to the consumer that left, and the frames that the producer had not flushed
    assert sum(block["lost"].values()) == block["lost"]["linger"] < 50
    assert events(run) == ["stop a.1", "start a.1", "stop b.1", "start b.1"]


@pytest.mark.slow
def test_a_scenarios_events_happen_by_themselves(labs: Any, books_close: Account) -> None:
    plan = [
        (
            "300ms",
            'action = "set", node = "a", rate = "800/s", size = "200B"',
            "set a: rate = 800/s, size = 200B",
        ),
        ("500ms", 'action = "pause", node = "b"', "pause b"),
        ("700ms", 'action = "resume", node = "b"', "resume b"),
        ("900ms", 'action = "kill", node = "b", instance = 1', "kill b.1"),
        ("1200ms", 'action = "start", node = "b"', "start b.1"),
        ("1300ms", 'action = "kill", node = "b", instance = 7', ""),
        ("2s", 'action = "stop", node = "a"', "stop a.0"),
    ]
    lines = ",\n".join(f'{{at = "{at}", {what}}}' for at, what, _ in plan if "instance = 7" not in what)
    run = labs.run(f'duration = "4s"\n{PAIR}\nevent = [{lines}]')
    books_close(run)
    assert sorted(events(run)) == sorted(text for _, _, text in plan if text)
    at = {event["text"]: event["at_s"] for event in run.report()["events"]}
    assert at["pause b"] >= 0.5
    assert at["kill b.1"] >= 0.9


@pytest.mark.slow
def test_an_event_that_cannot_be_carried_out_is_told_and_the_run_goes_on(
    labs: Any, books_close: Account
) -> None:
    lines = """event = [
        {at = "100ms", action = "kill", node = "b", instance = 1},
        {at = "400ms", action = "kill", node = "b", instance = 1},
    ]"""
    run = labs.run(f'duration = "1s"\n{PAIR}\n{lines}')
    books_close(run)
    assert events(run) == [
        "kill b.1",
        'kill b failed: node "b": instance 1 is not alive; alive are [0]',
    ]


BAD = [
    ("a", {"rate": 0}, "is not a rate from 0.001/s"),
    ("a", {"rate": "1e12/s"}, "is not a rate from 0.001/s"),
    ("a", {"rate": "fast"}, "is not a rate such as"),
    ("a", {"rate": None}, "is not a rate such as"),
    ("a", {"rate": float("nan")}, "is not a rate such as"),
    ("a", {"rate": "500/s", "size": "1B"}, "a message has at least 40B"),
    ("a", {"size": "1GiB"}, "a message has at most"),
    ("a", {"count": 0}, "is not a whole number from 1 to 1000"),
    ("a", {"count": 2.5}, "is not a whole number from 1 to 1000"),
    ("a", {"count": True}, "is not a whole number from 1 to 1000"),
    ("a", {"service": "1ms"}, "a producer has no service time"),
    ("a", {"colour": "red"}, 'unknown key "colour"'),
    ("a", {"name": "z"}, 'unknown key "name"'),
    ("a", {}, "set needs what is to change"),
    ("b", {"rate": 5}, "only a producer has a rate"),
    ("b", {"service": "5"}, "has no unit"),
    ("b", {"service": "-5ms"}, "is not"),
    ("b", {"service": "exponential(0)"}, "must be above 0"),
    ("z", {"rate": 5}, "there is none; the nodes are a, b"),
]


@pytest.mark.slow
def test_a_bad_value_is_refused_with_a_sentence_and_changes_nothing(labs: Any, nothing_lost: Account) -> None:
    lab = labs.start(PAIR.replace("count = 2, rate", "count = 3, rate"))
    before = {name: lab.orchestrator.node(name) for name in ("a", "b")}
    for node, fields, words in BAD:
        with pytest.raises(ScenarioError, match=words) as caught:
            lab.set(node, **fields)
        assert "\n" not in str(caught.value)
        assert caught.value.exit_code == 2
    with pytest.raises(ScenarioError, match="a mesh of 3 × 1000 is 3000 connections"):
        lab.set("b", count=1000)
    for act, args, words in [
        (lab.kill, ("b", 2), r"instance 2 is not alive; alive are \[0, 1\]"),
        (lab.kill, ("z", 0), "the nodes are a, b"),
        (lab.halt, ("b", -1), "instance -1 is not alive"),
        (lab.revive, ("a", 5), "has instances 0 to 2, not 5"),
        (lab.pause, ("z",), "the nodes are a, b"),
        (lab.resume, ("z",), "the nodes are a, b"),
    ]:
        with pytest.raises(ScenarioError, match=words):
            act(*args)
    assert {name: lab.orchestrator.node(name) for name in ("a", "b")} == before
    assert [v.incarnation for v in lab.instances()] == [0, 0, 0, 0, 0]
    labs.received(lab, LINK, 50)
    run = lab.stop()
    nothing_lost(run)
    assert events(run) == []


@pytest.mark.slow
def test_there_is_room_for_so_many_producers_and_a_sentence_for_more(labs: Any, books_close: Account) -> None:
    lab = labs.start(PAIR)
    with pytest.raises(
        CannotRun, match='link "a -> b" has had 2 producers in this run and has no room for 25'
    ):
        lab.set("a", count=27)
    assert lab.orchestrator.node("a").count == 2
    lab.set("a", count=6)
    labs.received(lab, LINK, 50)
    books_close(lab.stop())


@pytest.mark.slow
def test_what_lives_in_one_process_cannot_be_added_to(labs: Any, nothing_lost: Account) -> None:
    lab = labs.start(PAIR.replace('"push-pull"', '"push-pull", transport = "inproc"'))
    with pytest.raises(CannotRun, match='node "b" has an inproc link'):
        lab.set("b", count=3)
    assert lab.orchestrator.node("b").count == 2
    labs.received(lab, LINK, 50)
    nothing_lost(lab.stop())


@pytest.mark.slow
def test_an_ended_run_cannot_be_steered_and_ends_only_once(labs: Any) -> None:
    lab = labs.start(PAIR)
    labs.received(lab, LINK, 50)
    orchestrator = lab.orchestrator
    lab.stop()
    elapsed = orchestrator.elapsed_s
    for act in (
        lambda: orchestrator.set("a", rate=5),
        lambda: orchestrator.kill("a", 0),
        lambda: orchestrator.revive("a"),
        lambda: orchestrator.halt("a", 0),
        lambda: orchestrator.pause("a"),
        lambda: orchestrator.resume("a"),
    ):
        with pytest.raises(CannotRun, match=r"^the run is ended: there is nothing to steer$") as caught:
            act()
        assert caught.value.exit_code == 3
    with pytest.raises(CannotRun, match=r"^this run is ended: a run starts once; make a new one$"):
        orchestrator.start()
    orchestrator.stop()
    assert orchestrator.wait(0)
    assert orchestrator.elapsed_s == elapsed > 0
    assert all(not v.alive and v.pid is None and v.state == "stopped" for v in orchestrator.instances())


def test_a_run_that_never_started_has_nothing_to_stop() -> None:
    orchestrator = Orchestrator(push_pull(), engine="python", record=False)
    assert (orchestrator.state, orchestrator.elapsed_s, orchestrator.instances()) == ("idle", 0.0, [])
    with pytest.raises(CannotRun, match="the run is idle"):
        orchestrator.kill("producer", 0)
    orchestrator.stop()
    assert orchestrator.state == "ended"
    assert orchestrator.wait(0)


def test_an_endpoint_that_is_taken_fails_the_start_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        plan = Wiring._outbound

        def taken(self: Wiring, link: Any, placed: Any) -> Any:
            return msgspec.structs.replace(plan(self, link, placed), bind=f"tcp://127.0.0.1:{port}")

        monkeypatch.setattr(Wiring, "_outbound", taken)
        orchestrator = Orchestrator(push_pull(), engine="python", out=tmp_path / "run")
        with pytest.raises(RunnerFailed, match=f"127.0.0.1:{port} is in use by another program"):
            orchestrator.start()
    assert orchestrator.state == "failed"
    assert orchestrator.wait(0)
    assert f"{port} is in use" in str(orchestrator.error)
    assert '"state": "failed"' in (tmp_path / "run/run.json").read_text()
    orchestrator.stop()
    with pytest.raises(CannotRun, match="the run is failed"):
        orchestrator.pause("producer")


def test_a_runner_that_does_not_even_begin_is_told_with_its_last_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "zmq.py").write_text("raise RuntimeError('no luck today')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    orchestrator = Orchestrator(push_pull(), engine="python", record=False)
    with pytest.raises(RunnerFailed, match=r"^a runner ended by itself: RuntimeError: no luck today$"):
        orchestrator.start()


def test_the_native_engine_without_numba_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    with pytest.raises(MissingExtra, match=r"pip install 'mqviz\[native\]'"):
        Orchestrator(push_pull(), engine="native", record=False)
    assert Orchestrator(push_pull(), record=False).engine == "python"


@pytest.mark.slow
def test_a_stop_during_the_start_ends_it(labs: Any) -> None:
    lab = Lab(loads(PAIR), engine="python", record=False)
    raised: list[BaseException] = []

    def start() -> None:
        try:
            lab.start()
        except CannotRun as error:
            raised.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    labs.until(lambda: lab.state == "starting", "starting")
    lab.orchestrator.stop(0.0)
    thread.join()
    assert lab.state in ("failed", "ended")
    assert [str(error) for error in raised] in ([], ["the run is ending"])


@pytest.mark.slow
def test_what_is_no_report_is_counted_and_changes_nothing(labs: Any, nothing_lost: Account) -> None:
    lab = labs.start(PAIR)
    labs.received(lab, LINK, 50)
    address = next(Path("/dev/shm").glob(f"mqviz-{os.getpid()}-*/collector.ipc"))
    garbage = [b"", b"\x00", b"GET / HTTP/1.1\r\n\r\n", b"\x93" * 1000, bytes(range(256)) * 4000]
    with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
        socket.linger = 2000
        socket.connect(f"ipc://{address}")
        for each in garbage:
            socket.send(each)
        socket.send_multipart([b"one", b"two", b"three"])
        labs.until(lambda: lab.store.foreign == len(garbage) + 3, "all of it counted")
    labs.received(lab, LINK, 100)
    run = lab.stop()
    nothing_lost(run)
    assert run.report()["samples_lost"] == 0
    assert run.store.foreign == len(garbage) + 3

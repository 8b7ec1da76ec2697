"""The document of a run: what is in it, and how expectations are judged by it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mqviz.simulation import result
from mqviz.simulation.expectation import METRICS, parse_expect
from mqviz.simulation.scenario import loads, push_pull, topology
from mqviz.telemetry.clock import Anchor
from mqviz.telemetry.sample import Mark
from mqviz.telemetry.store import Store

NAMES = ("response", "lateness", "blocked", "transit", "service")
CAUSES = (
    "hwm", "slow-joiner", "no-subscriber", "peer-death", "disconnect", "linger", "conflated", "network",
    "unresolved",
)  # fmt: skip
COUNTS = ("due", "published", "sent", "unsent", "received", "in_flight", "foreign")
FIGURES = {"count": 20_000, "mean": 5.0, "p50": 4, "p90": 6, "p99": 8, "p99.9": 9, "max": 10}


def block(**values: Any) -> dict[str, Any]:
    """One link as it stands in a document."""
    counts = dict.fromkeys(COUNTS, 0)
    rates = {"offered_rate": 100.0, "achieved_rate": 99.0, "throughput": 98.0, "bytes": 0}
    lost = dict.fromkeys(CAUSES, 0) | values.pop("lost", {})
    return {
        **counts,
        **rates,
        "lost": lost,
        "backlog": {"mean": 1.5, "max": 4, "end": 0},
        "latency_ns": {name: dict(FIGURES) for name in NAMES},
        **values,
    }


def document(links: dict[str, Any]) -> dict[str, Any]:
    return {"links": links, "end_to_end_ns": {**FIGURES, "p99": 80}}


A, B = "a -> b", "b -> c"
FOUND = document(
    {
        A: block(sent=10, received=7, lost={"hwm": 2, "no-subscriber": 5}),
        B: block(
            sent=5, received=4, lost={"hwm": 1}, throughput=2.0, backlog={"mean": 0.5, "max": 3, "end": 1}
        ),
    }
)


@pytest.mark.parametrize(
    ("link", "name", "value"),
    [
        (A, "response.p99", 8),
        (None, "response.p99", 80),
        (None, "response.p50", 4),
        (None, "end_to_end.max", 10),
        (A, "transit.p99.9", 9),
        (None, "transit.mean", 5),
        (A, "received", 7),
        (None, "received", 11),
        (A, "lost.hwm", 2),
        (None, "lost.hwm", 3),
        (A, "lost", 2),
        (None, "lost", 3),
        (A, "lost.no-subscriber", 5),
        (A, "throughput", 98),
        (None, "throughput", 100),
        (None, "backlog.max", 7),
        (B, "backlog.mean", 0.5),
        (B, "backlog.end", 1),
    ],
)
def test_a_metric_is_found_in_the_document(link: str | None, name: str, value: float) -> None:
    assert result.metric(link, name, FOUND) == value


def test_a_duration_over_several_links_is_that_of_the_worst_and_unknown_if_one_is() -> None:
    slow, unknown = block(), block()
    slow["latency_ns"]["transit"]["p99"] = 900
    unknown["latency_ns"]["transit"]["p99"] = None
    assert result.metric(None, "transit.p99", document({A: block(), B: slow})) == 900
    assert result.metric(None, "transit.p99", document({A: slow, B: unknown})) is None


@pytest.mark.parametrize(
    ("sentence", "met"),
    [
        ("a -> b: response.p99 < 9ns", True),
        ("a -> b: response.p99 < 8ns", False),
        ("a -> b: response.p99 <= 8ns", True),
        ("a -> b: received > 6", True),
        ("a -> b: received >= 8", False),
        ("lost == 3", True),
        ("throughput >= 100/s", True),
    ],
)
def test_an_expectation_is_met_or_not_and_says_the_value(sentence: str, met: bool) -> None:
    found = result.expectation(parse_expect(sentence), FOUND)
    assert (found["metric"], found["met"]) == (sentence, met)
    assert found["value"] is not None


def test_what_is_not_known_meets_no_expectation() -> None:
    unknown = document({A: block(offered_rate=None, backlog={"mean": None, "max": None, "end": 0})})
    unknown["end_to_end_ns"]["p99"] = None
    for sentence in ("response.p99 < 1s", "offered_rate > 0", "a -> b: backlog.max < 5"):
        found = result.expectation(parse_expect(sentence), unknown)
        assert (found["met"], found["value"]) == (False, None)


SCENARIO = loads("""
    name = "<b>pipeline</b>"
    node = [
        {name = "a", role = "producer", rate = "5/s"},
        {name = "b", role = "consumer"},
        {name = "c", role = "consumer"},
    ]
    link = [
        {from = "a", to = "b", pattern = "push-pull"},
        {from = "a", to = "c", pattern = "pub-sub", transport = "ipc"},
    ]
    expect = [{metric = "a -> b: response.p99 < 50ms"}, {metric = "lost == 0"}]
""")


def test_a_run_of_which_nothing_is_known_yet_has_a_document_too() -> None:
    found = result.document(Store(topology(SCENARIO), Anchor(0, 0)), SCENARIO, "python", "starting")
    assert (found["command"], found["scenario"], found["engine"]) == ("run", "<b>pipeline</b>", "python")
    assert (found["state"], found["verdict"], found["measured_s"]) == ("starting", "VALID", 0.0)
    for name, link in found["links"].items():
        assert link["offered_rate"] is link["achieved_rate"] is link["throughput"] is None
        assert link["backlog"] == {"mean": None, "max": None, "end": 0}
        assert tuple(link["lost"]) == CAUSES, name
        assert set(link["latency_ns"]) == set(NAMES)
        assert link["latency_ns"]["response"]["p99"] is None
    assert found["links"]["a -> c"]["per_subscriber"] == {}
    assert [e["met"] for e in found["expectations"]] == [False, True]
    assert json.loads(json.dumps(found)) == found


def test_every_metric_that_can_be_written_is_in_the_document() -> None:
    found = result.document(Store(topology(SCENARIO), Anchor(0, 0)), SCENARIO, "python")
    for name in METRICS:
        for link in (None, "a -> b", "a -> c"):
            assert result.metric(link, name, found) in (None, 0.0), name


def test_events_are_told_with_their_time_since_the_load_began() -> None:
    scenario = push_pull()
    store = Store(topology(scenario), Anchor(0, 0))
    for at_ns, kind, text, data in (
        (100, "phase", "starting", {"phase": "starting"}),
        (2_000_000_000, "phase", "warm-up", {"phase": "warm-up"}),
        (3_500_000_000, "event", "pause producer", {"node": "producer"}),
        (4_000_000_000, "phase", "measure", {"phase": "measure"}),
    ):
        assert store.append(Mark(at_ns, kind, text, data))
    found = result.document(store, scenario, "python")
    assert found["events"] == [{"at_s": 1.5, "text": "pause producer"}]

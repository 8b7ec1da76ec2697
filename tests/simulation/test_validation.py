"""What does not fit together is refused with a sentence that names the place."""

from __future__ import annotations

import os

import pytest

from mqviz.errors import ScenarioError
from mqviz.simulation.document import loads

PRODUCER = '[[node]]\nname = "p"\nrole = "producer"\nrate = 100\n'
WORKER = '[[node]]\nname = "w"\nrole = "worker"\n'
CONSUMER = '[[node]]\nname = "c"\nrole = "consumer"\n'


def link(source: str, target: str, more: str = "") -> str:
    return f'[[link]]\nfrom = "{source}"\nto = "{target}"\n{more}\n'


def event(more: str) -> str:
    return f'[[event]]\nat = "1s"\n{more}\n'


PAIR = PRODUCER + CONSUMER + link("p", "c")
CHAIN = PRODUCER + WORKER + CONSUMER + link("p", "w") + link("w", "c")
PUB_SUB = (
    PRODUCER + CONSUMER + 'subscribe = ["eur"]\n' + link("p", "c", 'pattern = "pub-sub"\ntopics = {usd = 1}')
)

REFUSED = {
    "no node": ("", "scenario: there is no node; each begins with [[node]]"),
    "no link": (PRODUCER + CONSUMER, "scenario: there is no link; each begins with [[link]]"),
    "same node": (PAIR + CONSUMER, 'node "c": another node has this name'),
    "same link": (PAIR + link("p", "c"), 'link "p -> c": another link joins the same nodes'),
    "missing node": (
        PRODUCER + CONSUMER.replace('"c"', '"carrot"') + link("p", "carot"),
        'link "p -> carot", to: there is no node "carot"; did you mean "carrot"?',
    ),
    "cycle": (
        PRODUCER + WORKER + WORKER.replace('"w"', '"v"') + link("p", "w") + link("w", "v") + link("v", "w"),
        "scenario: messages would go round for ever: w -> v -> w",
    ),
    "self": (
        PRODUCER + WORKER + link("p", "w") + link("w", "w"),
        "scenario: messages would go round for ever: w -> w",
    ),
    "into a producer": (
        PRODUCER + PRODUCER.replace('"p"', '"q"') + link("p", "q"),
        'node "q": a producer receives nothing, but link "p -> q" ends here',
    ),
    "out of a consumer": (
        CHAIN.replace('"worker"', '"consumer"'),
        'node "w": a consumer sends nothing, but link "w -> c" begins here',
    ),
    "lonely consumer": (
        PAIR + CONSUMER.replace('"c"', '"d"'),
        'node "d": no link ends here, so this consumer would receive nothing',
    ),
    "worker at the end": (
        PRODUCER + WORKER + link("p", "w"),
        'node "w": no link begins here, so this worker could send nothing',
    ),
    "rate of a consumer": (
        PAIR.replace('"consumer"\n', '"consumer"\nrate = 5\n'),
        'node "c", rate: only a producer has a rate, this is a consumer',
    ),
    "arrivals of a consumer": (
        PAIR.replace('"consumer"\n', '"consumer"\narrivals = "constant"\n'),
        'node "c", arrivals: only a producer has arrivals, this is a consumer',
    ),
    "service of a producer": (
        PAIR.replace("rate = 100", 'rate = 100\nservice = "1ms"'),
        'node "p", service: a producer has no service time; a worker or consumer has',
    ),
    "spin without service": (
        PAIR.replace('"consumer"\n', '"consumer"\nservice_mode = "spin"\n'),
        'node "c", service_mode: there is no service time to spin for',
    ),
    "subscribe to push": (
        PAIR.replace('"consumer"\n', '"consumer"\nsubscribe = ["eur"]\n'),
        'node "c", subscribe: only a pub-sub link has topics to subscribe to',
    ),
    "subscribe to nothing": (
        PUB_SUB,
        'node "c", subscribe: "eur" matches no topic of the links that end here',
    ),
    "topics of push": (
        PRODUCER + CONSUMER + link("p", "c", "topics = {eur = 1}"),
        'link "p -> c", topics: only a link with pattern = "pub-sub" has topics',
    ),
    "mesh": (
        PAIR.replace("rate = 100", "rate = 100\ncount = 51").replace(
            '"consumer"\n', '"consumer"\ncount = 50\n'
        ),
        'link "p -> c": a mesh of 51 × 50 is 2550 connections, the most is 2500; wiring = "paired" joins instances '
        "one to one",
    ),
    "mesh after an event": (
        PAIR.replace('"consumer"\n', '"consumer"\ncount = 50\n')
        + event('action = "set"\nnode = "p"\ncount = 60'),
        'link "p -> c": a mesh of 60 × 50 is 3000 connections, the most is 2500; wiring = "paired" joins instances '
        "one to one",
    ),
    "instances": (
        (PRODUCER + "count = 1000\n" + CONSUMER + "count = 1000\n" + CONSUMER.replace('"c"', '"d"'))
        + link("p", "c", 'wiring = "paired"')
        + link("p", "d"),
        "scenario: 2001 instances in all, the most is 2000",
    ),
    "inproc": (
        PRODUCER + "count = 9\n" + CONSUMER + link("p", "c", 'transport = "inproc"'),
        'link "p -> c", transport: inproc keeps all instances in one process: "p" can have at most 8',
    ),
    "warm-up": (
        'duration = "2s"\nwarmup = "2s"\n' + PAIR,
        "warmup: 2s leaves nothing to measure of the duration of 2s",
    ),
    "event after the end": (
        'duration = "500ms"\n' + PAIR + event('action = "kill"\nnode = "c"'),
        "event 1, at: 1s is after the end of 500ms",
    ),
    "event of no node": (
        PAIR + event('action = "kill"\nnode = "d"'),
        'event 1, node: there is no node "d"',
    ),
    "event of no instance": (
        PAIR + event('action = "kill"\nnode = "c"\ninstance = 1'),
        'event 1, instance: "c" has the instances 0 to 0, not 1',
    ),
    "pause of an instance": (
        PAIR + event('action = "pause"\nnode = "c"\ninstance = 0'),
        "event 1, instance: pause is for the whole node",
    ),
    "set of nothing": (
        PAIR + event('action = "set"\nnode = "c"'),
        "event 1: set needs what is to change: count, rate, size, service",
    ),
    "kill with a rate": (
        PAIR + event('action = "kill"\nnode = "p"\nrate = 5'),
        "event 1: rate belongs to the action set, not kill",
    ),
    "set of a wrong role": (
        PAIR + event('action = "set"\nnode = "c"\nrate = 5'),
        'event 1: node "c", rate: only a producer has a rate, this is a consumer',
    ),
    "expectation of no link": (
        PAIR + '[[expect]]\nmetric = "p -> d: lost < 1"\n',
        'expect 1, metric: there is no link "p -> d"; did you mean "p -> c"?',
    ),
    "spin with max": (
        PAIR.replace("100", '"max"').replace(
            '"consumer"\n', '"consumer"\nservice = "1us"\nservice_mode = "spin"\n'
        ),
        'node "c", service_mode: spin does not go with a producer of rate "max"; use sleep',
    ),
}


@pytest.mark.parametrize(("text", "sentence"), REFUSED.values(), ids=REFUSED.keys())
def test_what_does_not_fit_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        loads(text)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    "text",
    [
        CHAIN,
        PAIR.replace("100", '"max"'),
        PAIR.replace('"p"', '"<b>p</b>"'),
        PRODUCER + "count = 1000\n" + CONSUMER + "count = 1000\n" + link("p", "c", 'wiring = "paired"'),
        PUB_SUB.replace("usd", "eur_usd").replace("[[link]]", "[[link]]\nconflate = true"),
        PAIR
        + event('action = "set"\nnode = "c"\ncount = 3')
        + event('action = "kill"\nnode = "c"\ninstance = 2'),
    ],
    ids=["chain", "max", "markup", "paired", "conflated topics", "instance of a later count"],
)
def test_what_fits_is_let_through(text: str) -> None:
    assert loads(text).nodes


def test_a_spin_load_above_half_the_cores_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(4), raising=False)
    busy = CONSUMER + 'count = 4\nservice_mode = "spin"\nservice = "10ms"\n'  # 100/s · 10 ms is one core
    assert loads(PRODUCER.replace("100", "200") + busy + link("p", "c"))
    with pytest.raises(ScenarioError, match=r"spinning would take 2\.1 of 4 cores, half is the most"):
        loads(PRODUCER.replace("100", "210") + busy + link("p", "c"))
    # every one of four subscribers works off every message
    with pytest.raises(ScenarioError, match="spinning would take 4 of 4 cores"):
        loads(PRODUCER + busy + link("p", "c", 'pattern = "pub-sub"'))
    assert loads(PRODUCER.replace("100", "210") + busy + link("p", "c"), here=False)

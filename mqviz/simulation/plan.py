"""What a runner is told: its instances, their ends, and the load; one JSON line on its standard input.

Distributions and arrivals travel as the text that the scenario has, rates as messages/s (None: "max").
"""

from __future__ import annotations

from typing import Any

import msgspec


class Inbound(msgspec.Struct, frozen=True, kw_only=True):
    """A receive end of one instance. Receivers connect."""

    link: str
    pattern: str
    receive_hwm: int
    receive_buffer: int  # bytes, -1: the system's
    conflate: bool
    subscribe: tuple[str, ...]  # topic prefixes
    topics: tuple[str, ...]  # by topic number
    rows: int  # room for this many (producer, topic) pairs
    terminal: bool


class Outbound(msgspec.Struct, frozen=True, kw_only=True):
    """A send end of one instance. Senders bind."""

    link: str
    pattern: str
    bind: str  # tcp://127.0.0.1:*, ipc://…, inproc://…
    number: int  # the producer number in the header
    send_hwm: int
    send_buffer: int
    linger_ms: int
    conflate: bool
    topics: tuple[str, ...]
    weights: tuple[float, ...]
    peers: int  # receivers that are to see a hello


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """One instance of a node."""

    index: int
    incarnation: int
    receives: tuple[Inbound, ...] = ()
    sends: tuple[Outbound, ...] = ()


class LoopPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Instances of one node that share a thread."""

    node: str
    role: str
    count: int  # of the whole node
    instances: tuple[Instance, ...]
    size: str
    rate: float | None = None  # of the whole node; None on a producer: as fast as sends are accepted
    arrivals: str = "poisson"
    service: str = "0"
    spin: bool = False


class RunnerPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One process."""

    runner: str
    engine: str  # native | python
    probe: str  # path of the probe file to create
    run_number: int  # 16 random bits in every producer id
    seed: int
    loops: tuple[LoopPlan, ...]


class Wire(msgspec.Struct, frozen=True, array_like=True):
    """A receive end that is to know a producer."""

    index: int
    link: str
    number: int
    endpoint: str = ""
    hello: bool = True  # the producer says hello: it does until its load begins


class Command(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line from the lab to a runner.

    do          with
    connect     node, wires, ticket: ready comes when each producer in `wires` has said hello
    disconnect  node, wires
    go          at_ns, measure_ns (first intended time of the measure phase), until_ns (None: no end)
    set         node, rate | max, count, size, service
    pause       node         producers stop their schedule, receivers stop reading
    resume      node
    finish      producers end now
    halt        node, index  one instance ends and closes its sockets
    close       all end, with their last counts
    """

    do: str
    node: str = ""
    index: int = -1
    wires: tuple[Wire, ...] = ()
    ticket: int = 0
    at_ns: int = 0
    measure_ns: int = 0
    until_ns: int | None = None
    rate: float | None = None
    maximum: bool = False
    count: int | None = None
    size: str | None = None
    service: str | None = None


class Reply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line from a runner to the lab.

    what      with
    bound     data: [[node, index, link, number, endpoint], …]
    ready     ticket: a loop's receivers have heard the hellos of the producers that they were told of
    done      node: its producers have ended, their counts are final
    halted    node, index
    closed    everything is counted and closed; the process ends
    failed    text
    """

    what: str
    node: str = ""
    index: int = -1
    ticket: int = 0
    text: str = ""
    data: Any = None

"""Model: the parts of a scenario as values; nodes, links and events, frozen.

How they are written in TOML is in fields.py, what fits together in validation.py.
"""

from __future__ import annotations

import math

import msgspec

from mqviz.errors import ScenarioError
from mqviz.simulation.arrivals import Arrivals
from mqviz.simulation.distribution import Distribution
from mqviz.simulation.expectation import Expect
from mqviz.simulation.wording import shown, suggestion

MAX_WARMUP_NS = 2_000_000_000
"""Of a warm-up that is not set."""


def default_warmup_ns(duration_ns: int | None) -> int:
    """2 s, and at most a fifth of the duration."""
    return MAX_WARMUP_NS if duration_ns is None else min(MAX_WARMUP_NS, duration_ns // 5)


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A named group of instances of one role."""

    name: str
    role: str  # producer | worker | consumer
    count: int = 1
    rate: float = 0.0  # of a producer, all instances together; inf: as fast as sends are accepted
    arrivals: Arrivals = Arrivals()
    size: Distribution = Distribution("constant", 1024.0, quantity="size")  # of what it sends
    service: Distribution = Distribution("constant", 0.0)
    service_mode: str = "sleep"  # sleep | spin
    subscribe: tuple[str, ...] = ("",)  # topic prefixes

    @property
    def closed_loop(self) -> bool:
        """It sends as fast as sends are accepted."""
        return math.isinf(self.rate)


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """Messages from each instance of one node to instances of another."""

    source: str
    target: str
    pattern: str = "push-pull"  # push-pull | pub-sub
    transport: str = "tcp"  # tcp | ipc | inproc
    wiring: str = "mesh"  # mesh | paired: i with i mod n
    send_hwm: int = 1000  # messages, 0: no limit
    receive_hwm: int = 1000
    send_buffer: int = -1  # bytes of the kernel's buffer, -1: the system's choice
    receive_buffer: int = -1
    linger_ns: int = 0
    conflate: bool = False
    topics: dict[str, float] = msgspec.field(default_factory=lambda: {"": 1.0})  # weights

    @property
    def name(self) -> str:
        """As users write it: `orders -> pricing`."""
        return f"{self.source} -> {self.target}"


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A change at a time after the start."""

    at_ns: int
    action: str  # set | kill | stop | start | pause | resume
    node: str
    instance: int | None = None  # kill, stop: without one the first; start: without one all that are dead
    fields: dict[str, str | int] = msgspec.field(default_factory=dict)  # of set, as written


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """Everything needed to repeat a load."""

    name: str
    lesson: str = ""  # what it shows, in one line
    duration_ns: int | None = None  # with the warm-up, without the drain; None: until it is stopped
    warmup_ns: int = MAX_WARMUP_NS
    drain_ns: int = 10_000_000_000  # at most, after the producers have ended
    seed: int = 0
    engine: str = "auto"  # auto | native | python
    nodes: tuple[Node, ...] = ()
    links: tuple[Link, ...] = ()
    events: tuple[Event, ...] = ()
    expects: tuple[Expect, ...] = ()

    def node(self, name: str) -> Node:
        """By name; a sentence when there is none."""
        for node in self.nodes:
            if node.name == name:
                return node
        known = [node.name for node in self.nodes]
        raise ScenarioError("", f"there is no node {shown(name)}{suggestion(name, known)}")

    def link(self, name: str) -> Link:
        """By name; a sentence when there is none."""
        for link in self.links:
            if link.name == name:
                return link
        known = [link.name for link in self.links]
        raise ScenarioError("", f"there is no link {shown(name)}{suggestion(name, known)}")

    def in_links(self, name: str) -> list[Link]:
        """Those that end at a node."""
        return [link for link in self.links if link.target == name]

    def out_links(self, name: str) -> list[Link]:
        """Those that begin at a node."""
        return [link for link in self.links if link.source == name]

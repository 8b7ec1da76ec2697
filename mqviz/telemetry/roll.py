"""Roll: who lives, who has died of what, and who is owed which publications, by the marks of the lab."""

from __future__ import annotations

from typing import Literal, TypeVar

import msgspec

from mqviz.telemetry.sample import Mark
from mqviz.telemetry.topology import Topology

Life = tuple[str, int]
"""One life of an instance: its name and incarnation."""

Fate = Literal["peer-death", "linger", "ended"]


LIMIT = 1 << 62
"""No counter and no time gets here; it keeps every sum within 64 bits."""

UNREADABLE = (ValueError, RecursionError)
"""What msgspec raises for bytes it cannot decode: beside its own errors (ValueErrors all) one for text that is
not UTF-8, which is a ValueError too, and one for what is nested too deep."""

T = TypeVar("T")


class MalformedError(ValueError):
    """A record that cannot be true; nothing of it is taken."""


class Birth(msgspec.Struct, frozen=True):
    """Data of a birth mark."""

    instance: str
    node: str
    incarnation: int = 0
    subscribe: dict[str, tuple[str, ...]] = {}  # topic prefixes by in-link; default: everything


class Death(msgspec.Struct, frozen=True):
    """Data of a death mark."""

    instance: str
    node: str
    cause: Fate
    incarnation: int = 0


class Join(msgspec.Struct, frozen=True):
    """Data of a join mark: what the publisher had published, per topic, before the subscriber connected."""

    link: str
    producer: int
    subscriber: str
    incarnation: int = 0
    start: tuple[int, ...] = ()


class Leave(msgspec.Struct, frozen=True):
    """Data of a leave mark: what the publisher had published, per topic, when the subscriber was gone."""

    link: str
    producer: int
    subscriber: str
    incarnation: int = 0
    end: tuple[int, ...] = ()
    cause: Fate = "ended"


class Gone(msgspec.Struct, frozen=True):
    """When and of what a life ended."""

    node: str
    at_ns: int
    cause: Fate


class Left(msgspec.Struct, frozen=True):
    """When, of what and at which published counts a subscription ended."""

    at_ns: int
    cause: Fate
    end: tuple[int, ...]


class Roll:
    """Follows the marks; `version` grows with each that changes something here."""

    def __init__(self, topology: Topology) -> None:
        self._links = {link.name for link in topology.links}
        self.counts = {node.name: node.count for node in topology.nodes}
        self.living: dict[Life, str] = {}
        self.gone: dict[Life, Gone] = {}
        self.subscribed: dict[Life, dict[str, tuple[str, ...]]] = {}
        self.joins: dict[str, dict[tuple[Life, int], tuple[int, ...]]] = {name: {} for name in self._links}
        self.leaves: dict[str, dict[tuple[Life, int], Left]] = {name: {} for name in self._links}
        self.ending: Fate | None = None
        self.version = 0

    def follow(self, mark: Mark) -> None:
        """Take in a mark. Raises MalformedError, and changes nothing, for data that cannot be."""
        try:
            self._follow(mark)
        except msgspec.ValidationError as error:
            raise MalformedError(f"a mark of kind {mark.kind!r}: {error}") from error

    def alive(self, node: str) -> list[Life]:
        """The living instances of a node."""
        return [life for life, of in self.living.items() if of == node]

    def _follow(self, mark: Mark) -> None:
        match mark.kind:
            case "phase":
                if mark.data.get("phase") == "ended":
                    self.ending = "ended" if mark.data.get("drained", True) else "linger"
                    self.living.clear()
            case "birth":
                birth = msgspec.convert(mark.data, Birth)
                self._known(birth.node)
                self.living[birth.instance, birth.incarnation] = birth.node
                self.subscribed[birth.instance, birth.incarnation] = birth.subscribe
            case "death":
                death = msgspec.convert(mark.data, Death)
                self._known(death.node)
                self.living.pop((death.instance, death.incarnation), None)
                self.gone[death.instance, death.incarnation] = Gone(death.node, mark.at_ns, death.cause)
            case "join":
                join = msgspec.convert(mark.data, Join)
                joins = self._of(self.joins, join.link, join.start)
                joins[(join.subscriber, join.incarnation), join.producer] = join.start
            case "leave":
                leave = msgspec.convert(mark.data, Leave)
                leaves = self._of(self.leaves, leave.link, leave.end)
                leaves[(leave.subscriber, leave.incarnation), leave.producer] = Left(
                    mark.at_ns, leave.cause, leave.end
                )
            case "event":
                # a live change of a node's size is an event with both in its data
                node, count = mark.data.get("node"), mark.data.get("count")
                if isinstance(node, str) and node in self.counts and isinstance(count, int):
                    self.counts[node] = count
            case _:
                raise MalformedError(f"there are no marks of kind {mark.kind!r}")
        self.version += 1

    def _known(self, node: str) -> None:
        if node not in self.counts:
            raise MalformedError(f"there is no node {node!r}")

    def _of(self, by_link: dict[str, T], link: str, counts: tuple[int, ...]) -> T:
        if link not in by_link:
            raise MalformedError(f"there is no link {link!r}")
        if any(not 0 <= count < LIMIT for count in counts):
            raise MalformedError("a count of publications is not below zero")
        return by_link[link]

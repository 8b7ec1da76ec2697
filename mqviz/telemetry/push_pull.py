"""Books of a push-pull link: totals of the producers against those of the consumers.

While all live, what is missing is on its way. A death may take some of it along, and gaps prove nothing here,
so after one the least that has been missing since is `unresolved`: at no time can the dead have cost more.
When the run has ended nothing is on its way, and everything missing gets its cause.
"""

from __future__ import annotations

import numpy as np

from mqviz.telemetry import probe
from mqviz.telemetry.delivery import Delivery, losses
from mqviz.telemetry.histogram import I64, U64
from mqviz.telemetry.roll import Fate, Gone, Roll
from mqviz.telemetry.topology import LinkInfo
from mqviz.telemetry.world import World, find


class Floor:
    """The least that was missing at any reading since the last death."""

    def __init__(self) -> None:
        self.value = 0
        self._since_ns = -1
        self._fresh = False

    def since(self, deaths: list[Gone]) -> None:
        """All deaths so far; a new one starts over, since it may have cost all that was missing then."""
        latest = max((death.at_ns for death in deaths), default=-1)
        if latest > self._since_ns:
            self._since_ns = latest
            self._fresh = True

    def read(self, read_ns: int, missing: int) -> None:
        """A reading; one from before the death does not know yet what the dead have sent."""
        if self._since_ns < 0:
            return
        self.value = missing if self._fresh else min(self.value, missing)
        self._fresh = self._fresh and read_ns <= self._since_ns


class PushPull:
    """Counts by producer number: the producer's own, and its rows at all consumers."""

    def __init__(self, link: LinkInfo) -> None:
        self._link = link
        self._any_death = Floor()
        self._consumer_death = Floor()
        nothing = np.zeros(0, np.int64)
        self._sent: I64 = nothing  # places of the `sent` words
        self._sender: I64 = nothing  # whose each is: a place in the next two
        self._numbers: I64 = nothing
        self._fates: list[str] = []
        self._rows: I64 = nothing

    def rebuild(self, world: World, roll: Roll) -> None:
        """Probes or marks have come in."""
        sends = sorted(world.sends[self._link.name], key=lambda ref: ref.end.number)
        firsts = [ref.offset + probe.SEND_WORDS for ref in sends]
        nothing = np.zeros(0, np.int64)
        topics = [first + np.arange(ref.end.topics) for first, ref in zip(firsts, sends, strict=True)]
        self._sent = np.concatenate([nothing, *topics])
        self._sender = np.repeat(np.arange(len(sends)), [ref.end.topics for ref in sends])
        self._numbers = np.array([ref.end.number for ref in sends], np.int64)
        self._fates = [roll.gone[ref.life].cause if ref.life in roll.gone else "" for ref in sends]
        self._rows = np.concatenate(
            [nothing, *(world.rows_of(ref) for ref in world.receives[self._link.name])]
        )
        deaths = [gone for gone in roll.gone.values() if gone.cause != "ended"]
        self._any_death.since([d for d in deaths if d.node in (self._link.source, self._link.target)])
        self._consumer_death.since(
            [d for d in deaths if d.node == self._link.target and d.cause == "peer-death"]
        )

    def deliver(self, words: U64, read_ns: int, ending: Fate | None) -> Delivery:
        """The books by these counters."""
        sent = int(words[self._sent].sum())
        received = int(words[self._rows + probe.RECEIVED].sum())
        missing = max(0, sent - received)
        self._any_death.read(read_ns, missing)
        self._consumer_death.read(read_ns, missing)
        if ending:
            return Delivery(sent, received, 0, self._causes(words, missing))
        # a conflating socket replaces without a trace: in flight and replaced cannot be told apart
        unresolved = missing if self._link.conflate else self._any_death.value
        return Delivery(sent, received, missing - unresolved, losses(unresolved=unresolved))

    def subscribers(self) -> dict[str, Delivery]:
        """None: every message is for one consumer, whichever it is."""
        return {}

    def _causes(self, words: U64, missing: int) -> dict[str, int]:
        """By producer the missing ones are known exactly; a dead one's own went with it."""
        sent = np.zeros(len(self._numbers), np.int64)
        np.add.at(sent, self._sender, words[self._sent].astype(np.int64))
        keys = words[self._rows + probe.KEY].astype(np.int64)
        numbers = np.where(keys > 0, (keys - 1) >> 16, -1)
        whose, known = find(self._numbers, numbers)
        np.subtract.at(sent, whose[known], words[self._rows[known] + probe.RECEIVED].astype(np.int64))
        gaps = np.maximum(sent, 0).tolist()
        of_dead = {
            cause: sum(gap for gap, fate in zip(gaps, self._fates, strict=True) if fate == cause)
            for cause in ("peer-death", "linger")
        }
        peer_death = min(missing, of_dead["peer-death"])
        left = min(missing - peer_death, of_dead["linger"])
        rest = missing - peer_death - left
        # a consumer's death cannot have cost more than was missing at any time since
        with_consumer = min(rest, self._consumer_death.value)
        rest -= with_consumer
        if self._link.conflate:
            return losses(peer_death=peer_death + with_consumer, linger=left, conflated=rest)
        return losses(peer_death=peer_death + with_consumer, linger=left + rest)

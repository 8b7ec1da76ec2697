"""Ledger: the books of every link, from the counters of the world and the roll of the living.

On each link, at each reading: sent = received + backlog + unresolved + lost by named cause. At the end of a
run backlog and unresolved are zero.
"""

from __future__ import annotations

import msgspec
import numpy as np

from mqviz.telemetry import probe
from mqviz.telemetry.columns import BY_DESIGN, UNRESOLVED
from mqviz.telemetry.delivery import Books, losses
from mqviz.telemetry.histogram import I64, U64
from mqviz.telemetry.pub_sub import PubSub
from mqviz.telemetry.push_pull import PushPull
from mqviz.telemetry.roll import Fate, Roll
from mqviz.telemetry.topology import LinkInfo, Topology
from mqviz.telemetry.world import World


class LinkTotals(msgspec.Struct, frozen=True, kw_only=True):
    """The exact counters of a link, or of one subscriber of it, at the last reading."""

    due: int = 0  # intended times that have passed
    published: int = 0  # send calls that were accepted
    sent: int = 0  # deliveries owed (pub-sub: over all subscribers, plus publications owed to nobody)
    unsent: int = 0  # due and not published
    received: int = 0
    worked_off: int = 0
    in_flight: int = 0  # the backlog: sent, not received, not known lost
    foreign: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    blocked_ns: int = 0  # with the spells that still last
    blocked: int = 0  # instances that are blocked now
    censored: int = 0  # due in the measure phase and never sent; known at the end
    censored_ns: int | None = None  # the shortest time that one of them had waited
    lost: dict[str, int] = {}  # by cause, in their fixed order, `unresolved` last

    @property
    def proven(self) -> int:
        """All that is known lost."""
        return sum(self.lost.values()) - self.lost[UNRESOLVED]

    @property
    def alarming(self) -> int:
        """What is known lost and nobody asked for."""
        return self.proven - sum(self.lost[cause] for cause in BY_DESIGN)


class LinkLedger:
    """One link: its plain sums, and the books of its pattern."""

    def __init__(self, link: LinkInfo, books: Books) -> None:
        self.link = link
        self._books = books
        nothing = np.zeros(0, np.int64)
        self._sends: I64 = nothing
        self._published: I64 = nothing
        self._receives: I64 = nothing
        self._until: I64 = nothing
        self._names: list[str] = []
        self.totals = LinkTotals(lost=losses())

    def rebuild(self, world: World, roll: Roll) -> None:
        """Probes or marks have come in."""
        sends, receives = world.sends[self.link.name], world.receives[self.link.name]
        self._sends = np.array([ref.offset for ref in sends], np.int64)
        topics = [np.arange(ref.end.topics) + ref.offset + probe.SEND_WORDS for ref in sends]
        self._published = np.concatenate([np.zeros(0, np.int64), *topics])
        self._receives = np.array([ref.offset for ref in receives], np.int64)
        self._names = [ref.life[0] for ref in receives]
        # a blocked spell of a dead instance ended with it, though its words still say "blocked"
        ends = [roll.gone[ref.life].at_ns if ref.life in roll.gone else 1 << 62 for ref in sends]
        self._until = np.array(ends, np.int64)
        self._books.rebuild(world, roll)

    def compute(self, words: U64, read_ns: int, at_ns: int, ending: Fate | None) -> None:
        """Bring `totals` up to date."""

        def total(ends: I64, word: int) -> int:
            return int(words[ends + word].sum())

        delivery = self._books.deliver(words, read_ns, ending)
        since = words[self._sends + probe.BLOCKED_SINCE].astype(np.int64)
        still = (since > 0) & (self._until > at_ns) & (ending is None)
        spells = np.where(since > 0, np.maximum(np.minimum(at_ns, self._until) - since, 0), 0)
        waited = words[self._sends + probe.CENSORED_NS][words[self._sends + probe.CENSORED] > 0]
        due, published = total(self._sends, probe.DUE), int(words[self._published].sum())
        self.totals = LinkTotals(
            due=due,
            published=published,
            sent=delivery.sent,
            unsent=max(0, due - published),
            received=delivery.received,
            worked_off=total(self._receives, probe.WORKED_OFF),
            in_flight=delivery.backlog,
            foreign=total(self._receives, probe.FOREIGN),
            sent_bytes=total(self._sends, probe.SENT_BYTES),
            received_bytes=total(self._receives, probe.BYTES),
            blocked_ns=total(self._sends, probe.BLOCKED_NS) + int(spells.sum()),
            blocked=int(still.sum()),
            censored=total(self._sends, probe.CENSORED),
            censored_ns=int(waited.min()) if len(waited) else None,
            lost=delivery.lost,
        )

    def by_subscriber(self, words: U64) -> dict[str, LinkTotals]:
        """Totals of each subscriber by instance name, all its lives together; empty for push-pull."""
        places: dict[str, list[int]] = {}
        for place, name in enumerate(self._names):
            places.setdefault(name, []).append(place)
        found = {}
        for name, delivery in self._books.subscribers().items():
            ends = self._receives[places[name]]
            found[name] = LinkTotals(
                published=delivery.sent,
                sent=delivery.sent,
                received=delivery.received,
                worked_off=int(words[ends + probe.WORKED_OFF].sum()),
                in_flight=delivery.backlog,
                foreign=int(words[ends + probe.FOREIGN].sum()),
                received_bytes=int(words[ends + probe.BYTES].sum()),
                lost=delivery.lost,
            )
        return found


class Ledger:
    """The books of all links, and what the nodes do."""

    def __init__(self, topology: Topology, world: World, roll: Roll) -> None:
        self._world = world
        self._roll = roll
        self._built = (-1, -1)
        self.links = {
            link.name: LinkLedger(link, PubSub(link) if link.pattern == "pub-sub" else PushPull(link))
            for link in topology.links
        }
        self._busy: dict[str, I64] = {}
        self._states: dict[str, I64] = {}

    def compute(self, read_ns: int, at_ns: int) -> None:
        """Bring the totals of every link up to date; all counters were read at `read_ns` or later."""
        built = self._world.version, self._roll.version
        if built != self._built:
            self._built = built
            self._rebuild()
        for link in self.links.values():
            link.compute(self._world.words, read_ns, at_ns, self._roll.ending)

    def node(self, name: str) -> dict[str, float]:
        """The fields of a node."""
        words = self._world.words
        paused = np.count_nonzero(words[self._states[name]] == probe.STATES.index("paused"))
        return {
            "busy_ns": int(words[self._busy[name]].sum()),
            "alive": len(self._roll.alive(name)),
            "count": self._roll.counts[name],
            "paused": int(paused),
        }

    def _rebuild(self) -> None:
        for link in self.links.values():
            link.rebuild(self._world, self._roll)
        for name, instances in self._world.instances.items():
            alive = set(self._roll.alive(name))
            self._busy[name] = np.array([at + probe.BUSY_NS for _, at in instances], np.int64)
            self._states[name] = np.array(
                [at + probe.STATE for life, at in instances if life in alive], np.int64
            )

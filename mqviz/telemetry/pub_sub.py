"""Books of a pub-sub link: for each subscriber, publisher and topic what is owed and where it stayed.

Owed runs from the publisher's counter before the subscriber connected (join mark) to its counter now, or
when it was gone. What is before the first one received is slow-joiner, what is between two
received ones is hwm, and the rest is in flight or was dropped behind the last received one. A path holds only
so much: a rest beyond that is `unresolved` while the subscriber lives. When it has gone undrained, at most so
much of the rest went with it (an upper bound), the remainder is hwm; behind a drained end all of it is hwm.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mqviz.telemetry import probe
from mqviz.telemetry.delivery import Delivery, losses
from mqviz.telemetry.histogram import I64, U64
from mqviz.telemetry.roll import Fate, Life, Roll
from mqviz.telemetry.topology import LinkInfo
from mqviz.telemetry.world import World, find

OPEN = 1 << 62
"""The end of what is owed to a subscriber that is still there."""

Connection = tuple[Life, int]
"""A life of a subscriber, and the number of a publisher."""

LIVE, PEER_DEATH, LINGER, DRAINED, UNKNOWN = range(5)
FATES = {"peer-death": PEER_DEATH, "linger": LINGER, "ended": DRAINED}

KERNEL_BYTES = {"tcp": 36 << 20, "ipc": 1 << 20, "inproc": 0}
"""The most that Linux buffers for one connection unless told otherwise: 4 MiB to send, 32 MiB received."""
BATCH_BYTES = 2 * 8192
"""libzmq encodes and decodes in batches of 8 KiB."""


def path_holds(link: LinkInfo, message_bytes: int) -> int:
    """The most messages that a connection of this link can hold between send and receive."""
    if not (link.send_hwm and link.receive_hwm):
        return OPEN
    kernel = KERNEL_BYTES[link.transport] + (BATCH_BYTES if link.transport != "inproc" else 0)
    return link.send_hwm + link.receive_hwm + kernel // max(1, message_bytes)


class PubSub:
    """Arrays over connections (subscriber and publisher) and topics, filled anew when probes or marks come in."""

    def __init__(self, link: LinkInfo) -> None:
        self._link = link
        self._captured: dict[Life, dict[int, I64]] = {}
        self._heard: set[Connection] = set()
        self._parts: dict[str, I64] = {}

    def rebuild(self, world: World, roll: Roll) -> None:
        """Probes or marks have come in."""
        name, topics = self._link.name, len(self._link.topics)
        sends, receives = world.sends[name], world.receives[name]
        self._roll = roll
        self._lives = [ref.life for ref in receives]
        self._numbers: I64 = np.array([ref.end.number for ref in sends], np.int64)
        self._sent_bytes: I64 = np.array([ref.offset + probe.SENT_BYTES for ref in sends], np.int64)
        self._sent: I64 = np.full((len(sends), topics), -1, np.int64)
        for place, ref in enumerate(sends):
            self._sent[place, : ref.end.topics] = np.arange(ref.end.topics) + ref.offset + probe.SEND_WORDS
        self._rows: I64 = np.concatenate([np.zeros(0, np.int64), *(world.rows_of(ref) for ref in receives)])
        self._whose = np.repeat(np.arange(len(receives)), [ref.end.rows for ref in receives])
        gone = [roll.gone[ref.life].cause if ref.life in roll.gone else "" for ref in sends]
        self._source_fates = np.array([FATES.get(cause, LIVE) for cause in gone], np.int8)
        self._connect()

    def deliver(self, words: U64, read_ns: int, ending: Fate | None) -> Delivery:
        """The books by these counters."""
        self._place_rows(words)
        by_source = np.where(self._sent >= 0, words[self._sent], 0).astype(np.int64)
        published: I64 = by_source[self._source]
        known = self._fate_ns < (OPEN if ending else read_ns)
        self._capture(published, (self._fate != LIVE) & known)
        received, first, last, gaps = (
            self._spread(words, word) for word in (probe.RECEIVED, probe.FIRST, probe.LAST, probe.GAPS)
        )
        has = first > 0
        owes = self._match | has
        end = np.minimum(self._end, published)
        # what came after the counter was read at leave was evidently owed
        end = np.where((self._fate != LIVE)[:, None], np.maximum(end, last), end)
        start = np.where(owes, np.minimum(self._start, end), 0)
        end = np.where(owes, end, 0)
        owed = end - start
        missing = np.maximum(owed - received, 0)
        head = np.where(has, np.clip(first - 1 - start, 0, missing), 0)
        gaps = np.clip(gaps, 0, missing - head)
        rest = (missing - head - gaps).sum(1)

        fate = np.where(known, self._fate, UNKNOWN)
        holds = path_holds(self._link, int(words[self._sent_bytes].sum()) // max(1, int(by_source.sum())))
        parts = self._tail(rest, fate, has.sum(1) == 0, holds, ending)
        parts["owed"] = owed.sum(1)
        parts["slow_joiner"] = parts["slow_joiner"] + head.sum(1)
        gap_cause = "conflated" if self._link.conflate else "hwm"
        parts[gap_cause] = parts[gap_cause] + gaps.sum(1)
        self._parts = {part: self._sum(counts) for part, counts in parts.items()}
        self._parts["received"] = np.zeros(len(self._lives), np.int64)
        np.add.at(self._parts["received"], self._whose, words[self._rows + probe.RECEIVED].astype(np.int64))
        topic = np.arange(by_source.shape[1])
        reached = covered(start, end, self._source[:, None] * len(topic) + topic, by_source.size)
        return delivery(self._parts, slice(None), int(by_source.sum() - reached.sum()))

    def subscribers(self) -> dict[str, Delivery]:
        """Each subscriber, all its lives together."""
        names: dict[str, list[int]] = {}
        for place, (name, _) in enumerate(self._lives):
            names.setdefault(name, []).append(place)
        return {name: delivery(self._parts, places, 0) for name, places in names.items()}

    def _connect(self) -> None:
        """The connections there were, and what the marks say of each."""
        joins, leaves = self._roll.joins[self._link.name], self._roll.leaves[self._link.name]
        topics = len(self._link.topics)
        joined = {life for life, _ in joins}
        subscriber = {life: place for place, life in enumerate(self._lives)}
        publisher = {number: place for place, number in enumerate(self._numbers.tolist())}
        # without any join mark a subscriber is taken to be connected to all from the start
        pairs = {(life, number) for life in self._lives if life not in joined for number in publisher}
        pairs |= {
            pair for pair in joins.keys() | self._heard if pair[0] in subscriber and pair[1] in publisher
        }
        self._pairs = sorted(pairs, key=lambda pair: (subscriber[pair[0]], publisher[pair[1]]))
        shape = len(self._pairs), topics
        self._subscriber = np.array([subscriber[life] for life, _ in self._pairs], np.int64)
        self._source = np.array([publisher[number] for _, number in self._pairs], np.int64)
        self._codes = self._subscriber * len(publisher) + self._source
        self._start: I64 = np.zeros(shape, np.int64)
        self._end: I64 = np.full(shape, OPEN, np.int64)
        self._fate = np.zeros(len(self._pairs), np.int8)
        self._fate_ns: I64 = np.full(len(self._pairs), -1, np.int64)
        for place, (life, number) in enumerate(self._pairs):
            if start := joins.get((life, number)):
                self._start[place, : len(start)] = start[:topics]
            gone = self._roll.gone.get(life)
            if gone is not None:
                self._fate[place], self._fate_ns[place] = FATES[gone.cause], gone.at_ns
            if life in self._captured:
                # a publisher that came later never owed anything to the dead
                self._end[place] = self._captured[life].get(number, 0)
            if left := leaves.get((life, number)):
                self._fate[place], self._fate_ns[place] = FATES[left.cause], left.at_ns
                self._end[place, : len(left.end)] = left.end[:topics]
        matches = [self._matches(life) for life in self._lives]
        self._match = np.array(matches, bool).reshape(len(matches), topics)[self._subscriber]
        self._keys: U64 = np.zeros(len(self._rows), np.uint64)
        self._cells: I64 = np.full(len(self._rows), -1, np.int64)

    def _matches(self, life: Life) -> list[bool]:
        prefixes = self._roll.subscribed.get(life, {}).get(self._link.name, ("",))
        return [any(topic.startswith(prefix) for prefix in prefixes) for topic in self._link.topics]

    def _capture(self, published: I64, settled: npt.NDArray[np.bool_]) -> None:
        """The end of what is owed to those who have gone without a word: the counters read next."""
        for place in np.flatnonzero(settled & (self._end == OPEN).any(1)):
            end = self._end[place]
            end[end == OPEN] = published[place][end == OPEN]
            life, number = self._pairs[place]
            self._captured.setdefault(life, {})[number] = end.copy()

    def _place_rows(self, words: U64) -> None:
        """Find the connection and topic of each row, when there are new ones."""
        keys = words[self._rows + probe.KEY]
        if np.array_equal(keys, self._keys):
            return
        place = keys.astype(np.int64) - 1
        order = np.argsort(self._numbers)
        source, known = find(self._numbers[order], place >> 16)
        topic = place & 0xFFFF
        known &= (place >= 0) & (topic < len(self._link.topics))
        codes = self._whose * len(order) + (order[source] if len(order) else source)
        pair, connected = find(self._codes, codes)
        heard = np.unique(codes[known & ~connected])
        if len(heard):
            # it is no secret who has received from whom, whatever the marks say
            subscribers, sources = np.divmod(heard, len(order))
            numbers = self._numbers[sources].tolist()
            self._heard |= {(self._lives[s], n) for s, n in zip(subscribers.tolist(), numbers, strict=True)}
            self._connect()
            self._place_rows(words)
            return
        self._keys = keys
        self._cells = np.where(known & connected, pair * len(self._link.topics) + topic, -1)

    def _spread(self, words: U64, word: int) -> I64:
        """One word of each row, over connections and topics."""
        values: I64 = np.zeros(self._start.size, np.int64)
        known = self._cells >= 0
        values[self._cells[known]] = words[self._rows[known] + word]
        return values.reshape(self._start.shape)

    def _sum(self, counts: I64) -> I64:
        sums: I64 = np.zeros(len(self._lives), np.int64)
        np.add.at(sums, self._subscriber, counts)
        return sums

    def _tail(
        self,
        rest: I64,
        fate: npt.NDArray[np.int8],
        silent: npt.NDArray[np.bool_],
        holds: int,
        ending: Fate | None,
    ) -> dict[str, I64]:
        """What stands behind the last received ones, by connection: on its way, not known, or lost."""
        live = fate == LIVE
        source = self._source_fates[self._source]
        torn = (source == PEER_DEATH) | (source == LINGER)
        if ending:
            fate = np.where(live, np.where(torn, source, FATES[ending]), fate)
            live = np.zeros_like(live)
        held = np.minimum(rest, holds)
        flying = live & ~torn
        gone = ~live & (fate != UNKNOWN)
        dropped = np.where(gone, rest - np.where(fate == DRAINED, 0, held), 0)
        by_design = np.full(len(rest), self._link.conflate)
        return {
            "backlog": np.where(flying, held, 0),
            "unresolved": np.where(flying, rest - held, np.where(gone, 0, rest)),
            "peer_death": np.where(fate == PEER_DEATH, held, 0),
            "linger": np.where(fate == LINGER, held, 0),
            "slow_joiner": np.where(silent & ~by_design, dropped, 0),
            "hwm": np.where(~silent & ~by_design, dropped, 0),
            "conflated": np.where(by_design, dropped, 0),
        }


def delivery(parts: dict[str, I64], places: slice | list[int], nobody: int) -> Delivery:
    """The sums over some subscribers, and what was owed to nobody."""
    sums = {part: int(counts[places].sum()) for part, counts in parts.items()}
    owed, received, backlog = sums.pop("owed"), sums.pop("received"), sums.pop("backlog")
    return Delivery(owed + nobody, received, backlog, losses(no_subscriber=nobody, **sums))


def covered(start: I64, end: I64, group: I64, groups: int) -> I64:
    """How many of each group lie in the union of its spans [start, end)."""
    start, end, group = start.ravel(), end.ravel(), group.ravel()
    used = end > start
    start, end, group = start[used], end[used], group[used]
    found: I64 = np.zeros(groups, np.int64)
    if not len(start):
        return found
    # groups one behind the other on one line, so that one running maximum does for all
    apart = group * (int(end.max()) + 1)
    order = np.argsort(start + apart, kind="stable")
    start, end, group = (start + apart)[order], (end + apart)[order], group[order]
    before = np.concatenate([[-1], np.maximum.accumulate(end)[:-1]])
    np.add.at(found, group, np.maximum(end - np.maximum(start, before), 0))
    return found

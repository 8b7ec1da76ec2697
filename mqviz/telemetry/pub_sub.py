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
from mqviz.telemetry.world import World

OPEN = 1 << 62
"""The end of what is owed to a subscriber that is still there."""

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
    """Arrays over (subscriber, publisher, topic), filled anew when probes or marks come in."""

    def __init__(self, link: LinkInfo) -> None:
        self._link = link
        self._captured: dict[Life, dict[int, I64]] = {}
        self._by_name: dict[str, Delivery] = {}

    def rebuild(self, world: World, roll: Roll) -> None:
        """Probes or marks have come in."""
        name, topics = self._link.name, len(self._link.topics)
        sends, receives = world.sends[name], world.receives[name]
        shape = len(receives), len(sends), topics
        self._lives = [ref.life for ref in receives]
        self._numbers = [ref.end.number for ref in sends]
        self._sent_bytes = np.array([ref.offset + probe.SENT_BYTES for ref in sends], np.int64)
        self._sent: I64 = np.full(shape[1:], -1, np.int64)
        for place, ref in enumerate(sends):
            self._sent[place, : ref.end.topics] = np.arange(ref.end.topics) + ref.offset + probe.SEND_WORDS
        self._rows: I64 = np.concatenate([np.zeros(0, np.int64), *(world.rows_of(ref) for ref in receives)])
        self._whose = np.repeat(np.arange(len(receives)), [ref.end.rows for ref in receives])
        self._keys: U64 = np.zeros(len(self._rows), np.uint64)
        self._cells: I64 = np.full(len(self._rows), -1, np.int64)

        self._start: I64 = np.zeros(shape, np.int64)
        self._end: I64 = np.full(shape, OPEN, np.int64)
        self._fate = np.zeros(shape[:2], np.int8)
        self._fate_ns: I64 = np.full(shape[:2], -1, np.int64)
        matches = [self._matches(roll, life) for life in self._lives]
        self._match = np.array(matches, bool).reshape(len(receives), 1, topics)
        gone = [roll.gone[ref.life].cause if ref.life in roll.gone else "" for ref in sends]
        self._source_fate = np.array([FATES.get(cause, LIVE) for cause in gone], np.int8)
        self._connected = np.ones(shape[:2], bool)
        self._enter(roll)

    def deliver(self, words: U64, read_ns: int, ending: Fate | None) -> Delivery:
        """The books by these counters."""
        published = np.where(self._sent >= 0, words[self._sent], 0).astype(np.int64)
        known = self._fate_ns < (OPEN if ending else read_ns)
        self._capture(published, (self._fate != LIVE) & known)
        received, first, last, gaps = self._read_rows(words)
        has = first > 0
        owes = (self._match & self._connected[:, :, None]) | has
        end = np.minimum(self._end, published)
        # what came after the counter was read at leave was evidently owed
        end = np.where((self._fate != LIVE)[:, :, None], np.maximum(end, last), end)
        start = np.where(owes, np.minimum(self._start, end), 0)
        end = np.where(owes, end, 0)
        owed = end - start
        missing = np.maximum(owed - received, 0)
        head = np.where(has, np.clip(first - 1 - start, 0, missing), 0)
        gaps = np.clip(gaps, 0, missing - head)
        rest = (missing - head - gaps).sum(2)

        fate = np.where(known, self._fate, UNKNOWN)
        silent = has.sum(2) == 0
        holds = path_holds(self._link, int(words[self._sent_bytes].sum()) // max(1, int(published.sum())))
        tail = self._tail(rest, fate, silent, holds, ending)
        tail["slow_joiner"] += head.sum((1, 2))
        tail["conflated" if self._link.conflate else "hwm"] += gaps.sum((1, 2))
        rows_received = np.zeros(len(self._lives), np.int64)
        np.add.at(rows_received, self._whose, words[self._rows + probe.RECEIVED].astype(np.int64))
        self._by_name = self._sums(owed.sum((1, 2)), rows_received, tail)
        nobody = int((published - covered(start, end)).sum())
        sums = {cause: int(counts.sum()) for cause, counts in tail.items()}
        backlog = sums.pop("backlog")
        return Delivery(
            int(owed.sum()) + nobody, int(rows_received.sum()), backlog, losses(no_subscriber=nobody, **sums)
        )

    def subscribers(self) -> dict[str, Delivery]:
        """Each subscriber, all its lives together."""
        return self._by_name

    def _matches(self, roll: Roll, life: Life) -> list[bool]:
        prefixes = roll.subscribed.get(life, {}).get(self._link.name, ("",))
        return [any(topic.startswith(prefix) for prefix in prefixes) for topic in self._link.topics]

    def _enter(self, roll: Roll) -> None:
        """Fates, joins and leaves into the arrays."""
        subscriber = {life: place for place, life in enumerate(self._lives)}
        publisher = {number: place for place, number in enumerate(self._numbers)}
        for life, place in subscriber.items():
            if life in roll.gone:
                self._fate[place] = FATES[roll.gone[life].cause]
                self._fate_ns[place] = roll.gone[life].at_ns
            if life in self._captured:
                # a publisher that came later never owed anything to the dead
                self._end[place] = 0
                for number, counts in self._captured[life].items():
                    self._end[place, publisher[number]] = counts
        joined = {life for life, _ in roll.joins[self._link.name]}
        for life in joined & subscriber.keys():
            self._connected[subscriber[life]] = False
        for (life, number), start in roll.joins[self._link.name].items():
            if life in subscriber and number in publisher:
                pair = subscriber[life], publisher[number]
                self._connected[pair] = True
                self._start[pair][: len(start)] = start[: len(self._link.topics)]
        for (life, number), left in roll.leaves[self._link.name].items():
            if life in subscriber and number in publisher:
                pair = subscriber[life], publisher[number]
                self._fate[pair] = FATES[left.cause]
                self._fate_ns[pair] = left.at_ns
                self._end[pair][: len(left.end)] = left.end[: len(self._link.topics)]

    def _capture(self, published: I64, settled: npt.NDArray[np.bool_]) -> None:
        """The end of what is owed to those who have gone without a word: the counters read next."""
        for place, source in np.argwhere(settled & (self._end == OPEN).any(2)):
            end = self._end[place, source]
            end[end == OPEN] = published[source][end == OPEN]
            self._captured.setdefault(self._lives[place], {})[self._numbers[source]] = end.copy()

    def _read_rows(self, words: U64) -> tuple[I64, I64, I64, I64]:
        """RECEIVED, FIRST, LAST and GAPS over (subscriber, publisher, topic)."""
        keys = words[self._rows + probe.KEY]
        if not np.array_equal(keys, self._keys):
            self._keys = keys
            place = keys.astype(np.int64) - 1
            order = np.argsort(self._numbers)
            numbers = np.array(self._numbers, np.int64)[order]
            topic, number = place & 0xFFFF, place >> 16
            rank = np.searchsorted(numbers, number)
            found = (place >= 0) & (rank < len(numbers)) & (topic < len(self._link.topics))
            found[found] = numbers[rank[found]] == number[found]
            source = np.zeros(len(place), np.int64)
            source[found] = order[rank[found]]
            cell = (self._whose * len(numbers) + source) * len(self._link.topics) + topic
            self._cells = np.where(found, cell, -1)
        known = self._cells >= 0
        rows, cells = self._rows[known], self._cells[known]

        def spread(word: int) -> I64:
            values: I64 = np.zeros(self._start.size, np.int64)
            values[cells] = words[rows + word]
            return values.reshape(self._start.shape)

        return spread(probe.RECEIVED), spread(probe.FIRST), spread(probe.LAST), spread(probe.GAPS)

    def _tail(
        self,
        rest: I64,
        fate: npt.NDArray[np.int8],
        silent: npt.NDArray[np.bool_],
        holds: int,
        ending: Fate | None,
    ) -> dict[str, I64]:
        """What stands behind the last received ones, by subscriber: on its way, not known, or lost."""
        live = fate == LIVE
        source = np.broadcast_to(self._source_fate, fate.shape)
        torn = (source == PEER_DEATH) | (source == LINGER)
        if ending:
            fate = np.where(live, np.where(torn, source, FATES[ending]), fate)
            live = np.zeros_like(live)
        held = np.minimum(rest, holds)
        flying = live & ~torn
        gone = ~live & (fate != UNKNOWN)
        undrained = gone & (fate != DRAINED)
        dropped = np.where(gone, rest - np.where(undrained, held, 0), 0)
        nothing: I64 = np.zeros(len(self._lives), np.int64)
        late = silent & ~np.bool_(self._link.conflate)
        return {
            "backlog": np.where(flying, held, 0).sum(1),
            "unresolved": np.where(flying, rest - held, np.where(gone, 0, rest)).sum(1),
            "peer_death": np.where(fate == PEER_DEATH, held, 0).sum(1),
            "linger": np.where(fate == LINGER, held, 0).sum(1),
            "slow_joiner": np.where(late, dropped, 0).sum(1),
            "hwm": nothing if self._link.conflate else np.where(late, 0, dropped).sum(1),
            "conflated": dropped.sum(1) if self._link.conflate else nothing.copy(),
        }

    def _sums(self, owed: I64, received: I64, tail: dict[str, I64]) -> dict[str, Delivery]:
        by_name: dict[str, list[int]] = {}
        for place, (name, _) in enumerate(self._lives):
            by_name.setdefault(name, []).append(place)
        found = {}
        for name, places in by_name.items():
            sums = {cause: int(counts[places].sum()) for cause, counts in tail.items()}
            backlog = sums.pop("backlog")
            found[name] = Delivery(
                int(owed[places].sum()), int(received[places].sum()), backlog, losses(**sums)
            )
        return found


def covered(start: I64, end: I64) -> I64:
    """How many were owed to at least one subscriber: the union of [start, end) over the first axis."""
    if not len(start):
        return np.zeros(start.shape[1:], np.int64)
    order = np.argsort(start, axis=0, kind="stable")
    start = np.take_along_axis(start, order, axis=0)
    end = np.take_along_axis(end, order, axis=0)
    reach = np.maximum.accumulate(end, axis=0)
    before = np.concatenate([np.zeros_like(reach[:1]), reach[:-1]])
    union: I64 = np.maximum(end - np.maximum(start, before), 0).sum(axis=0)
    return union

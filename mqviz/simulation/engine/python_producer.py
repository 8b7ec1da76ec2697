"""Producers of the Python engine: counters for each message, histograms in batches."""

from __future__ import annotations

import heapq
import struct
import time

import zmq

from mqviz.channels import message
from mqviz.simulation.engine.batch import FLUSH_NS, Values
from mqviz.simulation.engine.ends import HistogramPlaces, Member, Sender
from mqviz.simulation.engine.producer import BATCH_NS, Producers, largest_frame, payload
from mqviz.simulation.plan import LoopPlan
from mqviz.simulation.schedule import NEVER, Schedule
from mqviz.telemetry import clock, probe
from mqviz.telemetry.histogram import U64

DONTWAIT = int(zmq.DONTWAIT)  # the enum costs 0.6 µs a message
POLLOUT = int(zmq.POLLOUT)
EVENTS = int(zmq.EVENTS)
HEADER = struct.Struct("<QQqqq")
IDENTITY = message.MAGIC_AND_VERSION
EARLY_NS = 50_000
"""How long before a message is due a loop wakes to look at the clock: a core that slept takes as long."""
MOST_PRECISE = 2_000
"""Messages/s of a loop above which that would cost more than a tenth of a core."""
RETRY_NS = 200_000
"""How long to wait before a blocked send is tried again when other instances have work."""

# the C method: the Python one around it costs 0.4 µs a message
_send = zmq.backend.Socket.send


class Out:
    """A send end with all that the loop needs at hand."""

    __slots__ = (
        "_first_word", "accepted", "blocked", "buffer", "first_attempt", "lateness", "measured_word",
        "offset", "sender", "sent", "sequences", "socket", "width", "words",
    )  # fmt: skip

    def __init__(self, sender: Sender, words: U64, places: HistogramPlaces) -> None:
        self.sender = sender
        self.socket = sender.socket
        self.words = words.data
        self.offset = sender.offset
        self.sent = sender.sent
        self.width = sender.width
        self.sequences = [0] * len(sender.prefixes)
        self.buffer = memoryview(bytearray(0))
        self.first_attempt = 0
        self.accepted = 0
        self.lateness = Values(words, places, sender.link, "lateness")
        self.blocked = Values(words, places, sender.link, "blocked")
        self._first_word = IDENTITY | sender.producer_id << 32
        self.grow(self.width + message.HEADER_BYTES)

    def grow(self, frame_bytes: int) -> None:
        """Room for a frame of this size."""
        if len(self.buffer) < frame_bytes:
            self.buffer = memoryview(bytearray(payload(frame_bytes).tobytes()))

    def attempt(self, topic: int, size: int, flags: int, intended: int, origin: int, earliest: int) -> bool:
        """Send one message; False when the socket has no room, and the blocked spell has begun.

        `earliest`: when this instance could first have tried (the end of its last blocked spell).
        """
        if self.first_attempt and not int(self.socket.getsockopt(EVENTS)) & POLLOUT:
            return False  # a send that does not wait looks for new room once a millisecond; this asks
        now = clock.now_ns()
        if not intended:
            intended = origin = now
        width = self.width
        if width:
            self.buffer[:width] = self.sender.prefixes[topic]
        sequence = self.sequences[topic]
        HEADER.pack_into(
            self.buffer, width, self._first_word | flags << 24,
            topic << message.TOPIC_SHIFT | sequence, intended, now, origin,
        )  # fmt: skip
        words, at = self.words, self.sent + topic
        words[at] = sequence + 1  # before the call: a kill in between leaves sent >= received
        try:
            _send(self.socket, self.buffer[: width + size], DONTWAIT)
        except zmq.Again:
            words[at] = sequence
            if not self.first_attempt:
                self.first_attempt = now
                words[self.offset + probe.BLOCKED_SINCE] = now
            return False
        self.sequences[topic] = sequence + 1
        words[self.offset + probe.SENT_BYTES] += width + size
        phase = flags & message.FLAG_MEASURE
        first = self.first_attempt
        if first:
            self.accepted = now
            self.first_attempt = 0
            words[self.offset + probe.BLOCKED_SINCE] = 0
            words[self.offset + probe.BLOCKED_NS] += now - first
            words[self.offset + probe.SPELLS] += 1
            self.blocked.by_phase[phase].append(now - first)
        else:
            first = now
            self.blocked.zeros[phase] += 1
        if not flags & message.FLAG_CLOSED_LOOP:
            self.lateness.by_phase[phase].append(first - max(intended, earliest))
        return True

    def flush(self) -> None:
        """Histograms into the probe."""
        self.lateness.flush()
        self.blocked.flush()


class Pending:
    """The message that one instance is sending: which link is next."""

    __slots__ = ("earliest", "flags", "intended", "link", "origin", "size", "topic")

    def __init__(self) -> None:
        self.link = 0
        self.earliest = 0
        self.topic = self.size = self.flags = self.intended = self.origin = 0

    def send(self, outs: list[Out]) -> bool:
        """To the links that do not have it yet; True when all have it."""
        while self.link < len(outs):
            out = outs[self.link]
            if not out.attempt(self.topic, self.size, self.flags, self.intended, self.origin, self.earliest):
                return False
            self.earliest = max(self.earliest, out.accepted)
            self.link += 1
        self.link = 0
        return True


class PythonProducers(Producers):
    """The loop in Python."""

    def __init__(
        self, plan: LoopPlan, members: list[Member], words: U64, places: HistogramPlaces, seed: int
    ) -> None:
        super().__init__(plan, members, words, places, seed)
        self._outs = [[Out(sender, words, places) for sender in m.senders] for m in members]
        self._pending = [Pending() for _ in members]
        self._busy = [False] * len(members)  # has a message that not all links have taken
        self._heap: list[tuple[int, int]] = []
        self._blocked: list[int] = []
        self._times = [s.times.data for s in self.schedules]
        self._last_wake = self._flush_at = 0
        self._extra: list[tuple[list[int], list[int]]] = [([], []) for _ in members]

    def schedules_changed(self) -> None:
        self._heap = []
        self._blocked = [k for k in self._blocked if not self.members[k].halted]
        for k in range(len(self.members)):
            if k not in self._blocked:
                self._push(k)

    def sizes_changed(self) -> None:
        for k, schedule in enumerate(self.schedules):
            self._extra[k] = ([], [])
            self._make_room(k, schedule)

    def begin(self, at_ns: int, measure_ns: int, until_ns: int | None) -> None:
        super().begin(at_ns, measure_ns, until_ns)
        self.schedules_changed()

    def give_up(self, k: int) -> None:
        pending = self._pending[k]
        if self._busy[k] and pending.flags & message.FLAG_CLOSED_LOOP and pending.link == 0:
            self.closed[k] -= 1
        self._busy[k] = False

    def _push(self, k: int) -> None:
        schedule = self.schedules[k]
        if self.members[k].halted:
            return
        if schedule.head == schedule.tail:
            if not schedule.fill():
                return
            self._make_room(k, schedule)
        heapq.heappush(self._heap, (self._times[k][schedule.head], k))

    def _make_room(self, k: int, schedule: Schedule) -> None:
        for out in self._outs[k]:
            out.grow(largest_frame(schedule, out.width))

    def slice(self, until_ns: int) -> None:
        self._slice(until_ns)
        if clock.now_ns() >= self._flush_at:
            self.flush()

    def flush(self) -> None:
        self._flush_at = clock.now_ns() + FLUSH_NS
        for outs in self._outs:
            for out in outs:
                out.flush()

    def _slice(self, until_ns: int) -> None:
        now = clock.now_ns()
        while now < until_ns and not self.finished:
            if self._blocked:
                self._retry()
                now = clock.now_ns()
            if self._heap and self._heap[0][0] <= now:
                k = heapq.heappop(self._heap)[1]
                if self._send_next(k):
                    self._push(k)
                else:
                    self._blocked.append(k)
                now = clock.now_ns()
            elif self.closed_loop and not self.paused:
                now = self._send_closed(until_ns)
            else:
                now = self._wait(now, until_ns)

    def _wait(self, now: int, until_ns: int) -> int:
        target = due = self._heap[0][0] if self._heap else NEVER
        if self.batched:
            target = max(target, self._last_wake + BATCH_NS)
        target = min(target, until_ns)
        if self._blocked:
            target = min(target, now + RETRY_NS)
        early = EARLY_NS if target == due and self.rate_here <= MOST_PRECISE else 0
        if target - early > now:
            time.sleep((target - early - now) / 1e9)
        now = clock.now_ns()
        while now < target:
            now = clock.now_ns()
        self._last_wake = now
        return now

    def _retry(self) -> None:
        still = []
        for k in self._blocked:
            if self._pending[k].send(self._outs[k]):
                self._busy[k] = False
                if not self._pending[k].flags & message.FLAG_CLOSED_LOOP:
                    self.schedules[k].head += 1
                self._push(k)
            else:
                still.append(k)
        self._blocked = still

    def _send_next(self, k: int) -> bool:
        schedule = self.schedules[k]
        head = schedule.head
        pending = self._pending[k]
        pending.intended = pending.origin = self._times[k][head]
        pending.topic = int(schedule.topics[head])
        pending.size = int(schedule.sizes[head])
        pending.flags = message.FLAG_MEASURE if pending.intended >= self.measure_ns else 0
        self._busy[k] = True
        if not pending.send(self._outs[k]):
            return False
        self._busy[k] = False
        schedule.head = head + 1
        return True

    # closed loop: rate = "max"

    def _send_closed(self, until_ns: int) -> int:
        free = [k for k, m in enumerate(self.members) if not m.halted and k not in self._blocked]
        if not free:
            alone = self._blocked[0] if len(self._blocked) == 1 else None
            if alone is not None and not self.members[alone].halted:
                out = self._outs[alone][self._pending[alone].link]
                out.socket.poll(max(1, (until_ns - clock.now_ns()) // 1_000_000), POLLOUT)
            else:
                time.sleep(RETRY_NS / 1e9)
            return clock.now_ns()
        for k in free:
            outs = self._outs[k]
            if len(outs) == 1 and len(outs[0].sequences) == 1 and self.schedules[k].largest:
                self._send_many(k, until_ns if len(free) == 1 else clock.now_ns() + BATCH_NS)
            else:
                self._send_some(k)
        return clock.now_ns()

    def _closed_flags(self) -> int:
        measure = clock.now_ns() >= self.measure_ns
        return message.FLAG_CLOSED_LOOP | (message.FLAG_MEASURE if measure else 0)

    def _send_many(self, k: int, until_ns: int) -> None:
        """One link, one topic, one size: the shortest way."""
        out = self._outs[k][0]
        size = self.schedules[k].largest
        out.grow(out.width + size)
        if out.width:
            out.buffer[: out.width] = out.sender.prefixes[0]
        flags = self._closed_flags()
        first_word = out._first_word | flags << 24
        frame, width, socket = out.buffer[: out.width + size], out.width, out.socket
        words, at = out.words, out.sent
        pack_into, now_ns, send = HEADER.pack_into, clock.now_ns, _send
        buffer = out.buffer
        begun = sequence = out.sequences[0]
        full = False
        now = 0
        try:
            while now < until_ns:
                for _ in range(64):
                    now = now_ns()
                    pack_into(buffer, width, first_word, sequence, now, now, now)
                    words[at] = sequence = sequence + 1
                    send(socket, frame, DONTWAIT)
        except zmq.Again:
            sequence -= 1
            words[at] = sequence
            full = True
        out.sequences[0] = sequence
        words[out.offset + probe.SENT_BYTES] += (sequence - begun) * len(frame)
        out.blocked.zeros[flags & message.FLAG_MEASURE] += sequence - begun
        self.closed[k] += sequence - begun
        if full:
            self._begin_closed(k, 0, size, flags)

    def _send_some(self, k: int) -> None:
        sizes, topics = self._extra[k]
        if not sizes:
            schedule = self.schedules[k]
            drawn = schedule.draw_sizes(512)
            for out in self._outs[k]:
                out.grow(out.width + int(drawn.max()))
            sizes, topics = drawn.tolist(), schedule.draw_topics(512).tolist()
            self._extra[k] = (sizes, topics)
        flags = self._closed_flags()
        while sizes:
            if not self._begin_closed(k, topics.pop(), sizes.pop(), flags):
                return

    def _begin_closed(self, k: int, topic: int, size: int, flags: int) -> bool:
        pending = self._pending[k]
        pending.topic, pending.size, pending.flags = topic, size, flags
        pending.intended = pending.origin = 0
        self.closed[k] += 1
        self._busy[k] = True
        if pending.send(self._outs[k]):
            self._busy[k] = False
            return True
        self._blocked.append(k)
        return False

"""Workers and consumers of the Python engine.

`received` and the per-producer totals are counted for each message, durations and gaps in batches: a kill
loses at most a batch of histogram values, never a count.
"""

from __future__ import annotations

import time

import numpy as np
import zmq

from mqviz.channels import message
from mqviz.simulation.engine.batch import FLUSH_NS, Values, add_values
from mqviz.simulation.engine.ends import HistogramPlaces, Member
from mqviz.simulation.engine.python_producer import RETRY_NS, Out, Pending
from mqviz.simulation.engine.receiver import Receivers
from mqviz.simulation.plan import Command, LoopPlan
from mqviz.telemetry import clock, probe
from mqviz.telemetry.histogram import I64, U64

DONTWAIT = int(zmq.DONTWAIT)
SLOTS = 1024
"""Messages that a link's batch holds."""
SHORTEST_BLOCK_NS = 1_000_000
"""The shortest time that a receive call can be told to wait."""
TURN = 64
"""Messages that an instance serves before the next of its loop has its turn."""
SINCE = {"transit": 3, "response": 2, "end_to_end": 4}
"""Durations up to the end of a message, and the header's word that each counts from."""


class Batch:
    """Headers of one link's received messages, in a ring, decoded together.

    The first eight bytes of a header (magic, version, flags, producer id) are looked up whole: what is not
    in the table is foreign, or a hello.
    """

    def __init__(self, words: U64, places: HistogramPlaces, link: str, prefix: int) -> None:
        self.link = link
        self.words = words
        self.fast_words = words.data
        self.prefix = prefix
        self.stride = prefix + message.HEADER_BYTES
        self.array = np.zeros(SLOTS * self.stride, np.uint8)
        ring = self.array.data
        self.slots = [ring[i * self.stride : (i + 1) * self.stride] for i in range(SLOTS)]
        self.firsts = self.array.view(np.uint64).data
        self.topics = self.array.view(np.uint16).data
        self.first_at = [(i * self.stride + prefix) // 8 for i in range(SLOTS)]
        self.topic_at = [(i * self.stride + prefix) // 2 + 7 for i in range(SLOTS)]
        self.headers = self.array.view(np.int64).reshape(SLOTS, -1)[:, prefix // 8 :]
        self.received_at = np.zeros(SLOTS, np.int64)
        self.times = self.received_at.data
        self.fields = self.array.view(np.int64).data
        self.rows: list[int] = []
        """The rows of the messages: each holds from its place in `begins` on."""
        self.begins: list[int] = []
        self.used = 0
        self.durations = {
            name: Values(words, places, link, name)
            for name in ("transit", "service", "response", "end_to_end")
        }
        self._places = {name: places.of(link, name) for name in SINCE}

    def begin_row(self, row: int) -> None:
        """The messages from the next slot on are of this row."""
        self.begins.append(self.used)
        self.rows.append(row)

    def flush_rows(self) -> tuple[I64, I64, I64]:
        """Sequence numbers into the rows. Returns flags, headers and receive times of the batch."""
        n = self.used
        headers = self.headers[:n]
        places = (headers[:, 1] & message.SEQUENCE_MASK) + 1
        if len(set(self.rows)) == 1:
            advance(self.words, self.rows[0], places)
        else:
            rows = np.repeat(self.rows, np.diff([*self.begins, n]))
            for row in set(self.rows):
                advance(self.words, row, places[rows == row])
        self.used = 0
        self.rows.clear()
        self.begins.clear()
        return (headers[:, 0] >> 24) & 0xFF, headers, self.received_at[:n]

    def flush(self) -> None:
        """For ends without service: all of it, and what was received is worked off."""
        if self.used:
            flags, headers, received = self.flush_rows()
            kind = int(flags[0])
            if (flags == kind).all():
                self._add_durations(kind, headers, received)
            else:
                for kind in set(flags.tolist()):
                    self._add_durations(kind, headers[flags == kind], received[flags == kind])
        for values_kept in self.durations.values():
            values_kept.flush()

    def _add_durations(self, flags: int, headers: I64, received: I64) -> None:
        for name, since in SINCE.items():
            place = self._places[name]
            if place and (name == "transit" or not flags & message.FLAG_CLOSED_LOOP):
                add_values(self.words, place[flags & message.FLAG_MEASURE], received - headers[:, since])


def advance(words: U64, row: int, places: I64) -> None:
    """Take sequence numbers (+ 1) of one (producer, topic), in the order received, into its row."""
    last = int(words[row + probe.LAST])
    if not words[row + probe.FIRST]:
        words[row + probe.FIRST] = places[0]
        last = int(places[0]) - 1
    if places[-1] - last == len(places) and (places[1:] > places[:-1]).all():  # none missing, none late
        words[row + probe.LAST] = places[-1]
        return
    high = np.maximum.accumulate(np.concatenate(([last], places)))
    steps = np.diff(high)
    late = int(np.count_nonzero(steps == 0))
    skipped = int(steps.sum()) - (len(steps) - late) - late
    gaps = int(words[row + probe.GAPS]) + skipped
    words[row + probe.LAST] = high[-1]
    words[row + probe.LATE] += np.uint64(late)
    words[row + probe.GAPS] = max(gaps, 0)


class Job:
    """One instance's state: idle, in service until `end`, or with output that a link has not taken."""

    __slots__ = (
        "batch",
        "busy",
        "emitting",
        "end",
        "flags",
        "fresh",
        "index",
        "intended",
        "next_end",
        "offset",
        "origin",
        "outs",
        "pending",
        "previous_end",
        "received_at",
        "sent_at",
        "services",
        "sizes",
        "start",
        "topics",
        "worked",
    )  # fmt: skip

    def __init__(self, member: Member, index: int, outs: list[Out]) -> None:
        self.index = index
        self.offset = member.offset
        self.outs = outs
        self.pending = Pending()
        self.busy = self.emitting = False
        self.fresh = False  # the next receive is the first try after a service
        self.previous_end = self.end = self.start = 0
        self.flags = self.intended = self.origin = self.received_at = self.sent_at = 0
        self.worked = 0
        self.next_end = 0  # in-end to ask first: none is favoured
        self.batch: Batch | None = None
        self.services: list[int] = []
        self.sizes: list[int] = []
        self.topics: list[int] = []


class PythonReceivers(Receivers):
    """The loop in Python."""

    def __init__(
        self, plan: LoopPlan, members: list[Member], words: U64, places: HistogramPlaces, seed: int
    ) -> None:
        super().__init__(plan, members, words, places, seed)
        self._fast_words = words.data
        batches: dict[str, Batch] = {}
        for end in self.ends:
            if end.link not in batches:
                batches[end.link] = Batch(words, places, end.link, end.prefix)
        self._batches = list(batches.values())
        self._batch_of = [batches[end.link] for end in self.ends]
        self._ends_of = [[e for e, k in enumerate(self.owner) if k == i] for i in range(len(members))]
        self._jobs = [
            Job(m, k, [Out(sender, words, places) for sender in m.senders]) for k, m in enumerate(members)
        ]
        self._known: list[dict[int, list[int]]] = [{} for _ in self.ends]
        self._helloes: list[dict[int, int]] = [{} for _ in self.ends]
        self._ready = [False] * len(self.ends)
        self._plain = not any(m.senders for m in members)
        self._flush_at = 0

    def rows_changed(self) -> None:
        for e, end in enumerate(self.ends):
            known: dict[int, list[int]] = {}
            helloes: dict[int, int] = {}
            topics = len(end.plan.topics)
            for (number, topic), row in end.rows.items():
                identity = message.MAGIC_AND_VERSION | end.producer_id(number) << 32
                for flags in (0, 1, 4, 5):
                    known.setdefault(identity | flags << 24, [0] * topics)[topic] = row
                helloes[identity | message.FLAG_HELLO << 24] = number
            self._known[e], self._helloes[e] = known, helloes

    def draws_changed(self) -> None:
        for job in self._jobs:
            job.services, job.sizes, job.topics = [], [], []
        self._ready = [True] * len(self.ends)  # the other loop may go on, which has read otherwise

    def flush(self) -> None:
        self._flush_at = clock.now_ns() + FLUSH_NS
        for batch in self._batches:
            if batch.used:
                self._flush_batch(batch)
            for values in batch.durations.values():
                values.flush()
        for job in self._jobs:
            for out in job.outs:
                out.flush()

    def _flush_batch(self, batch: Batch) -> None:
        if self._one_by_one:
            batch.flush_rows()
        else:
            batch.flush()

    @property
    def _one_by_one(self) -> bool:
        return not self._plain or any(d.serves for d in self.draws)

    def change(self, command: Command, now_ns: int) -> None:
        self.flush()
        super().change(command, now_ns)

    def resume(self, now_ns: int) -> None:
        super().resume(now_ns)
        for job in self._jobs:  # nothing was served meanwhile
            job.previous_end = max(job.previous_end, now_ns)

    def slice(self, until_ns: int) -> None:
        if self._one_by_one or any(job.busy for job in self._jobs):
            self._serve(until_ns)
        else:
            self._drain(until_ns)
        if clock.now_ns() >= self._flush_at:
            self.flush()

    # consumers without service

    def _drain(self, until_ns: int) -> None:
        now = clock.now_ns()
        while now < until_ns:
            if self.paused:
                time.sleep(min(until_ns - now, 5_000_000) / 1e9)
                now = clock.now_ns()
                continue
            if any(self._ready):  # the others must not starve
                if len(self.ends) > 1:
                    self._mark(self.poller.wait(0))
            else:
                self._set_idle(1)
                self._mark(self.poller.wait(until_ns - now))
                self._set_idle(0)
            for e, ready in enumerate(self._ready):
                if ready:
                    self._ready[e] = not self._drain_end(e)
            now = clock.now_ns()

    def _set_idle(self, value: int) -> None:
        for job in self._jobs:
            self._fast_words[job.offset + probe.IDLE] = value

    def _drain_end(self, e: int) -> bool:
        """Read one socket until it is empty (True), or for its turn (False)."""
        end, batch = self.ends[e], self._batch_of[e]
        if end.socket.closed:
            return True
        receive_into, now_ns = end.socket.recv_into, clock.now_ns
        words, slots, times = batch.fast_words, batch.slots, batch.times
        firsts, first_at, topics, topic_at = batch.firsts, batch.first_at, batch.topics, batch.topic_at
        several, needed = len(end.plan.topics) > 1, batch.stride
        used = before = batch.used
        known_first = known_topic = -1  # of the message before: its row is looked up once
        topic = size = total = place = count = 0
        try:
            for _ in range(SLOTS - used):  # foreign messages take no slot, and must not hold it for ever
                size = receive_into(slots[used], flags=DONTWAIT)
                first = firsts[first_at[used]]
                if several:
                    topic = topics[topic_at[used]]
                if first != known_first or topic != known_topic or size < needed:
                    row = self._row(e, first, topic, size)
                    if not row:
                        known_first = -1
                        continue
                    known_first, known_topic = first, topic
                    batch.used = used
                    batch.begin_row(row)
                    place = row + probe.RECEIVED
                    count = words[place]
                times[used] = now_ns()
                count += 1
                words[place] = count
                total += size
                used += 1
        except zmq.Again:
            return True
        finally:
            batch.used = used
            words[end.offset + probe.BYTES] += total
            words[end.offset + probe.WORKED_OFF] += used - before
            if used == SLOTS:
                batch.flush()
        return False

    def _row(self, e: int, first: int, topic: int, size: int) -> int:
        """The row of a message, 0 for a hello or a foreign one, which are dealt with."""
        table = self._known[e].get(first)
        if table is not None and topic < len(table) and table[topic] and size >= self._batch_of[e].stride:
            return table[topic]
        self._unknown(e, size, first)
        return 0

    def _unknown(self, e: int, size: int, first: int) -> None:
        """A hello, or a foreign message."""
        end = self.ends[e]
        number = self._helloes[e].get(first)
        if number is not None and size >= self._batch_of[e].stride:
            end.awaited.discard(number)
        else:
            self._fast_words[end.offset + probe.FOREIGN] += 1

    # workers, and consumers with service: one message at a time, on a virtual clock

    def _serve(self, until_ns: int) -> None:
        now = clock.now_ns()
        while now < until_ns:
            wake = until_ns
            for job in self._jobs:
                if self.members[job.index].halted:
                    continue
                if job.emitting or (job.end <= now if job.busy else self._may_receive(job)):
                    self._step(job, until_ns)
                if job.emitting:
                    wake = min(wake, now + RETRY_NS)
                elif job.busy:
                    wake = min(wake, job.end)
                elif self._may_receive(job):
                    wake = 0
            now = clock.now_ns()
            if wake > now:
                self._sleep(now, wake)
                now = clock.now_ns()
            elif len(self._jobs) > 1:  # those that are free must not starve
                self._mark(self.poller.wait(0))

    def _may_receive(self, job: Job) -> bool:
        if not self.paused:
            for e in self._ends_of[job.index]:
                if self._ready[e]:
                    return True
        return False

    def _mark(self, ends: list[int]) -> None:
        for e in ends:
            self._ready[e] = True

    def _sleep(self, now: int, wake: int) -> None:
        alone = len(self._jobs) == 1 and self._jobs[0].busy
        if alone and self.plan.spin and not self._jobs[0].emitting:
            while clock.now_ns() < wake:
                pass
        elif alone or self.paused:
            time.sleep((wake - now) / 1e9)
        elif len(self.ends) == 1 and wake - now >= SHORTEST_BLOCK_NS and not self.ends[0].socket.closed:
            self._block(self._jobs[0], wake - now)
        else:
            self._mark(self.poller.wait(wake - now))

    def _block(self, job: Job, timeout_ns: int) -> None:
        """Wait in the receive call itself: between the message and its clock there is no line of Python."""
        self.ends[0].socket.setsockopt(zmq.RCVTIMEO, timeout_ns // 1_000_000)
        self._ready[0] = self._receive(job, 0, flags=0)

    def _step(self, job: Job, until_ns: int) -> None:
        """Advance one instance as far as it goes without waiting, or for its turn."""
        for _ in range(TURN):
            if job.busy:
                if not job.emitting:
                    if job.end > clock.now_ns():
                        return
                    self._work_off(job)
                if not self._emit(job):
                    return
            if self.paused or clock.now_ns() >= until_ns or not self._take(job):
                return

    def _take(self, job: Job) -> bool:
        """Receive the next message and begin its service; False when there is none."""
        ends = self._ends_of[job.index]
        for turn in range(len(ends)):
            e = ends[(job.next_end + turn) % len(ends)]
            if not (self._ready[e] or job.fresh):
                continue
            if self._receive(job, e):
                job.next_end = (job.next_end + turn + 1) % len(ends)
                return True
            self._ready[e] = False
        if job.fresh:
            job.fresh = False
        self._fast_words[job.offset + probe.IDLE] = 1
        return False

    def _receive(self, job: Job, e: int, flags: int = DONTWAIT) -> bool:
        end, batch = self.ends[e], self._batch_of[e]
        if end.socket.closed:
            return False
        if batch.used == SLOTS:
            batch.flush_rows()
        used = batch.used
        for _ in range(TURN):  # foreign messages must not hold it for ever
            try:
                size = end.socket.recv_into(batch.slots[used], flags=flags)
                now = clock.now_ns()
            except zmq.Again:
                return False
            at = batch.first_at[used]
            first = batch.firsts[at]
            row = self._row(e, first, batch.topics[batch.topic_at[used]], size)
            if row:
                break
        else:
            return False
        words = self._fast_words
        words[row + probe.RECEIVED] += 1
        words[end.offset + probe.BYTES] += size
        words[job.offset + probe.IDLE] = 0
        batch.times[used] = now
        batch.begin_row(row)
        batch.used = used + 1
        fields = batch.fields
        job.flags = first >> 24 & 0xFF
        job.intended, job.sent_at, job.origin = fields[at + 2], fields[at + 3], fields[at + 4]
        job.received_at = now
        phase = job.flags & message.FLAG_MEASURE
        batch.durations["transit"].by_phase[phase].append(now - job.sent_at)
        # a message that was there already did not wait for the instance to wake: its overshoot must not add up
        job.start = max(job.sent_at, job.previous_end) if job.fresh else now
        if not job.services:
            job.services = self.draws[job.index].services().tolist()[::-1]
        job.end = job.start + job.services.pop()
        job.worked = end.offset + probe.WORKED_OFF
        job.batch = batch
        job.busy, job.fresh = True, False
        return True

    def _work_off(self, job: Job) -> None:
        batch = job.batch
        assert batch is not None
        phase = job.flags & message.FLAG_MEASURE
        durations = batch.durations
        durations["service"].by_phase[phase].append(job.end - job.start)
        if not job.flags & message.FLAG_CLOSED_LOOP:
            durations["response"].by_phase[phase].append(job.end - job.intended)
            durations["end_to_end"].by_phase[phase].append(job.end - job.origin)
        self._fast_words[job.worked] += 1
        self._fast_words[job.offset + probe.BUSY_NS] += job.end - job.start
        job.previous_end = job.end
        if job.outs:
            if not job.topics:
                draws = self.draws[job.index]
                job.sizes, job.topics = draws.sizes().tolist()[::-1], draws.topics().tolist()[::-1]
                for out in job.outs:
                    out.grow(out.width + max(job.sizes))
            pending = job.pending
            pending.intended, pending.origin = job.end, job.origin
            pending.size, pending.topic = job.sizes.pop(), job.topics.pop()
            pending.earliest = 0
            closed = job.flags & message.FLAG_CLOSED_LOOP
            pending.flags = closed | (message.FLAG_MEASURE if job.end >= self.measure_ns else 0)
            for out in job.outs:
                self._fast_words[out.offset + probe.DUE] += 1
        job.emitting = bool(job.outs)

    def _emit(self, job: Job) -> bool:
        """Send the output on; True when every link has it and the instance is free."""
        if job.emitting:
            if not job.pending.send(job.outs):
                return False
            job.previous_end = max(job.previous_end, job.pending.earliest)
            job.emitting = False
        job.busy, job.fresh = False, True
        return True

"""Workers and consumers of the Python engine.

`received` and the per-producer totals are counted for each message, durations and gaps in batches: a kill
loses at most a batch of histogram values, never a count.
"""

from __future__ import annotations

import time

import numpy as np
import zmq

from mqviz.channels import message
from mqviz.simulation.engine.batch import Values, add_values
from mqviz.simulation.engine.ends import HistogramPlaces, Member
from mqviz.simulation.engine.python_producer import RETRY_NS, Out, Pending
from mqviz.simulation.engine.receiver import Receivers
from mqviz.simulation.plan import Command, LoopPlan
from mqviz.telemetry import clock, probe
from mqviz.telemetry.histogram import I64, U64

DONTWAIT = int(zmq.DONTWAIT)
SLOTS = 512
"""Messages that a link's batch holds."""
_receive_into = zmq.backend.Socket.recv_into


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
        self.row_of = np.zeros(SLOTS, np.int64)
        self.rows = self.row_of.data
        self.used = 0
        self.durations = {
            name: Values(words, places, link, name)
            for name in ("transit", "service", "response", "end_to_end")
        }
        self._places = {name: places.of(link, name) for name in ("transit", "response", "end_to_end")}

    def flush_rows(self) -> tuple[I64, I64, I64]:
        """Sequence numbers into the rows. Returns flags, headers and receive times of the batch."""
        n = self.used
        self.used = 0
        headers = self.headers[:n]
        rows = self.row_of[:n]
        sequences = headers[:, 1] & message.SEQUENCE_MASK
        first = int(rows[0])
        for row in [first] if (rows == first).all() else np.unique(rows):
            advance(self.words, int(row), sequences[rows == row] + 1)
        return (headers[:, 0] >> 24) & 0xFF, headers, self.received_at[:n]

    def flush(self) -> None:
        """For ends without service: all of it, and what was received is worked off."""
        if self.used:
            flags, headers, received = self.flush_rows()
            measured = (flags & message.FLAG_MEASURE).astype(bool)
            closed = (flags & message.FLAG_CLOSED_LOOP).astype(bool)
            for name, since in (("transit", 3), ("response", 2), ("end_to_end", 4)):
                place = self._places[name]
                if place is None:
                    continue
                values = received - headers[:, since]
                for phase, chosen in enumerate((~measured, measured)):
                    if name != "transit":
                        chosen = chosen & ~closed
                    if chosen.any():
                        add_values(self.words, place[phase], values[chosen])
        for values_kept in self.durations.values():
            values_kept.flush()


def advance(words: U64, row: int, places: I64) -> None:
    """Take sequence numbers (+ 1) of one (producer, topic), in the order received, into its row."""
    last = int(words[row + probe.LAST])
    if not words[row + probe.FIRST]:
        words[row + probe.FIRST] = places[0]
        last = int(places[0]) - 1
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
        self._pending_ends: list[int] = []
        self._plain = not any(m.senders for m in members)

    def rows_changed(self) -> None:
        for e, end in enumerate(self.ends):
            known: dict[int, list[int]] = {}
            helloes: dict[int, int] = {}
            topics = len(end.plan.topics)
            for (number, topic), row in end.rows.items():
                identity = message.MAGIC_AND_VERSION | end.producer_id(number) << 32
                for flags in (0, 1, 4, 5):
                    known.setdefault(identity | flags << 24, [-1] * topics)[topic] = row
                helloes[identity | message.FLAG_HELLO << 24] = number
            self._known[e], self._helloes[e] = known, helloes

    def draws_changed(self) -> None:
        for job in self._jobs:
            job.services, job.sizes, job.topics = [], [], []

    def flush(self) -> None:
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

    def slice(self, until_ns: int) -> None:
        try:
            if self._one_by_one or any(job.busy for job in self._jobs):
                self._serve(until_ns)
            else:
                self._drain(until_ns)
        finally:
            self.flush()

    # consumers without service

    def _drain(self, until_ns: int) -> None:
        now = clock.now_ns()
        while now < until_ns:
            if self.paused:
                time.sleep(min(until_ns - now, 5_000_000) / 1e9)
                now = clock.now_ns()
                continue
            if not self._pending_ends:
                self._set_idle(1)
                self._pending_ends = self.poller.wait(until_ns - now)
                self._set_idle(0)
            ends, self._pending_ends = self._pending_ends, []
            for at, e in enumerate(ends):
                if not self._drain_end(e, until_ns):
                    self._pending_ends = ends[at:]
                    return
            now = clock.now_ns()

    def _set_idle(self, value: int) -> None:
        for job in self._jobs:
            self._fast_words[job.offset + probe.IDLE] = value

    def _drain_end(self, e: int, until_ns: int) -> bool:
        """Read one socket until it is empty (True) or the slice is over (False)."""
        end, batch = self.ends[e], self._batch_of[e]
        socket = end.socket
        if socket.closed:
            return True
        known = self._known[e].get
        words, slots, firsts, times, rows = (
            batch.fast_words,
            batch.slots,
            batch.firsts,
            batch.times,
            batch.rows,
        )
        first_at, topic_at, topics = batch.first_at, batch.topic_at, batch.topics
        single = len(end.plan.topics) == 1
        needed, received = batch.stride, probe.RECEIVED
        now_ns, receive_into = clock.now_ns, _receive_into
        used, size, total, taken = batch.used, 0, 0, 0
        try:
            while True:
                if used == SLOTS:
                    batch.used = used
                    batch.flush()
                    used = 0
                    if times[SLOTS - 1] >= until_ns:
                        return False
                size = receive_into(socket, slots[used], flags=DONTWAIT)
                table = known(firsts[first_at[used]])
                if table is None or size < needed:
                    self._unknown(e, size, firsts[first_at[used]])
                    continue
                if single:
                    row = table[0]
                else:
                    topic = topics[topic_at[used]]
                    row = table[topic] if topic < len(table) else -1
                    if row < 0:
                        self._unknown(e, 0, 0)
                        continue
                times[used] = now_ns()
                words[row + received] += 1
                rows[used] = row
                total += size
                taken += 1
                used += 1
        except zmq.Again:
            return True
        finally:
            batch.used = used
            words[end.offset + probe.BYTES] += total
            words[end.offset + probe.WORKED_OFF] += taken

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
                ready = any(self._ready[e] for e in self._ends_of[job.index])
                if (
                    (job.busy and job.end <= now)
                    or job.emitting
                    or (ready and not self.paused and not job.busy)
                ):
                    self._step(job, until_ns)
                if job.emitting:
                    wake = min(wake, now + RETRY_NS)
                elif job.busy:
                    wake = min(wake, job.end)
                elif not self.paused and any(self._ready[e] for e in self._ends_of[job.index]):
                    wake = 0
            now = clock.now_ns()
            if wake > now:
                self._sleep(now, wake)
                now = clock.now_ns()

    def _sleep(self, now: int, wake: int) -> None:
        alone = len(self._jobs) == 1 and self._jobs[0].busy
        if alone and self.plan.spin and not self._jobs[0].emitting:
            while clock.now_ns() < wake:
                pass
        elif alone or self.paused:
            time.sleep((wake - now) / 1e9)
        else:
            for e in self.poller.wait(wake - now):
                self._ready[e] = True

    def _step(self, job: Job, until_ns: int) -> None:
        """Advance one instance as far as it goes without waiting."""
        while True:
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

    def _receive(self, job: Job, e: int) -> bool:
        end, batch = self.ends[e], self._batch_of[e]
        if end.socket.closed:
            return False
        while True:
            if batch.used == SLOTS:
                batch.flush_rows()
            used = batch.used
            try:
                size = _receive_into(end.socket, batch.slots[used], flags=DONTWAIT)
            except zmq.Again:
                return False
            first = batch.firsts[batch.first_at[used]]
            topic = batch.topics[batch.topic_at[used]]
            table = self._known[e].get(first)
            if table is None or size < batch.stride or topic >= len(table) or table[topic] < 0:
                self._unknown(e, size, first)
                continue
            break
        now = clock.now_ns()
        words = self._fast_words
        row = table[topic]
        words[row + probe.RECEIVED] += 1
        words[end.offset + probe.BYTES] += size
        words[job.offset + probe.IDLE] = 0
        batch.times[used], batch.rows[used] = now, row
        batch.used = used + 1
        header = batch.headers[used]
        job.flags = first >> 24 & 0xFF
        job.intended, job.sent_at, job.origin = int(header[2]), int(header[3]), int(header[4])
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
                job.sizes, job.topics = draws.sizes().tolist(), draws.topics().tolist()
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

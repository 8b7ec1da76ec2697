"""Probe: what one runner has counted so far, in a mapped file that outlives the runner.

A probe file holds the totals of all instances of one runner as little-endian u64 words that only count up:

    | receive region | send region | histograms |

The agent reads the receive region of every probe before the send region of any, so that a message can be seen
as sent and not yet received, never the other way round. One writer (the runner's loops, each its own words),
nobody resets. The file starts with a page-aligned head that carries the schema, so a probe explains itself.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import msgspec
import numpy as np

from mqviz.errors import CannotRun
from mqviz.telemetry import histogram

MAGIC = b"MQVIZPRB"
VERSION = 1
PAGE = 4096

PHASES = ("warm-up", "measure")
"""By the flag of the intended time; each duration has a histogram for each, live views merge them."""

SENDER_DURATIONS = ("lateness", "blocked")
RECEIVER_DURATIONS = ("transit", "service", "response", "end_to_end")
DURATIONS = SENDER_DURATIONS + RECEIVER_DURATIONS

# words of an instance, in the receive region
BUSY_NS = 0  # service time worked off
STATE = 1  # one of STATES
IDLE = 2  # 1: waits for a message
CPU_NS = 3  # of the whole runner, written by its first instance only
INSTANCE_WORDS = 4
STATES = ("starting", "running", "paused", "stopped")

# words of a receive end (instance x in-link), in the receive region; then its rows
BYTES = 0  # header + payload (+ topic prefix) of the received messages
FOREIGN = 1  # not ours, torn, or from an unknown producer: counted and skipped
WORKED_OFF = 2
RECEIVE_WORDS = 3
# a row of a receive end: one (producer, topic)
KEY = 0  # 1 + producer number * 65536 + topic number; 0: unused
RECEIVED = 1
FIRST = 2  # sequence number + 1 of the first message
LAST = 3  # sequence number + 1 of the highest so far
GAPS = 4  # messages skipped between two received ones (less those that came late after all)
LATE = 5  # came after a higher sequence number
ROW_WORDS = 6

# words of a send end (instance x out-link), in the send region; then one `sent` word a topic
DUE = 0  # intended times that have passed
SENT_BYTES = 1
BLOCKED_NS = 2  # finished blocked spells
BLOCKED_SINCE = 3  # monotonic ns; 0: not blocked now
SPELLS = 4
CENSORED = 5  # due in the measure phase and never sent; written once, at the end
CENSORED_NS = 6  # the shortest time that one of them had waited
SEND_WORDS = 7


class ReceiveEnd(msgspec.Struct, frozen=True):
    """One in-link of one instance: where its words are."""

    link: str
    offset: int
    rows: int  # rows that there is room for


class SendEnd(msgspec.Struct, frozen=True):
    """One out-link of one instance."""

    link: str
    offset: int
    number: int  # the producer number in the headers, unique in (run, link)
    topics: int  # `sent` words


class InstanceBlock(msgspec.Struct, frozen=True):
    """One instance: its own words and its ends."""

    node: str
    index: int
    incarnation: int  # 0, then one more with each restart
    offset: int
    receives: tuple[ReceiveEnd, ...]
    sends: tuple[SendEnd, ...]

    @property
    def name(self) -> str:
        """As users write it, such as `pricing.1`."""
        return f"{self.node}.{self.index}"


class HistogramBlock(msgspec.Struct, frozen=True):
    """One (runner, link, duration, phase)."""

    link: str
    duration: str
    phase: str
    offset: int


class Schema(msgspec.Struct, frozen=True):
    """What lies where in a probe; offsets count words from the start of the receive region."""

    runner: str
    engine: str
    receive_words: int
    send_words: int  # they start at receive_words
    histogram_words: int
    instances: tuple[InstanceBlock, ...]
    histograms: tuple[HistogramBlock, ...]

    @property
    def words(self) -> int:
        """All words."""
        return self.receive_words + self.send_words + self.histogram_words


class ReceivePlan(msgspec.Struct, frozen=True):
    """What a receive end needs room for."""

    link: str
    rows: int
    terminal: bool  # end-to-end ends here


class SendPlan(msgspec.Struct, frozen=True):
    """What a send end needs room for."""

    link: str
    number: int
    topics: int


class InstancePlan(msgspec.Struct, frozen=True):
    """One instance to be laid out."""

    node: str
    index: int
    incarnation: int
    receives: tuple[ReceivePlan, ...] = ()
    sends: tuple[SendPlan, ...] = ()


def lay_out(runner: str, engine: str, plans: list[InstancePlan]) -> Schema:
    """Give every counter of a runner its place."""
    receive = 0
    blocks: list[tuple[InstancePlan, int, list[ReceiveEnd]]] = []
    for plan in plans:
        start = receive
        receive += INSTANCE_WORDS
        ends = []
        for want in plan.receives:
            ends.append(ReceiveEnd(want.link, receive, want.rows))
            receive += RECEIVE_WORDS + want.rows * ROW_WORDS
        blocks.append((plan, start, ends))
    send = receive
    instances = []
    for plan, start, ends in blocks:
        sends = []
        for out in plan.sends:
            sends.append(SendEnd(out.link, send, out.number, out.topics))
            send += SEND_WORDS + out.topics
        instances.append(
            InstanceBlock(plan.node, plan.index, plan.incarnation, start, tuple(ends), tuple(sends))
        )
    wanted: dict[tuple[str, str], None] = {}
    for plan in plans:
        for out in plan.sends:
            wanted.update(dict.fromkeys((out.link, d) for d in SENDER_DURATIONS))
        for want in plan.receives:
            durations = RECEIVER_DURATIONS if want.terminal else RECEIVER_DURATIONS[:-1]
            wanted.update(dict.fromkeys((want.link, d) for d in durations))
    place = send
    histograms = []
    for link, duration in wanted:
        for phase in PHASES:
            histograms.append(HistogramBlock(link, duration, phase, place))
            place += histogram.WORDS
    return Schema(runner, engine, receive, send - receive, place - send, tuple(instances), tuple(histograms))


class Probe:
    """A mapped probe file: `schema`, and `words` (u64, read-only unless created here)."""

    def __init__(self, path: Path, schema: Schema, mapped: mmap.mmap, start: int) -> None:
        self.path = path
        self.schema = schema
        self._mapped = mapped
        self.words: histogram.U64 = np.frombuffer(mapped, np.uint64, schema.words, start)

    @classmethod
    def create(cls, path: Path, schema: Schema) -> Probe:
        """Make the file complete under another name, then rename it: nobody maps a short one.

        Raises CannotRun when the disk has no room (posix_fallocate asks now; a sparse file would be a
        SIGBUS later).
        """
        text = msgspec.json.encode(schema)
        start = -(-(24 + len(text)) // PAGE) * PAGE
        size = start + schema.words * 8
        unfinished = path.with_suffix(".tmp")
        fd = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            try:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(fd, 0, size)
                else:
                    os.ftruncate(fd, size)
            except OSError as error:
                os.unlink(unfinished)
                raise CannotRun(
                    f"no room for the counters: {size / 1e6:.1f} MB in {path.parent} ({error.strerror})"
                ) from error
            mapped = mmap.mmap(fd, size)
        finally:
            os.close(fd)
        head = MAGIC + VERSION.to_bytes(4, "little") + len(text).to_bytes(4, "little")
        mapped[: len(head)] = head
        mapped[16:24] = start.to_bytes(8, "little")
        mapped[24 : 24 + len(text)] = text
        unfinished.rename(path)
        return cls(path, schema, mapped, start)

    @classmethod
    def open(cls, path: Path) -> Probe:
        """Map an existing file read-only. Raises ValueError for one that is not a probe of this version."""
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        if mapped[:8] != MAGIC or int.from_bytes(mapped[8:12], "little") != VERSION:
            raise ValueError(f"{path} is not a probe of version {VERSION}")
        length = int.from_bytes(mapped[12:16], "little")
        start = int.from_bytes(mapped[16:24], "little")
        schema = msgspec.json.decode(mapped[24 : 24 + length], type=Schema)
        if start + schema.words * 8 > len(mapped):
            raise ValueError(f"{path} is shorter than its schema says")
        return cls(path, schema, mapped, start)

    def close(self) -> None:
        """Unmap; `words` must not be used afterwards."""
        self.words = np.zeros(0, np.uint64)
        self._mapped.close()

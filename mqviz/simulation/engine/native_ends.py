"""Open ends as the native engine's compiled loops want them: rows of words in a loop's state."""

from __future__ import annotations

import numpy as np
import zmq

from mqviz.channels import message
from mqviz.errors import CannotRun
from mqviz.simulation.engine import native_state as at
from mqviz.simulation.engine.ends import HistogramPlaces, Member, Receiver, Sender
from mqviz.simulation.engine.producer import payload
from mqviz.telemetry.histogram import I64


class SendRoom:
    """Sections of a state for the send ends of a loop."""

    def __init__(self, layout: at.Layout, members: list[Member]) -> None:
        self._members = members
        self._senders = [sender for member in members for sender in member.senders]
        self._outs = layout.section(len(self._senders) * at.OUT_COLUMNS)
        self._sequences = layout.section(sum(len(s.prefixes) for s in self._senders))
        self._prefixes = layout.section(sum(len(s.prefixes) * s.width // 8 for s in self._senders))

    def write(self, state: I64, rows: I64, places: HistogramPlaces) -> None:
        """Fill them, and tell each instance's row which are its own."""
        outs = at.table(state, self._outs, at.OUT_COLUMNS, len(self._senders))
        sequences, prefixes = self._sequences, self._prefixes
        for row, sender in zip(outs, self._senders, strict=True):
            self._write_one(row, sender, places)
            row[at.OUT_SEQUENCES], row[at.OUT_PREFIXES] = sequences, prefixes
            for prefix in sender.prefixes:
                words = np.frombuffer(prefix, np.int64)
                state[prefixes : prefixes + len(words)] = words
                prefixes += len(words)
            sequences += len(sender.prefixes)
        first = self._outs
        for row, member in zip(rows, self._members, strict=True):
            row[at.FIRST_OUT] = row[at.LINK] = first
            first += len(member.senders) * at.OUT_COLUMNS
            row[at.LAST_OUT] = first
        state[at.HEADER] = max((sender.width for sender in self._senders), default=0) // 8

    @staticmethod
    def _write_one(row: I64, sender: Sender, places: HistogramPlaces) -> None:
        row[at.SOCKET] = sender.socket.underlying
        row[at.OFFSET] = sender.offset
        row[at.SENT] = sender.sent
        row[at.WIDTH] = sender.width
        row[at.IDENTITY] = signed(message.MAGIC_AND_VERSION | sender.producer_id << 32)
        for column, duration in ((at.LATENESS, "lateness"), (at.BLOCKED, "blocked")):
            row[column : column + 2] = places.of(sender.link, duration) or (0, 0)


class ReceiveRoom:
    """Sections of a state for the receive ends of a loop."""

    def __init__(self, layout: at.Layout, members: list[Member], event_words: int) -> None:
        self._members = members
        self._receivers = [receiver for member in members for receiver in member.receivers]
        self._descriptors = [int(r.socket.getsockopt(zmq.FD)) for r in self._receivers]
        self._ends = layout.section(len(self._receivers) * at.END_COLUMNS)
        widest = max((r.prefix for r in self._receivers), default=0)
        self._buffer = layout.section((widest + message.HEADER_BYTES) // 8)
        self._events = layout.section(event_words)
        self._end_of = layout.section(max(self._descriptors, default=0) + 1)

    def write(self, state: I64, rows: I64, places: HistogramPlaces, epoll: int) -> I64:
        """Fill them, and tell each instance's row which are its own. Returns the ends as a table."""
        ends = at.table(state, self._ends, at.END_COLUMNS, len(self._receivers))
        for n, (row, receiver) in enumerate(zip(ends, self._receivers, strict=True)):
            self._write_one(row, receiver, places)
            row[at.DESCRIPTOR] = self._descriptors[n]
            state[self._end_of + self._descriptors[n]] = self._ends + n * at.END_COLUMNS
        state[at.ENDS], state[at.ENDS_END] = self._ends, self._ends + ends.size
        state[at.BUFFER], state[at.EVENTS], state[at.END_OF] = self._buffer, self._events, self._end_of
        state[at.EPOLL] = epoll
        first = self._ends
        for row, member in zip(rows, self._members, strict=True):
            row[at.FIRST_END] = row[at.NEXT_END] = first
            first += len(member.receivers) * at.END_COLUMNS
            row[at.LAST_END] = first
        return ends

    @staticmethod
    def _write_one(row: I64, receiver: Receiver, places: HistogramPlaces) -> None:
        row[at.SOCKET] = receiver.socket.underlying
        row[at.OFFSET] = receiver.offset
        row[at.PREFIX] = receiver.prefix
        row[at.TOPICS] = len(receiver.plan.topics)
        row[at.MAYBE] = 1  # the rule of ZMQ_FD: read once after registering
        for column, duration in (
            (at.TRANSIT, "transit"), (at.SERVICE, "service"),
            (at.RESPONSE, "response"), (at.END_TO_END, "end_to_end"),
        ):  # fmt: skip
            row[column : column + 2] = places.of(receiver.link, duration) or (0, 0)


def row_table(state: I64, ends: I64, receivers: list[Receiver]) -> I64:
    """Where in the probe each known (producer, topic) is counted, and room for who has said hello."""
    words: list[int] = []
    for row, receiver in zip(ends, receivers, strict=True):
        numbers = {number for number, _ in receiver.rows}
        topics = len(receiver.plan.topics)
        row[at.LOWEST] = min(numbers, default=0)
        row[at.SPAN] = max(numbers) - min(numbers) + 1 if numbers else 0
        row[at.TABLE], row[at.HEARD] = len(words), len(words) + int(row[at.SPAN]) * topics
        part = [0] * (int(row[at.SPAN]) * (topics + 1))
        for (number, topic), place in receiver.rows.items():
            part[(number - int(row[at.LOWEST])) * topics + topic] = place
        words.extend(part)
    state[at.RUN_NUMBER] = receivers[0].producer_id(0) >> 16
    return np.array(words, np.int64)


def signed(value: int) -> int:
    """The int64 with the same bits as an unsigned word."""
    return value - (1 << 64) if value >> 63 else value


def frame_for(state: I64, frame: I64, sizes: I64) -> I64:
    """A frame with room for messages of these sizes; the same one if it has."""
    words = int(state[at.HEADER]) + -(-int(sizes.max(initial=message.HEADER_BYTES)) // 8)
    if words > len(frame):
        frame = payload(words * 8).view(np.int64)
        state[at.FRAME_AT] = frame.ctypes.data
    return frame


def check(code: int, node: str) -> None:
    """Raises CannotRun for what a loop returns when a socket has failed."""
    if code < 0:
        raise CannotRun(f"{node}: a socket of the native engine failed: {zmq.strerror(-code)}")

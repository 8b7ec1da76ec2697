"""Tables of the native engine's open ends, as its compiled loops want them."""

from __future__ import annotations

import numpy as np
import zmq

from mqviz.channels import message
from mqviz.errors import CannotRun
from mqviz.simulation.engine import native_message as out
from mqviz.simulation.engine.ends import HistogramPlaces, Member, Sender
from mqviz.simulation.engine.native_libzmq import Table, new_scratch
from mqviz.simulation.engine.native_message import OUT_COLUMNS, Sending
from mqviz.simulation.engine.producer import payload
from mqviz.simulation.schedule import NEVER
from mqviz.telemetry.histogram import I64, U64


def signed(value: int) -> int:
    """The int64 with the same bits as an unsigned word."""
    return value - (1 << 64) if value >> 63 else value


def link_members(rows: Table, members: list[Member]) -> None:
    """Where each instance's send ends are among those of `open_sending`."""
    first = 0
    for k, member in enumerate(members):
        rows[k, out.FIRST_OUT], rows[k, out.OUTS] = first, len(member.senders)
        first += len(member.senders)


def open_sending(words: U64, members: list[Member], places: HistogramPlaces) -> Sending:
    """The send ends of a loop; the frame has room for headers only, `grown` gives it more."""
    senders = [sender for member in members for sender in member.senders]
    outs = np.zeros((len(senders), OUT_COLUMNS), np.int64)
    prefixes: list[int] = []
    topics = 0
    for row, sender in zip(outs, senders, strict=True):
        row[out.SOCKET] = sender.socket.underlying
        row[out.OFFSET] = sender.offset
        row[out.SENT] = sender.sent
        row[out.WIDTH] = sender.width
        row[out.IDENTITY] = signed(message.MAGIC_AND_VERSION | sender.producer_id << 32)
        row[out.LATENESS : out.LATENESS + 2] = _place(places, sender, "lateness")
        row[out.BLOCKED : out.BLOCKED + 2] = _place(places, sender, "blocked")
        row[out.PREFIXES] = len(prefixes)
        row[out.SEQUENCES] = topics
        for prefix in sender.prefixes:
            prefixes.extend(np.frombuffer(prefix, np.int64).tolist())
        topics += len(sender.prefixes)
    header = max((sender.width for sender in senders), default=0) // 8
    frame = np.zeros(header + message.HEADER_BYTES // 8, np.int64)
    return Sending(
        words=words.view(np.int64),
        outs=outs,
        sequences=np.zeros(topics, np.int64),
        prefixes=np.array(prefixes, np.int64),
        frame=frame,
        frame_at=frame.ctypes.data,
        header=header,
        measure_ns=NEVER,
        scratch=new_scratch(),
    )


def _place(places: HistogramPlaces, sender: Sender, duration: str) -> tuple[int, int]:
    place = places.of(sender.link, duration)
    assert place is not None, "every send end has its histograms"
    return place


def grown(sending: Sending, sizes: I64) -> Sending:
    """With room in the frame for messages of these sizes."""
    words = sending.header + -(-int(sizes.max(initial=0)) // 8)
    if words <= len(sending.frame):
        return sending
    frame = payload(words * 8).view(np.int64)
    return sending._replace(frame=frame, frame_at=frame.ctypes.data)


def check(code: int, node: str) -> None:
    """Raises CannotRun for what a loop returns when a socket has failed."""
    if code < 0:
        raise CannotRun(f"{node}: a socket of the native engine failed: {zmq.strerror(-code)}")

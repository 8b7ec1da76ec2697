"""The native loop with all measuring left out: the same libzmq calls, the same waits, no header, clock, histogram."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import zmq
from _ends import READING_NS, Case, Received, Sent, Total, timed

from mqviz.channels import zeromq
from mqviz.channels.message import HEADER_BYTES
from mqviz.simulation.engine import native_cache
from mqviz.simulation.engine.producer import payload
from mqviz.telemetry import clock

native_cache.ready()  # before numba is imported: it reads then where its cache is

from mqviz.simulation.engine.native_libzmq import (  # noqa: E402
    AGAIN,
    DONTWAIT,
    WORD,
    Scratch,
    compiled_type,
    loop,
    new_scratch,
    now_ns,
    wait_readable,
    wait_room,
    zmq_errno,
    zmq_recv,
    zmq_send,
)

LOOK = 64
"""Messages between two looks at the clock."""


class Wire(NamedTuple):
    """A socket and what its loop needs."""

    socket: int
    descriptor: int  # its ZMQ_FD
    frame_at: int  # address of what is sent, or received into
    scratch: Scratch


WIRE = compiled_type(Wire)


@loop(WIRE, WORD, WORD)
def send(wire: Wire, size: int, until: int) -> int:
    """One slice. Returns how many were sent, or -errno."""
    count = 0
    now = now_ns(wire.scratch)
    while now < until:
        for _ in range(LOOK):
            if zmq_send(wire.socket, wire.frame_at, size, DONTWAIT) >= 0:
                count += 1
                continue
            errno = zmq_errno()
            if errno != AGAIN:
                return -errno
            now = now_ns(wire.scratch)
            if now >= until:
                return count
            wait_room(wire.scratch, wire.socket, until - now)
        now = now_ns(wire.scratch)
    return count


@loop(WIRE, WORD)
def receive(wire: Wire, until: int) -> int:
    """One slice. Returns how many came, hellos (which are empty) not counted, or -errno."""
    count = 0
    now = now_ns(wire.scratch)
    while now < until:
        for _ in range(LOOK):
            size = zmq_recv(wire.socket, wire.frame_at, HEADER_BYTES, DONTWAIT)
            if size > 0:
                count += 1
            elif size < 0:
                errno = zmq_errno()
                if errno != AGAIN:
                    return -errno
                wait_readable(wire.scratch, wire.descriptor, until - now)
                break
        now = now_ns(wire.scratch)
    return count


class UninstrumentedSender:
    """Sends a constant frame."""

    def __init__(self, case: Case, folder: Path) -> None:
        self._case = case
        self._context: zeromq.Context = zmq.Context()
        self._socket, self.endpoint = zeromq.open_sender(
            self._context, case.pattern, case.bind(folder), hwm=case.hwm
        )
        self._frame = payload(case.size)
        self._wire = Wire(self._socket.underlying, 0, self._frame.ctypes.data, new_scratch())

    def hello(self) -> None:
        """One, where there is room."""
        try:
            self._socket.send(b"", zmq.DONTWAIT)
        except zmq.Again:
            pass

    def send(self, seconds: float) -> Sent:
        """For so long."""
        messages = 0
        until = clock.now_ns() + int(seconds * 1e9)
        while (now := clock.now_ns()) < until and messages < self._case.most:
            messages += checked(send(self._wire, self._case.size, min(now + READING_NS, until)))
        return Sent(messages)

    def close(self) -> None:
        """All has been received."""
        self._socket.close(0)
        self._context.term()


class UninstrumentedReceiver:
    """Counts, and nothing else."""

    def __init__(self, case: Case, endpoint: str, folder: Path) -> None:
        self._context: zeromq.Context = zmq.Context()
        self._socket = zeromq.open_receiver(self._context, case.pattern, hwm=case.hwm)
        self._socket.connect(endpoint)
        self._frame = np.zeros(HEADER_BYTES, np.uint8)
        self._wire = Wire(
            self._socket.underlying, self._socket.getsockopt(zmq.FD), self._frame.ctypes.data, new_scratch()
        )
        self._count = 0

    def hear(self) -> bool:
        """Whether a hello has come."""
        return bool(self._socket.poll(10)) and self._socket.recv() == b""

    def _slice(self) -> int:
        self._count += checked(receive(self._wire, clock.now_ns() + READING_NS))
        return self._count

    def receive(self, total: Total) -> Received:
        """Until all is there."""
        return timed(self._slice, total)

    def close(self) -> None:
        """At once."""
        self._socket.close(0)
        self._context.term()


def checked(count: int) -> int:
    """Raises OSError for what a loop returns when its socket has failed."""
    if count < 0:
        raise OSError(-count, zmq.strerror(-count))
    return count

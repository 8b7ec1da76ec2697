"""The native loop with all measuring left out: the same libzmq calls, the same waits, no header, clock, histogram."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import zmq
from _case import READING_NS, Case, Received, Sent, Total, timed

from mqviz.channels import zeromq
from mqviz.channels.message import HEADER_BYTES
from mqviz.simulation.engine import native_cache
from mqviz.simulation.engine.native_state import Layout
from mqviz.simulation.engine.producer import payload
from mqviz.telemetry import clock
from mqviz.telemetry.histogram import I64

native_cache.ready()  # before numba is imported: it reads then where its cache is

from mqviz.simulation.engine.native_libzmq import (  # noqa: E402
    AGAIN,
    DONTWAIT,
    loop,
    now_ns,
    wait_readable,
    wait_room,
    zmq_errno,
    zmq_recv,
    zmq_send,
)

LOOK = 64
"""Messages between two looks at the clock."""

_layout = Layout()
WIRE = _layout.section(4)  # after the head that all native loops have
SOCKET, DESCRIPTOR, FRAME_AT, SIZE = range(WIRE, WIRE + 4)


@loop(1)
def send(state: I64, until: int) -> int:
    """One slice. Returns how many were sent, or -errno."""
    socket, frame_at, size = state[SOCKET], state[FRAME_AT], state[SIZE]
    count = 0
    now = now_ns(state)
    while now < until:
        for _ in range(LOOK):
            if zmq_send(socket, frame_at, size, DONTWAIT) >= 0:
                count += 1
                continue
            errno: int = zmq_errno()
            if errno != AGAIN:
                return -errno
            now = now_ns(state)
            if now >= until:
                return count
            wait_room(state, socket, until - now)
        now = now_ns(state)
    return count


@loop(1)
def receive(state: I64, until: int) -> int:
    """One slice. Returns how many came, hellos (which are empty) not counted, or -errno."""
    socket, frame_at, size = state[SOCKET], state[FRAME_AT], state[SIZE]
    count = 0
    now = now_ns(state)
    while now < until:
        for _ in range(LOOK):
            got = zmq_recv(socket, frame_at, size, DONTWAIT)
            if got > 0:
                count += 1
            elif got < 0:
                errno: int = zmq_errno()
                if errno != AGAIN:
                    return -errno
                wait_readable(state, state[DESCRIPTOR], until - now)
                break
        now = now_ns(state)
    return count


def wire(socket: zeromq.Socket, frame: npt.NDArray[np.uint8]) -> I64:
    """The state of a loop for one socket."""
    state = _layout.make()
    state[SOCKET] = socket.underlying
    state[DESCRIPTOR] = socket.getsockopt(zmq.FD)
    state[FRAME_AT], state[SIZE] = frame.ctypes.data, len(frame)
    return state


class UninstrumentedSender:
    """Sends a constant frame."""

    def __init__(self, case: Case, folder: Path) -> None:
        self._case = case
        self._context: zeromq.Context = zmq.Context()
        self._socket, self.endpoint = zeromq.open_sender(
            self._context, case.pattern, case.bind(folder), hwm=case.hwm
        )
        self._frame = payload(case.size)
        self._state = wire(self._socket, self._frame)

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
        while not messages or (clock.now_ns() < until and messages < self._case.most):
            messages += checked(send(self._state, clock.now_ns() + READING_NS))
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
        self._frame = np.zeros(HEADER_BYTES, np.uint8)  # the engine too reads no more of a message
        self._state = wire(self._socket, self._frame)
        self._count = 0

    def hear(self) -> bool:
        """Whether a hello has come."""
        return bool(self._socket.poll(10)) and self._socket.recv() == b""

    def _slice(self) -> int:
        self._count += checked(receive(self._state, clock.now_ns() + READING_NS))
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

"""Bare pyzmq: the loops that anybody would write, and that all else is compared with."""

from __future__ import annotations

import time
from pathlib import Path

import zmq
from _case import Case, Received, Sent, Total

from mqviz.telemetry import clock

HELLO = b"hello"
CHUNK = 100
"""Messages between two looks at the clock."""


class BareSender:
    """A loop around `send`, as anybody would write it."""

    def __init__(self, case: Case, folder: Path) -> None:
        self._case = case
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.PUSH if case.pattern == "push-pull" else zmq.PUB)
        self._socket.sndhwm = case.hwm
        self._socket.bind(case.bind(folder))
        self.endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def hello(self) -> None:
        """One, where there is room."""
        try:
            self._socket.send(HELLO, zmq.DONTWAIT)
        except zmq.Again:
            pass

    def send(self, seconds: float) -> Sent:
        """For so long; an empty message comes last."""
        send, payload, most = self._socket.send, b"x" * self._case.size, self._case.most
        messages = 0
        end = time.monotonic() + seconds
        while not messages or (time.monotonic() < end and messages < most):
            for _ in range(CHUNK):
                send(payload)
            messages += CHUNK
        send(b"")
        return Sent(messages)

    def close(self) -> None:
        """All has been received."""
        self._socket.close(0)
        self._context.term()


class BareReceiver:
    """A loop around `recv`."""

    def __init__(self, case: Case, endpoint: str, folder: Path) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.PULL if case.pattern == "push-pull" else zmq.SUB)
        self._socket.rcvhwm = case.hwm
        if case.pattern == "pub-sub":
            self._socket.subscribe(b"")
        self._socket.connect(endpoint)

    def hear(self) -> bool:
        """Whether a hello has come."""
        return bool(self._socket.poll(10)) and self._socket.recv() == HELLO

    def receive(self, total: Total) -> Received:
        """Until the empty message."""
        receive = self._socket.recv
        while receive() == HELLO:
            pass
        began = clock.now_ns()
        while receive():
            pass
        took = clock.now_ns() - began
        while (messages := total()) is None:
            time.sleep(0.001)
        return Received(messages, (messages - 1) * 1e9 / took)

    def close(self) -> None:
        """At once."""
        self._socket.close(0)
        self._context.term()

"""Collector: a thread that takes the agents' Reports off the wire, into the store and the recording."""

from __future__ import annotations

import contextlib
import os
import threading

import zmq

from mqviz.errors import CannotRun, EndpointInUse
from mqviz.telemetry import clock, sample
from mqviz.telemetry.recording import Recording
from mqviz.telemetry.roll import UNREADABLE
from mqviz.telemetry.sample import Mark, Report
from mqviz.telemetry.store import Store

POLL_MS = 50
DRAIN_NS = 500_000_000
"""Together, how long `stop` may have to wait for the thread."""


class Collector:
    """Feeds a store. The lab's Marks go through `mark`, so that a recording has all in one order."""

    def __init__(self, store: Store, endpoint: str, recording: Recording | None = None) -> None:
        self._store = store
        self._endpoint = endpoint
        self._recording = recording
        self._order = threading.Lock()
        self._final = threading.Event()
        self._stopping = threading.Event()
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Bind, then read in a thread. Raises EndpointInUse or CannotRun when the address cannot be had."""
        path = self._path()
        # libzmq would take an ipc path away from whoever holds it
        if path is not None and os.path.exists(path):
            raise EndpointInUse(self._endpoint)
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        socket = context.socket(zmq.PULL)
        socket.linger = 0
        socket.maxmsgsize = sample.MAX_BYTES
        try:
            socket.bind(self._endpoint)
        except zmq.ZMQError as error:
            socket.close()
            context.term()
            raise CannotRun(f"telemetry cannot listen at {self._endpoint}: {error.strerror}") from error
        self._context = context
        self._thread = threading.Thread(target=self._run, args=(socket,), name="mqviz-collector", daemon=True)
        self._thread.start()

    def mark(self, mark: Mark) -> bool:
        """A Mark of the lab, into the store and the recording; from any thread, started or not."""
        return self._take(mark, None)

    def wait_final(self, timeout_s: float) -> bool:
        """Wait until every agent that ever reported has sent its last Report."""
        return self._final.wait(timeout_s)

    def stop(self) -> None:
        """Take in what has arrived, end the thread and give the address back; again does nothing."""
        thread, context = self._thread, self._context
        if thread is None or context is None:
            return
        self._stopping.set()
        thread.join()
        context.term()
        self._thread = self._context = None
        if (path := self._path()) is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def _path(self) -> str | None:
        return self._endpoint.removeprefix("ipc://") if self._endpoint.startswith("ipc://") else None

    def _run(self, socket: zmq.Socket[bytes]) -> None:
        with contextlib.closing(socket):
            while not self._stopping.is_set():
                if socket.poll(POLL_MS):
                    self._receive(socket.recv())
            # what has arrived by now, however fast more comes
            until = clock.now_ns() + DRAIN_NS
            while socket.poll(0) and clock.now_ns() < until:
                self._receive(socket.recv())

    def _receive(self, data: bytes) -> None:
        try:
            record = sample.decode(data)
        except UNREADABLE:
            record = None
        # Marks are made by the lab, they do not come from outside
        if not isinstance(record, Report):
            self._store.refuse()
            return
        self._take(record, data)
        if record.final and self._store.final:
            self._final.set()

    def _take(self, record: Report | Mark, data: bytes | None) -> bool:
        with self._order:
            taken = self._store.append(record)
            if taken and self._recording is not None:
                self._recording.append(record, data)
            return taken

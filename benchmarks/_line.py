"""Two processes with a message line between them, told by this one what to send; they stay from case to case."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from _bare import BareReceiver, BareSender
from _case import Case, Received, Sent
from _loops import EngineReceiver, EngineSender

from mqviz.simulation import engine, private
from mqviz.simulation.engine import native_cache
from mqviz.simulation.runner import one_ns_timer_slack

HELLO_S = 0.003
ANSWER_S = 60.0
"""A process that is silent for so long hangs."""


class Ran(NamedTuple):
    """What both ends say of one case."""

    sent: Sent
    received: Received
    cpu_ns: float  # a message, of both processes with libzmq's own threads


class Line:
    """A sending and a receiving process; `run` one case after the other."""

    def __init__(self, folder: Path) -> None:
        start = multiprocessing.get_context("spawn")  # a fork would share what this process has open
        self._processes = []
        pipes = []
        for side in (send_side, receive_side):
            ours, theirs = start.Pipe()
            process = start.Process(target=side, args=(theirs, folder), daemon=True)
            process.start()
            theirs.close()  # so that the end of the process is the end of the pipe
            self._processes.append(process)
            pipes.append(ours)
        self._sender, self._receiver = pipes

    def run(self, case: Case, seconds: float) -> Ran:
        """Send for so long, and wait until all is received."""
        self._sender.send(case)
        endpoint = told(self._sender)
        self._receiver.send((case, endpoint))
        told(self._receiver)  # it has heard a hello
        self._sender.send(seconds)
        sent: Sent
        received: Received
        sent, send_ns = told(self._sender)
        self._receiver.send(sent.messages)
        received, receive_ns = told(self._receiver)
        self._sender.send(None)
        told(self._sender)
        if received.messages != sent.messages:
            raise RuntimeError(f"{case}: {sent.messages} sent, {received.messages} received")
        return Ran(sent, received, (send_ns + receive_ns) / sent.messages)

    def close(self) -> None:
        """End both processes."""
        for pipe in (self._sender, self._receiver):
            try:
                pipe.send(None)
            except BrokenPipeError:
                pass
        for process in self._processes:
            process.join(2)
            if process.is_alive():
                process.kill()
                process.join()


@contextmanager
def lines(count: int) -> Iterator[list[Line]]:
    """Some lines, each with a private folder of its own in memory; the native engine is compiled before."""
    if engine.native_available():
        native_cache.warm()
    folders = [private.create() for _ in range(count)]
    opened: list[Line] = []
    try:
        for folder in folders:
            opened.append(Line(folder))
        yield opened
    finally:
        for line in opened:
            line.close()
        for folder in folders:
            private.remove(folder)


def told(pipe: Connection) -> Any:
    """What the other side says. Raises RuntimeError when it has ended or says nothing."""
    if not pipe.poll(ANSWER_S):
        raise RuntimeError(f"no answer within {ANSWER_S:.0f} s")
    try:
        return pipe.recv()
    except EOFError:
        raise RuntimeError("a process of the benchmark has ended; its last words are above") from None


def open_sender(case: Case, folder: Path) -> Any:
    """The sending end of a variant."""
    if case.variant == "pyzmq":
        return BareSender(case, folder)
    if case.variant == "uninstrumented":
        from _uninstrumented import UninstrumentedSender

        return UninstrumentedSender(case, folder)
    return EngineSender(case, folder)


def open_receiver(case: Case, endpoint: str, folder: Path) -> Any:
    """The receiving end of a variant."""
    if case.variant == "pyzmq":
        return BareReceiver(case, endpoint, folder)
    if case.variant == "uninstrumented":
        from _uninstrumented import UninstrumentedReceiver

        return UninstrumentedReceiver(case, endpoint, folder)
    return EngineReceiver(case, endpoint, folder)


def send_side(pipe: Connection, folder: Path) -> None:
    """The sending process."""
    one_ns_timer_slack()
    while (case := pipe.recv()) is not None:
        end = open_sender(case, folder)
        pipe.send(end.endpoint)
        while not pipe.poll(HELLO_S):
            end.hello()
        if (seconds := pipe.recv()) is None:
            return  # the other side has failed
        before = time.process_time_ns()
        pipe.send((end.send(seconds), time.process_time_ns() - before))
        pipe.recv()  # all is received: a socket that is closed before may lose its tail
        end.close()
        pipe.send("closed")


def receive_side(pipe: Connection, folder: Path) -> None:
    """The receiving process."""
    one_ns_timer_slack()
    while (told_ := pipe.recv()) is not None:
        case, endpoint = told_
        end = open_receiver(case, endpoint, folder)
        while not end.hear():
            time.sleep(0)
        pipe.send("heard")
        total = Total(pipe)
        before = time.process_time_ns()
        pipe.send((end.receive(total.known), time.process_time_ns() - before))
        end.close()


class Total:
    """How many messages were sent, once the sender has said so."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._total: int | None = None

    def known(self) -> int | None:
        """None: not yet."""
        if self._total is None and self._pipe.poll():
            self._total = self._pipe.recv()
        return self._total

"""Agent: one process a machine that reads every probe there, by `python -m mqviz.telemetry.agent`.

It takes one JSON line on stdin (see Settings), then sends a Report each interval. The line `final` brings
one last full Report and a clean exit; the end of stdin, or of the process that started it, an exit without,
and the lab's private folder goes too. It shares no process with what it measures, so it still reads the last
counts of a runner that was killed.
"""

from __future__ import annotations

import os
import select
import shutil
import sys
import time
from pathlib import Path

import msgspec
import zmq

from mqviz.telemetry import clock, sample
from mqviz.telemetry.reading import Reading
from mqviz.telemetry.sample import Report, Sample

FULL_NS = 10_000_000_000
"""All words are sent again after so long: heals what a lost Report had."""
WATCH_S = 0.5
"""stdin and the parent are looked at so often at least, however long the interval."""
MOST_SAMPLE_BYTES = sample.MAX_BYTES // 4
"""A pass with more goes out as several Reports."""
MOST_LINE_BYTES = 1 << 16
PRIVATE = "mqviz-"
"""What the names of labs' private folders begin with."""


class Settings(msgspec.Struct, frozen=True):
    """The line on stdin."""

    agent: str
    folder: str  # of the *.probe files
    collector: str  # ipc://...
    interval_ms: int = 100


class Agent:
    """The probes of a folder, and the socket to the collector."""

    def __init__(self, settings: Settings, socket: zmq.Socket[bytes]) -> None:
        self._name = settings.agent
        self._folder = Path(settings.folder)
        self._socket = socket
        self._readings: list[Reading] = []
        self._files: set[tuple[str, int]] = set()
        self._folder_ns = -1
        self._scans = 0
        self._sequence = 0
        self._full_ns = -FULL_NS

    def step(self, final: bool = False) -> None:
        """One pass over all probes, and its Report; one that cannot be sent is dropped."""
        fresh = self._look_for_files()
        started = clock.now_ns()
        for reading in self._readings:
            reading.read_received()
        for reading in self._readings:
            reading.read_sent()
        span = clock.now_ns() - started
        full = final or started - self._full_ns >= FULL_NS
        if full:
            self._full_ns = started
        samples = [each for reading in self._readings if (each := reading.sample(full)) is not None]
        parts = split(samples)
        for i, part in enumerate(parts):
            report = Report(
                agent=self._name,
                sequence=self._sequence,
                at_ns=started,
                span_ns=span,
                cpu_ns=time.process_time_ns(),
                full=full,
                final=final and i == len(parts) - 1,
                announced=tuple(r.announce for r in (self._readings if full else fresh)) if i == 0 else (),
                samples=tuple(part),
            )
            self._sequence += 1
            try:
                self._socket.send(sample.encode(report), 0 if final else zmq.DONTWAIT)
            except zmq.Again:
                # what was in it is not sent again until it changes, so all of it follows with the next pass
                self._full_ns = -FULL_NS

    def _look_for_files(self) -> list[Reading]:
        try:
            changed_ns = self._folder.stat().st_mtime_ns
        except FileNotFoundError:
            return []  # the run is being cleared away
        if changed_ns != self._folder_ns:
            # the time of a folder is coarse: a file may come just after the look, in the same tick
            self._folder_ns, self._scans = changed_ns, 2
        if not self._scans:
            return []
        self._scans -= 1
        fresh: list[Reading] = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                file = entry.name, entry.inode()
                if not entry.name.endswith(".probe") or file in self._files:
                    continue
                self._files.add(file)
                try:
                    fresh.append(Reading(Path(entry.path), len(self._readings) + len(fresh)))
                except (OSError, ValueError, RecursionError):
                    continue  # not a probe of ours; it came complete, so it will not become one
        self._readings += fresh
        return fresh


def split(samples: list[Sample]) -> list[list[Sample]]:
    """Samples in parts that each fit into a Report; one empty part for none."""
    parts: list[list[Sample]] = [[]]
    room = MOST_SAMPLE_BYTES
    for each in samples:
        size = len(each.positions) + len(each.values)
        if size > room and parts[-1]:
            parts.append([])
            room = MOST_SAMPLE_BYTES
        parts[-1].append(each)
        room -= size
    return parts


class Orders:
    """What comes on stdin, line by line."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._buffer = b""

    def line(self, timeout_s: float | None) -> bytes | None:
        """The next line, b"" at the end of stdin, None when nothing came in time."""
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while b"\n" not in self._buffer:
            left = None if until is None else max(0.0, until - time.monotonic())
            if not select.select([self._fd], [], [], left)[0]:
                return None
            data = os.read(self._fd, MOST_LINE_BYTES)
            if not data or len(self._buffer) > MOST_LINE_BYTES:
                return b""
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        return line + b"\n"


def watch(agent: Agent, orders: Orders, interval_s: float, parent: int) -> bool:
    """Pass after pass on a fixed grid of time, until told; whether a last Report is wanted."""
    due = time.monotonic()
    while True:
        agent.step()
        now = time.monotonic()
        due += interval_s * max(1, -(-(now - due) // interval_s))
        while (left := due - time.monotonic()) > 0:
            line = orders.line(min(left, WATCH_S))
            if line is not None:
                return line == b"final\n"
            if os.getppid() != parent:
                return False


def remove_private(folder: Path) -> None:
    """Take away what a killed lab has left; a folder that a person has named stays."""
    if folder.name.startswith(PRIVATE):
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """Run until told to end."""
    parent = os.getppid()
    orders = Orders(sys.stdin.fileno())
    line = orders.line(None)
    if not line:
        return 0
    try:
        settings = msgspec.json.decode(line, type=Settings)
    except (ValueError, RecursionError) as error:
        print(f"mqviz agent: the settings on stdin cannot be read: {error}", file=sys.stderr)
        return 2
    context = zmq.Context()
    socket = context.socket(zmq.PUSH)
    socket.sndhwm = 32
    socket.linger = 0
    socket.sndtimeo = 1000  # for the last Report only: the others do not wait
    try:
        socket.connect(settings.collector)
        agent = Agent(settings, socket)
        if watch(agent, orders, settings.interval_ms / 1000, parent):
            socket.linger = 1000
            agent.step(final=True)
        else:
            remove_private(Path(settings.folder))
    finally:
        socket.close()
        context.term()
    return 0


if __name__ == "__main__":
    sys.exit(main())

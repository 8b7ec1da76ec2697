"""Recording: a run's Reports and Marks on disk, in `samples/000001.mqs` and so on.

A segment spans ten minutes. Beside each a coarser one is written, with about one Report a second (words are
cumulative, so the last value of each is enough) and all Marks. It takes the place of the fine one when the
next segment is full too: the newest ten minutes are always there as they came.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np

from mqviz.errors import RecordingError
from mqviz.telemetry import clock, segment
from mqviz.telemetry.clock import Anchor
from mqviz.telemetry.sample import Announce, Mark, Report, Sample
from mqviz.telemetry.segment import Damage, Head, Merged
from mqviz.telemetry.store import Store
from mqviz.telemetry.topology import Topology

SEGMENT_NS = 600_000_000_000
COARSE_NS = 1_000_000_000
FLUSH_NS = 1_000_000_000


class Recording:
    """Appends what a store takes in. A full disk ends it with a sentence in `failed`, not the run."""

    def __init__(
        self, folder: Path, topology: Topology, anchor: Anchor, *, segment_ns: int = SEGMENT_NS
    ) -> None:
        self.failed: str | None = None
        self._folder = folder / "samples"
        self._head = Head(topology, anchor)
        self._segment_ns = segment_ns
        self._lock = threading.Lock()
        self._number = 0
        self._since_ns = 0
        self._flushed_ns = 0
        self._file: BinaryIO | None = None
        self._thin: Thinner | None = None
        self._closed = False
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self._fail(error)

    def append(self, record: Report | Mark, data: bytes | None = None) -> None:
        """One more record; `data` is its encoding where that is at hand."""
        with self._lock:
            if self._closed or self.failed is not None:
                return
            try:
                file, thin = self._files(record.at_ns)
                segment.write(file, record, data)
                thin.append(record)
                now = clock.now_ns()
                if now - self._flushed_ns >= FLUSH_NS:
                    self._flushed_ns = now
                    file.flush()
            except OSError as error:
                self._fail(error)

    def close(self) -> None:
        """Write out what is left; again does nothing."""
        with self._lock:
            self._closed = True
            try:
                if self._file is not None:
                    self._file.close()
            except OSError as error:
                self._fail(error)
            self._file = None
            if self._thin is not None:
                self._thin.discard()
                self._thin = None
            for left in self._folder.glob("*.coarse"):
                left.unlink(missing_ok=True)

    def _files(self, at_ns: int) -> tuple[BinaryIO, Thinner]:
        if self._file is None or self._thin is None or at_ns - self._since_ns >= self._segment_ns:
            if self._file is not None and self._thin is not None:
                self._file.close()
                self._thin.close()
                before = self._name(self._number - 1)
                with contextlib.suppress(FileNotFoundError):  # there is none before the first
                    before.with_suffix(".coarse").replace(before)
            self._number += 1
            self._since_ns = at_ns
            name = self._name(self._number)
            self._file = segment.create(name, self._head)
            self._thin = Thinner(segment.create(name.with_suffix(".coarse"), self._head))
        return self._file, self._thin

    def _name(self, number: int) -> Path:
        return self._folder / f"{number:06}.mqs"

    def _fail(self, error: OSError) -> None:
        self.failed = f"the recording in {self._folder} has stopped: {error.strerror or error}"


class Thinner:
    """Writes a coarser segment while the fine one grows, so that no time is spent on it afterwards."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._pending: dict[str, list[Report]] = {}
        self._second = -1
        self._after_mark = False

    def append(self, record: Report | Mark) -> None:
        """One more record."""
        if isinstance(record, Mark):
            self._flush()
            segment.write(self._file, record)
            self._after_mark = True
            return
        second = (record.at_ns - 1) // COARSE_NS
        if second != self._second:
            self._flush()
            self._second = second
        self._pending.setdefault(record.agent, []).append(record)
        # the first one after a mark stays by itself: the books ask what was counted just after a death
        if self._after_mark:
            self._flush()
            self._after_mark = False

    def close(self) -> None:
        """Write out what is left."""
        self._flush()
        self._file.close()

    def discard(self) -> None:
        """It is not needed."""
        with contextlib.suppress(OSError):
            self._file.close()

    def _flush(self) -> None:
        for reports in self._pending.values():
            merged = reports[0] if len(reports) == 1 else Merged(merge(reports), len(reports))
            segment.write(self._file, merged)
        self._pending.clear()


def merge(reports: list[Report]) -> Report:
    """Consecutive Reports of one agent as one."""
    announced: dict[int, Announce] = {}
    samples: dict[int, list[Sample]] = {}
    for report in reports:
        announced.update((each.probe, each) for each in report.announced)
        for each in report.samples:
            samples.setdefault(each.probe, []).append(each)
    return msgspec.structs.replace(
        reports[-1],
        span_ns=max(report.span_ns for report in reports),
        full=any(report.full for report in reports),
        final=any(report.final for report in reports),
        announced=tuple(announced.values()),
        samples=tuple(_last(each) if len(each) > 1 else each[0] for each in samples.values()),
    )


def _last(samples: list[Sample]) -> Sample:
    positions = np.frombuffer(b"".join(each.positions for each in reversed(samples)), "<u4")
    values = np.concatenate([np.frombuffer(each.values, "<u8") for each in reversed(samples)])
    kept, first = np.unique(positions, return_index=True)
    return Sample(samples[0].probe, kept.tobytes(), values[first].tobytes())


class Recorded:
    """A recording to read: `topology`, `anchor`, and iteration over its Reports and Marks.

    A tail that was torn by a crash ends the iteration and sets `torn`. Other damage raises RecordingError
    there, after all that comes before it has been handed out.
    """

    def __init__(self, folder: Path) -> None:
        self._paths = sorted((folder / "samples").glob("[0-9]" * 6 + ".mqs"))
        self.torn = False
        if not self._paths:
            raise RecordingError(f"there is no recording in {folder}: samples/000001.mqs is missing")
        for number, path in enumerate(self._paths, 1):
            if path.name != f"{number:06}.mqs":
                raise RecordingError(f"{path.with_name(f'{number:06}.mqs')} is missing")
        with segment.opened(self._paths[0]) as file:
            self._head = segment.read_head(file, self._paths[0])

    @property
    def topology(self) -> Topology:
        """The nodes and links of the run."""
        return self._head.topology

    @property
    def anchor(self) -> Anchor:
        """What ties its times to wall time."""
        return self._head.anchor

    def __iter__(self) -> Iterator[Report | Mark]:
        numbering = Numbering()
        until_ns = self.anchor.monotonic_ns
        self.torn = False
        for path in self._paths:
            with segment.opened(path) as file:
                segment.read_head(file, path)
                try:
                    for record in segment.frames(file):
                        plain = numbering.plain(record)
                        until_ns = max(until_ns, plain.at_ns)
                        yield plain
                except Damage as damage:
                    if damage.torn and path is self._paths[-1]:
                        self.torn = True
                        return
                    saved_s = (until_ns - self.anchor.monotonic_ns) / 1e9
                    raise RecordingError(
                        f"{path} is damaged at byte {damage.at}: the first {saved_s:.1f} s of the run can be "
                        "read, the rest cannot"
                    ) from damage


class Numbering:
    """Gives merged Reports consecutive numbers, so that a gap is still a Report that was lost."""

    def __init__(self) -> None:
        self._skipped: dict[str, int] = {}
        self._last: dict[str, int] = {}

    def plain(self, record: segment.Record) -> Report | Mark:
        """The record as if it had come so."""
        if isinstance(record, Mark):
            return record
        report, count = (record.report, record.count) if isinstance(record, Merged) else (record, 1)
        if report.sequence < self._last.get(report.agent, -1):
            self._skipped[report.agent] = 0  # an agent that was started anew
        self._last[report.agent] = report.sequence
        skipped = self._skipped[report.agent] = self._skipped.get(report.agent, 0) + count - 1
        return msgspec.structs.replace(report, sequence=report.sequence - skipped) if skipped else report


def read(folder: Path) -> Recorded:
    """Open the recording of a run's folder. Raises RecordingError when there is none that can be read."""
    return Recorded(folder)


def replay_into_store(folder: Path) -> Store:
    """A store as it was at the end of the recorded run."""
    recorded = Recorded(folder)
    store = Store(recorded.topology, recorded.anchor)
    for record in recorded:
        store.append(record)
    return store

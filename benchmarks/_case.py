"""One case of a message line: what is sent how, and what its two ends have to tell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from mqviz.telemetry import clock

READING_NS = 5_000_000
"""A receiving loop's count is read so often: a rate is between two of them."""
MOST_BYTES = 400 << 20
"""A publisher without a high-water mark queues all that its subscriber is behind: no more than this."""

Total = Callable[[], int | None]
"""How many messages there were in all; None while the sender still sends."""


class Case(NamedTuple):
    """What is sent how; `rate`: messages/s on a constant schedule, None: as fast as sends are accepted."""

    variant: str  # pyzmq | python | native | uninstrumented
    pattern: str
    transport: str
    size: int
    rate: float | None = None

    @property
    def hwm(self) -> int:
        """A publisher drops what is above its mark, so there it has none."""
        return 1000 if self.pattern == "push-pull" else 0

    @property
    def most(self) -> int:
        """Messages that one run may send."""
        return MOST_BYTES // self.size

    def bind(self, folder: Path) -> str:
        """Where the sending end is to listen."""
        return "tcp://127.0.0.1:*" if self.transport == "tcp" else f"ipc://{folder}/{self.variant}.ipc"


class Sent(NamedTuple):
    """What the sending end has to tell."""

    messages: int
    rate_error: float = 0.0  # of a schedule: achieved / offered - 1
    lateness_p99_ns: int = 0


class Received(NamedTuple):
    """What the receiving end has to tell."""

    messages: int
    rate: float


def timed(slice_: Callable[[], int], total: Total) -> Received:
    """Run slices, each of which tells how many have come so far, until all have; the rate while they came."""
    began_ns = clock.now_ns()
    readings: list[tuple[int, int]] = []
    while True:
        count = slice_()
        wanted = total()
        if count == wanted:
            break
        if count:
            readings.append((clock.now_ns(), count))
    # the slice in which the last one comes goes on without messages, so its end tells no rate if others can
    if len(readings) < 2:
        readings = [(began_ns, 0), (clock.now_ns(), count)]
    (first_ns, first), (last_ns, last) = readings[0], readings[-1]
    return Received(count, (last - first) * 1e9 / (last_ns - first_ns))

"""The one home of time: monotonic nanoseconds, and one anchor to wall time a run."""

from __future__ import annotations

import time
from typing import NamedTuple

now_ns = time.monotonic_ns
"""CLOCK_MONOTONIC in ns: one clock for all processes of a machine (Linux, macOS)."""


class Anchor(NamedTuple):
    """One pair of readings that ties the monotonic clock to wall time."""

    monotonic_ns: int
    wall_ns: int

    def wall(self, at_ns: int) -> int:
        """Wall time (ns since 1970, UTC) of a monotonic reading; a later wall-clock step does not enter."""
        return self.wall_ns + (at_ns - self.monotonic_ns)


def anchor() -> Anchor:
    """Read both clocks; of three readings the one with the shortest gap counts."""
    best: tuple[int, Anchor] | None = None
    for _ in range(3):
        before = time.monotonic_ns()
        wall = time.time_ns()
        after = time.monotonic_ns()
        if best is None or after - before < best[0]:
            best = (after - before, Anchor((before + after) // 2, wall))
    assert best is not None
    return best[1]

"""Schedule: when an instance intends to send, what size and on which topic; made ahead from the seed.

The schedule does not wait for the system: what is due and not yet sent stays due (open loop). A change of
rate ends one segment of the schedule and begins the next; what fell due before it is kept.
"""

from __future__ import annotations

import copy
import math
import zlib
from collections import deque

import numpy as np

from mqviz.simulation import arrivals as arrival_module
from mqviz.simulation.distribution import draw_sizes, parse_size_distribution
from mqviz.telemetry.histogram import I64

NEVER = (1 << 63) - 1

PURPOSES = {"arrivals": 0, "size": 1, "topic": 2, "service": 3}


def seed_of(
    seed: int, node: str, index: int, incarnation: int, purpose: str, change: int = 0
) -> tuple[int, ...]:
    """The seed of one random stream: its own for each instance, incarnation, purpose and live change."""
    return (seed, zlib.crc32(node.encode()), index, incarnation, PURPOSES[purpose], change)


class Timetable:
    """Intended times of one instance over segments: each a stream and the time at which it is cut off."""

    def __init__(self) -> None:
        self._segments: deque[tuple[arrival_module.ArrivalStream, int]] = deque()
        self._held: I64 = np.zeros(0, np.int64)

    def add(self, stream: arrival_module.ArrivalStream, until_ns: int) -> None:
        """A segment after the others."""
        self._segments.append((stream, until_ns))

    def cut(self, at_ns: int) -> None:
        """Nothing is intended at or after `at_ns` any more."""
        self._held = self._held[: np.searchsorted(self._held, at_ns)]
        self._segments = deque((stream, min(until, at_ns)) for stream, until in self._segments)

    def put_back(self, times: I64) -> None:
        """Return times that were taken and not used; they come first again."""
        self._held = np.concatenate([times, self._held])

    def next(self, n: int) -> I64:
        """The next n times; fewer when the segments end before."""
        parts: list[I64] = []
        have = 0
        if len(self._held):
            part, self._held = self._held[:n], self._held[n:]
            parts.append(part)
            have = len(part)
        while have < n and self._segments:
            stream, until = self._segments[0]
            part = stream.next(n - have)
            inside = int(np.searchsorted(part, until))
            if inside < n - have:  # cut off, or a replay has ended
                self._segments.popleft()
            if inside:
                parts.append(part[:inside])
                have += inside
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)


class Schedule:
    """One instance's next messages in arrays of fixed room, and how many have fallen due."""

    def __init__(
        self, room: int, seed: tuple[int, str, int, int], size: str, weights: tuple[float, ...]
    ) -> None:
        """`seed`: the scenario's, node, index, incarnation; `weights` of the topics."""
        self.times: I64 = np.full(room, NEVER, np.int64)
        self.sizes: I64 = np.zeros(room, np.int64)
        self.topics: I64 = np.zeros(room, np.int64)
        self.head = 0  # next to send; the engine moves it
        self.tail = 0
        self._seed = seed
        self._changes = 0
        self._base = 0  # messages before this filling
        self._timetable = Timetable()
        self._ahead: tuple[Timetable, int, I64] | None = None  # looks for what is due past the filling
        self.due = 0
        self._size_rng = np.random.default_rng(seed_of(*seed, "size"))
        self._topic_rng = np.random.default_rng(seed_of(*seed, "topic"))
        self._cumulative = np.cumsum(np.array(weights) / sum(weights))
        self.set_size(size)

    def set_size(self, size: str) -> None:
        """For messages that are filled in from now on, and those not yet sent."""
        self._size = parse_size_distribution(size)
        self.largest = int(self._size.mean) if self._size.is_constant else 0
        if self.tail > self.head:
            self.sizes[self.head : self.tail] = draw_sizes(self._size, self._size_rng, self.tail - self.head)

    def follow(
        self, arrivals: str, rate: float, start_ns: int, until_ns: int, index: int, count: int
    ) -> None:
        """A new segment from `start_ns` on; times that were due before stay, later ones go."""
        self.cut(start_ns)
        if not math.isfinite(rate):
            return
        seed = seed_of(*self._seed, "arrivals", self._changes)
        self._changes += 1
        spec = arrival_module.parse_arrivals(arrivals)
        self._timetable.add(arrival_module.stream(spec, rate, start_ns, seed, index, count), until_ns)
        self._ahead = None

    def cut(self, at_ns: int) -> None:
        """Nothing is intended at or after `at_ns` any more."""
        self._ahead = None
        self._timetable.cut(at_ns)
        keep = max(int(np.searchsorted(self.times[: self.tail], at_ns)), self.head)
        self.times[keep : self.tail] = NEVER
        self.tail = keep

    def fill(self) -> bool:
        """Room is filled up with what comes next; False when there is nothing more."""
        left = self.tail - self.head
        if self.head:
            for array in (self.times, self.sizes, self.topics):
                array[:left] = array[self.head : self.tail].copy()
            self._base += self.head
        new = self._timetable.next(len(self.times) - left)
        end = left + len(new)
        self.times[left:end] = new
        self.times[end:] = NEVER
        self.sizes[left:end] = draw_sizes(self._size, self._size_rng, len(new))
        self.topics[left:end] = self.draw_topics(len(new))
        self.head, self.tail = 0, end
        return end > 0

    def draw_topics(self, n: int) -> I64:
        """Topic numbers by weight."""
        if len(self._cumulative) == 1:
            return np.zeros(n, np.int64)
        return np.searchsorted(self._cumulative, self._topic_rng.random(n), "right").clip(
            0, len(self._cumulative) - 1
        )

    def draw_sizes(self, n: int) -> I64:
        """Sizes for a closed loop, which has no schedule."""
        return draw_sizes(self._size, self._size_rng, n)

    def count_due(self, now_ns: int) -> int:
        """How many intended times have passed, the unsent ones beyond this filling included."""
        end = self._base + self.tail
        if self.tail and self.times[self.tail - 1] > now_ns:
            self.due = max(
                self.due, self._base + int(np.searchsorted(self.times[: self.tail], now_ns, "right"))
            )
            return self.due
        if self.head == self.tail:  # not behind: the next filling tells
            self.due = max(self.due, end)
            return self.due
        if self._ahead is None or self._ahead[1] < end:
            self._ahead = (copy.deepcopy(self._timetable), end, np.zeros(0, np.int64))
        timetable, base, times = self._ahead
        while not len(times) or times[-1] <= now_ns:
            base += len(times)
            times = timetable.next(4096)
            if not len(times):
                break
        self._ahead = (timetable, base, times)
        self.due = max(self.due, base + int(np.searchsorted(times, now_ns, "right")))
        return self.due

    def unsent(self, now_ns: int, measure_ns: int) -> tuple[int, int, int]:
        """What has fallen due and was not sent: all, those of the measure phase, their shortest wait in ns.

        Call it when the schedule has ended; it goes through all that is left.
        """
        total = measured = 0
        shortest = 0
        while True:
            left = self.times[self.head : self.tail]
            left = left[left <= now_ns]
            total += len(left)
            inside = left[left >= measure_ns]
            measured += len(inside)
            if len(inside):
                shortest = now_ns - int(inside[-1])
            self.head = self.tail
            if not self.fill():
                return total, measured, shortest

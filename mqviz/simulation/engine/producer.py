"""What both engines' producers share: schedules, live changes, and the books of what was due."""

from __future__ import annotations

import math

import numpy as np

from mqviz.simulation.engine.ends import HistogramPlaces, Member
from mqviz.simulation.plan import Command, LoopPlan
from mqviz.simulation.schedule import NEVER, Schedule
from mqviz.telemetry import probe
from mqviz.telemetry.histogram import U64

RATE_OF_BATCHES = 20_000
"""Messages/s of a loop above which it sends in batches of 1 ms instead of sleeping to each time."""
BATCH_NS = 1_000_000


class Producers:
    """Producer instances of one node that share a thread; an engine fills in `slice`."""

    def __init__(
        self, plan: LoopPlan, members: list[Member], words: U64, places: HistogramPlaces, seed: int
    ) -> None:
        self.plan = plan
        self.members = members
        self.words = words
        self.places = places
        self.rate = math.inf if plan.rate is None else plan.rate
        self.count = plan.count
        self.paused = False
        self.ending = False
        """Nothing new becomes due; what is due is still sent where there is room."""
        self.finished = False
        self.measure_ns = NEVER
        self.until_ns = NEVER
        self._settled = False
        room = self._room()
        weights = members[0].senders[0].plan.weights
        self.schedules = [
            Schedule(room, (seed, plan.node, m.index, m.plan.incarnation), plan.size, weights)
            for m in members
        ]
        self.closed = [0] * len(members)
        """Messages that each instance has begun to send in a closed loop."""

    def _room(self) -> int:
        if not math.isfinite(self.rate):
            return 4096
        return int(min(max(self.rate / self.count / 4, 256), 65536))

    @property
    def closed_loop(self) -> bool:
        """rate = "max": each message is intended when it is sent."""
        return not math.isfinite(self.rate) and not self.ending

    @property
    def catching_up(self) -> bool:
        """An instance that is not blocked has messages that are due."""
        return any(
            schedule.head < schedule.tail
            and not member.halted
            and not any(self.words[sender.offset + probe.BLOCKED_SINCE] for sender in member.senders)
            for member, schedule in zip(self.members, self.schedules, strict=True)
        )

    @property
    def rate_here(self) -> float:
        """Messages/s of this loop."""
        return self.rate / self.count * len(self.members)

    @property
    def batched(self) -> bool:
        """Send in batches of BATCH_NS."""
        return self.rate_here > RATE_OF_BATCHES

    def begin(self, at_ns: int, measure_ns: int, until_ns: int | None) -> None:
        """The load starts at `at_ns`."""
        self.measure_ns = measure_ns
        self.until_ns = NEVER if until_ns is None else until_ns
        self._follow(at_ns)
        self._set_state("running")

    def _follow(self, start_ns: int) -> None:
        for member, schedule in zip(self.members, self.schedules, strict=True):
            if not member.halted:
                schedule.follow(
                    self.plan.arrivals, self.rate, start_ns, self.until_ns, member.index, self.count
                )

    def _set_state(self, state: str) -> None:
        for member in self.members:
            if not member.halted:
                self.words[member.offset + probe.STATE] = probe.STATES.index(state)

    def change(self, command: Command, now_ns: int) -> None:
        """A live change of rate, size or of the node's count."""
        if command.size is not None:
            for schedule in self.schedules:
                schedule.set_size(command.size)
            self.sizes_changed()
        if command.maximum or command.rate is not None or command.count is not None:
            if command.maximum:
                self.rate = math.inf
            elif command.rate is not None:
                self.rate = command.rate
            self.count = command.count or self.count
            if not self.paused and not self.ending:
                self._follow(now_ns)
                self.schedules_changed()

    def pause(self, now_ns: int) -> None:
        """What is due stays due; nothing new becomes due."""
        if not self.paused:
            self.paused = True
            for schedule in self.schedules:
                schedule.cut(now_ns)
            self._set_state("paused")
            self.schedules_changed()

    def resume(self, now_ns: int) -> None:
        """A new segment of the schedule begins now."""
        if self.paused:
            self.paused = False
            if not self.ending:
                self._follow(now_ns)
                self._set_state("running")
                self.schedules_changed()

    def finish(self, now_ns: int) -> None:
        """Nothing is intended from now on; what is due may still be sent while it is not blocked."""
        self.until_ns = min(self.until_ns, now_ns)
        self.ending = True
        for schedule in self.schedules:
            schedule.cut(self.until_ns)
        self.schedules_changed()

    def halt(self, index: int, now_ns: int) -> None:
        """One instance ends."""
        for k, (member, schedule) in enumerate(zip(self.members, self.schedules, strict=True)):
            if member.index == index and not member.halted:
                self.flush()
                schedule.cut(now_ns)
                self._settle_one(k, now_ns)
                member.halted = True
                self.words[member.offset + probe.STATE] = probe.STATES.index("stopped")
                self.schedules_changed()
                member.close()

    def count_due(self, now_ns: int) -> None:
        """Write how much has fallen due; in a closed loop a message is due when it is first tried."""
        for k, (member, schedule) in enumerate(zip(self.members, self.schedules, strict=True)):
            if not member.halted:
                due = schedule.count_due(now_ns) + self.closed[k]
                for sender in member.senders:
                    self.words[sender.offset + probe.DUE] = due

    def settle(self, now_ns: int) -> None:
        """Final counts: due, and what was due and never sent. Once, after the end."""
        if self._settled:
            return
        self._settled = True
        self.flush()
        self.count_due(now_ns)
        for k, member in enumerate(self.members):
            if not member.halted:
                self._settle_one(k, now_ns)
        self.count_due(now_ns)
        self._set_state("stopped")

    def _settle_one(self, k: int, now_ns: int) -> None:
        member = self.members[k]
        _, measured, shortest = self.schedules[k].unsent(now_ns, self.measure_ns)
        self.give_up(k)
        for sender in member.senders:
            self.words[sender.offset + probe.BLOCKED_SINCE] = 0
            self.words[sender.offset + probe.CENSORED] = measured
            self.words[sender.offset + probe.CENSORED_NS] = shortest

    # what an engine adds

    def slice(self, until_ns: int) -> None:
        """Send what is due until the clock shows `until_ns`, or all is sent and nothing more comes."""
        raise NotImplementedError

    def flush(self) -> None:
        """What is kept in batches goes into the probe."""

    def schedules_changed(self) -> None:
        """The schedules' heads and tails have moved."""

    def sizes_changed(self) -> None:
        """The sizes have a new distribution."""

    def give_up(self, k: int) -> None:
        """Instance k will not send any more: a closed-loop message that no link has taken was never due."""


def largest_frame(schedule: Schedule, width: int) -> int:
    """Bytes of the largest frame that a filling holds."""
    largest = int(schedule.sizes[: schedule.tail].max(initial=0))
    return width + max(largest, schedule.largest)


def payload(length: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """Bytes to send: not compressible to nothing, and the same in every run."""
    return np.random.default_rng(20260101).integers(0, 256, length, np.uint8)

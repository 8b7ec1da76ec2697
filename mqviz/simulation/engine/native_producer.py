"""Producers of the native engine: Python makes the schedules, compiled code keeps them."""

from __future__ import annotations

import numpy as np

from mqviz.channels import message
from mqviz.simulation.engine import native_cache
from mqviz.simulation.engine.ends import HistogramPlaces, Member
from mqviz.simulation.engine.producer import Producers
from mqviz.simulation.plan import LoopPlan
from mqviz.telemetry.histogram import I64, U64

native_cache.ready()  # before numba is imported: it reads then where its cache is

from mqviz.simulation.engine import native_producer_loop as loop  # noqa: E402
from mqviz.simulation.engine.native_ends import check, grown, link_members, open_sending  # noqa: E402
from mqviz.simulation.engine.native_message import BUSY, FLAGS, LINK  # noqa: E402

DRAWS = 65_536
"""Sizes and topics drawn ahead for the closed loops of all instances together."""
LEAST_DRAWS = 256


class NativeProducers(Producers):
    """The loop in compiled code."""

    def __init__(
        self, plan: LoopPlan, members: list[Member], words: U64, places: HistogramPlaces, seed: int
    ) -> None:
        super().__init__(plan, members, words, places, seed)
        count, room = len(members), len(self.schedules[0].times)
        rows = np.zeros((count, loop.PRODUCER_COLUMNS), np.int64)
        link_members(rows, members)
        times, sizes, topics = (np.zeros((count, room), np.int64) for _ in range(3))
        for k, schedule in enumerate(self.schedules):  # from now on they fill rows of ours
            times[k], sizes[k], topics[k] = schedule.times, schedule.sizes, schedule.topics
            schedule.times, schedule.sizes, schedule.topics = times[k], sizes[k], topics[k]
        none = np.zeros((count, 0), np.int64)
        self._load = loop.Load(
            sending=open_sending(words, members, places),
            rows=rows,
            control=np.zeros(loop.CONTROLS, np.int64),
            times=times,
            sizes=sizes,
            topics=topics,
            drawn_sizes=none,
            drawn_topics=none,
        )
        self._weighted = len(members[0].senders[0].plan.topics) > 1

    def begin(self, at_ns: int, measure_ns: int, until_ns: int | None) -> None:
        super().begin(at_ns, measure_ns, until_ns)
        self._load = self._load._replace(sending=self._load.sending._replace(measure_ns=measure_ns))
        self.schedules_changed()

    def schedules_changed(self) -> None:
        rows, control = self._load.rows, self._load.control
        for k, (member, schedule) in enumerate(zip(self.members, self.schedules, strict=True)):
            rows[k, loop.HEAD], rows[k, loop.TAIL] = schedule.head, schedule.tail
            rows[k, loop.DRY] = rows[k, loop.HALTED] = member.halted
        control[loop.CLOSED_NOW] = self.closed_loop and not self.paused
        control[loop.BATCHED] = self.batched
        control[loop.BLOCKED_ROWS] = np.count_nonzero(rows[:, BUSY])

    def sizes_changed(self) -> None:
        none = np.zeros((len(self.members), 0), np.int64)
        self._load = self._load._replace(drawn_sizes=none, drawn_topics=none)
        for schedule in self.schedules:
            self._make_room(schedule.sizes[: schedule.tail])

    def give_up(self, k: int) -> None:
        row = self._load.rows[k]
        if row[BUSY] and row[FLAGS] & message.FLAG_CLOSED_LOOP and row[LINK] == 0:
            row[loop.CLOSED] -= 1
            self.closed[k] -= 1
        row[BUSY] = row[LINK] = 0

    def slice(self, until_ns: int) -> None:
        control = self._load.control
        while not self.finished:
            code = loop.produce(self._load, until_ns)
            self._take_over()
            if code == loop.FILL:
                self._fill(int(control[loop.WHICH]))
            elif code == loop.DRAW:
                self._draw(int(control[loop.WHICH]))
            else:
                check(code, self.plan.node)
                return

    def _take_over(self) -> None:
        """What the loop has moved on."""
        rows = self._load.rows
        for schedule, head in zip(self.schedules, rows[:, loop.HEAD].tolist(), strict=True):
            schedule.head = head
        self.closed = rows[:, loop.CLOSED].tolist()

    def _fill(self, k: int) -> None:
        schedule, row = self.schedules[k], self._load.rows[k]
        row[loop.DRY] = not schedule.fill()
        row[loop.HEAD], row[loop.TAIL] = schedule.head, schedule.tail
        self._make_room(schedule.sizes[: schedule.tail])

    def _draw(self, k: int) -> None:
        """Sizes and topics for a closed loop; those that are all alike are drawn once."""
        alike = not self._weighted and all(schedule.largest for schedule in self.schedules)
        self._load.control[loop.REPEAT] = alike
        if not self._load.drawn_sizes.shape[1]:
            count = len(self.members)
            shape = (count, max(DRAWS // count, LEAST_DRAWS))
            self._load = self._load._replace(
                drawn_sizes=np.zeros(shape, np.int64), drawn_topics=np.zeros(shape, np.int64)
            )
            wanted = range(count)
        else:
            wanted = range(k, k + 1)
        draws = self._load.drawn_sizes.shape[1]
        for at in wanted:
            self._load.drawn_sizes[at] = self.schedules[at].draw_sizes(draws)
            self._load.drawn_topics[at] = self.schedules[at].draw_topics(draws)
            self._load.rows[at, loop.DRAWN] = 0
            self._make_room(self._load.drawn_sizes[at])

    def _make_room(self, sizes: I64) -> None:
        self._load = self._load._replace(sending=grown(self._load.sending, sizes))

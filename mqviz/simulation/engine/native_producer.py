"""Producers of the native engine: Python makes the schedules, compiled code keeps them."""

from __future__ import annotations

import numpy as np

from mqviz.channels import message
from mqviz.simulation.engine import native_code
from mqviz.simulation.engine import native_state as at
from mqviz.simulation.engine.ends import HistogramPlaces, Member
from mqviz.simulation.engine.native_ends import SendRoom, check, frame_for
from mqviz.simulation.engine.producer import Producers
from mqviz.simulation.plan import LoopPlan
from mqviz.telemetry.histogram import I64, U64

DRAWS = 65_536
"""Sizes and topics drawn ahead for the closed loops of all instances together."""
LEAST_DRAWS = 256
LEAST_ROOM = 4096
"""Messages of a schedule that are made ahead, where there are not too many of them."""
MOST_ROOM = 65_536
NONE = np.zeros(0, np.int64)


class NativeProducers(Producers):
    """The loop in compiled code."""

    def __init__(
        self, plan: LoopPlan, members: list[Member], words: U64, places: HistogramPlaces, seed: int
    ) -> None:
        super().__init__(plan, members, words, places, seed)
        self._produce = native_code.loops().produce
        count, room = len(members), len(self.schedules[0].times)
        layout = at.Layout()
        first = layout.section(count * at.PRODUCER_COLUMNS)
        outs = SendRoom(layout, members)
        self._state = state = layout.make()
        self._rows = rows = at.table(state, first, at.PRODUCER_COLUMNS, count)
        outs.write(state, rows, places)
        state[at.ROWS], state[at.ROWS_END] = first, first + rows.size
        state[at.ALONE] = count == 1
        state[at.MEASURE_NS] = self.measure_ns
        self._signed_words = words.view(np.int64)
        self._frame = frame_for(state, NONE, NONE)
        self._schedule = np.zeros(3 * count * room, np.int64)
        self._draws = NONE
        parts = self._schedule.reshape(3, count, room)
        for k, schedule in enumerate(self.schedules):  # from now on it fills these
            times, sizes, topics = parts[:, k]
            times[:], sizes[:], topics[:] = schedule.times, schedule.sizes, schedule.topics
            schedule.times, schedule.sizes, schedule.topics = times, sizes, topics
            rows[k, at.TIMES : at.TOPICS_DUE + 1] = [(n * count + k) * room for n in range(3)]

    def _room(self) -> int:
        # a live change may make a slow producer a fast one
        return max(super()._room(), min(LEAST_ROOM, MOST_ROOM // len(self.members)))

    def begin(self, at_ns: int, measure_ns: int, until_ns: int | None) -> None:
        super().begin(at_ns, measure_ns, until_ns)
        self._state[at.MEASURE_NS] = measure_ns
        self.schedules_changed()

    def schedules_changed(self) -> None:
        state, rows = self._state, self._rows
        for row, member, schedule in zip(rows, self.members, self.schedules, strict=True):
            row[at.NEXT], row[at.TAIL] = schedule.head, schedule.tail
            row[at.DRY], row[at.HALTED] = 0, member.halted
        state[at.CLOSED_NOW] = self.closed_loop and not self.paused
        state[at.BATCHED] = self.batched
        state[at.BLOCKED_ROWS] = np.count_nonzero(rows[:, at.BUSY])

    def sizes_changed(self) -> None:
        self._state[at.DRAWS] = 0
        for schedule in self.schedules:
            self._make_room(schedule.sizes[: schedule.tail])

    def give_up(self, k: int) -> None:
        row = self._rows[k]
        untouched = row[at.LINK] == row[at.FIRST_OUT]
        if row[at.BUSY] and row[at.FLAGS] & message.FLAG_CLOSED_LOOP and untouched:
            row[at.CLOSED] -= 1
            self.closed[k] -= 1
        row[at.BUSY] = 0

    def slice(self, until_ns: int) -> None:
        while not self.finished:
            code = self._produce(
                self._signed_words, self._state, self._frame, self._schedule, self._draws, until_ns
            )
            self._take_over()
            if code not in (at.FILL, at.DRAW):
                check(code, self.plan.node)
                return
            k = (int(self._state[at.WHICH]) - int(self._state[at.ROWS])) // at.PRODUCER_COLUMNS
            if code == at.FILL:
                self._fill(k)
            else:
                self._draw(k)

    def _take_over(self) -> None:
        """What the loop has moved on."""
        for schedule, head in zip(self.schedules, self._rows[:, at.NEXT].tolist(), strict=True):
            schedule.head = head
        self.closed = self._rows[:, at.CLOSED].tolist()

    def _fill(self, k: int) -> None:
        schedule, row = self.schedules[k], self._rows[k]
        row[at.DRY] = not schedule.fill()
        row[at.NEXT], row[at.TAIL] = schedule.head, schedule.tail
        self._make_room(schedule.sizes[: schedule.tail])

    def _draw(self, k: int) -> None:
        """Sizes and topics for a closed loop."""
        state, count = self._state, len(self.members)
        if not state[at.DRAWS]:
            state[at.DRAWS] = each = max(DRAWS // count, LEAST_DRAWS)
            weighted = len(self.members[0].senders[0].plan.topics) > 1
            state[at.REPEAT] = not weighted and all(schedule.largest for schedule in self.schedules)
            self._draws = np.zeros(2 * count * each, np.int64)
            self._rows[:, at.DRAWN_SIZES] = np.arange(count) * each
            self._rows[:, at.DRAWN_TOPICS] = (np.arange(count) + count) * each
            wanted = list(range(count))
        else:
            wanted = [k]
        each = int(state[at.DRAWS])
        for n in wanted:
            row, schedule = self._rows[n], self.schedules[n]
            sizes = schedule.draw_sizes(each)
            self._draws[row[at.DRAWN_SIZES] :][:each] = sizes
            self._draws[row[at.DRAWN_TOPICS] :][:each] = schedule.draw_topics(each)
            row[at.DRAWN] = 0
            self._make_room(sizes)

    def _make_room(self, sizes: I64) -> None:
        self._frame = frame_for(self._state, self._frame, sizes)

"""Workers and consumers of the native engine: Python connects and draws, compiled code receives and serves."""

from __future__ import annotations

import time

import numpy as np

from mqviz.simulation.engine import native_code
from mqviz.simulation.engine import native_state as at
from mqviz.simulation.engine.ends import HistogramPlaces, Member
from mqviz.simulation.engine.native_ends import ReceiveRoom, SendRoom, check, frame_for, row_table
from mqviz.simulation.engine.receiver import DRAWS, Receivers
from mqviz.simulation.plan import LoopPlan
from mqviz.telemetry import clock
from mqviz.telemetry.histogram import U64

AHEAD = 8
"""An instance alone draws for this many times DRAWS messages; of many each draws less."""
NONE = np.zeros(0, np.int64)


class NativeReceivers(Receivers):
    """The loop in compiled code."""

    def __init__(
        self, plan: LoopPlan, members: list[Member], words: U64, places: HistogramPlaces, seed: int
    ) -> None:
        super().__init__(plan, members, words, places, seed)
        self._code = native_code.loops()
        count = len(members)
        layout = at.Layout()
        first = layout.section(count * at.RECEIVER_COLUMNS)
        outs = SendRoom(layout, members)
        ends = ReceiveRoom(layout, members, at.EVENT_WORDS)
        self._state = state = layout.make()
        self._rows = rows = at.table(state, first, at.RECEIVER_COLUMNS, count)
        rows[:, at.PLACE] = [member.offset for member in members]
        outs.write(state, rows, places)
        assert self.poller.epoll is not None, "the native engine runs on Linux"
        self._ends = ends.write(state, rows, places, self.poller.epoll.fileno())
        state[at.ROWS], state[at.ROWS_END] = first, first + rows.size
        state[at.ALONE] = count == 1
        state[at.SPIN] = plan.spin
        state[at.MEASURE_NS] = self.measure_ns
        self._signed_words = words.view(np.int64)
        self._frame = frame_for(state, NONE, NONE)
        self._table = row_table(state, self._ends, self.ends)
        state[at.DRAWS] = each = DRAWS * max(1, min(AHEAD, AHEAD * AHEAD // count))
        self._draws = np.zeros(3 * count * each, np.int64)
        for n, column in enumerate((at.SERVICES, at.EMITTED_SIZES, at.EMITTED_TOPICS)):
            rows[:, column] = (np.arange(count) + n * count) * each
        self._draw_all()

    def begin(self, at_ns: int, measure_ns: int, until_ns: int | None) -> None:
        super().begin(at_ns, measure_ns, until_ns)
        self._state[at.MEASURE_NS] = measure_ns

    def rows_changed(self) -> None:
        self._table = row_table(self._state, self._ends, self.ends)
        halted = [member.halted for member in self.members]
        self._rows[:, at.HALTED] = halted
        self._ends[:, at.SHUT] = [halted[k] for k in self.owner]

    def draws_changed(self) -> None:
        self._draw_all()
        self._ask_all()  # the other loop may go on, which knows in its own way who is ready

    def resume(self, now_ns: int) -> None:
        super().resume(now_ns)
        self._rows[:, at.PREVIOUS_END] = np.maximum(self._rows[:, at.PREVIOUS_END], now_ns)
        self._ask_all()

    def _ask_all(self) -> None:
        self._ends[:, at.MAYBE] = 1

    def _draw_all(self) -> None:
        for k in range(len(self.members)):
            self._draw_services(k)
            self._draw_outputs(k)

    def _draw_services(self, k: int) -> None:
        row, draws = self._rows[k], self._draws
        first = int(row[at.SERVICES])
        for begin in range(first, first + int(self._state[at.DRAWS]), DRAWS):
            draws[begin : begin + DRAWS] = self.draws[k].services()
        row[at.SERVED] = 0

    def _draw_outputs(self, k: int) -> None:
        if not self.members[k].senders:
            return
        row, draws, each = self._rows[k], self._draws, int(self._state[at.DRAWS])
        sizes, topics = int(row[at.EMITTED_SIZES]), int(row[at.EMITTED_TOPICS])
        for n in range(0, each, DRAWS):
            draws[sizes + n : sizes + n + DRAWS] = self.draws[k].sizes()
            draws[topics + n : topics + n + DRAWS] = self.draws[k].topics()
        row[at.EMITTED] = 0
        self._frame = frame_for(self._state, self._frame, draws[sizes : sizes + each])

    @property
    def _one_by_one(self) -> bool:
        serves = any(draws.serves for draws in self.draws) or any(m.senders for m in self.members)
        return serves or bool(self._rows[:, at.BUSY].any())

    def slice(self, until_ns: int) -> None:
        if self._one_by_one:
            self._serve(until_ns)
        elif self.paused:
            time.sleep(max(0, until_ns - clock.now_ns()) / 1e9)
        else:
            code = self._code.drain(
                self._signed_words, self._state, self._frame, self._table, self._draws, until_ns
            )
            check(code, self.plan.node)
        self._hear()

    def _serve(self, until_ns: int) -> None:
        state = self._state
        state[at.PAUSED] = self.paused
        while True:
            code = self._code.serve(
                self._signed_words, state, self._frame, self._table, self._draws, until_ns
            )
            if code != at.DRAW:
                check(code, self.plan.node)
                return
            k = (int(state[at.WHICH]) - int(state[at.ROWS])) // at.RECEIVER_COLUMNS
            if self._rows[k, at.SERVED] >= state[at.DRAWS]:
                self._draw_services(k)
            if self._rows[k, at.EMITTED] >= state[at.DRAWS]:
                self._draw_outputs(k)

    def _hear(self) -> None:
        """Whose hello has come."""
        for row, receiver in zip(self._ends, self.ends, strict=True):
            if receiver.awaited:
                lowest, first = int(row[at.LOWEST]), int(row[at.HEARD])
                heard = self._table[first : first + int(row[at.SPAN])]
                receiver.awaited.difference_update((lowest + np.flatnonzero(heard)).tolist())

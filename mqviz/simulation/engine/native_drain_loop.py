"""The compiled loop of consumers that need no time for a message: read until there is nothing more, then wait."""

from __future__ import annotations

from mqviz.simulation.engine.native_libzmq import helper, now_ns
from mqviz.simulation.engine.native_message import CLOSED_LOOP, MEASURE, record
from mqviz.simulation.engine.native_receive import NOTHING, SKIPPED, await_message, take
from mqviz.simulation.engine.native_state import (
    BUFFER,
    END_COLUMNS,
    END_TO_END,
    ENDS,
    ENDS_END,
    MAYBE,
    OFFSET,
    OVER,
    PLACE,
    PREFIX,
    RECEIVER_COLUMNS,
    RESPONSE,
    ROWS,
    ROWS_END,
    SHUT,
    TRANSIT,
)
from mqviz.telemetry import probe
from mqviz.telemetry.histogram import I64

IDLE, WORKED_OFF = probe.IDLE, probe.WORKED_OFF
TURN = 512
"""Messages that one end gives before the next has its turn."""


@helper
def record_durations(words: I64, state: I64, end: int, now: int) -> None:
    """The message in the buffer was received and worked off at `now`."""
    head = state[BUFFER] + (state[end + PREFIX] >> 3)
    flags = state[head] >> 24
    phase = flags & MEASURE
    record(words, state[end + TRANSIT + phase], now - state[head + 3])
    if not flags & CLOSED_LOOP:
        record(words, state[end + RESPONSE + phase], now - state[head + 2])
        if state[end + END_TO_END]:
            record(words, state[end + END_TO_END + phase], now - state[head + 4])
    words[state[end + OFFSET] + WORKED_OFF] += 1


@helper
def drain_end(words: I64, state: I64, table: I64, end: int, until: int) -> int:
    """A turn of one end. Returns the time of its last message, 0 without one, or -errno."""
    now = 0
    for _ in range(TURN):
        row = take(words, state, table, end)
        if row > 0:
            now = now_ns(state)
            record_durations(words, state, end, now)
            if now >= until:
                return now
        elif row == NOTHING:
            state[end + MAYBE] = 0
            return now
        elif row != SKIPPED:
            return row + 1
    return now


@helper
def set_idle(words: I64, state: I64, value: int) -> None:
    """Of all instances: they wait together."""
    for row in range(state[ROWS], state[ROWS_END], RECEIVER_COLUMNS):
        words[state[row + PLACE] + IDLE] = value


@helper
def drain(words: I64, state: I64, frame: I64, table: I64, draws: I64, until: int) -> int:
    """One slice. Returns OVER or -errno. Frame and draws are not used: the loops are called alike."""
    now = now_ns(state)
    while now < until:
        more = False
        for end in range(state[ENDS], state[ENDS_END], END_COLUMNS):
            if not state[end + MAYBE] or state[end + SHUT]:
                continue
            code = drain_end(words, state, table, end, until)
            if code < 0:
                return code
            if code >= until:
                return OVER
            if state[end + MAYBE]:
                more = True
        now = now_ns(state)
        if more:  # the others must not starve
            await_message(state, now, now)
        elif now < until:
            set_idle(words, state, 1)
            await_message(state, now, until)
            set_idle(words, state, 0)
            now = now_ns(state)
    return OVER

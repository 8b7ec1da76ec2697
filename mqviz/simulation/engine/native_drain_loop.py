"""The compiled loop of consumers that need no time for a message: read until there is nothing more, then wait."""

from __future__ import annotations

from typing import NamedTuple

from mqviz.simulation.engine.native_libzmq import WORD, compiled_type, helper, loop, now_ns
from mqviz.simulation.engine.native_message import record
from mqviz.simulation.engine.native_receive import (
    CLOSED,
    CLOSED_LOOP,
    END_TO_END,
    IDLE,
    MAYBE,
    MEASURE,
    NOTHING,
    OFFSET,
    PREFIX,
    RESPONSE,
    SKIPPED,
    TRANSIT,
    WORKED_OFF,
    Receiving,
    take,
    wait,
)
from mqviz.telemetry.histogram import I64

TURN = 512
"""Messages that one end gives before the next has its turn."""
OVER = 0


class Drain(NamedTuple):
    """All that the loop works on."""

    receiving: Receiving
    instances: I64  # their first words in the probe


DRAIN = compiled_type(Drain)


@helper
def _record_durations(r: Receiving, e: int, now: int) -> None:
    """The message in the buffer was received and worked off at `now`."""
    ends, head = r.ends, r.ends[e, PREFIX] >> 3
    flags = r.buffer[head] >> 24
    phase = flags & MEASURE
    record(r.words, ends[e, TRANSIT + phase], now - r.buffer[head + 3])
    if not flags & CLOSED_LOOP:
        record(r.words, ends[e, RESPONSE + phase], now - r.buffer[head + 2])
        if ends[e, END_TO_END + phase]:
            record(r.words, ends[e, END_TO_END + phase], now - r.buffer[head + 4])
    r.words[ends[e, OFFSET] + WORKED_OFF] += 1


@helper
def _set_idle(d: Drain, value: int) -> None:
    for n in range(len(d.instances)):
        d.receiving.words[d.instances[n] + IDLE] = value


@loop(DRAIN, WORD)
def drain(d: Drain, until: int) -> int:
    """One slice. Returns OVER or -errno."""
    r = d.receiving
    ends = r.ends
    now = now_ns(r.scratch)
    while now < until:
        more = False
        for e in range(len(ends)):
            if not ends[e, MAYBE] or ends[e, CLOSED]:
                continue
            for _ in range(TURN):
                row = take(r, e)
                if row > 0:
                    now = now_ns(r.scratch)
                    _record_durations(r, e, now)
                    if now >= until:
                        return OVER
                elif row == NOTHING:
                    ends[e, MAYBE] = 0
                    break
                elif row < SKIPPED:
                    return row + 1
            if ends[e, MAYBE]:
                more = True
        now = now_ns(r.scratch)
        if more:
            if len(ends) > 1:
                wait(r, now, now)
        elif now < until:
            _set_idle(d, 1)
            wait(r, now, until)
            _set_idle(d, 0)
            now = now_ns(r.scratch)
    return OVER

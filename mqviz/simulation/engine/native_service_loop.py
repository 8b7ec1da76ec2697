"""The compiled loop of workers, and of consumers with service: one message at a time, on a virtual clock.

An instance is idle, in service until `END`, or has output that a link has not taken. Those that share the
loop are never slept for: each is busy until its own time.
"""

from __future__ import annotations

from mqviz.simulation.engine.native_libzmq import helper, now_ns, sleep_until, wait_room
from mqviz.simulation.engine.native_message import (
    CLOSED_LOOP,
    MEASURE,
    begin_message,
    blocked_socket,
    record,
    retry,
    send_on,
)
from mqviz.simulation.engine.native_receive import NOTHING, SKIPPED, await_message, take
from mqviz.simulation.engine.native_state import (
    ALONE,
    BUFFER,
    BUSY,
    DRAW,
    DRAWS,
    EARLIEST,
    EMITTED,
    EMITTED_SIZES,
    EMITTED_TOPICS,
    EMITTING,
    END,
    END_COLUMNS,
    END_TO_END,
    FIRST_END,
    FIRST_OUT,
    FLAGS,
    FLAGS_IN,
    FRESH,
    FROM,
    HALTED,
    INTENDED,
    INTENDED_IN,
    LAST_END,
    LAST_OUT,
    MAYBE,
    MEASURE_NS,
    NEXT_END,
    OFFSET,
    ORIGIN,
    OUT_COLUMNS,
    OVER,
    PAUSED,
    PLACE,
    PREFIX,
    PREVIOUS_END,
    RECEIVER_COLUMNS,
    RESPONSE,
    RETRY_EMIT_AT,
    ROWS,
    ROWS_END,
    SERVED,
    SERVICE,
    SERVICES,
    SIZE,
    SPIN,
    START,
    TOPIC,
    TRANSIT,
    WHICH,
)
from mqviz.telemetry import probe
from mqviz.telemetry.histogram import I64

BUSY_NS, DUE, IDLE, WORKED_OFF = probe.BUSY_NS, probe.DUE, probe.IDLE, probe.WORKED_OFF

RETRY_NS = 200_000
TURN = 64
"""Messages that one instance works off before the next has its turn."""
MAX_SKIPPED = 1000


@helper
def receive(words: I64, state: I64, table: I64, draws: I64, row: int, end: int) -> int:
    """The next message of an end into service. Returns what `take` returns."""
    code = take(words, state, table, end)
    if code <= 0:
        return code
    now = now_ns(state)
    head = state[BUFFER] + (state[end + PREFIX] >> 3)
    flags, sent = state[head] >> 24 & 0xFF, state[head + 3]
    record(words, state[end + TRANSIT + (flags & MEASURE)], now - sent)
    words[state[row + PLACE] + IDLE] = 0
    state[row + FLAGS_IN] = flags
    state[row + INTENDED_IN] = state[head + 2]
    state[row + ORIGIN] = state[head + 4]
    state[row + FROM] = end
    # a message that was there already did not wait for the instance to wake: its overshoot must not add up
    start = max(sent, state[row + PREVIOUS_END]) if state[row + FRESH] else now
    state[row + START] = start
    state[row + END] = start + draws[state[row + SERVICES] + state[row + SERVED]]
    state[row + SERVED] += 1
    state[row + BUSY] = 1
    state[row + FRESH] = 0
    return code


@helper
def next_message(words: I64, state: I64, table: I64, draws: I64, row: int) -> int:
    """Ask an instance's ends in turn. Returns a probe row, NOTHING or -errno - 1."""
    first, last = state[row + FIRST_END], state[row + LAST_END]
    end = state[row + NEXT_END]
    for _ in range(first, last, END_COLUMNS):
        following = end + END_COLUMNS if end + END_COLUMNS < last else first
        if state[end + MAYBE] or state[row + FRESH]:
            code = SKIPPED
            skipped = 0
            while code == SKIPPED:
                if skipped == MAX_SKIPPED:  # a flood of foreign messages must not hold the slice
                    return NOTHING
                code = receive(words, state, table, draws, row, end)
                skipped += 1
            if code != NOTHING:
                state[row + NEXT_END] = following
                return code
            state[end + MAYBE] = 0
        end = following
    state[row + FRESH] = 0
    words[state[row + PLACE] + IDLE] = 1
    return NOTHING


@helper
def work_off(words: I64, state: I64, draws: I64, row: int) -> None:
    """The service is over: count it, and make the output."""
    source, end, flags = state[row + FROM], state[row + END], state[row + FLAGS_IN]
    phase, closed = flags & MEASURE, flags & CLOSED_LOOP
    served = end - state[row + START]
    record(words, state[source + SERVICE + phase], served)
    if not closed:
        record(words, state[source + RESPONSE + phase], end - state[row + INTENDED_IN])
        if state[source + END_TO_END]:
            record(words, state[source + END_TO_END + phase], end - state[row + ORIGIN])
    words[state[source + OFFSET] + WORKED_OFF] += 1
    words[state[row + PLACE] + BUSY_NS] += served
    state[row + PREVIOUS_END] = end
    first, last = state[row + FIRST_OUT], state[row + LAST_OUT]
    if first == last:
        free(state, row)
        return
    state[row + SIZE] = draws[state[row + EMITTED_SIZES] + state[row + EMITTED]]
    state[row + TOPIC] = draws[state[row + EMITTED_TOPICS] + state[row + EMITTED]]
    state[row + EMITTED] += 1
    state[row + INTENDED] = end
    state[row + EARLIEST] = 0
    state[row + FLAGS] = closed | (MEASURE if end >= state[MEASURE_NS] else 0)
    for out in range(first, last, OUT_COLUMNS):
        words[state[out + OFFSET] + DUE] += 1
    begin_message(state, row)
    state[row + EMITTING] = 1


@helper
def free(state: I64, row: int) -> None:
    """Ready for the next message."""
    state[row + EMITTING] = state[row + BUSY] = 0
    state[row + FRESH] = 1


@helper
def emit(words: I64, state: I64, frame: I64, row: int, again: bool) -> int:
    """Send the output on; the instance is free when every link has it. Returns 0 or -errno."""
    sent_at = retry(words, state, frame, row) if again else send_on(words, state, frame, row)
    if sent_at < 0:
        return sent_at
    if sent_at == 0:
        state[row + RETRY_EMIT_AT] = now_ns(state) + RETRY_NS
        return 0
    state[row + PREVIOUS_END] = max(state[row + PREVIOUS_END], state[row + EARLIEST])
    free(state, row)
    return 0


@helper
def may_receive(state: I64, row: int) -> bool:
    """A free instance that is to ask its ends."""
    if state[PAUSED]:
        return False
    if state[row + FRESH]:
        return True
    for end in range(state[row + FIRST_END], state[row + LAST_END], END_COLUMNS):
        if state[end + MAYBE]:
            return True
    return False


@helper
def step(words: I64, state: I64, frame: I64, table: I64, draws: I64, row: int, until: int) -> int:
    """Advance an instance as far as it goes without waiting, or for its turn. Returns OVER, DRAW or -errno."""
    for _ in range(TURN):
        if state[row + BUSY]:
            again = state[row + EMITTING] != 0
            if not again:
                if state[row + END] > now_ns(state):
                    return OVER
                work_off(words, state, draws, row)
            if state[row + EMITTING]:
                code = emit(words, state, frame, row, again)
                if code < 0 or state[row + BUSY]:
                    return code
        if state[PAUSED] or now_ns(state) >= until:
            return OVER
        # what is taken must have its draws
        if state[row + SERVED] >= state[DRAWS] or state[row + EMITTED] >= state[DRAWS]:
            state[WHICH] = row
            return DRAW
        code = next_message(words, state, table, draws, row)
        if code <= 0:
            return code + 1 if code < SKIPPED else OVER
    return OVER


@helper
def rest(state: I64, now: int, wake: int) -> None:
    """Until `wake`, or until a message comes for an instance that is free."""
    row = state[ROWS]
    if state[ALONE] and state[row + EMITTING]:
        wait_room(state, blocked_socket(state, row), wake - now)
        state[row + RETRY_EMIT_AT] = 0
    elif state[ALONE] and state[row + BUSY]:
        if state[SPIN]:
            while now < wake:
                now = now_ns(state)
        else:
            sleep_until(state, wake)
    elif state[PAUSED]:
        sleep_until(state, wake)
    else:
        await_message(state, now, wake)


@helper
def serve(words: I64, state: I64, frame: I64, table: I64, draws: I64, until: int) -> int:
    """One slice. Returns OVER, DRAW (for the row in state[WHICH]), or -errno."""
    now = now_ns(state)
    while now < until:
        wake = until
        for row in range(state[ROWS], state[ROWS_END], RECEIVER_COLUMNS):
            if state[row + HALTED]:
                continue
            if state[row + EMITTING]:
                ready = state[row + RETRY_EMIT_AT] <= now
            elif state[row + BUSY]:
                ready = state[row + END] <= now
            else:
                ready = may_receive(state, row)
            if ready:
                code = step(words, state, frame, table, draws, row, until)
                if code != OVER:
                    return code
            if state[row + EMITTING]:
                wake = min(wake, until if state[ALONE] else state[row + RETRY_EMIT_AT])
            elif state[row + BUSY]:
                wake = min(wake, state[row + END])
            elif may_receive(state, row):
                wake = 0
        now = now_ns(state)
        if wake > now:
            rest(state, now, wake)
            now = now_ns(state)
        elif not state[ALONE]:  # those that are free must not starve
            await_message(state, now, now)
    return OVER

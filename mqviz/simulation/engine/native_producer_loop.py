"""The compiled loop of producers: one merged schedule, or as fast as sends are accepted."""

from __future__ import annotations

from mqviz.simulation.engine.native_libzmq import helper, now_ns, sleep_until, wait_room
from mqviz.simulation.engine.native_message import (
    CLOSED_LOOP,
    MEASURE,
    begin_message,
    blocked_socket,
    retry,
    send_on,
)
from mqviz.simulation.engine.native_state import (
    ALONE,
    BATCHED,
    BLOCKED_ROWS,
    BUSY,
    CLOSED,
    CLOSED_NOW,
    DRAW,
    DRAWN,
    DRAWN_SIZES,
    DRAWN_TOPICS,
    DRAWS,
    DRY,
    FILL,
    FLAGS,
    HALTED,
    INTENDED,
    LAST_WAKE,
    MEASURE_NS,
    NEXT,
    ORIGIN,
    OVER,
    PRODUCER_COLUMNS,
    REPEAT,
    RETRY_AT,
    ROWS,
    ROWS_END,
    SIZE,
    SIZES,
    TAIL,
    TIMES,
    TOPIC,
    TOPICS_DUE,
    WHICH,
)
from mqviz.simulation.engine.producer import BATCH_NS
from mqviz.simulation.schedule import NEVER
from mqviz.telemetry.histogram import I64

RETRY_NS = 200_000
TURN = 64
"""Messages that an instance sends in a closed loop before the next has its turn."""


@helper
def next_due(state: I64, schedule: I64) -> tuple[int, int]:
    """The row that sends next and when; NEVER when none does, -1 when its schedule wants filling."""
    best, soonest = 0, NEVER
    for row in range(state[ROWS], state[ROWS_END], PRODUCER_COLUMNS):
        if state[row + BUSY] or state[row + DRY] or state[row + HALTED]:
            continue
        head = state[row + NEXT]
        if head == state[row + TAIL]:
            return row, -1
        time = schedule[state[row + TIMES] + head]
        if time < soonest:
            best, soonest = row, time
    return best, soonest


@helper
def taken(state: I64, row: int) -> None:
    """All links have the row's message."""
    state[row + BUSY] = 0
    if not state[row + FLAGS] & CLOSED_LOOP:
        state[row + NEXT] += 1


@helper
def send(words: I64, state: I64, frame: I64, row: int) -> int:
    """Begin a message. Returns the time, 0 when it is blocked, or -errno."""
    state[row + BUSY] = 1
    begin_message(state, row)
    now = send_on(words, state, frame, row)
    if now > 0:
        taken(state, row)
    elif now == 0:
        state[BLOCKED_ROWS] += 1
        state[RETRY_AT] = now_ns(state) + RETRY_NS
    return now


@helper
def send_due(words: I64, state: I64, frame: I64, schedule: I64, row: int, until: int) -> int:
    """Send what is due of one instance; of several only one message, as another may be due before the next.

    Returns the time, 0 when it is blocked, or -errno.
    """
    while True:
        head = state[row + NEXT]
        intended = schedule[state[row + TIMES] + head]
        state[row + INTENDED] = state[row + ORIGIN] = intended
        state[row + SIZE] = schedule[state[row + SIZES] + head]
        state[row + TOPIC] = schedule[state[row + TOPICS_DUE] + head]
        state[row + FLAGS] = MEASURE if intended >= state[MEASURE_NS] else 0
        now = send(words, state, frame, row)
        if now <= 0 or now >= until or not state[ALONE]:
            return now
        head += 1
        if head == state[row + TAIL] or schedule[state[row + TIMES] + head] > now:
            return now


@helper
def wants_draws(state: I64) -> int:
    """A row that has none left for a closed loop, or 0."""
    for row in range(state[ROWS], state[ROWS_END], PRODUCER_COLUMNS):
        if state[row + DRAWN] >= state[DRAWS] and not state[row + BUSY] and not state[row + HALTED]:
            if state[DRAWS] == 0 or not state[REPEAT]:
                return row
            state[row + DRAWN] = 0
    return 0


@helper
def send_closed(words: I64, state: I64, frame: I64, draws: I64, until: int) -> int:
    """A turn of every free instance. Returns the time, 0 when none was free, or -errno."""
    turn = state[DRAWS] if state[ALONE] else TURN
    now = 0
    for row in range(state[ROWS], state[ROWS_END], PRODUCER_COLUMNS):
        if state[row + BUSY] or state[row + HALTED]:
            continue
        first = state[row + DRAWN]
        for n in range(first, min(first + turn, state[DRAWS])):
            state[row + DRAWN] = n + 1
            state[row + CLOSED] += 1
            state[row + INTENDED] = 0
            state[row + FLAGS] = CLOSED_LOOP
            state[row + SIZE] = draws[state[row + DRAWN_SIZES] + n]
            state[row + TOPIC] = draws[state[row + DRAWN_TOPICS] + n]
            sent_at = send(words, state, frame, row)
            if sent_at < 0:
                return sent_at
            now = max(now, sent_at)
            if sent_at == 0 or sent_at >= until:
                break
    return now


@helper
def retry_blocked(words: I64, state: I64, frame: I64, now: int) -> int:
    """Try what is blocked once more. Returns 0 or -errno."""
    for row in range(state[ROWS], state[ROWS_END], PRODUCER_COLUMNS):
        if state[row + BUSY]:
            sent_at = retry(words, state, frame, row)
            if sent_at < 0:
                return sent_at
            if sent_at > 0:
                taken(state, row)
                state[BLOCKED_ROWS] -= 1
    state[RETRY_AT] = now + RETRY_NS
    return 0


@helper
def wait(state: I64, now: int, soonest: int, until: int) -> int:
    """Until the next message is due or a blocked one may go on. Returns the clock."""
    target = min(soonest, until)
    if state[BATCHED]:
        target = min(max(target, state[LAST_WAKE] + BATCH_NS), until)
    if state[BLOCKED_ROWS]:
        if state[ALONE]:
            wait_room(state, blocked_socket(state, state[ROWS]), until - now)
            state[RETRY_AT] = 0
            return now_ns(state)
        target = min(target, state[RETRY_AT])
    if target > now:
        now = sleep_until(state, target)
    state[LAST_WAKE] = now
    return now


@helper
def produce(words: I64, state: I64, frame: I64, schedule: I64, draws: I64, until: int) -> int:
    """One slice. Returns OVER, FILL or DRAW (for the row in state[WHICH]), or -errno."""
    now = now_ns(state)
    while now < until:
        if state[BLOCKED_ROWS] and now >= state[RETRY_AT]:
            code = retry_blocked(words, state, frame, now)
            if code < 0:
                return code
        row, soonest = next_due(state, schedule)
        if soonest < 0:
            state[WHICH] = row
            return FILL
        if soonest <= now:
            now = send_due(words, state, frame, schedule, row, until)
        elif state[CLOSED_NOW]:
            state[WHICH] = wants_draws(state)
            if state[WHICH]:
                return DRAW
            now = send_closed(words, state, frame, draws, until)
            if now == 0:
                now = wait(state, now_ns(state), soonest, until)
        else:
            now = wait(state, now, soonest, until)
        if now < 0:
            return now
        if now == 0:
            now = now_ns(state)
    return OVER

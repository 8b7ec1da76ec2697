"""The compiled loop of producers: one merged schedule, or as fast as sends are accepted."""

from __future__ import annotations

from typing import NamedTuple

from mqviz.simulation.engine.native_libzmq import (
    WORD,
    Table,
    compiled_type,
    helper,
    loop,
    now_ns,
    sleep_until,
    wait_room,
)
from mqviz.simulation.engine.native_message import (
    BUSY,
    CLOSED_LOOP,
    FLAGS,
    INTENDED,
    MEASURE,
    MESSAGE_COLUMNS,
    ORIGIN,
    SIZE,
    TOPIC,
    Sending,
    blocked_socket,
    retry,
    send_on,
)
from mqviz.simulation.engine.producer import BATCH_NS
from mqviz.simulation.schedule import NEVER
from mqviz.telemetry.histogram import I64

# columns of an instance's row, after those of its message
(
    HEAD,  # next in its schedule
    TAIL,
    DRY,  # 1: nothing more comes, or it is halted
    HALTED,
    CLOSED,  # messages begun in a closed loop
    DRAWN,  # next of its draws for a closed loop
) = range(MESSAGE_COLUMNS, MESSAGE_COLUMNS + 6)
PRODUCER_COLUMNS = MESSAGE_COLUMNS + 6

# places in `control`
(
    CLOSED_NOW,  # 1: send as fast as sends are accepted
    BATCHED,  # 1: wake at most once in BATCH_NS
    REPEAT,  # 1: the draws are all alike, go round
    BLOCKED_ROWS,
    RETRY_AT,
    LAST_WAKE,
    WHICH,  # the row that FILL and DRAW are about
) = range(7)
CONTROLS = 7

# what a slice returns, besides -errno
OVER, FILL, DRAW = 0, 1, 2

RETRY_NS = 200_000
TURN = 64
"""Messages that an instance sends in a closed loop before the next has its turn."""


class Load(NamedTuple):
    """All that the loop works on."""

    sending: Sending
    rows: Table
    control: I64
    times: Table  # schedules, one row an instance
    sizes: Table
    topics: Table
    drawn_sizes: Table  # for a closed loop
    drawn_topics: Table


LOAD = compiled_type(Load)


@helper
def _next_due(load: Load) -> tuple[int, int]:
    """The instance that sends next and when; NEVER when none does, -1 when its schedule wants filling."""
    rows = load.rows
    best, soonest = -1, NEVER
    for k in range(len(rows)):
        if rows[k, BUSY] or rows[k, DRY]:
            continue
        head = rows[k, HEAD]
        if head == rows[k, TAIL]:
            return k, -1
        if load.times[k, head] < soonest:
            best, soonest = k, load.times[k, head]
    return best, soonest


@helper
def _taken(load: Load, k: int) -> None:
    """All links have the message of row k."""
    rows = load.rows
    rows[k, BUSY] = 0
    if not rows[k, FLAGS] & CLOSED_LOOP:
        rows[k, HEAD] += 1


@helper
def _send(load: Load, k: int) -> int:
    """Begin a message. Returns the time, 0 when it is blocked, or -errno."""
    load.rows[k, BUSY] = 1
    now = send_on(load.sending, load.rows, k)
    if now > 0:
        _taken(load, k)
    elif now == 0:
        load.control[BLOCKED_ROWS] += 1
        load.control[RETRY_AT] = now_ns(load.sending.scratch) + RETRY_NS
    return now


@helper
def _send_due(load: Load, k: int, now: int, until: int) -> int:
    """Send what is due of one instance; of several only one message, as another may be due before the next."""
    rows, alone = load.rows, len(load.rows) == 1
    while True:
        head = rows[k, HEAD]
        intended = load.times[k, head]
        rows[k, INTENDED] = rows[k, ORIGIN] = intended
        rows[k, TOPIC] = load.topics[k, head]
        rows[k, SIZE] = load.sizes[k, head]
        rows[k, FLAGS] = MEASURE if intended >= load.sending.measure_ns else 0
        now = _send(load, k)
        if now <= 0 or now >= until or not alone:
            return now
        head = rows[k, HEAD]
        if head == rows[k, TAIL] or load.times[k, head] > now:
            return now


@helper
def _wants_draws(load: Load) -> int:
    """An instance that has none left for a closed loop, or -1."""
    rows, draws = load.rows, load.drawn_sizes.shape[1]
    for k in range(len(rows)):
        if rows[k, DRAWN] >= draws and not rows[k, BUSY] and not rows[k, HALTED]:
            if draws and load.control[REPEAT]:
                rows[k, DRAWN] = 0
            else:
                return k
    return -1


@helper
def _send_closed(load: Load, until: int) -> int:
    """A turn of every free instance. Returns the time, 0 when none was free, or -errno."""
    rows = load.rows
    draws = load.drawn_sizes.shape[1]
    turn = TURN if len(rows) > 1 else draws
    now = 0
    for k in range(len(rows)):
        if rows[k, BUSY] or rows[k, HALTED]:
            continue
        first = rows[k, DRAWN]
        for at in range(first, min(first + turn, draws)):
            rows[k, DRAWN] = at + 1
            rows[k, CLOSED] += 1
            rows[k, INTENDED] = 0
            rows[k, FLAGS] = CLOSED_LOOP
            rows[k, SIZE] = load.drawn_sizes[k, at]
            rows[k, TOPIC] = load.drawn_topics[k, at]
            sent_at = _send(load, k)
            if sent_at < 0:
                return sent_at
            now = max(now, sent_at)
            if sent_at == 0 or sent_at >= until:
                break
    return now


@helper
def _retry_blocked(load: Load, now: int) -> int:
    """Try what is blocked once more. Returns 0 or -errno."""
    rows, control = load.rows, load.control
    for k in range(len(rows)):
        if rows[k, BUSY]:
            sent_at = retry(load.sending, rows, k)
            if sent_at < 0:
                return sent_at
            if sent_at > 0:
                _taken(load, k)
                control[BLOCKED_ROWS] -= 1
    control[RETRY_AT] = now + RETRY_NS
    return 0


@helper
def _wait(load: Load, now: int, soonest: int, until: int) -> int:
    """Until the next message is due or a blocked one may go on. Returns the clock."""
    control, sending = load.control, load.sending
    target = min(soonest, until)
    if control[BATCHED]:
        target = min(max(target, control[LAST_WAKE] + BATCH_NS), until)
    if control[BLOCKED_ROWS]:
        if len(load.rows) == 1:
            wait_room(sending.scratch, blocked_socket(sending, load.rows, 0), until - now)
            control[RETRY_AT] = 0
            return now_ns(sending.scratch)
        target = min(target, control[RETRY_AT])
    if target > now:
        now = sleep_until(sending.scratch, target)
    control[LAST_WAKE] = now
    return now


@loop(LOAD, WORD)
def produce(load: Load, until: int) -> int:
    """One slice. Returns OVER, FILL or DRAW (for the row in control[WHICH]), or -errno."""
    control, scratch = load.control, load.sending.scratch
    now = now_ns(scratch)
    while now < until:
        if control[BLOCKED_ROWS] and now >= control[RETRY_AT]:
            code = _retry_blocked(load, now)
            if code < 0:
                return code
        k, soonest = _next_due(load)
        if soonest < 0:
            control[WHICH] = k
            return FILL
        if soonest <= now:
            now = _send_due(load, k, now, until)
        elif control[CLOSED_NOW]:
            control[WHICH] = _wants_draws(load)
            if control[WHICH] >= 0:
                return DRAW
            now = _send_closed(load, until)
            if now == 0:
                now = _wait(load, now_ns(scratch), soonest, until)
        else:
            now = _wait(load, now, soonest, until)
        if now < 0:
            return now
        if now == 0:
            now = now_ns(scratch)
    return OVER

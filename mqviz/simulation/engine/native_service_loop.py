"""The compiled loop of workers, and of consumers with service: one message at a time, on a virtual clock.

An instance is idle, in service until `END`, or has output that a link has not taken. Those that share the
loop are never slept for: each is busy until its own time.
"""

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
    EARLIEST,
    FIRST_OUT,
    FLAGS,
    INTENDED,
    MESSAGE_COLUMNS,
    ORIGIN,
    OUTS,
    SIZE,
    TOPIC,
    Sending,
    blocked_socket,
    record,
    retry,
    send_on,
)
from mqviz.simulation.engine.native_message import OFFSET as OUT_OFFSET
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
    SERVICE,
    SKIPPED,
    TRANSIT,
    WORKED_OFF,
    Receiving,
    take,
    wait,
)
from mqviz.telemetry import probe
from mqviz.telemetry.histogram import I64

BUSY_NS, DUE = probe.BUSY_NS, probe.DUE

# columns of an instance's row, after those of the message that it sends
(
    PLACE,  # its first word in the probe
    FIRST_END,  # its receive ends
    ENDS,
    NEXT_END,  # the one to ask first: none is favoured
    HALTED,
    FRESH,  # 1: the next receive is the first try after a service
    EMITTING,  # 1: a link has not taken the output
    RETRY_AT,
    START,  # of the service
    END,
    PREVIOUS_END,
    END_OF_MESSAGE,  # the receive end that the message came from
    FLAGS_IN,
    INTENDED_IN,
    SERVED,  # next of its service times
    EMITTED,  # next of its sizes and topics
) = range(MESSAGE_COLUMNS, MESSAGE_COLUMNS + 16)
INSTANCE_COLUMNS = MESSAGE_COLUMNS + 16

# places in `control`
PAUSED, SPIN, WHICH = range(3)
CONTROLS = 3

OVER, DRAW = 0, 1
RETRY_NS = 200_000
TURN = 64
"""Messages that one instance works off before the next has its turn."""
MAX_SKIPPED = 1000


class Service(NamedTuple):
    """All that the loop works on."""

    receiving: Receiving
    sending: Sending
    rows: Table
    control: I64
    services: Table  # drawn, one row an instance
    sizes: Table
    topics: Table


SERVICE_TYPE = compiled_type(Service)


@helper
def _receive(s: Service, k: int, e: int) -> int:
    """The next message of end e into service. Returns what `take` returns."""
    r, rows = s.receiving, s.rows
    row = take(r, e)
    if row <= 0:
        return row
    now = now_ns(r.scratch)
    head = r.ends[e, PREFIX] >> 3
    flags, sent = r.buffer[head] >> 24 & 0xFF, r.buffer[head + 3]
    record(r.words, r.ends[e, TRANSIT + (flags & MEASURE)], now - sent)
    r.words[rows[k, PLACE] + IDLE] = 0
    rows[k, FLAGS_IN] = flags
    rows[k, INTENDED_IN] = r.buffer[head + 2]
    rows[k, ORIGIN] = r.buffer[head + 4]
    rows[k, END_OF_MESSAGE] = e
    # a message that was there already did not wait for the instance to wake: its overshoot must not add up
    rows[k, START] = max(sent, rows[k, PREVIOUS_END]) if rows[k, FRESH] else now
    rows[k, END] = rows[k, START] + s.services[k, rows[k, SERVED]]
    rows[k, SERVED] += 1
    rows[k, BUSY] = 1
    rows[k, FRESH] = 0
    return row


@helper
def _next_message(s: Service, k: int) -> int:
    """Ask an instance's ends in turn. Returns a row, NOTHING or -errno - 1."""
    ends, rows = s.receiving.ends, s.rows
    count = rows[k, ENDS]
    for turn in range(count):
        place = (rows[k, NEXT_END] + turn) % count
        e = rows[k, FIRST_END] + place
        if not (ends[e, MAYBE] or rows[k, FRESH]):
            continue
        row = _receive(s, k, e)
        skipped = 0
        while row == SKIPPED and skipped < MAX_SKIPPED:
            row = _receive(s, k, e)
            skipped += 1
        if row == SKIPPED:  # a flood of foreign messages must not hold the slice
            return NOTHING
        if row != NOTHING:
            rows[k, NEXT_END] = (place + 1) % count
            return row
        ends[e, MAYBE] = 0
    rows[k, FRESH] = 0
    s.receiving.words[rows[k, PLACE] + IDLE] = 1
    return NOTHING


@helper
def _work_off(s: Service, k: int) -> None:
    """The service is over: count it, and make the output."""
    r, rows, ends = s.receiving, s.rows, s.receiving.ends
    e, end, flags = rows[k, END_OF_MESSAGE], rows[k, END], rows[k, FLAGS_IN]
    phase = flags & MEASURE
    served = end - rows[k, START]
    record(r.words, ends[e, SERVICE + phase], served)
    if not flags & CLOSED_LOOP:
        record(r.words, ends[e, RESPONSE + phase], end - rows[k, INTENDED_IN])
        if ends[e, END_TO_END + phase]:
            record(r.words, ends[e, END_TO_END + phase], end - rows[k, ORIGIN])
    r.words[ends[e, OFFSET] + WORKED_OFF] += 1
    r.words[rows[k, PLACE] + BUSY_NS] += served
    rows[k, PREVIOUS_END] = end
    if rows[k, OUTS] == 0:
        rows[k, BUSY] = 0
        rows[k, FRESH] = 1
        return
    drawn = rows[k, EMITTED]
    rows[k, EMITTED] = drawn + 1
    rows[k, SIZE], rows[k, TOPIC] = s.sizes[k, drawn], s.topics[k, drawn]
    rows[k, INTENDED] = end
    rows[k, EARLIEST] = 0
    rows[k, FLAGS] = flags & CLOSED_LOOP | (MEASURE if end >= s.sending.measure_ns else 0)
    for out in range(rows[k, FIRST_OUT], rows[k, FIRST_OUT] + rows[k, OUTS]):
        r.words[s.sending.outs[out, OUT_OFFSET] + DUE] += 1
    rows[k, EMITTING] = 1


@helper
def _emit(s: Service, k: int, again: bool) -> int:
    """Send the output on; the instance is free when every link has it. Returns 0 or -errno."""
    rows = s.rows
    sent_at = retry(s.sending, rows, k) if again else send_on(s.sending, rows, k)
    if sent_at < 0:
        return sent_at
    if sent_at == 0:
        rows[k, RETRY_AT] = now_ns(s.sending.scratch) + RETRY_NS
        return 0
    rows[k, PREVIOUS_END] = max(rows[k, PREVIOUS_END], rows[k, EARLIEST])
    rows[k, EMITTING] = rows[k, BUSY] = 0
    rows[k, FRESH] = 1
    return 0


@helper
def _maybe(s: Service, k: int) -> bool:
    """An end of an instance may have a message."""
    for e in range(s.rows[k, FIRST_END], s.rows[k, FIRST_END] + s.rows[k, ENDS]):
        if s.receiving.ends[e, MAYBE]:
            return True
    return False


@helper
def _lacks_draws(s: Service, k: int) -> bool:
    """Before a message is taken there must be draws for all that it needs."""
    rows = s.rows
    if rows[k, SERVED] >= s.services.shape[1]:
        return True
    return rows[k, OUTS] > 0 and rows[k, EMITTED] >= s.sizes.shape[1]


@helper
def _step(s: Service, k: int, until: int) -> int:
    """Advance an instance as far as it goes without waiting, or for its turn. Returns OVER, DRAW or -errno."""
    rows, scratch = s.rows, s.receiving.scratch
    for _ in range(TURN):
        if rows[k, BUSY]:
            again = rows[k, EMITTING] != 0
            if not again:
                if rows[k, END] > now_ns(scratch):
                    return OVER
                _work_off(s, k)
            if rows[k, EMITTING]:
                code = _emit(s, k, again)
                if code < 0 or rows[k, BUSY]:
                    return code
        if s.control[PAUSED] or now_ns(scratch) >= until:
            return OVER
        if _lacks_draws(s, k):
            s.control[WHICH] = k
            return DRAW
        row = _next_message(s, k)
        if row <= 0:
            return row + 1 if row < SKIPPED else OVER
    return OVER


@helper
def _wait(s: Service, now: int, wake: int) -> None:
    """Until `wake`, or until a message comes for an instance that is free."""
    rows, control, scratch = s.rows, s.control, s.receiving.scratch
    if len(rows) == 1 and rows[0, EMITTING]:
        wait_room(scratch, blocked_socket(s.sending, rows, 0), wake - now)
        rows[0, RETRY_AT] = 0
    elif len(rows) == 1 and rows[0, BUSY]:
        if control[SPIN]:
            while now < wake:
                now = now_ns(scratch)
        else:
            sleep_until(scratch, wake)
    elif control[PAUSED]:
        sleep_until(scratch, wake)
    else:
        wait(s.receiving, now, wake)


@loop(SERVICE_TYPE, WORD)
def serve(s: Service, until: int) -> int:
    """One slice. Returns OVER, DRAW (for the row in control[WHICH]), or -errno."""
    rows, control, scratch = s.rows, s.control, s.receiving.scratch
    now = now_ns(scratch)
    while now < until:
        wake = until
        for k in range(len(rows)):
            if rows[k, HALTED]:
                continue
            if rows[k, EMITTING]:
                ready = rows[k, RETRY_AT] <= now
            elif rows[k, BUSY]:
                ready = rows[k, END] <= now
            else:
                ready = not control[PAUSED] and (rows[k, FRESH] != 0 or _maybe(s, k))
            if ready:
                code = _step(s, k, until)
                if code != OVER:
                    return code
            if rows[k, EMITTING]:
                wake = min(wake, until if len(rows) == 1 else rows[k, RETRY_AT])
            elif rows[k, BUSY]:
                wake = min(wake, rows[k, END])
            elif not control[PAUSED] and (rows[k, FRESH] != 0 or _maybe(s, k)):
                wake = 0
        now = now_ns(scratch)
        if wake > now:
            _wait(s, now, wake)
            now = now_ns(scratch)
        elif len(rows) > 1 and not control[PAUSED]:
            wait(s.receiving, now, now)
    return OVER

"""Compiled code that every receiving loop runs: take one message from a socket, count it, wait for more."""

from __future__ import annotations

from mqviz.channels import message
from mqviz.simulation.engine.native_libzmq import (
    AGAIN,
    DONTWAIT,
    INTERRUPTED,
    epoll_now,
    event_descriptor,
    helper,
    sleep_until,
    wait_readable,
    zmq_errno,
    zmq_recv,
)
from mqviz.simulation.engine.native_state import (
    AT,
    BUFFER,
    DESCRIPTOR,
    END_COLUMNS,
    END_OF,
    ENDS,
    ENDS_END,
    EPOLL,
    EVENTS,
    HEARD,
    LOWEST,
    MAYBE,
    OFFSET,
    PREFIX,
    RUN_NUMBER,
    SHUT,
    SOCKET,
    SPAN,
    TABLE,
    TOPICS,
)
from mqviz.telemetry import probe
from mqviz.telemetry.histogram import I64

HELLO = message.FLAG_HELLO
COUNTED_FLAGS = message.FLAG_MEASURE | message.FLAG_CLOSED_LOOP
IDENTITY = message.MAGIC_AND_VERSION
HEADER_BYTES = message.HEADER_BYTES
TOPIC_SHIFT = message.TOPIC_SHIFT
SEQUENCE_MASK = message.SEQUENCE_MASK
BYTES, FOREIGN = probe.BYTES, probe.FOREIGN
RECEIVED, FIRST, LAST, GAPS, LATE = probe.RECEIVED, probe.FIRST, probe.LAST, probe.GAPS, probe.LATE

# what `take` returns instead of a row
NOTHING, SKIPPED = 0, -1


@helper
def row_of(state: I64, table: I64, end: int) -> int:
    """The probe row of the message in the buffer; NOTHING for a foreign one, SKIPPED for a hello."""
    head = state[BUFFER] + (state[end + PREFIX] >> 3)
    first, place = state[head], state[head + 1]
    flags = first >> 24 & 0xFF
    number = (first >> 32 & 0xFFFF) - state[end + LOWEST]
    topic = place >> TOPIC_SHIFT & 0xFFFF
    if first & 0xFFFFFF != IDENTITY or first >> 48 & 0xFFFF != state[RUN_NUMBER]:
        return NOTHING
    if number < 0 or number >= state[end + SPAN] or topic >= state[end + TOPICS]:
        return NOTHING
    row = table[state[end + TABLE] + number * state[end + TOPICS] + topic]
    if row and flags == HELLO:
        table[state[end + HEARD] + number] = 1
        return SKIPPED
    return NOTHING if flags & ~COUNTED_FLAGS else row


@helper
def advance(words: I64, row: int, place: int) -> None:
    """A sequence number (+ 1) into its row."""
    last = words[row + LAST]
    if words[row + FIRST] == 0:
        words[row + FIRST] = place
        last = place - 1
    if place > last:
        words[row + GAPS] += place - last - 1
        words[row + LAST] = place
    else:
        words[row + LATE] += 1
        if words[row + GAPS] > 0:
            words[row + GAPS] -= 1


@helper
def take(words: I64, state: I64, table: I64, end: int) -> int:
    """Receive one message and count it.

    Returns its row, NOTHING when the socket is empty, SKIPPED for a hello or a foreign message, or -errno - 1.
    The buffer has its head, at most the prefix and the header: libzmq cuts off the rest.
    """
    at = state[end + OFFSET]
    wanted = state[end + PREFIX] + HEADER_BYTES
    while True:
        size = zmq_recv(state[end + SOCKET], state[AT] + state[BUFFER] * 8, wanted, DONTWAIT)
        if size >= 0:
            break
        errno = zmq_errno()
        if errno == AGAIN:
            return NOTHING
        if errno != INTERRUPTED:
            return -errno - 1
    row = row_of(state, table, end) if size >= wanted else NOTHING
    if row > 0:
        words[row + RECEIVED] += 1
        words[at + BYTES] += size
        advance(words, row, (state[state[BUFFER] + (state[end + PREFIX] >> 3) + 1] & SEQUENCE_MASK) + 1)
        return row
    if row == NOTHING:
        words[at + FOREIGN] += 1
    return SKIPPED


@helper
def await_message(state: I64, now: int, until: int) -> None:
    """Mark the ends whose descriptors have had an event; when `until` is later, wait for the first one."""
    first = state[ENDS]
    if first + END_COLUMNS == state[ENDS_END]:
        # after a receive has found nothing the descriptor is quiet until there is something new
        if state[first + SHUT]:
            sleep_until(state, until)
        elif until > now and wait_readable(state, state[first + DESCRIPTOR], until - now):
            state[first + MAYBE] = 1
        return
    if until > now and not wait_readable(state, state[EPOLL], until - now):
        return
    # of more events than there is room for, the rest comes next time: epoll keeps them
    for n in range(epoll_now(state, state[EPOLL], state[EVENTS])):
        state[state[state[END_OF] + event_descriptor(state, state[EVENTS], n)] + MAYBE] = 1

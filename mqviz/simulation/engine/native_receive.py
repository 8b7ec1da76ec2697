"""Compiled code that every receiving loop runs: take one message from a socket and count it."""

from __future__ import annotations

from typing import NamedTuple

from mqviz.channels import message
from mqviz.simulation.engine.native_libzmq import (
    AGAIN,
    DONTWAIT,
    EVENT_FD,
    EVENT_STRIDE,
    I32,
    INTERRUPTED,
    Scratch,
    Table,
    compiled_type,
    epoll_now,
    helper,
    sleep_until,
    wait_readable,
    zmq_errno,
    zmq_recv,
)
from mqviz.telemetry import probe
from mqviz.telemetry.histogram import I64

MEASURE = message.FLAG_MEASURE
CLOSED_LOOP = message.FLAG_CLOSED_LOOP
HELLO = message.FLAG_HELLO
COUNTED_FLAGS = MEASURE | CLOSED_LOOP
IDENTITY = message.MAGIC_AND_VERSION
HEADER_BYTES = message.HEADER_BYTES
TOPIC_SHIFT = message.TOPIC_SHIFT
SEQUENCE_MASK = message.SEQUENCE_MASK
BYTES, FOREIGN, WORKED_OFF = probe.BYTES, probe.FOREIGN, probe.WORKED_OFF
RECEIVED, FIRST, LAST, GAPS, LATE = probe.RECEIVED, probe.FIRST, probe.LAST, probe.GAPS, probe.LATE
IDLE = probe.IDLE

# columns of a receive end
(
    SOCKET,
    DESCRIPTOR,  # its ZMQ_FD
    OFFSET,  # its first word in the probe
    PREFIX,  # bytes of the topic prefix
    TOPICS,  # of its link, 1 without topics
    LOWEST,  # the lowest producer number that it knows
    SPAN,  # up to the highest
    TABLE,  # where its part of `table` begins: a row's word for each (producer, topic), 0 if unknown
    HEARD,  # where its part of `heard` begins: 1 for each producer whose hello has come
    MAYBE,  # 1: may have messages; 0: wait for its descriptor
    CLOSED,  # 1: its instance has been halted
    TRANSIT,  # its link's histograms by phase, warm-up, then measure
    TRANSIT_MEASURED,
    SERVICE,
    SERVICE_MEASURED,
    RESPONSE,
    RESPONSE_MEASURED,
    END_TO_END,  # 0 where the link is not a terminal one
    END_TO_END_MEASURED,
) = range(19)
END_COLUMNS = 19

# what `take` returns instead of a row
NOTHING, SKIPPED = 0, -1


class Receiving(NamedTuple):
    """What a receive needs: the probe, the receive ends, and one buffer for the head of a message."""

    words: I64
    ends: Table
    table: I64
    heard: I64
    run_number: int
    buffer: I64
    buffer_at: int  # its address
    epoll: int  # descriptor, with all ends in it
    events: I32
    events_at: int
    end_of: I64  # by descriptor
    scratch: Scratch


RECEIVING = compiled_type(Receiving)


@helper
def take(r: Receiving, e: int) -> int:
    """Receive one message from end e and count it.

    Returns its row's word, NOTHING when the socket is empty, SKIPPED for a hello or a foreign message, or
    -errno - 1. The buffer has its head, at most the prefix and the header: libzmq cuts off the rest.
    """
    words, ends = r.words, r.ends
    prefix = ends[e, PREFIX]
    while True:
        size = zmq_recv(ends[e, SOCKET], r.buffer_at, prefix + HEADER_BYTES, DONTWAIT)
        if size >= 0:
            break
        errno = zmq_errno()
        if errno == AGAIN:
            return NOTHING
        if errno != INTERRUPTED:
            return -errno - 1
    at = ends[e, OFFSET]
    head = prefix >> 3
    first, place = r.buffer[head], r.buffer[head + 1]
    flags = first >> 24 & 0xFF
    number = (first >> 32 & 0xFFFF) - ends[e, LOWEST]
    topic = place >> TOPIC_SHIFT & 0xFFFF
    if (
        size < prefix + HEADER_BYTES
        or first & 0xFFFFFF != IDENTITY
        or first >> 48 & 0xFFFF != r.run_number
        or number < 0
        or number >= ends[e, SPAN]
    ):
        words[at + FOREIGN] += 1
        return SKIPPED
    if flags == HELLO:
        r.heard[ends[e, HEARD] + number] = 1
        return SKIPPED
    row = 0
    if topic < ends[e, TOPICS] and flags & ~COUNTED_FLAGS == 0:
        row = r.table[ends[e, TABLE] + number * ends[e, TOPICS] + topic]
    if row == 0:
        words[at + FOREIGN] += 1
        return SKIPPED
    words[row + RECEIVED] += 1
    words[at + BYTES] += size
    _advance(words, row, (place & SEQUENCE_MASK) + 1)
    return row


@helper
def _advance(words: I64, row: int, place: int) -> None:
    """A sequence number (+ 1) into its row."""
    last = words[row + LAST]
    if words[row + FIRST] == 0:
        words[row + FIRST] = place
        last = place - 1
    if place > last:
        if place > last + 1:
            words[row + GAPS] += place - last - 1
        words[row + LAST] = place
    else:
        words[row + LATE] += 1
        if words[row + GAPS] > 0:
            words[row + GAPS] -= 1


@helper
def wait(r: Receiving, now: int, until: int) -> None:
    """Mark the ends whose descriptors have had an event; when `until` is later, wait for the first one."""
    ends = r.ends
    if len(ends) == 1:
        # after a receive has found nothing the descriptor is quiet until there is something new
        if ends[0, CLOSED]:
            sleep_until(r.scratch, until)
        elif until > now and wait_readable(r.scratch, ends[0, DESCRIPTOR], until - now):
            ends[0, MAYBE] = 1
        return
    if until > now and not wait_readable(r.scratch, r.epoll, until - now):
        return
    # of more events than there is room for, the rest comes next time: epoll keeps them
    for n in range(epoll_now(r.epoll, r.events_at)):
        ends[r.end_of[r.events[n * EVENT_STRIDE + EVENT_FD]], MAYBE] = 1

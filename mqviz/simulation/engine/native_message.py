"""Compiled code that both producers and workers run: a message's header, the send, and what is counted for it.

State lies in int64 tables, one row a thing, with the columns named here; Python and compiled code share them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mqviz.channels import message
from mqviz.simulation.engine.native_libzmq import (
    AGAIN,
    DONTWAIT,
    INTERRUPTED,
    Scratch,
    Table,
    compiled_type,
    has_room,
    helper,
    now_ns,
    zmq_errno,
    zmq_send,
)
from mqviz.telemetry import probe
from mqviz.telemetry.histogram import ABOVE, BELOW, HEAD, LIMIT_NS, MAX, SUB, SUM, I64

MEASURE = message.FLAG_MEASURE
CLOSED_LOOP = message.FLAG_CLOSED_LOOP
TOPIC_SHIFT = message.TOPIC_SHIFT
SENT_BYTES, BLOCKED_NS, BLOCKED_SINCE, SPELLS = (
    probe.SENT_BYTES, probe.BLOCKED_NS, probe.BLOCKED_SINCE, probe.SPELLS,
)  # fmt: skip

# columns of a send end
(
    SOCKET,
    OFFSET,  # its first word in the probe
    SENT,  # first of its `sent` words, one a topic
    WIDTH,  # bytes of the topic prefix
    IDENTITY,  # the header's first word without flags
    FIRST_ATTEMPT,  # 0: not blocked
    ACCEPTED,  # end of the last blocked spell
    LATENESS,  # its histogram by phase, warm-up, then measure
    LATENESS_MEASURED,
    BLOCKED,  # likewise
    BLOCKED_MEASURED,
    PREFIXES,  # where its topics' prefixes begin
    SEQUENCES,  # where its topics' sequence numbers begin
) = range(13)
OUT_COLUMNS = 13

# columns of an instance's row: the message that it sends
(
    FIRST_OUT,  # its send ends
    OUTS,
    LINK,  # how many of them have taken the message
    TOPIC,
    SIZE,
    FLAGS,
    INTENDED,  # 0: when it is sent
    ORIGIN,
    EARLIEST,  # when it could first have been tried: the end of the last blocked spell
    BUSY,  # producers: not all links have taken the message; workers and consumers: a message is in service
) = range(10)
MESSAGE_COLUMNS = 10


class Sending(NamedTuple):
    """What a send needs: the probe, the send ends, and one frame that every message is written into."""

    words: I64
    outs: Table
    sequences: I64
    prefixes: I64
    frame: I64
    frame_at: int  # its address
    header: int  # word of the header in the frame; the topic prefix stands right before it
    measure_ns: int
    scratch: Scratch


SENDING = compiled_type(Sending)


@helper
def record(words: I64, at: int, value_ns: int) -> None:
    """Add one duration to the histogram at this word, as Histogram.record does."""
    if value_ns > words[at + MAX]:
        words[at + MAX] = value_ns
    if value_ns < 0:
        words[at + BELOW] += 1
    elif value_ns >= LIMIT_NS:
        words[at + ABOVE] += 1
    else:
        words[at + SUM] += value_ns
        place = value_ns
        if value_ns >= 256:
            # the exponent of a float64 is the place of the highest bit
            shift = (np.float64(value_ns).view(np.int64) >> 52) - 1023 - 7
            place = shift * SUB + (value_ns >> shift)
        words[at + HEAD + place] += 1


@helper
def attempt(s: Sending, rows: Table, k: int, out: int) -> int:
    """Send the message of row k over one link. Returns the time, 0 without room, or -errno."""
    words, outs, frame, head = s.words, s.outs, s.frame, s.header
    now = now_ns(s.scratch)
    flags, intended, origin = rows[k, FLAGS], rows[k, INTENDED], rows[k, ORIGIN]
    if intended == 0:
        intended = origin = now
        if now >= s.measure_ns:
            flags |= MEASURE
    topic, width = rows[k, TOPIC], outs[out, WIDTH]
    steps = width >> 3
    for step in range(steps):
        frame[head - steps + step] = s.prefixes[outs[out, PREFIXES] + topic * steps + step]
    place = outs[out, SEQUENCES] + topic
    sequence = s.sequences[place]
    frame[head] = outs[out, IDENTITY] | flags << 24
    frame[head + 1] = topic << TOPIC_SHIFT | sequence
    frame[head + 2] = intended
    frame[head + 3] = now
    frame[head + 4] = origin
    length = width + rows[k, SIZE]
    sent = outs[out, SENT] + topic
    at = outs[out, OFFSET]
    words[sent] = sequence + 1  # before the call: a kill in between leaves sent >= received
    while zmq_send(outs[out, SOCKET], s.frame_at + head * 8 - width, length, DONTWAIT) < 0:
        errno = zmq_errno()
        if errno == INTERRUPTED:
            continue
        words[sent] = sequence
        if errno != AGAIN:
            return -errno
        if outs[out, FIRST_ATTEMPT] == 0:
            outs[out, FIRST_ATTEMPT] = now
            words[at + BLOCKED_SINCE] = now
        return 0
    s.sequences[place] = sequence + 1
    words[at + SENT_BYTES] += length
    phase = flags & MEASURE
    first = outs[out, FIRST_ATTEMPT]
    if first:
        outs[out, ACCEPTED] = now
        outs[out, FIRST_ATTEMPT] = 0
        words[at + BLOCKED_SINCE] = 0
        words[at + BLOCKED_NS] += now - first
        words[at + SPELLS] += 1
        record(words, outs[out, BLOCKED + phase], now - first)
    else:
        first = now
        words[outs[out, BLOCKED + phase] + HEAD] += 1
    if not flags & CLOSED_LOOP:
        record(words, outs[out, LATENESS + phase], first - max(intended, rows[k, EARLIEST]))
    return now


@helper
def send_on(s: Sending, rows: Table, k: int) -> int:
    """Send the message of row k to the links that do not have it yet.

    Returns the time when all have it, 0 when one has no room, or -errno.
    """
    now = 0
    while rows[k, LINK] < rows[k, OUTS]:
        out = rows[k, FIRST_OUT] + rows[k, LINK]
        now = attempt(s, rows, k, out)
        if now <= 0:
            return now
        rows[k, EARLIEST] = max(rows[k, EARLIEST], s.outs[out, ACCEPTED])
        rows[k, LINK] += 1
    rows[k, LINK] = 0
    return now


@helper
def blocked_socket(s: Sending, rows: Table, k: int) -> int:
    """The socket that has not taken the message of row k."""
    return s.outs[rows[k, FIRST_OUT] + rows[k, LINK], SOCKET]


@helper
def retry(s: Sending, rows: Table, k: int) -> int:
    """As send_on, for a row that was blocked."""
    if not has_room(s.scratch, blocked_socket(s, rows, k)):
        return 0
    return send_on(s, rows, k)

"""Compiled code that both producers and workers run: a message's header, the send, and what is counted for it."""

from __future__ import annotations

import numpy as np

from mqviz.channels import message
from mqviz.simulation.engine.native_libzmq import (
    AGAIN,
    DONTWAIT,
    INTERRUPTED,
    has_room,
    helper,
    now_ns,
    zmq_errno,
    zmq_send,
)
from mqviz.simulation.engine.native_state import (
    ACCEPTED,
    BLOCKED,
    EARLIEST,
    FIRST_ATTEMPT,
    FIRST_OUT,
    FLAGS,
    FRAME_AT,
    HEADER,
    IDENTITY,
    INTENDED,
    LAST_OUT,
    LATENESS,
    LINK,
    MEASURE_NS,
    OFFSET,
    ORIGIN,
    OUT_COLUMNS,
    OUT_PREFIXES,
    OUT_SEQUENCES,
    SENT,
    SIZE,
    SOCKET,
    TOPIC,
    WIDTH,
)
from mqviz.telemetry import probe
from mqviz.telemetry.histogram import ABOVE, BELOW, HEAD, I64, LIMIT_NS, MAX, SUB, SUM

MEASURE = message.FLAG_MEASURE
CLOSED_LOOP = message.FLAG_CLOSED_LOOP
TOPIC_SHIFT = message.TOPIC_SHIFT
SENT_BYTES, BLOCKED_NS, BLOCKED_SINCE, SPELLS = (
    probe.SENT_BYTES, probe.BLOCKED_NS, probe.BLOCKED_SINCE, probe.SPELLS,
)  # fmt: skip


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
            shift = int(np.float64(value_ns).view(np.int64) >> 52) - 1023 - 7
            place = shift * SUB + (value_ns >> shift)
        words[at + HEAD + place] += 1


@helper
def write_frame(state: I64, frame: I64, row: int, out: int, now: int) -> int:
    """Prefix and header of the row's message for one link. Returns its phase."""
    flags, intended, origin = state[row + FLAGS], state[row + INTENDED], state[row + ORIGIN]
    if intended == 0:
        intended = origin = now
        if now >= state[MEASURE_NS]:
            flags |= MEASURE
    head, topic = state[HEADER], state[row + TOPIC]
    steps = state[out + WIDTH] >> 3
    for step in range(steps):
        frame[head - steps + step] = state[state[out + OUT_PREFIXES] + topic * steps + step]
    frame[head] = state[out + IDENTITY] | flags << 24
    frame[head + 1] = topic << TOPIC_SHIFT | state[state[out + OUT_SEQUENCES] + topic]
    frame[head + 2] = intended
    frame[head + 3] = now
    frame[head + 4] = origin
    return flags & MEASURE


@helper
def attempt(words: I64, state: I64, frame: I64, row: int, out: int) -> int:
    """Send the row's message over one link. Returns the time, 0 without room, or -errno."""
    now = now_ns(state)
    phase = write_frame(state, frame, row, out, now)
    width, topic, at = state[out + WIDTH], state[row + TOPIC], state[out + OFFSET]
    length = width + state[row + SIZE]
    place = state[out + OUT_SEQUENCES] + topic
    sequence = state[place]
    sent = state[out + SENT] + topic
    words[sent] = sequence + 1  # before the call: a kill in between leaves sent >= received
    while zmq_send(state[out + SOCKET], state[FRAME_AT] + state[HEADER] * 8 - width, length, DONTWAIT) < 0:
        errno = zmq_errno()
        if errno == INTERRUPTED:
            continue
        words[sent] = sequence
        if errno != AGAIN:
            return -errno
        if state[out + FIRST_ATTEMPT] == 0:
            state[out + FIRST_ATTEMPT] = now
            words[at + BLOCKED_SINCE] = now
        return 0
    state[place] = sequence + 1
    words[at + SENT_BYTES] += length
    first = state[out + FIRST_ATTEMPT]
    if first:
        state[out + ACCEPTED] = now
        state[out + FIRST_ATTEMPT] = 0
        words[at + BLOCKED_SINCE] = 0
        words[at + BLOCKED_NS] += now - first
        words[at + SPELLS] += 1
        record(words, state[out + BLOCKED + phase], now - first)
    else:
        first = now
        words[state[out + BLOCKED + phase] + HEAD] += 1
    if not state[row + FLAGS] & CLOSED_LOOP:
        earliest = max(state[row + INTENDED], state[row + EARLIEST])
        record(words, state[out + LATENESS + phase], first - earliest)
    return now


@helper
def begin_message(state: I64, row: int) -> None:
    """No link has taken it yet."""
    state[row + LINK] = state[row + FIRST_OUT]


@helper
def send_on(words: I64, state: I64, frame: I64, row: int) -> int:
    """Send the row's message to the links that do not have it yet.

    Returns the time when all have it, 0 when one has no room, or -errno.
    """
    now = 0
    while state[row + LINK] < state[row + LAST_OUT]:
        out = state[row + LINK]
        now = attempt(words, state, frame, row, out)
        if now <= 0:
            return now
        state[row + EARLIEST] = max(state[row + EARLIEST], state[out + ACCEPTED])
        state[row + LINK] = out + OUT_COLUMNS
    return now


@helper
def blocked_socket(state: I64, row: int) -> int:
    """The socket that has not taken the row's message."""
    return state[state[row + LINK] + SOCKET]


@helper
def retry(words: I64, state: I64, frame: I64, row: int) -> int:
    """As send_on, for a row that was blocked."""
    if not has_room(state, blocked_socket(state, row)):
        return 0
    return send_on(words, state, frame, row)

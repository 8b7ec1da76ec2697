"""The state of a native loop: one int64 array that Python and compiled code share.

    | head | rows (instances) | outs (send ends) | ends (receive ends) | the rest |

A row, out or end is known by the word where it begins; the columns are words from there on.
"""

from __future__ import annotations

import platform

import numpy as np

from mqviz.telemetry.histogram import I64

# the head, in every loop; what it does not need stays 0
(
    AT,  # the array's own address
    TIMESPEC,  # structs that C functions want
    _TIMESPEC_NS,
    POLLFD,
    POLLITEM,
    _POLLITEM_EVENTS,
    OPTION,
    OPTION_SIZE,
    WHICH,  # the row that a returned code is about
    MEASURE_NS,  # what is intended from here on is of the measure phase
    ROWS,  # where the rows begin and end
    ROWS_END,
    ENDS,  # likewise the receive ends
    ENDS_END,
    SEQUENCES,  # words of the sequence numbers, one a send end and topic
    PREFIXES,  # topic prefixes as they stand in a frame
    FRAME_AT,  # the address of the frame that every message is written into
    HEADER,  # the word in it where the header begins; the prefix stands right before it
    BUFFER,  # room for a received prefix and header
    RUN_NUMBER,
    EPOLL,  # a descriptor, with all receive ends in it
    EVENTS,  # room for its events
    END_OF,  # by descriptor: the receive end
    ALONE,  # 1: there is one row, so it may be waited for by itself
    PAUSED,
    SPIN,  # 1: serve by spinning
    CLOSED_NOW,  # 1: send as fast as sends are accepted
    BATCHED,  # 1: wake at most once in BATCH_NS
    DRAWS,  # how many draws each row has
    REPEAT,  # 1: they are all alike, go round
    BLOCKED_ROWS,
    RETRY_AT,
    LAST_WAKE,
) = range(33)
HEAD_WORDS = 40

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
    _LATENESS_MEASURED,
    BLOCKED,  # likewise
    _BLOCKED_MEASURED,
    OUT_PREFIXES,  # where its topics' prefixes begin
    OUT_SEQUENCES,  # where its topics' sequence numbers begin
) = range(13)
OUT_COLUMNS = 13

# columns of a receive end; the first two are those of a send end
(
    DESCRIPTOR,  # its ZMQ_FD
    PREFIX,  # bytes of the topic prefix
    TOPICS,  # of its link, 1 without topics
    LOWEST,  # the lowest producer number that it knows
    SPAN,  # up to the highest
    TABLE,  # where its part of the table begins: a probe row for each (producer, topic), 0 if unknown
    HEARD,  # where its hellos begin in the table: 1 for each producer that has said one
    MAYBE,  # 1: may have messages; 0: wait for its descriptor
    SHUT,  # 1: its instance has been halted
    TRANSIT,  # its link's histograms by phase, warm-up, then measure
    _TRANSIT_MEASURED,
    SERVICE,
    _SERVICE_MEASURED,
    RESPONSE,
    _RESPONSE_MEASURED,
    END_TO_END,  # 0 where the link is not a terminal one
    _END_TO_END_MEASURED,
) = range(2, 19)
END_COLUMNS = 19

# columns of an instance: the message that it sends
(
    PLACE,  # its first word in the probe
    HALTED,
    FIRST_OUT,  # its send ends
    LAST_OUT,  # the word after them
    LINK,  # the next one to take the message
    TOPIC,
    SIZE,
    FLAGS,
    INTENDED,  # 0: when it is sent
    ORIGIN,
    EARLIEST,  # when it could first have been tried: the end of the last blocked spell
    BUSY,  # producers: not all links have taken the message; workers and consumers: a message is in service
) = range(12)
MESSAGE_COLUMNS = 12


# more columns of a producer
(
    TIMES,  # where its part of the schedule begins: times, sizes, topics
    SIZES,
    TOPICS_DUE,
    NEXT,  # the next message of its schedule
    TAIL,
    DRY,  # 1: nothing more comes
    CLOSED,  # messages begun in a closed loop
    DRAWN_SIZES,  # where its part of the draws begins: sizes, topics
    DRAWN_TOPICS,
    DRAWN,  # the next of them
) = range(MESSAGE_COLUMNS, MESSAGE_COLUMNS + 10)
PRODUCER_COLUMNS = MESSAGE_COLUMNS + 10

# more columns of a worker or consumer
(
    FIRST_END,  # its receive ends
    LAST_END,  # the word after them
    NEXT_END,  # the one to ask first: none is favoured
    FRESH,  # 1: the next receive is the first try after a service
    EMITTING,  # 1: a link has not taken the output
    RETRY_EMIT_AT,
    START,  # of the service
    END,
    PREVIOUS_END,
    FROM,  # the receive end that the message came from
    FLAGS_IN,
    INTENDED_IN,
    SERVICES,  # where its part of the draws begins: service times, sizes, topics
    SERVED,  # the next service time
    EMITTED_SIZES,
    EMITTED_TOPICS,
    EMITTED,  # the next size and topic
) = range(MESSAGE_COLUMNS, MESSAGE_COLUMNS + 17)
RECEIVER_COLUMNS = MESSAGE_COLUMNS + 17

# what a slice returns, besides -errno
OVER, FILL, DRAW = 0, 1, 2

MAX_EVENTS = 64
EVENT_STRIDE = 3 if platform.machine() == "x86_64" else 4
"""int32 words of a struct epoll_event, which only x86-64 packs; its data is the descriptor."""
EVENT_FD = EVENT_STRIDE - 2
EVENT_WORDS = MAX_EVENTS * EVENT_STRIDE // 2


class Layout:
    """Sections of a state that is to be made."""

    def __init__(self) -> None:
        self._words = HEAD_WORDS

    def section(self, words: int) -> int:
        """Where it begins."""
        at = self._words
        self._words += words
        return at

    def make(self) -> I64:
        """All zero, but for its address."""
        state = np.zeros(self._words, np.int64)
        state[AT] = state.ctypes.data
        return state


def table(state: I64, at: int, columns: int, rows: int) -> I64:
    """A section as a table, one thing a row; writing to it writes to the state."""
    return state[at : at + rows * columns].reshape(rows, columns)

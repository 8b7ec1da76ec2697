"""Message: a byte array with a header at the top.

    | topic prefix, NUL-padded (pub-sub only) | 40-byte header | payload |

Header, little-endian: magic 'mq', version, flags, producer id, sequence number, intended time, sent time,
the origin's intended time. Times are monotonic ns. The producer id has the run's random number in its upper
half and the producer's number in its lower half, so a message of another run is foreign. The sequence number
counts per (producer, topic) and has the topic's number in its upper 16 bits.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

HEADER = struct.Struct("<HBBIQqqq")
HEADER_BYTES = HEADER.size
MAGIC = 0x716D
VERSION = 1
MAGIC_AND_VERSION = MAGIC | VERSION << 16
"""The low 24 bits of a header's first word."""

FLAG_MEASURE = 1
"""The intended time lies in the measure phase."""
FLAG_HELLO = 2
"""Sent before the load until every receiver has seen one: never counted."""
FLAG_CLOSED_LOOP = 4
"""Sent with rate = "max": there is no intended time, so response and end-to-end mean nothing."""

TOPIC_SHIFT = 48
SEQUENCE_MASK = (1 << TOPIC_SHIFT) - 1
MAX_TOPICS = 1 << 16
MAX_PRODUCERS = 1 << 16

assert HEADER_BYTES == 40


class Header(NamedTuple):
    """A decoded header; `topic` and `sequence` are apart here."""

    flags: int
    producer: int  # run number << 16 | producer number
    topic: int
    sequence: int
    intended_ns: int
    sent_ns: int
    origin_ns: int


def pack(header: Header) -> bytes:
    """To the wire."""
    return HEADER.pack(
        MAGIC,
        VERSION,
        header.flags,
        header.producer,
        header.topic << TOPIC_SHIFT | header.sequence,
        header.intended_ns,
        header.sent_ns,
        header.origin_ns,
    )


def unpack(frame: bytes | memoryview, prefix_bytes: int = 0) -> Header | None:
    """The header of a frame, or None when it is foreign or torn."""
    if len(frame) < prefix_bytes + HEADER_BYTES:
        return None
    magic, version, flags, producer, place, intended, sent, origin = HEADER.unpack_from(frame, prefix_bytes)
    if magic != MAGIC or version != VERSION:
        return None
    topic, sequence = place >> TOPIC_SHIFT, place & SEQUENCE_MASK
    return Header(flags, producer, topic, sequence, intended, sent, origin)


def prefix_bytes(topics: tuple[str, ...]) -> int:
    """Bytes of a link's topic prefix: the longest topic, rounded up to a multiple of 8; 0 without topics."""
    longest = max((len(topic.encode()) for topic in topics), default=0)
    return -(-longest // 8) * 8


def prefix(topic: str, width: int) -> bytes:
    """A topic as it stands before the header."""
    return topic.encode().ljust(width, b"\0")

"""Sample: what a probe showed at one time; the wire record between the agent and the collector.

Values are cumulative: a Sample that is lost costs resolution, never counts. A Report is one pass of an agent
over all its probes, and one message on the wire (msgpack, arrays instead of maps).
"""

from __future__ import annotations

from typing import Any

import msgspec


class Announce(msgspec.Struct, array_like=True, frozen=True):
    """A probe that the agent has begun to read: its number in this agent's Samples, and its schema (JSON)."""

    probe: int
    schema: bytes


class Sample(msgspec.Struct, array_like=True, frozen=True):
    """The words of one probe that changed: positions (u32, ascending) and values (u64), little-endian."""

    probe: int
    positions: bytes
    values: bytes


class Report(msgspec.Struct, array_like=True, frozen=True, tag="report"):
    """One pass of one agent."""

    agent: str
    sequence: int  # one more each pass: a gap is a lost Report, and is counted
    at_ns: int  # monotonic, when the counters were read
    span_ns: int  # from the first receive region to the last send region: bounds the error of a backlog
    cpu_ns: int  # what watching has cost so far: CPU time of the agent
    full: bool  # all words, not just the changed ones
    final: bool  # the last of this agent
    announced: tuple[Announce, ...] = ()
    samples: tuple[Sample, ...] = ()


class Mark(msgspec.Struct, array_like=True, frozen=True, tag="mark"):
    """Something that happened at a time; made by the lab, kept in the same stream as the Reports.

    kind      data
    phase     phase: starting | warm-up | measure | drain | ended
    event     what a person did or the scenario planned; shown as a line on every chart
    birth     instance, node, incarnation, runner
    death     instance, node, incarnation, cause: peer-death | linger | ended
    join      link, producer (number), subscriber (instance), incarnation, start (published per topic)
    leave     link, producer, subscriber, incarnation, end (published per topic), cause
    """

    at_ns: int
    kind: str
    text: str = ""
    data: dict[str, Any] = msgspec.field(default_factory=dict)


MAX_BYTES = 16 << 20
"""A longer message on the collector's socket is not ours."""

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Report | Mark] = msgspec.msgpack.Decoder(Report | Mark)


def encode(record: Report | Mark) -> bytes:
    """To the wire or a recording."""
    return _encoder.encode(record)


def decode(data: bytes | memoryview) -> Report | Mark:
    """From the wire or a recording. Raises msgspec.DecodeError for anything else."""
    try:
        return _decoder.decode(data)
    except (UnicodeDecodeError, RecursionError) as error:  # msgspec lets these two through
        raise msgspec.DecodeError(str(error)) from error

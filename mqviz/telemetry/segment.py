"""Segment: one file of a recording, append-only, every frame with its checksum.

file    magic, then u32: version, length of the head, CRC-32 of the head; head (JSON), frames
frame   u32: length, CRC-32; a Report, Mark or Merged in msgpack
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from struct import Struct, error
from typing import BinaryIO

import msgspec

from mqviz.errors import RecordingError
from mqviz.telemetry import sample
from mqviz.telemetry.clock import Anchor
from mqviz.telemetry.roll import UNREADABLE
from mqviz.telemetry.sample import Mark, Report
from mqviz.telemetry.topology import Topology

MAGIC = b"MQVIZREC"
VERSION = 1
FILE_HEAD = Struct("<8sIII")
FRAME_HEAD = Struct("<II")
MOST_HEAD_BYTES = 16 << 20


class Head(msgspec.Struct, frozen=True):
    """What a segment starts with: enough to read it alone."""

    topology: Topology
    anchor: Anchor


class Merged(msgspec.Struct, array_like=True, frozen=True, tag="merged"):
    """Reports of one agent as one: the last value of every word, under the last one's sequence number."""

    report: Report
    count: int  # how many they were


Record = Report | Mark | Merged

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(Record)
STARTS = tuple(b"\xa6report \xa6merged \xa4mark".split())
"""The tags that stand in the second byte of a frame's data."""


def create(path: Path, head: Head) -> BinaryIO:
    """A new segment, open for frames."""
    text = msgspec.json.encode(head)
    file = path.open("xb")
    file.write(FILE_HEAD.pack(MAGIC, VERSION, len(text), zlib.crc32(text)) + text)
    return file


def write(file: BinaryIO, record: Record, data: bytes | None = None) -> None:
    """Append a record; `data` is its encoding where that is at hand."""
    if data is None:
        data = _encoder.encode(record)
    file.write(FRAME_HEAD.pack(len(data), zlib.crc32(data)) + data)


def opened(path: Path) -> BinaryIO:
    """A segment to read. Raises RecordingError when it cannot be opened."""
    try:
        return path.open("rb")
    except OSError as problem:
        raise RecordingError(f"{path} cannot be read: {problem.strerror}") from problem


def read_head(file: BinaryIO, path: Path) -> Head:
    """The head of a segment. Raises RecordingError for what is none, or is damaged, or too new."""
    try:
        magic, version, length, checksum = FILE_HEAD.unpack(file.read(FILE_HEAD.size))
    except error:
        magic, version, length, checksum = b"", 0, 0, 0
    if magic != MAGIC:
        raise RecordingError(f"{path} is not a recording of mqviz")
    if version > VERSION:
        raise RecordingError(
            f"{path} was recorded by a newer mqviz (format {version}, this one reads up to {VERSION}): "
            "upgrade mqviz to read it"
        )
    text = file.read(min(length, MOST_HEAD_BYTES))
    try:
        if zlib.crc32(text) == checksum:
            return msgspec.json.decode(text, type=Head)
    except UNREADABLE:
        pass
    raise RecordingError(
        f"{path} is damaged in its first {FILE_HEAD.size + length} bytes: nothing can be saved"
    )


class Damage(Exception):
    """A frame that is cut or altered; `torn` when nothing readable comes after it."""

    def __init__(self, at: int, torn: bool) -> None:
        super().__init__(at)
        self.at = at
        self.torn = torn


def frames(file: BinaryIO) -> Iterator[Record]:
    """The records from here to the end. Raises Damage at the first that cannot be read."""
    while True:
        start = file.tell()
        head = file.read(FRAME_HEAD.size)
        if not head:
            return
        record = None
        if len(head) == FRAME_HEAD.size:
            length, checksum = FRAME_HEAD.unpack(head)
            data = file.read(length) if length <= sample.MAX_BYTES else b""
            if len(data) == length and zlib.crc32(data) == checksum:
                try:
                    record = _decoder.decode(data)
                except UNREADABLE:
                    record = None
        if record is None:
            file.seek(start + 1)
            raise Damage(start, torn=not _readable(file.read()))
        yield record


def _readable(rest: bytes) -> bool:
    """Whether a whole frame begins anywhere in `rest`."""
    for tag in STARTS:
        at = rest.find(tag)
        while at >= 0:
            begin = at - 1 - FRAME_HEAD.size
            if begin >= 0:
                length, checksum = FRAME_HEAD.unpack_from(rest, begin)
                data = memoryview(rest)[at - 1 : at - 1 + length]
                if 0 < length <= sample.MAX_BYTES and len(data) == length and zlib.crc32(data) == checksum:
                    return True
            at = rest.find(tag, at + 1)
    return False

"""The header: what stands where on the wire, and what is not one of ours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqviz.channels import message
from mqviz.channels.message import HEADER_BYTES, Header, pack, prefix, prefix_bytes, unpack

SIGNED = st.integers(-(1 << 63), (1 << 63) - 1)
HEADERS = st.builds(
    Header,
    flags=st.integers(0, 255),
    producer=st.integers(0, (1 << 32) - 1),
    topic=st.integers(0, message.MAX_TOPICS - 1),
    sequence=st.integers(0, message.SEQUENCE_MASK),
    intended_ns=SIGNED,
    sent_ns=SIGNED,
    origin_ns=SIGNED,
)


def test_the_layout_is_fixed() -> None:
    header = Header(1, 0xBEEF0003, 2, 7, 0x11, 0x22, 0x33)
    assert pack(header).hex(" ", 4) == (
        "6d710101 0300efbe 07000000 00000200 11000000 00000000 22000000 00000000 33000000 00000000"
    )
    assert pack(header)[:3] == message.MAGIC_AND_VERSION.to_bytes(3, "little")


@given(HEADERS, st.binary(max_size=40), st.integers(0, 3))
def test_what_is_packed_comes_back_whatever_stands_around_it(
    header: Header, payload: bytes, width: int
) -> None:
    frame = prefix("", width * 8) + pack(header) + payload
    assert len(pack(header)) == HEADER_BYTES
    assert unpack(frame, width * 8) == header
    assert unpack(memoryview(frame), width * 8) == header


@given(HEADERS, st.integers(0, HEADER_BYTES - 1))
def test_a_torn_header_is_none(header: Header, length: int) -> None:
    assert unpack(pack(header)[:length]) is None
    assert unpack(b"eur".ljust(8, b"\0") + pack(header)[:length], 8) is None


@given(st.binary(max_size=100))
def test_any_bytes_are_a_header_or_none(data: bytes) -> None:
    found = unpack(data)
    ours = len(data) >= HEADER_BYTES and data[:3] == message.MAGIC_AND_VERSION.to_bytes(3, "little")
    assert (found is not None) == ours


@pytest.mark.parametrize("byte", [0, 1, 2])
def test_another_magic_or_version_is_foreign(byte: int) -> None:
    frame = bytearray(pack(Header(0, 1, 0, 0, 0, 0, 0)))
    frame[byte] ^= 1
    assert unpack(bytes(frame)) is None


@pytest.mark.parametrize(
    ("topics", "width"),
    [
        ((), 0),
        (("",), 0),
        (("e",), 8),
        (("eur", "usd"), 8),
        (("12345678",), 8),
        (("123456789", "a"), 16),
        (("€€€",), 16),  # nine bytes
    ],
)
def test_the_prefix_keeps_the_header_aligned(topics: tuple[str, ...], width: int) -> None:
    assert prefix_bytes(topics) == width
    for topic in topics:
        assert len(prefix(topic, width)) == width
        assert prefix(topic, width).startswith(topic.encode())

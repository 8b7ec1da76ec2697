"""Durations, rates and sizes as users write them."""

from __future__ import annotations

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqviz.errors import ScenarioError
from mqviz.simulation.units import (
    format_duration,
    format_rate,
    format_size,
    parse_duration,
    parse_rate,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("400us", 400_000),
        ("400µs", 400_000),
        ("5ms", 5_000_000),
        ("2s", 2_000_000_000),
        ("1.5 s", 1_500_000_000),
        ("1min", 60_000_000_000),
        ("2h", 7_200_000_000_000),
        ("7ns", 7),
        ("0", 0),
        (0, 0),
    ],
)
def test_a_duration_is_read_as_nanoseconds(text: object, ns: int) -> None:
    assert parse_duration(text) == ns


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("5000/s", 5000),
        ("5k/s", 5000),
        ("1M/s", 1e6),
        ("0.5/s", 0.5),
        ("200", 200),
        (200, 200),
        (2.5, 2.5),
        ("max", math.inf),
    ],
)
def test_a_rate_is_read_as_messages_per_second(text: object, rate: float) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("64B", 64),
        ("1KiB", 1024),
        ("200KB", 200_000),
        ("200kb", 200_000),
        ("1MiB", 1 << 20),
        ("1.5KiB", 1536),
        (64, 64),
    ],
)
def test_a_size_is_read_as_bytes(text: object, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("parse", "value", "sentence"),
    [
        (parse_duration, "soon", '"soon" is not a duration such as 400us, 5ms, 2s or 1min'),
        (parse_duration, 5, "5 has no unit; a duration is written such as 400us, 5ms or 2s"),
        (parse_duration, "-5ms", '"-5ms" is not a duration such as 400us, 5ms, 2s or 1min'),
        (parse_duration, "5KB", '"5KB" is not a duration such as 400us, 5ms, 2s or 1min'),
        (parse_duration, "9e9h", '"9e9h" is longer than a year'),
        (parse_rate, "fast", '"fast" is not a rate such as 5000/s, 5k/s or "max"'),
        (parse_rate, "5ms", '"5ms" is not a rate such as 5000/s, 5k/s or "max"'),
        (parse_rate, math.nan, 'nan is not a rate such as 5000/s, 5k/s or "max"'),
        (parse_rate, True, 'true is not a rate such as 5000/s, 5k/s or "max"'),
        (parse_rate, [1], 'a list is not a rate such as 5000/s, 5k/s or "max"'),
        (parse_rate, 10**40, 'a huge number is not a rate such as 5000/s, 5k/s or "max"'),
        (parse_size, "2s", '"2s" is not a size such as 64B, 1KiB, 200KB or 1MiB'),
        (parse_size, -1, "-1 is not a size such as 64B, 1KiB, 200KB or 1MiB"),
        (parse_size, "9e9GiB", '"9e9GiB" is too large'),
    ],
)
def test_what_cannot_be_read_is_told_in_a_sentence(parse: object, value: object, sentence: str) -> None:
    assert callable(parse)
    with pytest.raises(ScenarioError) as caught:
        parse(value)
    assert str(caught.value) == sentence


@given(st.integers(0, 10**16))
def test_a_written_duration_is_read_back_exactly(ns: int) -> None:
    assert parse_duration(format_duration(ns)) == ns


@given(st.floats(0.001, 1e8))
def test_a_written_rate_is_read_back_exactly(rate: float) -> None:
    assert parse_rate(format_rate(rate)) == rate


@given(st.integers(0, 1 << 40))
def test_a_written_size_is_read_back_exactly(size: int) -> None:
    assert parse_size(format_size(size)) == size


@given(st.text(max_size=200) | st.integers() | st.floats() | st.none())
def test_any_value_is_read_or_refused(value: object) -> None:
    for parse in (parse_duration, parse_rate, parse_size):
        with contextlib.suppress(ScenarioError):
            assert parse(value) >= 0

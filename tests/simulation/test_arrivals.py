"""Intended times: their law, their determinism, and how a user writes them."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mqviz.errors import ScenarioError
from mqviz.simulation.arrivals import ArrivalStream, parse_arrivals, resolved, stream

KINDS = ("constant", "poisson", "bursts(1s, 0.2)", "ramp(0, 1, 5s)", "steps(2s, 0, 1, 0.5)", "sine(0.9, 3s)")
START = 1_000_000_000_000
S = 1_000_000_000


def times(text: str, rate: float, n: int, index: int = 0, count: int = 1) -> NDArray[np.float64]:
    """The first n intended times in seconds from the start."""
    drawn = stream(parse_arrivals(text), rate, START, (1, 2), index, count).next(n)
    assert drawn.dtype == np.int64
    seconds: NDArray[np.float64] = (drawn - START) / S
    return seconds


@pytest.mark.parametrize("text", KINDS)
def test_times_never_decrease_and_begin_at_the_start(text: str) -> None:
    drawn = times(text, 1_000, 20_000)
    assert drawn[0] >= 0
    assert (np.diff(drawn) >= 0).all()


@pytest.mark.parametrize("text", KINDS)
@given(chunks=st.lists(st.integers(0, 300), min_size=1, max_size=10))
def test_times_are_the_same_however_they_are_asked_for(text: str, chunks: list[int]) -> None:
    def fresh() -> ArrivalStream:
        return stream(parse_arrivals(text), 777.7, START, (5, 1), 1, 3)

    whole = fresh().next(sum(chunks))
    one = fresh()
    assert np.array_equal(np.concatenate([one.next(n) for n in chunks]), whole)


@pytest.mark.parametrize("text", KINDS)
def test_a_deepcopy_looks_ahead_without_disturbing_the_original(text: str) -> None:
    original = stream(parse_arrivals(text), 1_000, START, (5,), 0, 1)
    original.next(10)
    ahead = copy.deepcopy(original).next(50)
    assert np.array_equal(original.next(50), ahead)


def test_instances_and_seeds_have_random_numbers_of_their_own() -> None:
    first, second = times("poisson", 100, 50, 0, 2), times("poisson", 100, 50, 1, 2)
    other_seed = (stream(parse_arrivals("poisson"), 100, START, (9, 2), 0, 2).next(50) - START) / S
    assert not np.intersect1d(first, second).size
    assert not np.intersect1d(first, other_seed).size
    assert np.array_equal(first, times("poisson", 100, 50, 0, 2))


def test_constant_instances_take_turns() -> None:
    merged = np.sort(np.concatenate([times("constant", 300, 100, index, 3) for index in range(3)]))
    assert merged == pytest.approx(np.arange(300) / 300, abs=1e-8)
    assert times("constant", 300, 3, 1, 3) == pytest.approx([1 / 300, 4 / 300, 7 / 300], abs=1e-8)


def test_constant_times_do_not_drift() -> None:
    far = stream(parse_arrivals("constant"), 3, 0, (0,), 0, 1)
    far.next(2_999_999)
    assert far.next(2).tolist() == [999_999_666_666_666, 1_000_000_000_000_000]


def test_poisson_gaps_are_exponential() -> None:
    gaps = np.diff(times("poisson", 1_000, 200_000, 0, 4))
    assert gaps.mean() == pytest.approx(4e-3, rel=0.01)
    assert gaps.std() == pytest.approx(4e-3, rel=0.02)
    assert np.mean(gaps > 8e-3) == pytest.approx(np.exp(-2), rel=0.03)


@pytest.mark.parametrize(
    ("text", "windows"),
    [
        # (from, to, expected messages at a rate of 10,000/s)
        ("bursts(1s, 0.2)", [(0, 0.2, 10_000), (0.2, 1, 0), (3, 3.1, 5_000), (3.2, 4, 0)]),
        ("ramp(0, 1, 4s)", [(0, 2, 5_000), (2, 4, 15_000), (4, 5, 10_000)]),
        ("ramp(2, 0.5, 4s)", [(0, 4, 50_000), (4, 6, 10_000)]),
        ("steps(1s, 1, 0, 2, 0.5)", [(0, 1, 10_000), (1, 2, 0), (2, 3, 20_000), (3, 5, 10_000)]),
        # half a period has 1/2 ± amplitude/π of the whole
        ("sine(0.8, 4s)", [(0, 2, 20_000 + 0.8 * 40_000 / np.pi), (2, 4, 20_000 - 0.8 * 40_000 / np.pi)]),
    ],
)
def test_each_stretch_has_as_many_messages_as_the_rate_over_it(
    text: str, windows: list[tuple[float, float, float]]
) -> None:
    drawn = times(text, 10_000, 100_000)
    for begin, end, expected in windows:
        counted = np.count_nonzero((drawn >= begin) & (drawn < end))
        assert counted == pytest.approx(expected, abs=5 * max(expected, 0.1) ** 0.5), (begin, end)


def test_a_replay_sends_at_the_recorded_times(tmp_path: Path) -> None:
    (tmp_path / "times.csv").write_text("offset_s,size\n0.5,10\n1,20\n\n# a note\n1,5\n4.0,1\n")
    recorded = resolved(parse_arrivals("replay(times.csv)"), tmp_path)
    whole = stream(recorded, 1.0, START, (0,), 0, 1)  # four entries in 4 s: as recorded
    assert ((whole.next(3) - START) / S).tolist() == [0.5, 1, 1]
    assert ((whole.next(3) - START) / S).tolist() == [4]
    assert whole.next(3).tolist() == []


def test_a_replay_is_stretched_to_the_rate_and_dealt_out_to_instances(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("0\n1\n2\n3\n4")
    recorded = resolved(parse_arrivals("replay(t)"), tmp_path)
    twice = 2 * 5 / 4
    dealt = [((stream(recorded, twice, START, (0,), i, 2).next(9) - START) / S).tolist() for i in (0, 1)]
    assert dealt == [[0, 1, 2], [0.5, 1.5]]


def test_a_very_slow_rate_stays_within_int64() -> None:
    for text in KINDS:
        drawn = stream(parse_arrivals(text), 0.001, START, (0,), 999, 1000).next(65_536)
        assert (np.diff(drawn) >= 0).all()
        assert drawn[-1] > START


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("constant", "constant"),
        ("Poisson", "poisson"),
        ("bursts", "bursts(1s, 0.2)"),
        ("bursts(500ms)", "bursts(500ms, 0.2)"),
        ("ramp", "ramp(0, 1, 30s)"),
        ("steps", "steps(10s, 0.25, 0.5, 0.75, 1)"),
        ("steps(5s, 1, 2)", "steps(5s, 1, 2)"),
        ("sine(0.3)", "sine(0.3, 20s)"),
        ("replay('a b, (c).csv')", "replay(a b, (c).csv)"),
    ],
)
def test_the_text_of_arrivals_reads_back_equal(written: str, text: str) -> None:
    arrivals = parse_arrivals(written)
    assert arrivals.text == text
    assert parse_arrivals(arrivals.text) == arrivals


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ("poison", 'did you mean "poisson"?'),
        ("poisson(5)", "just poisson"),
        ("bursts(1s, 0)", "share of bursts is 0.001 to 1"),
        ("bursts(1s, 0.5, 3)", r"bursts is written bursts\(period, share\)"),
        ("bursts(0s)", "a time of bursts is at least 1ms"),
        ("sine(1)", "amplitude of sine is 0 to 0.99"),
        ("ramp(1, 0)", "the last level of ramp stays for ever and must be above 0"),
        ("steps(1s, 1, 0)", "the last level of steps stays for ever and must be above 0"),
        ("steps(1s, 9999)", "a level of steps is 0, or 0.001 to 1000 times the rate"),
        ("steps(1s" + ", 1" * 101 + ")", "steps takes at most 100 levels"),
        ("replay()", r"replay is written replay\(FILE\)"),
        ("ramp(0, fast)", 'ramp, high: "fast" is not a number'),
        (5, "arrivals are a word such as"),
    ],
)
def test_arrivals_that_cannot_be_used_are_told_in_a_sentence(written: object, sentence: str) -> None:
    with pytest.raises(ScenarioError, match=sentence):
        parse_arrivals(written)

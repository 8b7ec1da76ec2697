from __future__ import annotations

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given, settings
from hypothesis import strategies as st

from mqviz.telemetry.histogram import (
    BINS,
    HIGH_NS,
    LIMIT_NS,
    LOW_NS,
    MID_NS,
    WORDS,
    Histogram,
    bin_of,
    bins_of,
)

durations = st.one_of(
    st.integers(0, 1000),
    st.integers(0, LIMIT_NS - 1),
    st.integers(0, 36).flatmap(lambda e: st.integers(max(0, (1 << e) - 2), (1 << e) + 2)),
)


def of(values: list[int]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


@settings(deadline=None)
@given(durations)
def test_every_value_lies_in_its_bin(value):
    place = bin_of(value)
    assert LOW_NS[place] <= value < HIGH_NS[place]


def test_the_bins_follow_each_other_without_gap_up_to_the_limit():
    assert LOW_NS[0] == 0
    assert np.array_equal(LOW_NS[1:], HIGH_NS[:-1])
    assert HIGH_NS[-1] == LIMIT_NS
    assert len(LOW_NS) == BINS


def test_no_bin_is_off_by_more_than_four_in_a_thousand():
    error = np.maximum(MID_NS - LOW_NS, HIGH_NS - 1 - MID_NS) / np.maximum(LOW_NS, 1)
    assert error.max() <= 0.004


@settings(deadline=None)
@given(st.lists(durations, min_size=1))
def test_the_bins_of_many_are_those_of_each(values):
    assert bins_of(np.array(values, np.int64)).tolist() == [bin_of(value) for value in values]


@settings(deadline=None)
@given(st.lists(st.integers(1, LIMIT_NS - 1), min_size=1, max_size=300), st.floats(0.1, 100))
def test_percentiles_agree_with_hdrhistogram(values, percent):
    oracle = HdrHistogram(1, LIMIT_NS, 3)
    for value in values:
        oracle.record_value(value)
    expected = oracle.get_value_at_percentile(percent)
    found = of(values).percentile(percent)
    # ranks may differ by the rounding of the two: then the neighbour counts
    neighbours = [expected, *values]
    near = min(neighbours, key=lambda value: abs(value - found))
    assert abs(found - near) <= 0.005 * near + 1
    if len(set(values)) == 1:
        assert abs(found - expected) <= 0.005 * expected + 1


def test_percentiles_of_many_agree_with_hdrhistogram_and_the_sorted_values():
    values = np.random.default_rng(1).lognormal(13, 1.5, 20_000).astype(np.int64)
    oracle = HdrHistogram(1, LIMIT_NS, 3)
    ours = of(values.tolist())
    for value in values.tolist():
        oracle.record_value(value)
    ranks = {1: 200, 50: 10_000, 90: 18_000, 99: 19_800, 99.9: 19_980, 100: 20_000}
    for percent, rank in ranks.items():
        found = ours.percentile(percent)
        assert found == pytest.approx(oracle.get_value_at_percentile(percent), rel=0.005)
        assert found == pytest.approx(np.sort(values)[rank - 1], rel=0.005)
    assert (ours.count, ours.max_ns, ours.sum_ns) == (20_000, values.max(), values.sum())


def test_nearest_rank_is_exact_at_round_percentages():
    histogram = of(list(range(1, 101)))
    assert histogram.percentiles([1, 50, 90, 99, 100]) == [1, 50, 90, 99, 100]


def test_an_empty_histogram_has_no_percentile_and_no_mean():
    assert Histogram().percentile(50) is None
    assert Histogram().mean_ns is None


def test_a_percentile_is_never_above_the_maximum():
    assert of([1_000_001]).percentile(99) == 1_000_001


def test_what_is_out_of_range_is_counted_beside():
    histogram = of([-5, 10, LIMIT_NS, LIMIT_NS + 7])
    assert (histogram.count, histogram.below, histogram.above) == (1, 1, 2)
    assert (histogram.sum_ns, histogram.mean_ns, histogram.max_ns) == (10, 10.0, LIMIT_NS + 7)


@settings(deadline=None)
@given(st.lists(durations), st.lists(durations))
def test_merging_is_recording_all_in_one(first, second):
    merged, both = of(first).merge(of(second)), of(first + second)
    assert np.array_equal(merged.counts, both.counts)
    assert (merged.sum_ns, merged.max_ns) == (both.sum_ns, both.max_ns)


@settings(deadline=None)
@given(st.lists(durations), st.lists(durations))
def test_subtracting_gives_back_what_came_after(first, second):
    after = of(first + second).subtract(of(first))
    assert np.array_equal(after.counts, of(second).counts)
    assert after.sum_ns == sum(second)
    if second:
        assert max(second) <= after.max_ns <= max(HIGH_NS[bin_of(max(second))] - 1, max(second))


def test_subtracting_what_was_never_there_is_refused():
    with pytest.raises(ValueError, match="counts that this one has not"):
        of([1]).subtract(of([2]))


def test_words_of_a_probe_become_a_histogram():
    words = np.zeros(WORDS, np.uint64)
    words[:4] = [30, 20, 1, 2]
    words[4 + 10] = 3
    histogram = Histogram.from_words(words)
    assert (histogram.sum_ns, histogram.max_ns, histogram.below, histogram.above) == (30, 20, 1, 2)
    assert histogram.percentile(50) == 10
    words[4 + 10] = 9
    assert histogram.count == 3


def test_a_wrong_number_of_words_is_refused():
    with pytest.raises(ValueError, match="words, not 5"):
        Histogram.from_words(np.zeros(5, np.uint64))

"""Log-linear histogram of durations in ns: 128 bins to each power of two, error at most 0.4 %.

Values 0..255 have a bin each; above that every octave [2^e, 2^(e+1)) has 128 bins of width 2^(e-7), up to
2^37 ns = 137 s: 3,968 bins in all. The layout is the one of HdrHistogram (G. Tene) with 128 half-buckets.
What is negative or too large is counted beside the bins; sum and maximum are exact.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

SUB = 128
BINS = 3968
LIMIT_NS = 1 << 37

HEAD = 4
"""Words before the bins of a histogram in a probe: SUM, MAX, BELOW, ABOVE."""
SUM, MAX, BELOW, ABOVE = range(HEAD)
WORDS = HEAD + BINS

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]


def bin_of(value_ns: int) -> int:
    """The bin of one value in [0, LIMIT_NS)."""
    if value_ns < 256:
        return value_ns
    shift = value_ns.bit_length() - 8
    return shift * SUB + (value_ns >> shift)


def bins_of(values_ns: I64) -> I64:
    """The bins of many values, each in [0, LIMIT_NS)."""
    # the exponent of a float64 is the place of the highest bit; it holds every value below 2^53 exactly
    shift = np.maximum((values_ns.astype(np.float64).view(np.int64) >> 52) - 1030, 0)
    bins: I64 = shift * SUB + (values_ns >> shift)
    return bins


def _edges() -> tuple[I64, I64]:
    index = np.arange(BINS, dtype=np.int64)
    shift = np.maximum(index // SUB - 1, 0)
    low = (index - shift * SUB) << shift
    return low, low + (np.int64(1) << shift)


LOW_NS, HIGH_NS = _edges()
"""First value of each bin, and first value above it."""
MID_NS: I64 = (LOW_NS + HIGH_NS - 1) // 2


class Histogram:
    """Counts of durations; what a percentile, mean and maximum are read from.

    `counts` has BINS entries; `sum_ns` and `max_ns` are exact; `below` counts negative values and `above`
    those of LIMIT_NS or more. Neither of the two is in `count`, `sum_ns` or a percentile; `max_ns` has them.
    """

    __slots__ = ("above", "below", "counts", "max_ns", "sum_ns")

    def __init__(
        self, counts: U64 | None = None, sum_ns: int = 0, max_ns: int = 0, below: int = 0, above: int = 0
    ) -> None:
        self.counts: U64 = np.zeros(BINS, np.uint64) if counts is None else counts
        self.sum_ns = sum_ns
        self.max_ns = max_ns
        self.below = below
        self.above = above

    @classmethod
    def from_words(cls, words: U64) -> Histogram:
        """A copy of a histogram as it lies in a probe (HEAD words, then the bins)."""
        if len(words) != WORDS:
            raise ValueError(f"a histogram has {WORDS} words, not {len(words)}")
        return cls(
            words[HEAD:].astype(np.uint64),
            int(words[SUM]), int(words[MAX]), int(words[BELOW]), int(words[ABOVE]),
        )  # fmt: skip

    @property
    def count(self) -> int:
        """Values in the bins."""
        return int(self.counts.sum())

    @property
    def mean_ns(self) -> float | None:
        """Exact mean, None when empty."""
        count = self.count
        return self.sum_ns / count if count else None

    def record(self, value_ns: int) -> None:
        """Add one value."""
        self.max_ns = max(self.max_ns, value_ns)
        if value_ns < 0:
            self.below += 1
        elif value_ns >= LIMIT_NS:
            self.above += 1
        else:
            self.counts[bin_of(value_ns)] += np.uint64(1)
            self.sum_ns += value_ns

    def merge(self, other: Histogram) -> Histogram:
        """A new histogram with the values of both."""
        return Histogram(
            self.counts + other.counts,
            self.sum_ns + other.sum_ns,
            max(self.max_ns, other.max_ns),
            self.below + other.below,
            self.above + other.above,
        )

    def subtract(self, earlier: Histogram) -> Histogram:
        """What came after `earlier`, a former state of this one.

        A maximum cannot be subtracted: it stays exact when it grew, else it is the top of the highest
        bin that has a count, but never more than the maximum of all.
        """
        if np.any(earlier.counts > self.counts):
            raise ValueError("the histogram to subtract has counts that this one has not")
        counts = self.counts - earlier.counts
        top = self.max_ns
        if self.max_ns <= earlier.max_ns:
            used = np.flatnonzero(counts)
            top = min(self.max_ns, int(HIGH_NS[used[-1]]) - 1) if len(used) else 0
        return Histogram(
            counts,
            self.sum_ns - earlier.sum_ns,
            top,
            self.below - earlier.below,
            self.above - earlier.above,
        )

    def percentile(self, percent: float) -> int | None:
        """The value at or below which `percent` of the values lie (nearest rank), None when empty.

        The middle of its bin, so at most 0.4 % off, and never above the exact maximum.
        """
        return self.percentiles([percent])[0]

    def percentiles(self, percents: Sequence[float]) -> list[int | None]:
        """Several percentiles in one pass."""
        cumulative = np.cumsum(self.counts)
        total = int(cumulative[-1])
        if total == 0:
            return [None] * len(percents)
        # the small term keeps 99.9 % of 1,000 at rank 999 although 0.999 is no binary fraction
        ranks = [max(1, int(np.ceil(p / 100 * total - 1e-9 * total))) for p in percents]
        found = np.searchsorted(cumulative, np.array(ranks, np.uint64))
        ceiling = self.max_ns if not self.above else LIMIT_NS
        return [min(int(MID_NS[i]), ceiling) for i in found]

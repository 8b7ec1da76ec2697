"""Spectrum: the histograms of all runners merged by (link, duration), in total and of the open bucket."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mqviz.telemetry import histogram
from mqviz.telemetry.columns import WHOLE
from mqviz.telemetry.histogram import BINS, HEAD, MAX, MID_NS, WORDS, Histogram
from mqviz.telemetry.probe import DURATIONS, PHASES
from mqviz.telemetry.topology import Topology

Positions = npt.NDArray[np.uint16]
Counts = npt.NDArray[np.uint32]

MOST = np.iinfo(np.uint32).max


class Bins(NamedTuple):
    """The non-empty bins of a bucket: those of key k lie at `offsets[k]` up to `offsets[k + 1]`."""

    positions: Positions
    counts: Counts
    offsets: npt.NDArray[np.int32]

    def of(self, key: int) -> tuple[Positions, Counts]:
        """The bins of one key."""
        place = slice(self.offsets[key], self.offsets[key + 1])
        return self.positions[place], self.counts[place]

    @property
    def nbytes(self) -> int:
        """What it takes in memory; the constant is for the four Python objects."""
        return self.positions.nbytes + self.counts.nbytes + self.offsets.nbytes + 400


def percentiles(bins: tuple[Positions, Counts], percents: Sequence[float]) -> list[float]:
    """Percentiles (nearest rank, middle of the bin) of sparse bins in ns; NaN when empty."""
    positions, counts = bins
    if not len(positions):
        return [float("nan")] * len(percents)
    cumulative = np.cumsum(counts, dtype=np.int64)
    total = int(cumulative[-1])
    # the small term keeps 99.9 % of 1,000 at rank 999 although 0.999 is no binary fraction
    ranks = [max(1.0, np.ceil(p / 100 * total - 1e-9 * total)) for p in percents]
    found = np.searchsorted(cumulative, ranks)
    return [float(MID_NS[positions[i]]) for i in found]


class Spectrum:
    """Adds up what the samples bring; `take` closes a bucket."""

    def __init__(self, topology: Topology) -> None:
        names = [link.name for link in topology.links]
        self._terminal = [link.name for link in topology.links if link.terminal]
        self.keys = [(name, duration) for name in names for duration in DURATIONS] + [(WHOLE, "end_to_end")]
        self._key = {key: place for place, key in enumerate(self.keys)}
        cells = (len(self.keys) - 1) * len(PHASES)
        self._total: histogram.U64 = np.zeros((cells, WORDS), np.uint64)
        self._open: histogram.I64 = np.zeros((len(self.keys), BINS), np.int64)
        self._touched: set[int] = set()

    def key(self, owner: str, duration: str) -> int:
        """The number of an (owner, duration). Raises KeyError for one that there is not."""
        try:
            return self._key[owner, duration]
        except KeyError:
            raise KeyError(f"no histogram {duration!r} of {owner!r}") from None

    def cell(self, link: str, duration: str, phase: str) -> int:
        """The number of a (link, duration, phase), as `add` wants it."""
        return self.key(link, duration) * len(PHASES) + PHASES.index(phase)

    def add(
        self, cells: histogram.I64, words: histogram.I64, values: histogram.U64, deltas: histogram.U64
    ) -> None:
        """Words of one probe's histograms: cell, word in it, new value, growth; each place at most once."""
        flat = self._total.reshape(-1)
        places = cells * WORDS + words
        tops = words == MAX
        flat[places[~tops]] += deltas[~tops]
        flat[places[tops]] = np.maximum(flat[places[tops]], values[tops])
        binned = words >= HEAD
        keys = cells[binned] // len(PHASES)
        # the two phases of a duration meet in one key, so a place can come twice
        np.add.at(self._open.reshape(-1), keys * BINS + words[binned] - HEAD, deltas[binned].astype(np.int64))
        self._touched.update(np.unique(keys).tolist())

    def take(self) -> Bins:
        """What came since the last call."""
        whole = len(self.keys) - 1
        for name in self._terminal:
            ends = self._key[name, "end_to_end"]
            if ends in self._touched:
                self._open[whole] += self._open[ends]
                self._touched.add(whole)
        bins = pack(self._open, sorted(self._touched))
        self._touched.clear()
        return bins

    def histogram(self, link: str | None, duration: str, phase: str | None) -> Histogram:
        """Everything so far of a link, or of all terminal links together."""
        merged = Histogram()
        for name in self._terminal if link is None else [link]:
            for each in PHASES if phase is None else [phase]:
                merged = merged.merge(Histogram.from_words(self._total[self.cell(name, duration, each)]))
        return merged

    @property
    def nbytes(self) -> int:
        """What it takes in memory."""
        return self._total.nbytes + self._open.nbytes


def pack(dense: histogram.I64, keys: Sequence[int]) -> Bins:
    """The non-empty bins of `keys`, which are ascending; those in `dense` become zero."""
    sizes = np.zeros(len(dense) + 1, np.int32)
    positions, counts = [np.zeros(0, np.uint16)], [np.zeros(0, np.uint32)]
    for key in keys:
        used = np.flatnonzero(dense[key])
        positions.append(used.astype(np.uint16))
        counts.append(np.minimum(dense[key, used], MOST).astype(np.uint32))
        dense[key, used] = 0
        sizes[key + 1] = len(used)
    return Bins(np.concatenate(positions), np.concatenate(counts), np.cumsum(sizes, dtype=np.int32))


def unpack(bins: Bins, dense: histogram.I64) -> None:
    """Add bins to a dense array of (keys, BINS)."""
    keys = np.repeat(np.arange(len(dense)), np.diff(bins.offsets))
    dense.reshape(-1)[keys * BINS + bins.positions] += bins.counts

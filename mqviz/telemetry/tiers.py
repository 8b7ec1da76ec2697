"""Tiers: the store's bounded history at three resolutions, and the rows that readers get from it."""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

from mqviz.telemetry.columns import LINK_DURATIONS, PERCENTS, WHOLE, Columns
from mqviz.telemetry.histogram import BINS, I64
from mqviz.telemetry.spectrum import Bins, Counts, Positions, Spectrum, pack, percentiles, unpack

F64 = npt.NDArray[np.float64]

SPANS_NS = (100_000_000, 1_000_000_000, 10_000_000_000)
CAPACITIES = (1200, 1800, 4320)
BINS_BYTES = 24 << 20
"""Bins of one tier take at most this; beyond it the oldest rows lose theirs (their percentiles stay)."""


class Rows:
    """Consecutive rows of one tier, copied out of the store."""

    def __init__(
        self, columns: Columns, spectrum: Spectrum, sequence: I64, at_ns: I64, values: F64,
        gauges: F64, before: tuple[int, F64] | None, bins: list[Bins | None],
    ) -> None:  # fmt: skip
        self.sequence = sequence
        """Row numbers in the tier, without a gap."""
        self.at_ns = at_ns
        """End of each bucket, monotonic."""
        self._columns = columns
        self._spectrum = spectrum
        self._values = values
        self._gauges = gauges  # (low, high, mean) x rows x gauges
        self._before = before
        self._bins = bins

    def __len__(self) -> int:
        return len(self.sequence)

    def column(self, owner: str, field: str) -> F64:
        """The last value in each bucket; a percentile is that of the whole bucket."""
        return self._values[:, self._columns.place(owner, field)]

    def low(self, owner: str, field: str) -> F64:
        """The least value of a gauge in each bucket."""
        return self._gauges[0, :, self._columns.gauge(owner, field)]

    def high(self, owner: str, field: str) -> F64:
        """The greatest value of a gauge in each bucket."""
        return self._gauges[1, :, self._columns.gauge(owner, field)]

    def mean(self, owner: str, field: str) -> F64:
        """The mean of a gauge in each bucket; of a percentile, which has no mean, the bucket's own."""
        return self._gauges[2, :, self._columns.gauge(owner, field)]

    def rate(self, owner: str, field: str) -> F64:
        """Growth per second since the row before; NaN where there is none."""
        values, at = self.column(owner, field), self.at_ns.astype(np.float64)
        if self._before is None:
            first_at, first = np.nan, np.nan
        else:
            first_at, first = self._before[0], self._before[1][self._columns.place(owner, field)]
        return np.diff(values, prepend=first) / np.diff(at, prepend=first_at) * 1e9

    def bins(self, owner: str, duration: str) -> list[tuple[Positions, Counts]]:
        """The histogram of each bucket, sparse; empty too where `bins_kept` is False."""
        key = self._spectrum.key(owner, duration)
        nothing = np.zeros(0, np.uint16), np.zeros(0, np.uint32)
        return [nothing if bins is None else bins.of(key) for bins in self._bins]

    @property
    def bins_kept(self) -> npt.NDArray[np.bool_]:
        """False for rows so old that their bins had to go."""
        return np.array([bins is not None for bins in self._bins], bool)


class Tier:
    """One ring of rows, and the bucket of the next coarser tier that they fill."""

    def __init__(self, columns: Columns, spectrum: Spectrum, number: int, bins_bytes: int) -> None:
        capacity = CAPACITIES[number]
        self._columns = columns
        self._spectrum = spectrum
        self._capacity = capacity
        self._values: F64 = np.zeros((capacity, len(columns)))
        # a row of the finest tier is one reading: its low, high and mean are that reading
        self._gauges: F64 | None = np.zeros((3, capacity, len(columns.gauges))) if number else None
        self._at: I64 = np.zeros(capacity, np.int64)
        self._bins: deque[Bins | None] = deque(maxlen=capacity)
        self._bins_bytes = 0
        self._bins_limit = bins_bytes
        self._oldest_bins = 0
        self.next = 0
        self._coarser: Coarser | None = None
        if number + 1 < len(CAPACITIES):
            self._coarser = Coarser(columns, spectrum, number + 1, bins_bytes)

    def append(self, at_ns: int, values: F64, gauges: F64, bins: Bins) -> None:
        """A closed bucket; `gauges` is (low, high, mean) x gauges."""
        place = self.next % self._capacity
        self._at[place] = at_ns
        self._values[place] = values
        if self._gauges is not None:
            self._gauges[:, place] = gauges
        self._keep(bins)
        self.next += 1
        if self._coarser is not None:
            self._coarser.add(at_ns, values, gauges, bins)

    def tier(self, number: int) -> Tier:
        """The tier `number` steps coarser than this."""
        if number == 0:
            return self
        if self._coarser is None or number < 0:
            raise ValueError(f"the tiers are 0 to {len(CAPACITIES) - 1}")
        return self._coarser.tier.tier(number - 1)

    def flush(self) -> None:
        """Close the coarser buckets as they are: the run has ended."""
        if self._coarser is not None:
            self._coarser.close()
            self._coarser.tier.flush()

    def rows(self, cursor: int) -> Rows:
        """Copies of the kept rows from `cursor` on."""
        start = min(max(cursor, self.next - self._capacity, 0), self.next)
        sequence = np.arange(start, self.next)
        places = sequence % self._capacity
        before = None
        if start > max(0, self.next - self._capacity):
            last = (start - 1) % self._capacity
            before = int(self._at[last]), self._values[last].copy()
        values = self._values[places]
        if self._gauges is None:
            gauges = np.broadcast_to(
                values[:, self._columns.gauges], (3, len(sequence), len(self._columns.gauges))
            )
        else:
            gauges = self._gauges[:, places]
        oldest = self.next - len(self._bins)
        bins = [self._bins[i] for i in range(start - oldest, len(self._bins))]
        return Rows(self._columns, self._spectrum, sequence, self._at[places], values, gauges, before, bins)

    def _keep(self, bins: Bins) -> None:
        if len(self._bins) == self._capacity and (dropped := self._bins[0]) is not None:
            self._bins_bytes -= dropped.nbytes
        self._bins.append(bins)
        self._bins_bytes += bins.nbytes
        first = self.next + 1 - len(self._bins)
        self._oldest_bins = max(self._oldest_bins, first)
        while self._bins_bytes > self._bins_limit and self._oldest_bins < self.next:
            old = self._bins[self._oldest_bins - first]
            self._bins[self._oldest_bins - first] = None
            self._bins_bytes -= old.nbytes if old is not None else 0
            self._oldest_bins += 1

    @property
    def nbytes(self) -> int:
        """What it and the coarser ones take in memory."""
        own = self._values.nbytes + self._at.nbytes + self._bins_bytes
        own += self._gauges.nbytes if self._gauges is not None else 0
        return own + (self._coarser.nbytes if self._coarser is not None else 0)


class Coarser:
    """The open bucket of a tier: merges the rows of the finer one until its span is over."""

    def __init__(self, columns: Columns, spectrum: Spectrum, number: int, bins_bytes: int) -> None:
        self.tier = Tier(columns, spectrum, number, bins_bytes)
        self._columns = columns
        self._span_ns = SPANS_NS[number]
        self._dense: I64 = np.zeros((len(spectrum.keys), BINS), np.int64)
        self._percentiles = [
            (spectrum.key(owner, duration), columns.place(owner, f"{duration}_p50"))
            for owner, duration in spectrum.keys
            if (duration in LINK_DURATIONS if owner != WHOLE else True)
        ]
        self._ranks = np.searchsorted(columns.gauges, [place for _, place in self._percentiles])
        self._rows = 0
        self._span = 0
        self._at_ns = 0
        self._values: F64 = np.zeros(len(columns))
        self._gauges: F64 = np.zeros((3, len(columns.gauges)))
        self._seen: F64 = np.zeros(len(columns.gauges))

    def add(self, at_ns: int, values: F64, gauges: F64, bins: Bins) -> None:
        """A row of the finer tier; one of the next span closes this bucket first."""
        span = (at_ns - 1) // self._span_ns
        if self._rows and span != self._span:
            self.close()
        if not self._rows:
            self._gauges[:2] = gauges[:2]
            self._gauges[2] = 0
            self._seen[:] = 0
        self._span = span
        self._rows += 1
        self._at_ns = at_ns
        self._values[:] = values
        np.fmin(self._gauges[0], gauges[0], out=self._gauges[0])
        np.fmax(self._gauges[1], gauges[1], out=self._gauges[1])
        known = ~np.isnan(gauges[2])
        self._gauges[2, known] += gauges[2, known]
        self._seen += known
        unpack(bins, self._dense)

    def close(self) -> None:
        """Append the bucket to the tier, its percentiles from the merged bins."""
        if not self._rows:
            return
        bins = pack(self._dense, range(len(self._dense)))
        with np.errstate(invalid="ignore"):
            self._gauges[2] /= np.where(self._seen > 0, self._seen, np.nan)
        for (key, place), rank in zip(self._percentiles, self._ranks, strict=True):
            found = percentiles(bins.of(key), list(PERCENTS.values()))
            self._values[place : place + len(found)] = found
            self._gauges[2, rank : rank + len(found)] = found
        self.tier.append(self._at_ns, self._values, self._gauges, bins)
        self._rows = 0

    @property
    def nbytes(self) -> int:
        """What it takes in memory."""
        return self._dense.nbytes + self.tier.nbytes

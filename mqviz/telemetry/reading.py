"""Reading: what the agent remembers of one probe, and what of it has changed since it was last sent."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from mqviz.telemetry.histogram import I64, U64
from mqviz.telemetry.probe import Probe
from mqviz.telemetry.sample import Announce, Sample

SETTLE = 10
"""Passes for which the histograms of a probe are still read after its counters have stopped: an engine may
fill them later than it counts."""


class Reading:
    """One mapped probe; `read_*` copy its counters, `sample` says what is new."""

    def __init__(self, path: Path, number: int) -> None:
        self._probe = Probe.open(path)
        schema = self._probe.schema
        self._number = number
        self._split = schema.receive_words
        counters = schema.receive_words + schema.send_words
        self._counters = self._probe.words[:counters]
        self._histograms = self._probe.words[counters:]
        self._copy: U64 = np.zeros(counters, np.uint64)
        self._sent: U64 = np.zeros(counters, np.uint64)
        self._sent_histograms: U64 = np.zeros(schema.histogram_words, np.uint64)
        self._used = np.zeros(counters, bool)
        self._still = 0
        self.announce = Announce(number, msgspec.json.encode(schema))

    def read_received(self) -> None:
        """Copy the receive region."""
        np.copyto(self._copy[: self._split], self._counters[: self._split])

    def read_sent(self) -> None:
        """Copy the send region; of all probes it comes after every receive region."""
        np.copyto(self._copy[self._split :], self._counters[self._split :])

    def sample(self, full: bool) -> Sample | None:
        """The words that changed since the last sample, or all that were ever in use; None for no news."""
        changed = np.flatnonzero(self._copy != self._sent)
        self._still = 0 if len(changed) else self._still + 1
        if full:
            # a word that was never in use is zero at the other end too
            self._used |= self._copy != 0
            self._used[changed] = True
            changed = np.flatnonzero(self._used)
        self._sent[changed] = self._copy[changed]
        positions, values = changed, self._copy[changed]
        if full or self._still <= SETTLE:
            bins = self._bins(full)
            positions = np.concatenate([changed, bins + len(self._copy)])
            values = np.concatenate([values, self._sent_histograms[bins]])
        if not len(positions):
            return None
        return Sample(self._number, positions.astype("<u4").tobytes(), values.astype("<u8").tobytes())

    def _bins(self, full: bool) -> I64:
        if full:
            np.copyto(self._sent_histograms, self._histograms)
            return np.flatnonzero(self._sent_histograms)
        bins = np.flatnonzero(self._histograms != self._sent_histograms)
        self._sent_histograms[bins] = self._histograms[bins]
        return bins

"""The Python engine's arithmetic, done for many messages at once: durations into a probe's histograms."""

from __future__ import annotations

import numpy as np

from mqviz.simulation.engine.ends import HistogramPlaces
from mqviz.telemetry import histogram
from mqviz.telemetry.histogram import ABOVE, BELOW, HEAD, I64, LIMIT_NS, MAX, SUM, U64

ONE = np.uint64(1)
FLUSH_NS = 50_000_000
"""How often durations go into the histograms; it takes as long as dozens of messages, which would wait."""


def add_values(words: U64, at: int, values_ns: I64) -> None:
    """Add durations to the histogram that begins at word `at`."""
    if not len(values_ns):
        return
    top = int(values_ns.max())
    words[at + MAX] = max(int(words[at + MAX]), top, 0)
    if int(values_ns.min()) < 0 or top >= LIMIT_NS:
        words[at + BELOW] += np.uint64(np.count_nonzero(values_ns < 0))
        words[at + ABOVE] += np.uint64(np.count_nonzero(values_ns >= LIMIT_NS))
        values_ns = values_ns[(values_ns >= 0) & (values_ns < LIMIT_NS)]
    words[at + SUM] += np.uint64(values_ns.sum())
    np.add.at(words, at + HEAD + histogram.bins_of(values_ns), ONE)


class Values:
    """Durations of one (link, duration), kept until the next flush."""

    __slots__ = ("_places", "_words", "by_phase", "zeros")

    def __init__(self, words: U64, places: HistogramPlaces, link: str, duration: str) -> None:
        self._words = words
        self._places = places.of(link, duration)
        self.by_phase: tuple[list[int], list[int]] = ([], [])
        """Warm-up, measure."""
        self.zeros = [0, 0]
        """How often the value was 0, which is the rule for `blocked`."""

    def flush(self) -> None:
        """Into the probe."""
        if self._places is None:
            return
        for phase, values in enumerate(self.by_phase):
            at = self._places[phase]
            if values:
                add_values(self._words, at, np.array(values, np.int64))
                values.clear()
            if self.zeros[phase]:
                self._words[at + HEAD] += np.uint64(self.zeros[phase])
                self.zeros[phase] = 0

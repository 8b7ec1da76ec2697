"""Percentiles as they are told to people: null where too few samples stand behind one, "≥ x" where censored."""

from __future__ import annotations

import msgspec

from mqviz.telemetry.histogram import Histogram

PERMILLE = {"p50": 500, "p90": 900, "p99": 990, "p99.9": 999}
"""Whole numbers: 99.9 is no binary fraction, and the 9,990th of 10,000 would be missed."""
BEHIND = 10
"""Samples that must lie at or above a percentile for it to be told."""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """A duration in ns; None is not known. `censored` messages took at least as long as `at_least` says."""

    count: int
    mean: float | None
    p50: int | None
    p90: int | None
    p99: int | None
    p999: int | None = msgspec.field(name="p99.9")
    max: int | None
    censored: int = 0  # due and never sent: their duration has no end
    negative: int = 0  # below zero, in no other figure
    clipped: int = 0  # above 137 s, in no percentile
    at_least: dict[str, int] = {}
    """Percentiles that fall among the censored: the duration is this or longer."""


def figures(histogram: Histogram, censored: int = 0, censored_ns: int | None = None) -> Figures:
    """Read a histogram with `censored` messages above it, the youngest of which had waited `censored_ns`.

    A censored message has a duration that is not known, only that it is longer than it had waited when
    the run ended; so it ranks above every message that arrived (right censoring).
    """
    count = histogram.count
    total = count + censored
    found: dict[str, int | None] = {}
    at_least: dict[str, int] = {}
    for name, permille in PERMILLE.items():
        found[name] = None
        if total * (1000 - permille) < BEHIND * 1000:
            continue
        rank = -(-permille * total // 1000)
        if rank <= count:
            found[name] = histogram.percentile(100 * rank / count)
        else:
            at_least[name] = censored_ns or 0
    return Figures(
        count=count,
        mean=histogram.mean_ns,
        p50=found["p50"],
        p90=found["p90"],
        p99=found["p99"],
        p999=found["p99.9"],
        max=histogram.max_ns if count else None,
        censored=censored,
        negative=histogram.below,
        clipped=histogram.above,
        at_least=at_least,
    )

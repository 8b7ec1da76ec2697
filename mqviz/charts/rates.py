"""Rates of cumulative columns, cheap enough for ten times a second and hundreds of links."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from mqviz.telemetry.tiers import Rows

F64 = npt.NDArray[np.float64]

OVER_NS = 950_000_000
"""A rate is over the last second: in 100 ms a steady flow looks ragged by chance alone."""
LEAD_ROWS = 11
"""Rows to hand in before the first that is drawn, so that its rates are known."""


def total(rows: Rows, owners: Iterable[str], field: str) -> F64:
    """A field summed over links or nodes."""
    summed = np.zeros(len(rows))
    for owner in owners:
        summed += rows.column(owner, field)
    return summed


def per_second(rows: Rows, values: F64) -> F64:
    """Growth a second over the last second (or the last row, where rows are further apart); NaN in the first."""
    if len(values) < 2:
        return np.full(len(values), np.nan)
    at = rows.at_ns
    earlier = np.maximum(np.searchsorted(at, at - OVER_NS, side="right") - 1, 0)
    grown = np.full(len(values), np.nan)
    grown[1:] = ((values - values[earlier]) * 1e9)[1:] / (at - at[earlier])[1:]
    return grown

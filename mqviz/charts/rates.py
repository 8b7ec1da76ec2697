"""Rates of cumulative columns, cheap enough for ten times a second and hundreds of links."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from mqviz.telemetry.store import Rows

F64 = npt.NDArray[np.float64]


def total(rows: Rows, owners: Iterable[str], field: str) -> F64:
    """A field summed over links or nodes."""
    summed = np.zeros(len(rows))
    for owner in owners:
        summed += rows.column(owner, field)
    return summed


def per_second(rows: Rows, values: F64) -> F64:
    """Growth since the row before; NaN in the first row, so hand in one row more than is drawn."""
    grown = np.full(len(values), np.nan)
    if len(values) > 1:
        grown[1:] = (values[1:] - values[:-1]) * (1e9 / (rows.at_ns[1:] - rows.at_ns[:-1]))
    return grown

"""Shape: how the rate moves over time, and the exact inverse of its integral.

A shape f(t) multiplies the node's rate; F(t) is its integral from 0. Arrivals of a Poisson process with
rate r·f(t) are F⁻¹(S/r), where S are the arrivals of a Poisson process with rate 1: E. Çinlar, Introduction
to Stochastic Processes (1975), chapter 4, section 7; also L. Devroye, Non-Uniform Random Variate Generation
(1986), chapter VI, section 1.3. Each function here is F⁻¹, in seconds, on ascending arrays.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
Inverse = Callable[[F64], F64]

CELLS = 4096
"""Of the sine's table over one period; two Newton steps from there are exact to rounding."""


def bursts(period: float, share: float) -> Inverse:
    """All of a period's messages in its first `share`: f is 1/share there, else 0."""

    def inverse(u: F64) -> F64:
        whole = np.floor(u / period) * period
        return whole + (u - whole) * share

    return inverse


def ramp(low: float, high: float, time: float) -> Inverse:
    """From low to high in a straight line, then high for ever."""
    slope = (high - low) / time
    at_end = (low + high) / 2 * time

    def inverse(u: F64) -> F64:
        inside = np.minimum(u, at_end)
        # the root of slope/2·t² + low·t = u in the form that does not cancel
        root = np.sqrt(np.maximum(low * low + 2 * slope * inside, 0.0))
        t = 2 * inside / np.maximum(low + root, 1e-300)
        return np.where(u < at_end, t, time + (u - at_end) / high)

    return inverse


def steps(every: float, levels: tuple[float, ...]) -> Inverse:
    """Each level for `every`; the last for ever."""
    factors = np.array(levels)
    before = np.concatenate([[0.0], np.cumsum(factors[:-1] * every)])
    starts = np.arange(len(levels)) * every

    def inverse(u: F64) -> F64:
        # side="right" passes over levels of 0, in which nothing arrives
        place = np.searchsorted(before, u, side="right") - 1
        t: F64 = starts[place] + (u - before[place]) / factors[place]
        return t

    return inverse


def sine(amplitude: float, period: float) -> Inverse:
    """1 + amplitude·sin(2πt/period). No closed form: a table, then Newton within its cell."""
    angles, table = _sine_table(amplitude)
    turn = 2 * math.pi
    cell = turn / CELLS

    def inverse(u: F64) -> F64:
        whole = np.floor(u / period)
        wanted = (u - whole * period) * (turn / period)
        angle = np.interp(wanted, table, angles)
        low = np.floor(angle / cell) * cell
        for _ in range(2):
            over = angle + amplitude * (1 - np.cos(angle)) - wanted
            angle = np.clip(angle - over / (1 + amplitude * np.sin(angle)), low, low + cell)
        t: F64 = whole * period + angle * (period / turn)
        return t

    return inverse


@lru_cache(maxsize=16)
def _sine_table(amplitude: float) -> tuple[F64, F64]:
    angles = np.linspace(0, 2 * math.pi, CELLS + 1)
    return angles, angles + amplitude * (1 - np.cos(angles))

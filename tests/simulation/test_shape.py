"""The inverse of the cumulative rate, against the cumulative rate itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mqviz.simulation import shape

F64 = NDArray[np.float64]
U = np.linspace(0, 50, 2_001)


@given(amplitude=st.floats(0, 0.99), period=st.floats(0.001, 1000))
def test_the_sine_is_inverted_to_rounding(amplitude: float, period: float) -> None:
    turn = 2 * np.pi / period
    t = shape.sine(amplitude, period)(U)
    integral = t + amplitude / turn * (1 - np.cos(turn * t))
    np.testing.assert_allclose(integral, U, rtol=0, atol=1e-9)


@given(low=st.floats(0, 5), high=st.floats(0.01, 5), time=st.floats(0.01, 30))
def test_the_ramp_is_inverted_to_rounding(low: float, high: float, time: float) -> None:
    t = shape.ramp(low, high, time)(U)
    inside = np.minimum(t, time)
    integral = low * inside + (high - low) / time * inside**2 / 2 + high * (t - inside)
    np.testing.assert_allclose(integral, U, rtol=0, atol=1e-8)


def test_bursts_keep_the_mean_rate_and_are_silent_for_the_rest_of_a_period() -> None:
    t = shape.bursts(2.0, 0.25)(np.array([0, 1, 1.999, 2, 3]))
    assert t == pytest.approx([0, 0.25, 0.49975, 2, 2.25])


def test_a_level_of_zero_is_passed_over() -> None:
    t = shape.steps(10, (1, 0, 2))(np.array([0, 5, 10, 12, 30]))
    assert t.tolist() == [0, 5, 20, 21, 30]

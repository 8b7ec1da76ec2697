from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from mqviz.charts.rates import LEAD_ROWS, per_second


def rows(*at_s: float) -> Any:
    return SimpleNamespace(at_ns=(np.array(at_s) * 1e9).astype(np.int64))


def test_a_rate_is_over_the_last_second() -> None:
    at = np.arange(0, 3, 0.1)
    counted = np.where(at < 1.0, 0.0, 500.0)  # 500 messages in one bucket
    rates = per_second(rows(*at), counted)
    assert np.isnan(rates[0])
    np.testing.assert_allclose(rates[9], 0)
    np.testing.assert_allclose(rates[10:20], 500)
    np.testing.assert_allclose(rates[20:], 0)


def test_rows_further_apart_than_a_second_give_the_rate_between_them() -> None:
    np.testing.assert_allclose(per_second(rows(0, 10, 20), np.array([0.0, 50, 250]))[1:], [5, 20])


def test_a_first_second_counts_from_the_first_row() -> None:
    np.testing.assert_allclose(per_second(rows(0, 0.1, 0.2), np.array([0.0, 10, 20]))[1:], 100)


def test_one_row_has_no_rate() -> None:
    assert np.isnan(per_second(rows(1), np.array([7.0]))).all()
    assert len(per_second(rows(), np.zeros(0))) == 0


def test_the_lead_is_long_enough_for_rows_of_100_ms() -> None:
    at = np.arange(0, 4, 0.1)
    counted = np.cumsum(np.arange(len(at), dtype=float))
    whole = per_second(rows(*at), counted)
    part = per_second(rows(*at[20 - LEAD_ROWS :]), counted[20 - LEAD_ROWS :])
    np.testing.assert_allclose(part[LEAD_ROWS:], whole[20:])

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mqviz.cli.progress import Figures


class OneRow:
    """The last second, as a store gives it."""

    def __init__(self, **values: float) -> None:
        self.values = values

    def __len__(self) -> int:
        return 1

    def rate(self, _owner: str, field: str) -> Any:
        return np.array([self.values[field]])

    column = rate


def lab(rows: list[OneRow], duration_ns: int | None = 10_000_000_000) -> Any:
    def since(cursor: int, tier: int) -> tuple[Any, int]:
        assert tier == 1
        return (rows[cursor] if cursor < len(rows) else []), min(cursor + 1, len(rows))

    return SimpleNamespace(
        store=SimpleNamespace(since=since),
        scenario=SimpleNamespace(duration_ns=duration_ns),
        state="measure",
        elapsed_s=3.25,
    )


def test_the_line_has_the_last_second() -> None:
    row = OneRow(received=1999.6, end_to_end_p99=1_234_000, backlog=12, lost=0)
    assert Figures(lab([row])).line().plain == (
        "measure    3.2 of 10 s  2 000 msg/s  p99 1.23 ms  backlog 12  lost 0"
    )


def test_the_line_keeps_what_it_knows_until_there_is_more() -> None:
    figures = Figures(lab([OneRow(received=5, end_to_end_p99=9, backlog=1, lost=2)]))
    assert figures.line() == figures.line()


def test_before_the_first_second_there_are_no_figures() -> None:
    assert Figures(lab([], duration_ns=None)).line().plain == "measure    3.2 s"


@pytest.mark.parametrize("field", ["received", "end_to_end_p99"])
def test_what_is_not_known_is_a_dash(field: str) -> None:
    known = {"received": 5, "end_to_end_p99": 9, "backlog": 1, "lost": 2}
    assert "–" in Figures(lab([OneRow(**(known | {field: math.nan}))])).line().plain

"""`[LINK:] METRIC < VALUE`, taken apart."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqviz.errors import ScenarioError
from mqviz.simulation.expectation import METRICS, parse_expect


@pytest.mark.parametrize(
    ("text", "link", "metric", "operator", "value"),
    [
        ("response.p99 < 5ms", None, "response.p99", "<", 5e6),
        ("orders -> pricing: response.p99<50ms", "orders -> pricing", "response.p99", "<", 5e7),
        ("orders->pricing:lost == 0", "orders -> pricing", "lost", "==", 0),
        ('"<b> -> c": lost.slow-joiner <= 3', "<b> -> c", "lost.slow-joiner", "<=", 3),
        ("throughput >= 5k/s", None, "throughput", ">=", 5000),
        ("backlog.max < 100", None, "backlog.max", "<", 100),
        ("end-to-end.p99.9 > 1s", None, "end_to_end.p99.9", ">", 1e9),
    ],
)
def test_a_sentence_is_taken_apart(
    text: str, link: str | None, metric: str, operator: str, value: float
) -> None:
    found = parse_expect(text)
    assert (found.link, found.metric, found.operator, found.value) == (link, metric, operator, value)
    assert parse_expect(found.text) == found


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("response.p99", r"is not written as \[LINK:\] METRIC < VALUE"),
        ("orders: lost < 1", r"is not written as \[LINK:\] METRIC < VALUE"),
        ("response.p98 < 5ms", 'did you mean "response.p99'),
        ("response < 5ms", r'"response" needs a statistic, such as response.p99'),
        ("response.p99 < 5", "has no unit"),
        ("lost < 5ms", "is not a number without a unit"),
        ("a -> b: end_to_end.p99 < 5ms", "takes no link"),
        ("lost < 1 < 2", "is not written as"),
        (7, "an expectation is a text"),
    ],
)
def test_a_sentence_that_says_nothing_is_refused(text: object, sentence: str) -> None:
    with pytest.raises(ScenarioError, match=sentence):
        parse_expect(text)


@given(
    st.text(max_size=400) | st.sampled_from(METRICS).flatmap(lambda m: st.text(max_size=20).map(m.__add__))
)
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ScenarioError):
        assert parse_expect(text).metric in METRICS

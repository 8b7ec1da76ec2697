"""Service times and sizes: read, drawn, written."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqviz.errors import ScenarioError
from mqviz.simulation.distribution import (
    MAX_SIZE,
    draw_service,
    draw_sizes,
    parse_service_distribution,
    parse_size_distribution,
)

DRAWS = 200_000


@pytest.mark.parametrize(
    ("text", "mean", "deviation"),
    [
        ("2ms", 2e6, 0),
        ("constant(2ms)", 2e6, 0),
        ("exponential(2ms)", 2e6, 2e6),
        ("uniform(1ms, 4ms)", 2.5e6, 3e6 / 12**0.5),
        ("lognormal(1ms, 0.5)", 1e6 * np.exp(0.125), 1e6 * ((np.exp(0.25) - 1) * np.exp(0.25)) ** 0.5),
        # alpha 5: the variance is finite and min²·α / ((α-1)²·(α-2))
        ("pareto(1ms, 5)", 1.25e6, 1e6 * (5 / (16 * 3)) ** 0.5),
    ],
)
def test_draws_have_the_mean_and_the_spread_of_their_distribution(
    text: str, mean: float, deviation: float
) -> None:
    distribution = parse_service_distribution(text)
    assert distribution.mean == pytest.approx(mean)
    drawn = distribution.draw(np.random.default_rng(1), DRAWS)
    assert drawn.mean() == pytest.approx(mean, rel=0.01)
    assert drawn.std() == pytest.approx(deviation, rel=0.05)


def test_pareto_draws_follow_its_tail() -> None:
    drawn = parse_service_distribution("pareto(1ms, 1.5)").draw(np.random.default_rng(2), DRAWS)
    assert drawn.min() >= 1e6
    assert np.mean(drawn > 4e6) == pytest.approx(4**-1.5, rel=0.03)


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("2ms", "2ms"),
        ("constant( 2ms )", "2ms"),
        ("Exponential(2.5ms)", "exponential(2500us)"),
        ("uniform(0, 5ms)", "uniform(0s, 5ms)"),
        ("lognormal(1ms,0.5)", "lognormal(1ms, 0.5)"),
        ("pareto(1ms, 2)", "pareto(1ms, 2)"),
        (0, "0s"),
    ],
)
def test_the_text_of_a_distribution_reads_back_equal(written: object, text: str) -> None:
    distribution = parse_service_distribution(written)
    assert distribution.text == text
    assert parse_service_distribution(distribution.text) == distribution


def test_a_bare_number_of_bytes_is_a_constant_size() -> None:
    size = parse_size_distribution(200)
    assert size.is_constant
    assert draw_sizes(size, np.random.default_rng(0), 3).tolist() == [200, 200, 200]


def test_sizes_are_clipped_to_what_a_message_can_have() -> None:
    drawn = draw_sizes(parse_size_distribution("lognormal(1KiB, 4)"), np.random.default_rng(3), DRAWS)
    assert drawn.dtype == np.int64
    assert (drawn.min(), drawn.max()) == (40, MAX_SIZE)


def test_service_times_are_never_negative_and_end_within_an_hour() -> None:
    drawn = draw_service(parse_service_distribution("pareto(1s, 1.01)"), np.random.default_rng(4), DRAWS)
    assert drawn.dtype == np.int64
    assert drawn.min() >= 1_000_000_000
    assert drawn.max() == 3_600_000_000_000


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("pareto(1ms, 1)", "alpha of pareto must be above 1: otherwise there is no mean"),
        ("uniform(2ms, 1ms)", "uniform(a, b) needs a <= b"),
        ("exponential(0)", "the first value of exponential must be above 0"),
        ("lognormal(1ms, 9)", "sigma of lognormal must be 0 to 5"),
        ("exponential()", "exponential is written exponential(mean)"),
        ("uniform(1ms)", "uniform is written uniform(a, b)"),
        (
            "exponential(2)",
            'exponential, mean: "2" has no unit; a duration is written such as 400us, 5ms or 2s',
        ),
        (
            "exponentail(2ms)",
            '"exponentail(2ms)" is not a duration or a distribution: one of constant, exponential, uniform, '
            'lognormal, pareto; did you mean "exponential"?',
        ),
        (
            "__import__('os').system('true')",
            "\"__import__('os').system('true')\" is not a duration or a distribution: one of constant, exponential, "
            "uniform, lognormal, pareto",
        ),
    ],
)
def test_a_service_time_that_cannot_be_used_is_told_in_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        parse_service_distribution(text)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    "text", ["39B", "uniform(0, 1KiB)", "pareto(1B, 2)", "17MiB", "uniform(64B, 1GiB)", "exponential(10B)"]
)
def test_a_size_that_no_message_can_have_is_refused(text: str) -> None:
    with pytest.raises(ScenarioError, match=r"a message has at (least 40B|most 16MiB)"):
        parse_size_distribution(text)


@given(st.text(alphabet="constaexplu(), 0123456789.msKiB", max_size=60) | st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (parse_service_distribution, parse_size_distribution):
        try:
            distribution = parse(text)
        except ScenarioError:
            continue
        assert np.isfinite(distribution.draw(np.random.default_rng(0), 100)).all()

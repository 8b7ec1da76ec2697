from __future__ import annotations

import pytest

from mqviz.charts.series import LIMIT, labels, series
from mqviz.charts.theme import DARK, LIGHT
from mqviz.telemetry.topology import LinkInfo, NodeInfo, Topology


def topology(*links: tuple[str, str]) -> Topology:
    names = dict.fromkeys(end for link in links for end in link)
    return Topology(
        "t",
        tuple(NodeInfo(name, "worker", 1) for name in names),
        tuple(LinkInfo(source, target, "push-pull", "tcp") for source, target in links),
    )


@pytest.mark.parametrize(
    ("links", "expected"),
    [
        pytest.param([("a", "b")], ["a"], id="one link is known by its source"),
        pytest.param([("a", "b"), ("b", "c")], ["a", "b"], id="a chain by its sources"),
        pytest.param([("a", "c"), ("b", "c")], ["a", "b"], id="fan-in by its sources"),
        pytest.param([("a", "b"), ("a", "c")], ["b", "c"], id="fan-out by its targets"),
        pytest.param(
            [("a", "c"), ("a", "d"), ("b", "c"), ("b", "d")],
            ["a → c", "a → d", "b → c", "b → d"],
            id="where no end is alone, by both",
        ),
        pytest.param(
            [("a", "q"), ("a", "x"), ("q", "z")],
            ["a → q", "x", "q → z"],
            id="a name that two links would share is not used",
        ),
    ],
)
def test_a_link_is_labelled_by_the_end_that_only_it_has(
    links: list[tuple[str, str]], expected: list[str]
) -> None:
    assert list(labels(topology(*links)).values()) == expected


def test_links_beyond_the_limit_are_summed_in_one_quiet_line() -> None:
    lines = series(topology(*((f"n{i}", "sink") for i in range(LIMIT + 5))))
    assert len(lines) == LIMIT
    assert lines[-1].label == "6 others"
    assert len(lines[-1].links) == 6
    assert lines[-1].colour(DARK) == DARK.dim
    assert sum(len(line.links) for line in lines) == LIMIT + 5


def test_as_many_links_as_the_limit_each_keep_a_colour_of_their_own() -> None:
    lines = series(topology(*((f"n{i}", "sink") for i in range(LIMIT))))
    for palette in (DARK, LIGHT):
        assert len({line.colour(palette) for line in lines}) == LIMIT

"""Which instances share a process, and who is connected to whom."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqviz.simulation import flow
from mqviz.simulation.model import Link, Node, Scenario
from mqviz.simulation.placement import ALONE_UP_TO, CORES, FEW, Seat, joined, place, seats


def scenario(*nodes: tuple[str, int], inproc: tuple[str, ...] = ()) -> Scenario:
    """Nodes in a row, each joined to the next; those links in `inproc` stay within a process."""
    names = [name for name, _ in nodes]
    return Scenario(
        name="s",
        nodes=tuple(Node(name=name, role="worker", count=count) for name, count in nodes),
        links=tuple(
            Link(source=a, target=b, transport="inproc" if a + b in inproc else "tcp")
            for a, b in itertools.pairwise(names)
        ),
    )


def test_instances_of_small_nodes_have_a_process_each() -> None:
    assert place(scenario(("a", 2), ("b", 1))) == [[Seat("a", (0,))], [Seat("a", (1,))], [Seat("b", (0,))]]


def test_a_large_node_is_packed_into_as_many_processes_as_there_are_cores() -> None:
    found = place(scenario(("a", 1), ("b", 9)))
    assert found == [[Seat("a", (0,))], [Seat("b", (0, 1, 2, 3, 4))], [Seat("b", (5, 6, 7, 8))]]


def test_processes_stay_few_and_the_smallest_nodes_come_first() -> None:
    found = place(scenario(("a", 8), ("b", 8), ("c", 2)))
    of = {name: [seat.indices for (seat,) in found if seat.node == name] for name in "abc"}
    assert of["c"] == [(0,), (1,)]
    assert len(of["a"]) == 8
    assert of["b"] == [(0, 1, 2, 3), (4, 5, 6, 7)]


def test_what_is_joined_within_a_process_shares_one_with_a_thread_for_each_instance() -> None:
    found = place(scenario(("a", 2), ("b", 1), ("c", 1), inproc=("ab",)))
    assert found == [[Seat("a", (0,)), Seat("a", (1,)), Seat("b", (0,))], [Seat("c", (0,))]]


def test_groups_within_a_process_grow_together_over_several_links() -> None:
    nodes = scenario(("a", 1), ("b", 1), ("c", 1), ("d", 1), inproc=("ab", "cd", "bc"))
    assert place(nodes) == [[Seat(name, (0,)) for name in "abcd"]]
    apart = scenario(("a", 1), ("b", 1), ("c", 1), ("d", 1), inproc=("ab", "cd"))
    assert place(apart) == [[Seat("a", (0,)), Seat("b", (0,))], [Seat("c", (0,)), Seat("d", (0,))]]


@given(st.lists(st.integers(1, 60), min_size=1, max_size=6))
def test_every_instance_has_exactly_one_seat(counts: list[int]) -> None:
    nodes = [(f"n{i}", count) for i, count in enumerate(counts)]
    found = place(scenario(*nodes))
    taken = [(seat.node, index) for process in found for seat in process for index in seat.indices]
    assert sorted(taken) == sorted((name, i) for name, count in nodes for i in range(count))
    assert len(found) <= FEW + CORES * len(counts)


@pytest.mark.parametrize(
    ("indices", "alone", "shares"),
    [
        (range(3), True, [(0,), (1,), (2,)]),
        (range(3), False, [(0, 1), (2,)]),
        ([4, 9], False, [(4,), (9,)]),
        ([7], False, [(7,)]),
        ([], False, []),
    ],
)
def test_added_instances_are_spread_likewise(
    indices: list[int], alone: bool, shares: list[tuple[int, ...]]
) -> None:
    if indices:
        assert [seat.indices for seat in seats("a", indices, alone)] == shares


def test_a_mesh_joins_each_with_each() -> None:
    link = Link(source="a", target="b")
    assert all(joined(link, i, j, 3, 5) for i in range(3) for j in range(5))


@pytest.mark.parametrize(
    ("sources", "targets", "pairs"),
    [
        (2, 2, {(0, 0), (1, 1)}),
        (4, 2, {(0, 0), (1, 1), (2, 0), (3, 1)}),
        (2, 5, {(0, 0), (1, 1), (0, 2), (1, 3), (0, 4)}),
        (1, 3, {(0, 0), (0, 1), (0, 2)}),
    ],
)
def test_paired_ones_are_joined_by_their_remainder(
    sources: int, targets: int, pairs: set[tuple[int, int]]
) -> None:
    link = Link(source="a", target="b", wiring="paired")
    found = {(i, j) for i in range(sources) for j in range(targets) if joined(link, i, j, sources, targets)}
    assert found == pairs


@given(st.integers(1, 30), st.integers(1, 30))
def test_paired_wiring_leaves_nobody_out_and_makes_as_many_connections_as_were_checked(
    sources: int, targets: int
) -> None:
    link = Link(source="a", target="b", wiring="paired")
    found = [(i, j) for i in range(sources) for j in range(targets) if joined(link, i, j, sources, targets)]
    assert {i for i, _ in found} == set(range(sources))
    assert {j for _, j in found} == set(range(targets))
    a, b = (Node(name="n", role="worker", count=count) for count in (sources, targets))
    assert len(found) == flow.connections(link, a, b)


def test_a_node_of_the_limit_is_still_alone() -> None:
    assert len(place(scenario(("a", ALONE_UP_TO)))) == ALONE_UP_TO

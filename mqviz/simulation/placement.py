"""Placement: which instances share a process, and who is wired to whom. Pure functions of the scenario."""

from __future__ import annotations

import math
from typing import NamedTuple

from mqviz.simulation.model import Link, Scenario

ALONE_UP_TO = 8
"""Nodes of up to this many instances get a runner for each, while processes stay few."""
FEW = 14
CORES = 2
"""A packed node is spread over this many runners."""


class Seat(NamedTuple):
    """Instances of a node that share a thread."""

    node: str
    indices: tuple[int, ...]


def place(scenario: Scenario) -> list[list[Seat]]:
    """One list a process, one Seat a thread in it."""
    together = _inproc_groups(scenario)
    grouped = {name for group in together for name in group}
    by_name = {node.name: node for node in scenario.nodes}
    processes: list[list[Seat]] = [
        [Seat(name, (index,)) for name in group for index in range(by_name[name].count)] for group in together
    ]
    left = FEW - len(processes)
    small = [n for n in scenario.nodes if n.name not in grouped and n.count <= ALONE_UP_TO]
    alone = set()
    for node in sorted(small, key=lambda n: n.count):
        if node.count <= left:
            alone.add(node.name)
            left -= node.count
    for node in scenario.nodes:
        if node.name in grouped:
            continue
        processes.extend([seat] for seat in seats(node.name, range(node.count), node.name in alone))
    return processes


def seats(node: str, indices: range | list[int], alone: bool) -> list[Seat]:
    """Instances of one node over runners: each by itself, or packed into CORES of them."""
    wanted = list(indices)
    if alone:
        return [Seat(node, (index,)) for index in wanted]
    share = math.ceil(len(wanted) / CORES)
    return [Seat(node, tuple(wanted[i : i + share])) for i in range(0, len(wanted), share)]


def _inproc_groups(scenario: Scenario) -> list[list[str]]:
    """Nodes joined by inproc links, directly or by way of others."""
    groups: list[set[str]] = []
    for link in scenario.links:
        if link.transport == "inproc":
            ends = {link.source, link.target}
            touching = [g for g in groups if g & ends]
            groups = [g for g in groups if not g & ends] + [ends.union(*touching)]
    order = [node.name for node in scenario.nodes]
    return [sorted(group, key=order.index) for group in groups]


def joined(link: Link, source: int, target: int, sources: int, targets: int) -> bool:
    """Whether a link connects these two instances, given how many there are of each node."""
    if link.wiring == "mesh":
        return True
    return (source == target % sources) or (target == source % targets)

"""Validation: whether the parts of a scenario fit together and one machine can carry it."""

from __future__ import annotations

import math
import os

import msgspec

from mqviz.errors import ScenarioError
from mqviz.simulation import flow
from mqviz.simulation.arrivals import Arrivals
from mqviz.simulation.fields import LIVE
from mqviz.simulation.model import Link, Node, Scenario
from mqviz.simulation.units import format_duration
from mqviz.simulation.wording import shown, suggestion

MAX_INSTANCES = 2_000
MAX_CONNECTIONS = 2_500
MAX_INPROC = 8
MAX_LINKS = 2_500
MAX_EVENTS = 1_000


def node_place(node: Node) -> str:
    """How a sentence names a node."""
    return f'node "{node.name}"'


def link_place(link: Link) -> str:
    """How a sentence names a link."""
    return f'link "{link.name}"'


def validate(scenario: Scenario, *, here: bool = True) -> Scenario:
    """The scenario itself, or a ScenarioError. `here`: it is to run on this machine, not just to be read."""
    _check_names(scenario)
    for node in scenario.nodes:
        check_node(node)
        _check_ends(scenario, node)
    _check_events(scenario)
    nodes = {node.name: _largest(scenario, node) for node in scenario.nodes}
    for link in scenario.links:
        _check_link(link, nodes[link.source], nodes[link.target])
    _check_cycle(scenario)
    _check_totals(scenario, nodes)
    _check_times(scenario)
    _check_expects(scenario)
    if here:
        _check_spin(scenario)
    return scenario


def check_node(node: Node) -> None:
    """What can be said of a node without its links."""
    place = node_place(node)
    if node.role == "producer":
        if node.rate == 0:
            raise ScenarioError(place, 'a producer needs a rate, such as rate = "1000/s"')
    elif node.rate != 0:
        raise ScenarioError(f"{place}, rate", f"only a producer has a rate, this is a {node.role}")
    elif node.arrivals != Arrivals():
        raise ScenarioError(f"{place}, arrivals", f"only a producer has arrivals, this is a {node.role}")
    if node.role == "producer" and node.service.mean > 0:
        raise ScenarioError(f"{place}, service", "a producer has no service time; a worker or consumer has")
    if node.service_mode == "spin" and node.service.mean == 0:
        raise ScenarioError(f"{place}, service_mode", "there is no service time to spin for")


def _check_names(scenario: Scenario) -> None:
    if not scenario.nodes:
        raise ScenarioError("scenario", "there is no node; each begins with [[node]]")
    if not scenario.links:
        raise ScenarioError("scenario", "there is no link; each begins with [[link]]")
    names: set[str] = set()
    for node in scenario.nodes:
        if node.name in names:
            raise ScenarioError(node_place(node), "another node has this name")
        names.add(node.name)
    links: set[str] = set()
    for link in scenario.links:
        for key, end in (("from", link.source), ("to", link.target)):
            if end not in names:
                raise ScenarioError(
                    f"{link_place(link)}, {key}", f"there is no node {shown(end)}{suggestion(end, names)}"
                )
        if link.name in links:
            raise ScenarioError(link_place(link), "another link joins the same nodes")
        links.add(link.name)


def _check_ends(scenario: Scenario, node: Node) -> None:
    """Roles fit the links."""
    place, into, out = node_place(node), scenario.in_links(node.name), scenario.out_links(node.name)
    if node.role == "producer" and into:
        raise ScenarioError(place, f'a producer receives nothing, but link "{into[0].name}" ends here')
    if node.role == "consumer" and out:
        raise ScenarioError(place, f'a consumer sends nothing, but link "{out[0].name}" begins here')
    if node.role != "producer" and not into:
        raise ScenarioError(place, f"no link ends here, so this {node.role} would receive nothing")
    if node.role != "consumer" and not out:
        raise ScenarioError(place, f"no link begins here, so this {node.role} could send nothing")
    heard = [link for link in into if link.pattern == "pub-sub"]
    if node.subscribe == ("",):
        return
    if not heard:
        raise ScenarioError(f"{place}, subscribe", "only a pub-sub link has topics to subscribe to")
    topics = [topic for link in heard for topic in link.topics]
    for prefix in node.subscribe:
        if not any(topic.startswith(prefix) for topic in topics):
            raise ScenarioError(
                f"{place}, subscribe",
                f"{shown(prefix)} matches no topic of the links that end here{suggestion(prefix, topics)}",
            )


def _check_link(link: Link, source: Node, target: Node) -> None:
    place = link_place(link)
    if link.pattern != "pub-sub" and list(link.topics) != [""]:
        raise ScenarioError(f"{place}, topics", 'only a link with pattern = "pub-sub" has topics')
    joined = flow.connections(link, source, target)
    if joined > MAX_CONNECTIONS:
        raise ScenarioError(
            place,
            f"a mesh of {source.count} × {target.count} is {joined} connections, the most is "
            f'{MAX_CONNECTIONS}; wiring = "paired" joins instances one to one',
        )
    if link.transport == "inproc":
        for node in (source, target):
            if node.count > MAX_INPROC:
                raise ScenarioError(
                    f"{place}, transport",
                    f'inproc keeps all instances in one process: "{node.name}" can have at most {MAX_INPROC}',
                )


def _check_cycle(scenario: Scenario) -> None:
    free = set(flow.order(scenario))
    caught = [node.name for node in scenario.nodes if node.name not in free]
    if not caught:
        return
    # each node left has an in-link from one left, so walking backwards must come round
    path = [caught[0]]
    while path[-1] not in path[:-1]:
        path.append(next(k.source for k in scenario.in_links(path[-1]) if k.source not in free))
    around = path[path.index(path[-1]) :][::-1]
    raise ScenarioError("scenario", f"messages would go round for ever: {' -> '.join(around)}")


def _check_totals(scenario: Scenario, nodes: dict[str, Node]) -> None:
    instances = sum(node.count for node in nodes.values())
    if instances > MAX_INSTANCES:
        raise ScenarioError("scenario", f"{instances} instances in all, the most is {MAX_INSTANCES}")
    for what, found, most in (
        ("links", len(scenario.links), MAX_LINKS),
        ("events", len(scenario.events), MAX_EVENTS),
        ("expectations", len(scenario.expects), MAX_EVENTS),
    ):
        if found > most:
            raise ScenarioError("scenario", f"{found} {what}, the most is {most}")


def _check_times(scenario: Scenario) -> None:
    duration = scenario.duration_ns
    if duration is not None and scenario.warmup_ns >= duration:
        raise ScenarioError(
            "warmup",
            f"{format_duration(scenario.warmup_ns)} leaves nothing to measure of the duration "
            f"of {format_duration(duration)}",
        )
    for number, event in enumerate(scenario.events, start=1):
        if duration is not None and event.at_ns > duration:
            raise ScenarioError(
                f"event {number}, at",
                f"{format_duration(event.at_ns)} is after the end of {format_duration(duration)}",
            )


def _largest(scenario: Scenario, node: Node) -> Node:
    """The node with the most instances that an event gives it."""
    counts = [int(event.fields.get("count", 0)) for event in scenario.events if event.node == node.name]
    return msgspec.structs.replace(node, count=max([node.count, *counts]))


def _check_events(scenario: Scenario) -> None:
    nodes = {node.name: node for node in scenario.nodes}
    for number, event in enumerate(scenario.events, start=1):
        place = f"event {number}"
        if event.node not in nodes:
            raise ScenarioError(
                f"{place}, node", f"there is no node {shown(event.node)}{suggestion(event.node, nodes)}"
            )
        keys = ", ".join(field.key for field in LIVE)
        if event.action == "set" and not event.fields:
            raise ScenarioError(place, f"set needs what is to change: {keys}")
        if event.action != "set" and event.fields:
            raise ScenarioError(
                place, f"{next(iter(event.fields))} belongs to the action set, not {event.action}"
            )
        for field in LIVE:
            if field.key in event.fields:
                value = {field.attribute: field.read(event.fields[field.key])}
                _check_change(place, msgspec.structs.replace(nodes[event.node], **value))
        if event.instance is None:
            continue
        if event.action not in ("kill", "stop", "start"):
            raise ScenarioError(f"{place}, instance", f"{event.action} is for the whole node")
        most = _largest(scenario, nodes[event.node]).count
        if event.instance >= most:
            raise ScenarioError(
                f"{place}, instance",
                f'"{event.node}" has the instances 0 to {most - 1}, not {event.instance}',
            )


def _check_change(place: str, node: Node) -> None:
    try:
        check_node(node)
    except ScenarioError as error:
        raise ScenarioError(place, str(error)) from None


def _check_expects(scenario: Scenario) -> None:
    known = [link.name for link in scenario.links]
    for number, expect in enumerate(scenario.expects, start=1):
        if expect.link is not None and expect.link not in known:
            raise ScenarioError(
                f"expect {number}, metric",
                f"there is no link {shown(expect.link)}{suggestion(expect.link, known)}",
            )


def _check_spin(scenario: Scenario) -> None:
    """Spinning takes whole cores from the processes that are measured."""
    spinning = [node for node in scenario.nodes if node.service_mode == "spin"]
    if not spinning:
        return
    rates = flow.arriving_rates(scenario)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    load = 0.0
    for node in spinning:
        if math.isinf(rates[node.name]):
            raise ScenarioError(
                f"{node_place(node)}, service_mode",
                'spin does not go with a producer of rate "max"; use sleep',
            )
        load += min(rates[node.name] * node.service.mean / 1e9, node.count)
    if load > cores / 2:
        raise ScenarioError(
            f"{node_place(spinning[0])}, service_mode",
            f"spinning would take {load:.2g} of {cores} cores, half is the most; use sleep or a lower rate",
        )

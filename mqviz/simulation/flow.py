"""Flow: how many messages per second each part of a scenario is asked to carry, from its rates alone."""

from __future__ import annotations

from mqviz.simulation.model import Link, Node, Scenario


def order(scenario: Scenario) -> list[str]:
    """Node names from producers to consumers; those on or behind a cycle are missing."""
    waiting = {node.name: 0 for node in scenario.nodes}
    targets: dict[str, list[str]] = {node.name: [] for node in scenario.nodes}
    for link in scenario.links:
        waiting[link.target] += 1
        targets[link.source].append(link.target)
    found = [name for name, count in waiting.items() if count == 0]
    for name in found:  # grows while it is walked
        for target in targets[name]:
            waiting[target] -= 1
            if waiting[target] == 0:
                found.append(target)
    return found


def connections(link: Link, source: Node, target: Node) -> int:
    """Pairs of instances that a link joins."""
    return source.count * target.count if link.wiring == "mesh" else max(source.count, target.count)


def subscribed_share(link: Link, target: Node) -> float:
    """The share of a pub-sub link's publications that match what the target subscribes to."""
    matching = sum(
        weight for topic, weight in link.topics.items() if any(topic.startswith(p) for p in target.subscribe)
    )
    return matching / sum(link.topics.values())


def delivery_rate(link: Link, source: Node, target: Node, published: float) -> float:
    """Messages per second that a link brings to all instances of its target together."""
    if link.pattern == "push-pull":
        return published
    return published * connections(link, source, target) / source.count * subscribed_share(link, target)


def arriving_rates(scenario: Scenario) -> dict[str, float]:
    """Messages per second that each node is to send (a producer) or receive; all go out on every out-link."""
    nodes = {node.name: node for node in scenario.nodes}
    rates = {node.name: node.rate if node.role == "producer" else 0.0 for node in scenario.nodes}
    outward: dict[str, list[Link]] = {name: [] for name in nodes}
    for link in scenario.links:
        outward[link.source].append(link)
    for name in order(scenario):
        for link in outward[name]:
            if rates[name]:  # inf · 0 is not a number
                rates[link.target] += delivery_rate(link, nodes[name], nodes[link.target], rates[name])
    return rates

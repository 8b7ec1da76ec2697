"""Settings: changes to a scenario from outside its file, by name: `orders.rate=2000/s`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from mqviz.errors import ScenarioError
from mqviz.simulation.document import with_replay
from mqviz.simulation.expectation import link_name
from mqviz.simulation.fields import LINK, LIVE, NODE, SCENARIO, Field, read_field
from mqviz.simulation.model import Node, Scenario, default_warmup_ns
from mqviz.simulation.validation import check_node, link_place, node_place, validate
from mqviz.simulation.wording import shown, suggestion

_FIXED = ("name", "from", "to")


def with_settings(scenario: Scenario, settings: Iterable[str] | Mapping[str, object]) -> Scenario:
    """The scenario with `KEY=VALUE` settings, or a mapping of them; checked once all are in.

    A key is a top-level field, NODE.FIELD or "FROM -> TO".FIELD. When `duration` is set, events after its end
    fall away; and unless `warmup` is set, too, a default warm-up follows it, and one that would take more
    than half of it shrinks to a fifth.
    """
    pairs = settings.items() if isinstance(settings, Mapping) else [_pair(setting) for setting in settings]
    top: dict[str, Any] = {}
    nodes = {node.name: node for node in scenario.nodes}
    links = {link.name: link for link in scenario.links}
    for key, value in pairs:
        target, dot, name = key.rpartition(".")
        if not dot:
            field = _field(SCENARIO, name, "scenario")
            top[field.attribute] = read_field("", field, value)
            continue
        owner = link_name(target)
        if owner in nodes:
            nodes[owner] = _changed(nodes[owner], node_place(nodes[owner]), NODE, name, value)
        elif owner in links:
            links[owner] = _changed(links[owner], link_place(links[owner]), LINK, name, value)
        else:
            known = [*nodes, *links]
            raise ScenarioError("", f"there is no node or link {shown(owner)}{suggestion(owner, known)}")
    if "duration_ns" in top:
        top |= _fitted(scenario, top)
    after = msgspec.structs.replace(
        scenario,
        nodes=tuple(with_replay(node, None) for node in nodes.values()),
        links=tuple(links.values()),
        **top,
    )
    return validate(after)


def changed(node: Node, **fields: object) -> Node:
    """A node after a live change of rate, size, service or count; ScenarioError when it cannot be."""
    place = node_place(node)
    for name, value in fields.items():
        node = _changed(node, place, LIVE, name, value)
    check_node(node)
    return node


def _pair(setting: str) -> tuple[str, str]:
    key, equals, value = setting.partition("=")
    if not equals or not key.strip():
        raise ScenarioError("", f"{shown(setting)} is not written as KEY=VALUE, such as orders.rate=2000/s")
    return key.strip(), value.strip()


def _field(fields: Iterable[Field], key: str, place: str) -> Field:
    known = {field.key: field for field in fields}
    if key not in known:
        settable = [name for name in known if name not in _FIXED]
        near = suggestion(key, settable) or f"; there are {', '.join(settable)}"
        raise ScenarioError(place, f"unknown key {shown(key)}{near}")
    return known[key]


def _changed(part: Any, place: str, fields: Iterable[Field], key: str, value: object) -> Any:
    field = _field(fields, key, place)
    if key in _FIXED:
        raise ScenarioError(place, f"{key} cannot be set, other parts refer to it")
    return msgspec.structs.replace(part, **{field.attribute: read_field(place, field, value)})


def _fitted(scenario: Scenario, top: Mapping[str, Any]) -> dict[str, Any]:
    """What follows from another duration."""
    duration = top["duration_ns"]
    fitted: dict[str, Any] = {}
    if "warmup_ns" not in top:
        if scenario.warmup_ns == default_warmup_ns(scenario.duration_ns):
            fitted["warmup_ns"] = default_warmup_ns(duration)
        elif duration is not None and scenario.warmup_ns > duration // 2:
            fitted["warmup_ns"] = duration // 5
    if duration is not None:
        fitted["events"] = tuple(event for event in scenario.events if event.at_ns <= duration)
    return fitted

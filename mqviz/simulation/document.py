"""Document: a scenario's TOML, read and written."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from mqviz.errors import ScenarioError
from mqviz.simulation import replay
from mqviz.simulation.arrivals import resolved
from mqviz.simulation.expectation import Expect, parse_expect
from mqviz.simulation.fields import EVENT, LINK, LIVE, NODE, SCENARIO, Field, read_field, read_fields
from mqviz.simulation.model import Event, Link, Node, Scenario, default_warmup_ns
from mqviz.simulation.validation import node_place, validate
from mqviz.simulation.wording import shown, suggestion

MAX_BYTES = 1_000_000
MAX_LINE = 4_096
"""Characters; dotted keys take tomllib time that grows with the square of their length."""

_EXPECT = (Field("metric", "text", parse_expect, required=True),)
_ARRAYS = ("node", "link", "event", "expect")

KEYS = frozenset(
    [*_ARRAYS, *(field.key for field in (*SCENARIO, *NODE, *LINK, *EVENT, *_EXPECT))],
)
"""Every key that a scenario's TOML can have."""


def loads(
    text: str | bytes, folder: Path | None = None, *, name: str = "unnamed", here: bool = True
) -> Scenario:
    """A scenario from TOML; replay files are relative to `folder`.

    `here=False` reads one that ran elsewhere: this machine's cores and replay files are not looked at.
    """
    table = _parse(text)
    for key in table:
        if key not in _ARRAYS and key not in [field.key for field in SCENARIO]:
            known = [*_ARRAYS, *(field.key for field in SCENARIO)]
            raise ScenarioError("scenario", f"unknown key {shown(key)}{suggestion(key, known)}")
    top = read_fields("", {key: value for key, value in table.items() if key not in _ARRAYS}, SCENARIO)
    top.setdefault("name", name)
    top.setdefault("warmup_ns", default_warmup_ns(top.get("duration_ns")))
    nodes = tuple(_node(place, entry) for place, entry in _entries(table, "node"))
    scenario = Scenario(
        **top,
        nodes=tuple(with_replay(node, folder) for node in nodes) if here else nodes,
        links=tuple(_link(place, entry) for place, entry in _entries(table, "link")),
        events=tuple(_event(place, entry) for place, entry in _entries(table, "event")),
        expects=tuple(_expect(place, entry) for place, entry in _entries(table, "expect")),
    )
    return validate(scenario, here=here)


def _parse(text: str | bytes) -> dict[str, Any]:
    if len(text) > MAX_BYTES:
        raise ScenarioError("scenario", f"larger than {MAX_BYTES // 1000} KB")
    try:
        if isinstance(text, bytes):
            text = text.decode()
        if max(map(len, text.splitlines()), default=0) > MAX_LINE:
            raise ScenarioError("scenario", f"a line has more than {MAX_LINE} characters")
        return tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise ScenarioError("scenario", f"not UTF-8 text (byte {error.start})") from error
    except RecursionError as error:
        raise ScenarioError("scenario", "nested too deeply") from error
    except ValueError as error:  # tomllib's own, and Python's limit on digits
        reason = "".join(c if c.isprintable() else "?" for c in str(error))[:200]
        raise ScenarioError("scenario", f"not TOML: {reason}") from error


def _entries(table: Mapping[str, Any], key: str) -> Iterable[tuple[str, dict[str, Any]]]:
    """The tables of an array, each with the name of its place."""
    entries = table.get(key, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ScenarioError("scenario", f'"{key}" is written as [[{key}]], one block each')
    for number, entry in enumerate(entries, start=1):
        yield f"{key} {number}", entry


def _node(place: str, entry: dict[str, Any]) -> Node:
    name = entry.get("name")
    return Node(**read_fields(f"node {shown(name)}" if isinstance(name, str) else place, entry, NODE))


def _link(place: str, entry: dict[str, Any]) -> Link:
    ends = entry.get("from"), entry.get("to")
    if all(isinstance(end, str) for end in ends):
        place = f"link {shown(f'{ends[0]} -> {ends[1]}')}"
    return Link(**read_fields(place, entry, LINK))


def _event(place: str, entry: dict[str, Any]) -> Event:
    live = {field.key: field for field in LIVE}
    found = read_fields(place, {key: value for key, value in entry.items() if key not in live}, EVENT)
    fields: dict[str, str | int] = {}
    for key, value in entry.items():
        if key in live:
            fields[key] = live[key].write(read_field(place, live[key], value))  # type: ignore[assignment]
    return Event(**found, fields=fields)


def _expect(place: str, entry: dict[str, Any]) -> Expect:
    found: Expect = read_fields(place, entry, _EXPECT)["text"]
    return found


def with_replay(node: Node, folder: Path | None) -> Node:
    """A node whose replay file is found and good; without a rate it gets the recorded one."""
    if node.arrivals.kind != "replay":
        return node
    try:
        arrivals = resolved(node.arrivals, folder)
        natural = replay.natural_rate(arrivals.path)
    except ScenarioError as error:
        raise ScenarioError(f"{node_place(node)}, arrivals", error.problem) from None
    return msgspec.structs.replace(node, arrivals=arrivals, rate=node.rate or natural)


def to_toml(scenario: Scenario) -> str:
    """TOML that loads as an equal scenario; values that are defaults are left out."""
    blocks = [_block("", scenario, SCENARIO, _defaults(Scenario) | {"warmup_ns": None})]
    blocks += [_block("[[node]]", node, NODE, _defaults(Node)) for node in scenario.nodes]
    blocks += [
        _block("[[link]]", link, LINK, _defaults(Link) | {"topics": {"": 1.0}}) for link in scenario.links
    ]
    for event in scenario.events:
        block = _block("[[event]]", event, EVENT, _defaults(Event))
        blocks.append(block + "".join(f"{key} = {_value(value)}\n" for key, value in event.fields.items()))
    blocks += [f"[[expect]]\nmetric = {_value(expect.text)}\n" for expect in scenario.expects]
    return "\n".join(blocks)


def _defaults(kind: type[msgspec.Struct]) -> dict[str, Any]:
    return {field.name: field.default for field in msgspec.structs.fields(kind)}


def _block(title: str, part: msgspec.Struct, fields: Iterable[Field], defaults: Mapping[str, Any]) -> str:
    lines = [title] if title else []
    for field in fields:
        value = getattr(part, field.attribute)
        if value != defaults[field.attribute] or field.required:
            lines.append(f"{field.key} = {_value(field.write(value))}")
    return "\n".join(lines) + "\n"


def _value(value: object) -> str:
    """As TOML; a JSON string is a TOML basic string, but for DEL, which no field lets in."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_value(key)} = {_value(item)}" for key, item in value.items()) + " }"
    return repr(value)

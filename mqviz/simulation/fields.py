"""Fields: each key of a scenario's TOML, the attribute it fills, and how it is read and written."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from mqviz.errors import ScenarioError
from mqviz.simulation.arrivals import Arrivals, parse_arrivals
from mqviz.simulation.distribution import Distribution, parse_service_distribution, parse_size_distribution
from mqviz.simulation.units import (
    format_duration,
    format_rate,
    format_size,
    parse_duration,
    parse_plain,
    parse_rate,
    parse_size,
)
from mqviz.simulation.wording import one_of, shown, suggestion

MAX_NAME = 64
MAX_LESSON = 500
MAX_SEED = (1 << 63) - 1
ENDLESS = "endless"
SYSTEM = "system"

ROLES = ("producer", "worker", "consumer")
PATTERNS = ("push-pull", "pub-sub")
TRANSPORTS = ("tcp", "ipc", "inproc")
ACTIONS = ("set", "kill", "stop", "start", "pause", "resume")
PLANNED_ACTIONS = ("delay", "partition", "heal")


class Field(NamedTuple):
    """One key."""

    key: str
    attribute: str
    read: Callable[[object], Any]
    write: Callable[[Any], object] = lambda value: value
    required: bool = False


def read_fields(where: str, table: Mapping[str, object], fields: Iterable[Field]) -> dict[str, Any]:
    """A table's values by attribute; unknown and missing keys are refused."""
    known = {field.key: field for field in fields}
    for key in table:
        if key not in known:
            raise ScenarioError(where, f"unknown key {shown(key)}{suggestion(key, known)}")
    found: dict[str, Any] = {}
    for key, field in known.items():
        if key in table:
            found[field.attribute] = read_field(where, field, table[key])
        elif field.required:
            raise ScenarioError(where, f'"{key}" is missing')
    return found


def read_field(where: str, field: Field, value: object) -> Any:
    """One value; a sentence about it names its place."""
    try:
        return field.read(value)
    except ScenarioError as error:
        raise ScenarioError(f"{where}, {field.key}" if where else field.key, str(error)) from None


def _whole(low: int, high: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        if isinstance(value, str) and len(value) <= 20 and value.strip().isdecimal():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ScenarioError("", f"{shown(value)} is not a whole number from {low} to {high}")
        return value

    return read


def _choice(*choices: str) -> Callable[[object], str]:
    return lambda value: one_of(value, choices)


def _truth(value: object) -> bool:
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    if not isinstance(value, bool):
        raise ScenarioError("", f"{shown(value)} is not true or false")
    return value


def text(value: object, most: int, what: str) -> str:
    """A line of text without control or invisible format characters."""
    if not isinstance(value, str):
        raise ScenarioError("", f"{shown(value)} is not a text")
    if len(value) > most:
        raise ScenarioError("", f"{what} has at most {most} characters")
    if any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in value):
        raise ScenarioError("", f"{what} {shown(value)} has a control character")
    return value


def _title(value: object) -> str:
    found = text(value, MAX_NAME, "a name").strip()
    if not found:
        raise ScenarioError("", "a name cannot be empty")
    return found


def node_name(value: object) -> str:
    """A node's name: it stands in link names, settings and instance names, whose signs it must not have."""
    found = text(value, MAX_NAME, "a name")
    if not found or found != found.strip():
        raise ScenarioError("", f"the name {shown(found)} is empty or has a space at an end")
    for sign in (".", "=", "->", '"', "'", "`", ":"):
        if sign in found:
            raise ScenarioError("", f"the name {shown(found)} has a {sign}, which a name cannot have")
    return found


def _duration_or_endless(value: object) -> int | None:
    if value == ENDLESS:
        return None
    duration = parse_duration(value)
    if duration <= 0:
        raise ScenarioError("", f'{shown(value)} is too short; leave it out or write "{ENDLESS}" for no end')
    return duration


def _rate(value: object) -> float:
    rate = parse_rate(value)
    if rate != float("inf") and not 0.001 <= rate <= 1e8:
        raise ScenarioError(
            "",
            f'{shown(value)} is not a rate from 0.001/s to 100M/s; "max" sends as fast as sends are accepted',
        )
    return rate


def _buffer(value: object) -> int:
    if value in (SYSTEM, -1, "-1"):
        return -1
    size = parse_size(value)
    if not 1 <= size <= 1 << 30:
        raise ScenarioError("", f'{shown(value)} is not a size from 1B to 1024MiB or "{SYSTEM}"')
    return size


def _write_buffer(size: int) -> str:
    return SYSTEM if size < 0 else format_size(size)


def _strings(value: object) -> tuple[str, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, (list, tuple)) or not 1 <= len(parts) <= 1000:
        raise ScenarioError("", f"{shown(value)} is not a list of 1 to 1000 texts")
    return tuple(_topic(part) for part in parts)


def _topic(value: object) -> str:
    return text(value, MAX_NAME, "a topic")


def _topics(value: object) -> dict[str, float]:
    if isinstance(value, str):  # from --set: eur=3,usd=1
        value = {name: weight or 1 for name, _, weight in (part.partition("=") for part in value.split(","))}
    elif isinstance(value, list):
        value = {_topic(topic): 1 for topic in value}
    if not isinstance(value, dict) or not 1 <= len(value) <= 1000:
        raise ScenarioError(
            "", f"{shown(value)} is not a table of 1 to 1000 topics, such as {{ eur = 3, usd = 1 }}"
        )
    topics = {_topic(topic): parse_plain(weight) for topic, weight in value.items()}
    if not all(1e-6 <= weight <= 1e6 for weight in topics.values()):
        raise ScenarioError("", "a topic's weight is above 0 and at most a million")
    if "" in topics and len(topics) > 1:
        raise ScenarioError("", "a topic has no name; leave topics out when there is only one")
    return topics


def _plain_number(number: float) -> float | int:
    return int(number) if number == int(number) else number


def _written(distribution: Distribution | Arrivals) -> str:
    return distribution.text


_hwm = _whole(0, 1_000_000)

SCENARIO = (
    Field("name", "name", _title),
    Field("lesson", "lesson", lambda value: text(value, MAX_LESSON, "a lesson")),
    Field(
        "duration",
        "duration_ns",
        _duration_or_endless,
        lambda ns: ENDLESS if ns is None else format_duration(ns),
    ),
    Field("warmup", "warmup_ns", parse_duration, format_duration),
    Field("drain", "drain_ns", parse_duration, format_duration),
    Field("seed", "seed", _whole(0, MAX_SEED)),
    Field("engine", "engine", _choice("auto", "native", "python")),
)
NODE = (
    Field("name", "name", node_name, required=True),
    Field("role", "role", _choice(*ROLES), required=True),
    Field("count", "count", _whole(1, 1000)),
    Field("rate", "rate", _rate, format_rate),
    Field("arrivals", "arrivals", parse_arrivals, _written),
    Field("size", "size", parse_size_distribution, _written),
    Field("service", "service", parse_service_distribution, _written),
    Field("service_mode", "service_mode", _choice("sleep", "spin")),
    Field("subscribe", "subscribe", _strings, list),
)
LINK = (
    Field("from", "source", node_name, required=True),
    Field("to", "target", node_name, required=True),
    Field("pattern", "pattern", _choice(*PATTERNS)),
    Field("transport", "transport", _choice(*TRANSPORTS)),
    Field("wiring", "wiring", _choice("mesh", "paired")),
    Field("send_hwm", "send_hwm", _hwm),
    Field("receive_hwm", "receive_hwm", _hwm),
    Field("send_buffer", "send_buffer", _buffer, _write_buffer),
    Field("receive_buffer", "receive_buffer", _buffer, _write_buffer),
    Field("linger", "linger_ns", parse_duration, format_duration),
    Field("conflate", "conflate", _truth),
    Field("topics", "topics", _topics, lambda topics: {name: _plain_number(w) for name, w in topics.items()}),
)


def _action(value: object) -> str:
    if value in PLANNED_ACTIONS:
        raise ScenarioError(
            "", f"{shown(value)} is not available in this version; there are {', '.join(ACTIONS)}"
        )
    return one_of(value, ACTIONS)


EVENT = (
    Field("at", "at_ns", parse_duration, format_duration, required=True),
    Field("action", "action", _action, required=True),
    Field("node", "node", node_name, required=True),
    Field("instance", "instance", _whole(0, 1_000_000)),
)
LIVE = tuple(field for field in NODE if field.key in ("rate", "size", "service", "count"))
"""What an event or a person can set while a node runs."""

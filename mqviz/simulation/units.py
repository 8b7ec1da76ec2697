"""Units: durations, rates and sizes as users write them, and back to text.

duration   400us 5ms 2s 1min 1h   -> int ns         0 needs no unit
rate       5000/s 5k/s 1M/s max   -> float per s    a bare number is per second; max is inf
size       64B 1KiB 200KB 1MiB    -> int bytes      a bare number is bytes
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import NamedTuple

from mqviz.errors import ScenarioError
from mqviz.simulation.wording import shown

NS_PER = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,  # the micro sign
    "μs": 1_000,  # the Greek letter, which keyboards give as often
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "min": 60_000_000_000,
    "h": 3_600_000_000_000,
}
PER_S = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000}
BYTES_PER = {
    "": 1,
    "b": 1,
    "kb": 1_000,
    "kib": 1 << 10,
    "mb": 1_000_000,
    "mib": 1 << 20,
    "gb": 1_000_000_000,
    "gib": 1 << 30,
}

MAX_DURATION_NS = 366 * 24 * NS_PER["h"]
MAX_BYTES = 1 << 40

_QUANTITY = re.compile(
    r"([0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(e[+-]?[0-9]{1,2})?[ ]*([a-zµμ]{0,5}(?:/s)?)",
    re.IGNORECASE,
)


def _quantity(value: object, wanted: str) -> tuple[float, str]:
    """A number and the unit behind it, neither negative nor infinite; `wanted` ends the sentence."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if 0 <= value <= 1e30:  # false for nan, too
            return value, ""
    elif isinstance(value, str) and len(value) <= 100:
        match = _QUANTITY.fullmatch(value.strip())
        if match:
            whole = match[1].isdigit() and not match[2]  # an int stays exact above 2^53
            return int(match[1]) if whole else float(match[1] + (match[2] or "")), match[3]
    raise ScenarioError("", f"{shown(value)} is not {wanted}")


def parse_duration(value: object) -> int:
    """A duration in ns."""
    wanted = "a duration such as 400us, 5ms, 2s or 1min"
    number, unit = _quantity(value, wanted)
    if not unit and number == 0:
        return 0
    if not unit:
        raise ScenarioError("", f"{shown(value)} has no unit; a duration is written such as 400us, 5ms or 2s")
    if unit not in NS_PER:
        raise ScenarioError("", f"{shown(value)} is not {wanted}")
    if number * NS_PER[unit] > MAX_DURATION_NS:
        raise ScenarioError("", f"{shown(value)} is longer than a year")
    return round(number * NS_PER[unit])


def format_duration(ns: float) -> str:
    """The text that `parse_duration` reads back exactly (whole ns)."""
    whole = round(ns)
    for unit in ("s", "ms", "us"):
        if whole % NS_PER[unit] == 0:
            return f"{whole // NS_PER[unit]}{unit}"
    return f"{whole}ns"


def parse_rate(value: object) -> float:
    """A rate in messages per second; "max" is inf."""
    if isinstance(value, str) and value.strip().lower() == "max":
        return math.inf
    wanted = 'a rate such as 5000/s, 5k/s or "max"'
    number, unit = _quantity(value, wanted)
    scale = PER_S.get(unit.lower().removesuffix("/s"))
    if scale is None:
        raise ScenarioError("", f"{shown(value)} is not {wanted}")
    return number * scale


def format_rate(rate: float) -> str:
    """The text that `parse_rate` reads back exactly."""
    if math.isinf(rate):
        return "max"
    return f"{int(rate)}/s" if rate == int(rate) else f"{rate!r}/s"


def parse_size(value: object) -> int:
    """A size in bytes."""
    wanted = "a size such as 64B, 1KiB, 200KB or 1MiB"
    number, unit = _quantity(value, wanted)
    if unit.lower() not in BYTES_PER:
        raise ScenarioError("", f"{shown(value)} is not {wanted}")
    size = number * BYTES_PER[unit.lower()]
    if size > MAX_BYTES:
        raise ScenarioError("", f"{shown(value)} is too large")
    return round(size)


def format_size(size: float) -> str:
    """The text that `parse_size` reads back exactly (whole bytes)."""
    whole = round(size)
    for unit in ("MiB", "MB", "KiB", "KB"):
        if whole and whole % BYTES_PER[unit.lower()] == 0:
            return f"{whole // BYTES_PER[unit.lower()]}{unit}"
    return f"{whole}B"


def parse_plain(value: object) -> float:
    """A number without a unit."""
    number, unit = _quantity(value, "a number")
    if unit:
        raise ScenarioError("", f"{shown(value)} is not a number without a unit")
    return number


def format_plain(number: float) -> str:
    """The text that `parse_plain` reads back exactly."""
    return str(int(number)) if number == int(number) else repr(number)


class Unit(NamedTuple):
    """How a quantity is read and written."""

    parse: Callable[[object], float]
    format: Callable[[float], str]


DURATION = Unit(parse_duration, format_duration)
SIZE = Unit(parse_size, format_size)
PLAIN = Unit(parse_plain, format_plain)

"""Call: the small grammar `name` or `name(argument, argument)` of distributions and arrivals.

It is taken apart by hand; nothing that a user writes is ever evaluated.
"""

from __future__ import annotations

import re

from mqviz.errors import ScenarioError
from mqviz.simulation.units import Unit
from mqviz.simulation.wording import shown, suggestion

MAX_TEXT = 4_000
"""Characters; the longest is steps(…) or a path."""

_CALL = re.compile(r"([a-z_]{1,30})\s*(?:\((.*)\))?", re.IGNORECASE)


class Call:
    """A name and its raw arguments; `inside` is what stood between the brackets."""

    def __init__(self, name: str, inside: str | None) -> None:
        self.name = name
        self.inside = inside
        self.arguments = [part.strip() for part in inside.split(",")] if inside and inside.strip() else []

    def values(self, names: tuple[str, ...], units: tuple[Unit, ...]) -> tuple[float, ...]:
        """The arguments read by their units; all must be there."""
        if len(self.arguments) != len(names):
            raise ScenarioError("", f"{self.name} is written {self.name}({', '.join(names)})")
        return tuple(
            read(unit, argument, f"{self.name}, {name}")
            for name, unit, argument in zip(names, units, self.arguments, strict=True)
        )


def read(unit: Unit, argument: str, place: str) -> float:
    """One argument; a sentence about it names its place."""
    try:
        return unit.parse(argument)
    except ScenarioError as error:
        raise ScenarioError(place, error.problem) from None


def parse_call(text: str, known: tuple[str, ...], what: str) -> Call:
    """A call of one of the known names; `what` says what is being read."""
    match = _CALL.fullmatch(text.strip()) if len(text) <= MAX_TEXT else None
    if not match:
        raise ScenarioError("", f"{shown(text)} is not {what}; written as {known[0]}(…)")
    name = match[1].lower()
    if name not in known:
        raise ScenarioError(
            "", f"{shown(text)} is not {what}: one of {', '.join(known)}{suggestion(name, known)}"
        )
    return Call(name, match[2])

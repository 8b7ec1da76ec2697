"""Wording: how a value of the user is quoted in a sentence, and what the user may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from mqviz.errors import ScenarioError

SHOWN = 60
"""Characters of a foreign text that a sentence repeats at most."""


def shown(value: object) -> str:
    """A value of the user, short and on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        text = value if len(value) <= SHOWN else value[:SHOWN] + "…"
        return '"' + "".join(c if c.isprintable() else "?" for c in text) + '"'
    if isinstance(value, int):
        return str(value) if value.bit_length() <= 64 else "a huge number"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, (list, tuple)):
        return "a list"
    return f"a {type(value).__name__}"


def suggestion(word: object, choices: Iterable[str]) -> str:
    """`; did you mean "rate"?`, or nothing when no choice is near."""
    if not isinstance(word, str) or len(word) > 64:
        return ""
    near = difflib.get_close_matches(word.lower(), list(choices), n=1, cutoff=0.6)
    return f'; did you mean "{near[0]}"?' if near else ""


def one_of(value: object, choices: Iterable[str]) -> str:
    """The value, when it is one of the choices."""
    known = list(choices)
    if isinstance(value, str) and value in known:
        return value
    listed = ", ".join(known)
    raise ScenarioError("", f"{shown(value)} is not one of {listed}{suggestion(value, known)}")

"""What several commands need: help texts, completion of scenarios, numbers as people read them."""

from __future__ import annotations

from pathlib import Path

SCENARIO_HELP = "A built-in name (see mqviz scenarios) or a TOML file."


def help_text(what: str, more: str, examples: dict[str, str]) -> str:
    """A command's help: what it does, what else to know, and lines to copy."""
    width = max(map(len, examples)) + 4
    lines = [f"[bold]{line.ljust(width)}[/][dim]{why}[/]" for line, why in examples.items()]
    return "\n\n".join(part for part in (what, more, "Examples:", "\n".join(lines)) if part)


def complete_scenario(incomplete: str) -> list[str]:
    """Built-in names and TOML files that begin so."""
    from mqviz.simulation import builtin

    folder, _, start = incomplete.rpartition("/")
    files = sorted(Path(folder or ("/" if incomplete.startswith("/") else ".")).glob("*.toml"))
    place = f"{folder}/" if "/" in incomplete else ""
    found = [place + file.name for file in files if file.name.startswith(start)]
    return [name for name in builtin.names() if name.startswith(incomplete)] + found


def duration(ns: float | None) -> str:
    """Three digits and a unit, such as `1.23 ms`; a dash where there is none."""
    if ns is None:
        return "–"
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if ns >= size:
            return f"{_three_digits(ns / size)} {unit}"
    return f"{ns:.0f} ns"


def count(value: float) -> str:
    """Thousands apart: `59 988`."""
    return f"{value:,.0f}".replace(",", " ")


def _three_digits(value: float) -> str:
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:.0f}"

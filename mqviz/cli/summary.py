"""A report as people read it: one row per link, the verdict, and what was expected."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mqviz.cli.words import count, duration

FILE_WIDTH = 200
"""Of a line that does not go to a terminal; rich would take 80 and cut names."""

COLOURS = {"VALID": "green", "SUSPECT": "yellow", "VOID": "red"}


def print_summary(report: dict[str, Any], console: Console | None = None) -> None:
    """Names are printed as text, never as markup."""
    console = console or Console(width=None if sys.stdout.isatty() else FILE_WIDTH)
    table = Table(box=None, pad_edge=False, collapse_padding=True)
    table.add_column("link")  # the one that may take two lines
    for heading in ("sent", "received", "in flight", "lost", "unsent", "p50", "p99"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, link in report["links"].items():
        table.add_row(Text(name), *_figures(link))
        subscribers = link.get("per_subscriber", {})
        for subscriber, part in subscribers.items() if len(subscribers) > 1 else ():
            table.add_row(Text(f"  {subscriber}", style="dim"), *_figures(part))
    console.print(table)
    for name, link in report["links"].items():
        causes = [f"{count(number)} {cause}" for cause, number in link["lost"].items() if number]
        if causes:
            console.print(Text(f"lost on {name}: {', '.join(causes)}"))
    end = report["end_to_end_ns"]
    console.print(
        f"end to end: p50 {duration(end.get('p50'))}, p99 {duration(end.get('p99'))}", highlight=False
    )
    verdict = report["verdict"]
    line = Text(verdict, style=f"bold {COLOURS.get(verdict, '')}".strip())
    line.append(
        f", {report['engine']} engine, {report['measured_s']:.1f} s measured", style="default not bold"
    )
    console.print(line)
    for expectation in report["expectations"]:
        mark = Text("met    ", style="green") if expectation["met"] else Text("FAILED ", style="red")
        console.print(mark + Text(f"{expectation['metric']}  (was {_value(expectation)})"))


def _figures(link: dict[str, Any]) -> list[str]:
    response = link.get("latency_ns", {}).get("response")  # a subscriber's block has counts only
    return [
        count(link["sent"]),
        count(link["received"]),
        count(link["in_flight"]),
        count(sum(link["lost"].values())),
        count(link["unsent"]),
        _percentile(response, "p50") if response else "",
        _percentile(response, "p99") if response else "",
    ]


def _percentile(figures: dict[str, Any], name: str) -> str:
    """`≥ x` where it falls among messages that were due and never sent."""
    at_least = figures.get("at_least", {}).get(name)
    return duration(figures[name]) if at_least is None else f"≥ {duration(at_least)}"


def _value(expectation: dict[str, Any]) -> str:
    value = expectation["value"]
    if value is None:
        return "not known"
    if any(f"{name}." in expectation["metric"] for name in DURATIONS):
        return duration(value)
    return f"{value:g}"


DURATIONS = ("lateness", "blocked", "transit", "service", "response", "end_to_end")

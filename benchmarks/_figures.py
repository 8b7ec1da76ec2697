"""Figures: what a benchmark measures, how it is written for people, and the tables that it makes."""

from __future__ import annotations

import statistics

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table


class Target(msgspec.Struct, frozen=True):
    """What a figure is to reach."""

    sign: str  # ≥ or ≤
    value: float

    def met(self, value: float) -> bool:
        """Whether it is reached."""
        return value >= self.value if self.sign == "≥" else value <= self.value


def at_least(value: float) -> Target:
    """A figure that is good when it is high."""
    return Target("≥", value)


def at_most(value: float) -> Target:
    """A figure that is good when it is low."""
    return Target("≤", value)


class Figure(msgspec.Struct, frozen=True):
    """One number: the table, row and column where it stands, and its value in each round."""

    table: str
    row: str
    column: str
    unit: str
    values: tuple[float, ...]
    target: Target | None = None

    @property
    def median(self) -> float:
        """What counts."""
        return statistics.median(self.values)

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None without one."""
        return None if self.target is None else self.target.met(self.median)

    @property
    def wanted(self) -> str:
        """The target as people read it."""
        return "" if self.target is None else f"{self.target.sign} {show(self.target.value, self.unit)}"

    @property
    def shown(self) -> str:
        """The median as people read it."""
        return show(self.median, self.unit)


class Part(msgspec.Struct, frozen=True):
    """What one benchmark came to; one entry of the JSON document."""

    benchmark: str
    title: str
    quick: bool
    rounds: int
    started: str
    seconds: float
    load_average: tuple[float, ...]  # over 1, 5 and 15 minutes, when it began
    busy_cores: float  # taken by others when it began
    machine: dict[str, str | int]
    versions: dict[str, str]
    figures: tuple[Figure, ...]


def show(value: float, unit: str) -> str:
    """A value with its unit, to three digits."""
    if unit == "x":
        return f"{value:.2f} x"
    if unit in ("core", "%"):
        return f"{value:.3f} {unit}"
    if unit == "/s":
        for size, letter in ((1e6, "M"), (1e3, "k")):
            if value >= size:
                return f"{digits(value / size)} {letter}/s"
    return f"{digits(value)} {unit}"


def digits(value: float) -> str:
    """Three, or all before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def tables(part: Part) -> dict[str, dict[str, dict[str, Figure]]]:
    """Figures by table, row and column, in the order in which they were measured."""
    found: dict[str, dict[str, dict[str, Figure]]] = {}
    for each in part.figures:
        found.setdefault(each.table, {}).setdefault(each.row, {})[each.column] = each
    return found


def columns(rows: dict[str, dict[str, Figure]]) -> list[str]:
    """The columns of a table."""
    return list(dict.fromkeys(column for row in rows.values() for column in row))


def print_tables(part: Part, console: Console) -> None:
    """Medians; those with a target in green or red."""
    for name, rows in tables(part).items():
        heads = columns(rows)
        table = Table(title=name, title_justify="left", title_style="bold", box=box.SIMPLE, pad_edge=False)
        table.add_column("", no_wrap=True)
        for head in heads:
            table.add_column(head, justify="right")
        for row, cells in rows.items():
            table.add_row(row, *(_cell(cells.get(head)) for head in heads))
        console.print(table)
    console.print(
        f"medians of {rounds(part)} in {part.seconds:.0f} s; before: load average {part.load_average[0]:.1f}, "
        f"{part.busy_cores:.1f} cores busy"
    )


def rounds(part: Part) -> str:
    """How many, in words."""
    return f"{part.rounds} round{'s' if part.rounds > 1 else ''}"


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return ""
    if figure.target is None:
        return figure.shown
    return f"[{'green' if figure.met else 'red'}]{figure.shown}[/]\n[dim]{figure.wanted}[/]"

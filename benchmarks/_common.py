"""What every benchmark shares: its arguments, alternated rounds, figures, JSON, and the table on the terminal.

A figure is one number with the value of each round; its median is what counts. What is compared is measured in
turns within one run, since a machine's speed changes from minute to minute.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TypeVar

import msgspec
import psutil
import zmq
from rich import box
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "build" / "benchmarks.json"
PACKAGES = ("mqviz", "pyzmq", "numpy", "numba", "bokeh", "panel", "tornado")
LOOK_S = 0.5
"""How long to look at what else the machine does before a benchmark begins."""
WIDTH = 110
"""Of the tables where nobody says how wide it may be."""

T = TypeVar("T")


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


class Options(msgspec.Struct, frozen=True):
    """How much to measure."""

    quick: bool
    rounds: int


def run(name: str, title: str, measure: Callable[[Options], Iterable[Figure]]) -> int:
    """Parse the arguments, measure, and hand out the figures."""
    parser = argparse.ArgumentParser(prog=f"benchmarks/{name}.py", description=title)
    parser.add_argument("--quick", action="store_true", help="one short round, to see that it works")
    parser.add_argument("--rounds", type=int, default=3, help="how often each thing is measured (default 3)")
    parser.add_argument(
        "--json", metavar="FILE", default=str(RESULTS), help="where the figures go, - for stdout (default %(default)s)"
    )
    parser.add_argument("--doc", action="store_true", help="write the figures into docs/performance.md")
    given = parser.parse_args()
    if given.rounds < 1:
        parser.error("--rounds: at least 1")
    if given.doc and (given.quick or given.json == "-"):
        parser.error("--doc wants whole figures in a file: leave out --quick and --json -")
    options = Options(given.quick, 1 if given.quick else given.rounds)
    load = tuple(round(each, 2) for each in os.getloadavg())
    busy = psutil.cpu_percent(LOOK_S) / 100 * (os.cpu_count() or 1)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    began = time.monotonic()
    figures = tuple(measure(options))
    seconds = round(time.monotonic() - began, 1)
    part = Part(
        name, title, options.quick, options.rounds, started, seconds, load, round(busy, 2),
        machine(), versions(), figures,
    )  # fmt: skip
    out = sys.stderr if given.json == "-" else sys.stdout
    print_tables(part, Console(file=out, width=None if out.isatty() else WIDTH))
    if given.json == "-":
        print(msgspec.json.format(encode(part)).decode())
    else:
        keep(part, Path(given.json))
    if given.doc:
        from _document import write

        write(Path(given.json))
    return 0


def alternated(things: Sequence[T], rounds: int) -> Iterator[T]:
    """Each thing once a round, and each round begins with another one."""
    for turn in range(rounds):
        first = turn % len(things)
        yield from (*things[first:], *things[:first])


def show(value: float, unit: str) -> str:
    """A value with its unit, to three digits."""
    if unit == "x":
        return f"{value:.2f} x"
    if unit == "/s":
        for size, letter in ((1e6, " M"), (1e3, " k")):
            if value >= size:
                return f"{value / size:.3g}{letter}/s"
        return f"{value:.3g}/s"
    if unit in ("core", "%"):
        return f"{value:.3f} {unit}"
    return f"{value:.3g} {unit}"


def machine() -> dict[str, str | int]:
    """Where it was measured."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(": ")[2] if names else model
    return {
        "processor": model,
        "cores": os.cpu_count() or 0,
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    """Of what the figures depend on."""
    found = {"libzmq": zmq.zmq_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def encode(part: Part) -> bytes:
    """JSON, with medians and verdicts beside the values of the rounds."""
    return msgspec.json.encode(
        {
            **msgspec.to_builtins(part),
            "figures": [
                {**msgspec.to_builtins(each), "median": each.median, "met": each.met} for each in part.figures
            ],
        }
    )


def keep(part: Part, file: Path) -> None:
    """Put one benchmark's figures into the file, beside those of the others."""
    known = msgspec.json.decode(file.read_bytes(), type=dict[str, msgspec.Raw]) if file.exists() else {}
    known[part.benchmark] = msgspec.Raw(encode(part))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(msgspec.json.format(msgspec.json.encode(known)) + b"\n")
    print(f"figures: {file}")


def load(file: Path) -> list[Part]:
    """The figures that `keep` has put into a file."""
    return list(msgspec.json.decode(file.read_bytes(), type=dict[str, Part]).values())


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

"""What every benchmark shares: its arguments, rounds in turns, what it ran on, and where its figures go.

What is compared is measured in turns within one run, since a machine's speed changes from minute to minute.
"""

from __future__ import annotations

import argparse
import os
import platform
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
from _figures import Figure, Part, print_tables
from rich.console import Console

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "build" / "benchmarks.json"
PACKAGES = ("mqviz", "pyzmq", "numpy", "numba", "bokeh", "panel", "tornado")
LOOK_S = 0.5
"""How long to look at what else the machine does before a benchmark begins."""
WIDTH = 110
"""Of the tables where nobody says how wide it may be."""

T = TypeVar("T")


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
        "--json",
        metavar="FILE",
        default=str(RESULTS),
        help="where the figures go, - for stdout (default %(default)s)",
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

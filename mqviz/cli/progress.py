"""How a run goes, on stderr: a line that moves on a terminal, start and end elsewhere."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.text import Text

from mqviz.cli.words import count, duration

if TYPE_CHECKING:
    from mqviz.api import Lab

LOOK_S = 0.25
"""How often the terminal is drawn."""


def watch(lab: Lab) -> None:
    """Return when the run has ended."""
    console = Console(stderr=True)
    if not console.is_terminal:
        print(
            f"mqviz: running {lab.scenario.name!r} with the {lab.run.engine} engine",
            file=sys.stderr,
            flush=True,
        )
        lab.wait(None)
        return
    figures = Figures(lab)
    with Live(figures.line(), console=console, transient=True, auto_refresh=False) as live:
        while not lab.wait(LOOK_S):
            live.update(figures.line(), refresh=True)


class Figures:
    """The last second of a running lab, in one line."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._cursor = 0
        self._last = ""

    def line(self) -> Text:
        """Phase, elapsed time, throughput, end-to-end p99, backlog and losses."""
        rows, self._cursor = self._lab.store.since(self._cursor, tier=1)
        if len(rows):
            rate = float(rows.rate("", "received")[-1])
            p99 = float(rows.column("", "end_to_end_p99")[-1])
            backlog = float(rows.column("", "backlog")[-1])
            lost = float(rows.column("", "lost")[-1])
            self._last = (
                f"  {'–' if math.isnan(rate) else count(rate)} msg/s"
                f"  p99 {duration(None if math.isnan(p99) else p99)}"
                f"  backlog {count(backlog)}  lost {count(lost)}"
            )
        length_ns = self._lab.scenario.duration_ns
        of = f" of {length_ns / 1e9:.0f}" if length_ns else ""
        return Text(f"{self._lab.state:<8} {self._lab.elapsed_s:5.1f}{of} s{self._last}", overflow="ellipsis")

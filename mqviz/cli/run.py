"""`mqviz run`: one headless run, for scripts and CI."""

from __future__ import annotations

import enum
import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from mqviz.cli.words import SCENARIO_HELP, complete_scenario, help_text
from mqviz.errors import BadInput, RunnerFailed

HELP = help_text(
    "Run one scenario without a page and say how it went.",
    "Progress goes to stderr, the result to stdout, the recording to a folder. "
    "Ctrl-C ends the load within a second or two and keeps what was measured.",
    {
        "mqviz run order-pipeline --duration 10s": "a built-in scenario, shorter",
        "mqviz run mine.toml --set orders.rate=2000/s": "one thing changed",
        "mqviz run mine.toml --strict --json": "for CI: 1 unless VALID",
    },
)


class Engine(enum.StrEnum):
    """What carries the load."""

    AUTO = "auto"
    NATIVE = "native"
    PYTHON = "python"


class _Terminated(KeyboardInterrupt):
    """SIGTERM: ends the run as Ctrl-C does."""


def run(
    scenario: Annotated[
        str, typer.Argument(metavar="SCENARIO", help=SCENARIO_HELP, autocompletion=complete_scenario)
    ],
    duration: Annotated[
        str | None, typer.Option(help="Instead of the scenario's, warm-up included: 10s, 2min.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="orders.rate=2000/s, seed=3, '\"a -> b\".send_hwm=10'."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The run's folder (default: a new one in mqviz-runs/).")
    ] = None,
    engine: Annotated[Engine | None, typer.Option(help="Instead of the scenario's.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON document on stdout, nothing else.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="A SUSPECT run ends with 1 too.")] = False,
) -> None:
    """Run, show progress, report."""
    from mqviz.api import INTERRUPT_S, Lab
    from mqviz.cli.progress import watch
    from mqviz.cli.summary import print_summary

    chosen = list(settings or [])
    if duration is not None:
        chosen.append(f"duration={duration}")
    lab = Lab(scenario, engine=engine or Engine.AUTO, out=out, settings=chosen)
    if lab.scenario.duration_ns is None:
        raise BadInput(f"{scenario} has no duration and would never end; give one, such as --duration 30s")
    code = 0
    limit_s = None
    with _sigterm_as_interrupt():
        try:
            lab.start()
            watch(lab)
        except KeyboardInterrupt as interrupt:
            code, limit_s = 143 if isinstance(interrupt, _Terminated) else 130, INTERRUPT_S
            print("mqviz: ending the load, keeping the results", file=sys.stderr)
        done = lab.stop(limit_s)
    if done.state == "failed":
        if code:
            raise typer.Exit(code)
        raise RunnerFailed(f"the run ended early: {lab.orchestrator.error}; what it has is in {done.folder}")
    report = done.report()
    if as_json:
        print(json.dumps(report))
    else:
        print_summary(report)
    _say_what_is_wrong(report)
    print(f"mqviz: results: {done.folder}", file=sys.stderr)
    raise typer.Exit(code or done.exit_code(strict))


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """A CI server ends its jobs with SIGTERM: the results are kept then too."""

    def terminate(_number: int, _frame: FrameType | None) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _say_what_is_wrong(report: dict[str, Any]) -> None:
    """The reasons of a verdict that is not VALID, and the expectations that were not met."""
    for reason in report["reasons"]:
        print(f"mqviz: {report['verdict']}: {reason}", file=sys.stderr)
    for expectation in report["expectations"]:
        if not expectation["met"]:
            print(f"mqviz: not met: {expectation['metric']}", file=sys.stderr)

"""`mqviz lab`: the live page."""

from __future__ import annotations

from typing import Annotated

import typer

from mqviz.cli.words import SCENARIO_HELP, complete_scenario, help_text

HELP = help_text(
    "Open the live page with traffic flowing.",
    "The page is on http://127.0.0.1:5006, or on the next free port, which is printed. "
    "Ctrl-C ends the load and keeps its results.",
    {
        "mqviz lab": "the order pipeline",
        "mqviz lab slow-subscriber": "another built-in scenario",
        "mqviz lab mine.toml --port 8080": "your own, on a port of your choice",
    },
)


def lab(
    scenario: Annotated[
        str, typer.Argument(metavar="SCENARIO", help=SCENARIO_HELP, autocompletion=complete_scenario)
    ] = "order-pipeline",
    port: Annotated[
        int | None,
        typer.Option(help="The port, and no other: exit code 3 when it is taken.", min=1, max=65535),
    ] = None,
    no_open: Annotated[bool, typer.Option("--no-open", help="Do not open a browser.")] = False,
) -> None:
    """Serve until Ctrl-C."""
    from mqviz.dashboard.serve import serve

    serve(scenario, port=port, open_browser=not no_open)

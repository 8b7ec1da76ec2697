"""`mqviz scenarios`: the built-in ones."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from mqviz.cli.words import complete_scenario, help_text

HELP = help_text(
    "List the built-in scenarios with what each one teaches, or print one as TOML.",
    "",
    {
        "mqviz scenarios": "the list",
        "mqviz scenarios order-pipeline > mine.toml": "a scenario of your own to change",
    },
)


def scenarios(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="The one to print.", autocompletion=complete_scenario)
    ] = None,
) -> None:
    """Print a table of names and lessons, or the text of one."""
    from mqviz.simulation import builtin, scenario

    if name is not None:
        sys.stdout.write(builtin.text(name))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    table.add_column("scenario", no_wrap=True)
    table.add_column("what it teaches")
    for built_in in builtin.names():
        table.add_row(Text(built_in, style="bold"), Text(scenario.load(built_in).lesson))
    Console().print(table)

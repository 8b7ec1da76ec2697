"""All commands under one name, and how their ends become exit codes."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from mqviz.cli import doctor, lab, run, scenarios
from mqviz.errors import MqvizError
from mqviz.version import __version__

app = typer.Typer(
    name="mqviz",
    help="See what happens inside message queues, truthfully and live.",
    epilog="Exit codes: 0 done · 1 an expectation failed or the run is VOID · 2 bad input · 3 could not run.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("lab", help=lab.HELP)(lab.lab)
app.command("run", help=run.HELP)(run.run)
app.command("scenarios", help=scenarios.HELP)(scenarios.scenarios)
app.command("doctor", help=doctor.HELP)(doctor.doctor)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"mqviz {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Options that come before a command."""


def invoke(words: Sequence[str]) -> int:
    """Run the command that `words` name and give its exit code."""
    try:
        app(list(words), prog_name="mqviz")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0
    except MqvizError as error:
        print(f"mqviz: {error}", file=sys.stderr)
        return error.exit_code
    except Exception:
        # 1 would read as "an expectation failed"
        traceback.print_exc()
        print("mqviz: this is a fault in mqviz, please report it with the lines above", file=sys.stderr)
        return 3
    return 0

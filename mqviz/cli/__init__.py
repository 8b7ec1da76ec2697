"""The command line: one command a file. Light: typer and all else load with the first command."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is the result (0 done, 1 failed, 2 bad input, 3 could not run)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words == ["--version"]:
        from mqviz.version import __version__

        print(f"mqviz {__version__}")
        return 0
    from mqviz.cli.app import invoke

    return invoke(words)

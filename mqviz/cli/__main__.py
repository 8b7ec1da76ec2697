"""`python -m mqviz.cli`: the command line where the `mqviz` script is not on the path."""

from __future__ import annotations

import sys

from mqviz.cli import main

sys.exit(main())

"""mqviz: see what happens inside message queues.

Public names load on first use, so `import mqviz` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mqviz.version import __version__

if TYPE_CHECKING:
    from mqviz.api import Lab, Run, load, run
    from mqviz.errors import BadInput, CannotRun, MqvizError, RecordingError, ScenarioError

__all__ = [
    "BadInput",
    "CannotRun",
    "Lab",
    "MqvizError",
    "RecordingError",
    "Run",
    "ScenarioError",
    "__version__",
    "load",
    "run",
]

_HOMES = {
    "Lab": "api", "Run": "api", "load": "api", "run": "api",
    "BadInput": "errors", "CannotRun": "errors", "MqvizError": "errors",
    "RecordingError": "errors", "ScenarioError": "errors",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mqviz' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"mqviz.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

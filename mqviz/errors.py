"""Every error mqviz raises on purpose.

    MqvizError                 exit code 3
    ├── BadInput               exit code 2   the user's words, file or value
    │   └── ScenarioError                    a scenario that cannot be run; knows where
    ├── CannotRun              exit code 3   the machine refused
    │   ├── EndpointInUse
    │   ├── MissingExtra                     an optional dependency is not installed
    │   └── RunnerFailed                     a runner or the agent died on its own
    └── RecordingError         exit code 2   a run folder that cannot be read

Each message is one sentence: what, where, what would be right.
"""

from __future__ import annotations


class MqvizError(Exception):
    """The root of the tree; `exit_code` is what the command line ends with."""

    exit_code = 3


class BadInput(MqvizError):
    """A word, file or value from the user that cannot be used."""

    exit_code = 2


class ScenarioError(BadInput):
    """A scenario that cannot be run; `where` names the place, such as `node "orders", rate`."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(f"{where}: {problem}" if where else problem)
        self.where = where
        self.problem = problem


class CannotRun(MqvizError):
    """The input is right, but this machine cannot do it now."""


class EndpointInUse(CannotRun):
    """An address that another socket holds."""

    def __init__(self, endpoint: str, hint: str = "") -> None:
        super().__init__(f"{endpoint} is in use by another program{'; ' + hint if hint else ''}")
        self.endpoint = endpoint


class MissingExtra(CannotRun):
    """An optional dependency that is not installed; the text has the pip line."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional package: pip install 'mqviz[{extra}]'")
        self.extra = extra


class RunnerFailed(CannotRun):
    """A runner or the agent ended on its own; the text carries its last words."""


class RecordingError(BadInput):
    """A run folder or recording that cannot be read."""

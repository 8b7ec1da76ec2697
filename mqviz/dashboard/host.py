"""The lab behind a page: the run that goes on now, started, stopped and swapped for another scenario's."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from mqviz.errors import CannotRun, MqvizError
from mqviz.telemetry.store import Store
from mqviz.telemetry.topology import Topology


class Instance(Protocol):
    """One instance of a node, as a lab lists it."""

    name: str
    node: str
    index: int
    alive: bool
    state: str


class Lab(Protocol):
    """What a page needs of an orchestrator."""

    scenario: Any
    store: Store
    folder: Path | None

    @property
    def engine(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def error(self) -> str | None: ...
    @property
    def elapsed_s(self) -> float: ...
    def start(self) -> Any: ...
    def stop(self, limit_s: float | None = None) -> Any: ...
    def node(self, name: str) -> Any: ...
    def kill(self, node: str, instance: int) -> list[str]: ...
    def revive(self, node: str, instance: int | None = None) -> list[str]: ...
    def pause(self, node: str) -> Any: ...
    def resume(self, node: str) -> Any: ...
    def set(self, node: str, **fields: Any) -> Any: ...
    def instances(self) -> Sequence[Instance]: ...


log = logging.getLogger(__name__)

OVER = ("ended", "failed")

CLOSE_S = 1.0
"""How long what is in flight may take to arrive when the page is closed."""


class LabHost:
    """Holds the current lab. Every call may come from any thread; those that change something take turns.

    `make(source)` builds a fresh lab for a scenario's name or file; `names` are those offered to choose from.
    A lab that is handed in runs first, and is stopped with the page like any other.
    """

    def __init__(
        self, make: Callable[[str], Lab], names: Sequence[str], current: str, lab: Lab | None = None
    ) -> None:
        self._make = make
        self._turn = threading.Lock()
        self._closed = False
        self.names = [*names] if current in names else [current, *names]
        self.current = current
        self.lab: Lab = make(current) if lab is None else lab
        self.number = 1
        """One more with each lab: tells viewers that everything they hold is of another run."""
        self._doing = ""
        self._failure: str | None = None

    @property
    def topology(self) -> Topology:
        """Of the current lab."""
        return self.lab.store.topology

    @property
    def state(self) -> str:
        """The lab's state, or `starting`, `stopping`, `failed` where the host knows better."""
        return "failed" if self._failure else self._doing or self.lab.state

    @property
    def error(self) -> str | None:
        """Why the last start did not succeed, or why the run ended on its own."""
        return self._failure or self.lab.error

    def start(self) -> None:
        """Let load flow; a lab that is over is replaced by a fresh one of the same scenario."""
        with self._turn:
            if self._failure or self.lab.state in OVER:
                self._replace(self.current)
            if self.lab.state == "idle":
                self._start()

    def stop(self) -> None:
        """End the run; its results stay on the page."""
        with self._turn:
            self._stop()

    def pick(self, name: str) -> None:
        """Stop what runs and start another scenario."""
        if name not in self.names:
            raise CannotRun(f"{name!r} is not one of the scenarios of this page")
        with self._turn:
            self._stop()
            self._replace(name)
            self._start()

    def close(self) -> None:
        """Stop for good, a start that is under way too: it may be compiling for half a minute."""
        self._closed = True
        if self._doing == "starting":
            self.lab.stop(CLOSE_S)
        with self._turn:
            self._stop(CLOSE_S)

    def _start(self) -> None:
        if self._closed:
            return
        self._doing = "starting"
        try:
            self.lab.start()
        except MqvizError as error:
            self._failure = str(error)
        except Exception as error:
            # shown on the page like any other failure: the page itself goes on
            self._failure = f"{type(error).__name__}: {error}"
            log.exception("the lab did not start")
        finally:
            self._doing = ""

    def _stop(self, limit_s: float | None = None) -> None:
        if self.lab.state in ("idle", *OVER):
            return
        self._doing = "stopping"
        try:
            self.lab.stop(limit_s)
        finally:
            self._doing = ""

    def _replace(self, name: str) -> None:
        try:
            lab = self._make(name)
        except MqvizError as error:
            self._failure = str(error)
            return
        self.lab, self.current, self._failure = lab, name, None
        self.number += 1

"""What users call: Lab, Run, run() and load(). Thin: everything is done further down."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from mqviz.simulation import folder as run_folder
from mqviz.simulation import result
from mqviz.simulation import scenario as scenarios
from mqviz.simulation.orchestrator import InstanceView, Orchestrator
from mqviz.simulation.scenario import Scenario, push_pull, with_settings
from mqviz.simulation.units import parse_duration
from mqviz.telemetry.recording import replay_into_store
from mqviz.telemetry.store import Store

if TYPE_CHECKING:
    import pandas as pd

INTERRUPT_S = 1.0
"""What a drain may take after Ctrl-C."""


class Run:
    """One run: live as long as its lab runs, final when it has ended, or loaded from its folder."""

    def __init__(
        self, store: Store, scenario: Scenario, engine: str, state: str, folder: Path | None
    ) -> None:
        self.store = store
        self.scenario = scenario
        self.engine = engine
        self.state = state
        self.folder = folder

    def report(self) -> dict[str, Any]:
        """The document that `mqviz run --json` prints."""
        return result.document(self.store, self.scenario, self.engine, self.state)

    def summary(self) -> pd.DataFrame:
        """One row per link: rates, counts and durations of the measure phase, units in the names."""
        from mqviz.export import frame

        return frame.summary(self.report())

    def timeline(self) -> pd.DataFrame:
        """One row per (time_s, link) from the first to the last count."""
        from mqviz.export import frame

        return frame.timeline(self.store)

    def books(self) -> pd.DataFrame:
        """One row per link and subscriber: sent = received + in_flight + lost by cause."""
        from mqviz.export import frame

        return frame.books(self.report())

    @property
    def verdict(self) -> str:
        """VALID, SUSPECT or VOID; `report()["reasons"]` says why."""
        return str(self.report()["verdict"])

    def exit_code(self, strict: bool = False) -> int:
        """What the command line ends with: 1 for VOID, an expectation that was not met, or SUSPECT if strict."""
        found = self.report()
        failed = found["verdict"] == "VOID" or (strict and found["verdict"] == "SUSPECT")
        return 1 if failed or not all(e["met"] for e in found["expectations"]) else 0

    def _repr_html_(self) -> str:
        return str(self.summary()._repr_html_())  # type: ignore[operator]


class Lab:
    """A scenario that can be run, watched and steered. As the last line of a cell it is the live dashboard.

    `source`: the name of a built-in scenario, a TOML file, or a Scenario. `settings` are those of
    `mqviz run --set`, such as `["orders.rate=2000/s"]`. `engine`: auto, native or python. `out`: the run
    folder itself (default: a new one in ./mqviz-runs). Raises ScenarioError for a scenario that cannot run.
    """

    def __init__(
        self,
        source: str | Path | Scenario,
        *,
        engine: str = "auto",
        out: str | Path | None = None,
        settings: Iterable[str] = (),
        record: bool = True,
    ) -> None:
        scenario = source if isinstance(source, Scenario) else scenarios.load(source)
        self.scenario = with_settings(scenario, list(settings))
        self._engine = engine
        self._out = Path(out) if out is not None else None
        self._record = record
        self._lock = threading.Lock()
        self.on_start: list[Callable[[], object]] = []
        """Called when load begins to flow, at each start."""
        self.orchestrator = self._new()

    def _new(self) -> Orchestrator:
        return Orchestrator(self.scenario, engine=self._engine, out=self._out, record=self._record)

    @classmethod
    def push_pull(
        cls,
        *,
        producers: int = 1,
        consumers: int = 1,
        rate: float | str = 1000,
        service: str | float = 0,
        engine: str = "auto",
        out: str | Path | None = None,
        record: bool = True,
        **fields: Any,
    ) -> Lab:
        """Producers -> consumers by PUSH/PULL, without a scenario file.

        `rate`: messages/s of all producers together, or "max". `service` such as "exponential(2ms)".
        Further fields: size, transport, duration, warmup, seed.
        """
        scenario = push_pull(producers=producers, consumers=consumers, rate=rate, service=service, **fields)
        return cls(scenario, engine=engine, out=out, record=record)

    # running

    def start(self) -> Lab:
        """Start all processes; returns when the load flows. After an end: a new run of the same scenario."""
        with self._lock:
            if self.orchestrator.state in ("ended", "failed"):
                self.orchestrator = self._new()
            self.orchestrator.start()
        for told in self.on_start:
            told()
        return self

    def wait(self, duration: str | float | None = None) -> bool:
        """Wait for a duration (`"10s"`, or seconds), or for the end. True when the run has ended.

        Interrupting it (Ctrl-C, the notebook's stop button) leaves the lab running.
        """
        seconds = parse_duration(duration) / 1e9 if isinstance(duration, str) else duration
        return self.orchestrator.wait(seconds)

    def stop(self, limit_s: float | None = None) -> Run:
        """End the run (nothing is lost that need not be) and return it. Again: the same run."""
        self.orchestrator.stop(limit_s)
        return self.run

    @property
    def run(self) -> Run:
        """The run so far."""
        o = self.orchestrator
        return Run(o.store, self.scenario, o.engine, o.state, o.folder)

    def __enter__(self) -> Lab:
        if self.state == "idle":
            self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(INTERRUPT_S if kind is KeyboardInterrupt else None)

    # seeing

    @property
    def state(self) -> str:
        """idle, starting, warm-up, measure, drain, ended or failed."""
        return self.orchestrator.state

    @property
    def elapsed_s(self) -> float:
        """Seconds since the load began."""
        return self.orchestrator.elapsed_s

    @property
    def store(self) -> Store:
        """The measurements of the current run."""
        return self.orchestrator.store

    def instances(self) -> list[InstanceView]:
        """Every instance, alive or not."""
        return self.orchestrator.instances()

    def summary(self) -> pd.DataFrame:
        """As `Run.summary`, so far."""
        return self.run.summary()

    def timeline(self) -> pd.DataFrame:
        """As `Run.timeline`, so far."""
        return self.run.timeline()

    def books(self) -> pd.DataFrame:
        """As `Run.books`, so far."""
        return self.run.books()

    # steering

    def set(self, node: str, **fields: Any) -> None:
        """Change `rate`, `size`, `service` or `count` of a node while it runs."""
        self.orchestrator.set(node, **fields)

    def kill(self, node: str, instance: int = 0) -> list[str]:
        """SIGKILL an instance's runner; returns the names of all instances that were in it."""
        return self.orchestrator.kill(node, instance)

    def revive(self, node: str, instance: int | None = None) -> list[str]:
        """Start an instance that has died or was stopped; None: all of the node."""
        return self.orchestrator.revive(node, instance)

    def halt(self, node: str, instance: int = 0) -> None:
        """Stop one instance gracefully."""
        self.orchestrator.halt(node, instance)

    def pause(self, node: str) -> None:
        """Producers stop their schedule, receivers stop reading."""
        self.orchestrator.pause(node)

    def resume(self, node: str) -> None:
        """Go on after a pause."""
        self.orchestrator.resume(node)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        from mqviz.dashboard import display

        return display.mimebundle(self)

    def __repr__(self) -> str:
        return f"<Lab {self.scenario.name!r} {self.state}>"


def run(
    source: str | Path | Scenario,
    *,
    engine: str = "auto",
    out: str | Path | None = None,
    settings: Iterable[str] = (),
) -> Run:
    """Run a scenario from start to end and return it. Ctrl-C ends it early, with its results kept."""
    lab = Lab(source, engine=engine, out=out, settings=settings)
    lab.start()
    try:
        lab.wait()
    except KeyboardInterrupt:
        lab.stop(INTERRUPT_S)
        raise
    return lab.stop()


def load(path: str | Path) -> Run:
    """Open a run folder. Raises RecordingError for one that cannot be read."""
    folder = Path(path)
    content = run_folder.read(folder)
    scenario = run_folder.scenario_of(folder, content)
    return Run(replay_into_store(folder), scenario, content["engine"], content["state"], folder)

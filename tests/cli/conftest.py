"""A report as `mqviz run --json` prints it, and a lab that plays one without any load."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

NO_LOSS = dict.fromkeys(
    ("hwm", "slow-joiner", "no-subscriber", "peer-death", "disconnect", "linger", "conflated", "network"), 0
) | {"unresolved": 0}
LATENCY = {"count": 990, "mean": 2_100_000, "p50": 1_234_000, "p90": 3_000_000, "p99": 9_876_000}
REPORT: dict[str, Any] = {
    "command": "run",
    "scenario": "order pipeline",
    "engine": "python",
    "verdict": "VALID",
    "reasons": [],
    "measured_s": 9.5,
    "end_to_end_ns": LATENCY,
    "links": {
        "orders -> pricing": {
            "pattern": "push-pull",
            "transport": "tcp",
            "due": 1003,
            "sent": 1000,
            "unsent": 3,
            "received": 997,
            "in_flight": 0,
            "foreign": 0,
            "lost": NO_LOSS | {"peer-death": 3},
            "latency_ns": {"response": LATENCY},
        }
    },
    "expectations": [],
}


@pytest.fixture
def report() -> dict[str, Any]:
    """A VALID run of one link that lost three messages; a test may change its copy."""
    return copy.deepcopy(REPORT)


class PlayedLab:
    """Stands for mqviz.api.Lab: ends at once, or as the test says, with the report that it was given."""

    report: dict[str, Any]
    code = 0
    state = "ended"
    duration_ns: int | None = 10_000_000_000
    on_start: Callable[[], None] = staticmethod(lambda: None)
    on_wait: Callable[[], None] = staticmethod(lambda: None)
    made: list[Any]

    def __init__(self, source: str, *, engine: str, out: Path | None, settings: list[str]) -> None:
        self.source, self.engine, self.out, self.settings = source, engine, out, settings
        self.scenario = SimpleNamespace(name="order pipeline", duration_ns=self.duration_ns)
        self.orchestrator = SimpleNamespace(error="the agent ended 4 times")
        self.run = SimpleNamespace(engine="python")
        self.stopped: list[float | None] = []
        self.made.append(self)

    def start(self) -> None:
        self.on_start()

    def wait(self, _seconds: float | None) -> bool:
        self.on_wait()
        return True

    def stop(self, limit_s: float | None) -> SimpleNamespace:
        self.stopped.append(limit_s)
        return SimpleNamespace(
            report=lambda: self.report, exit_code=lambda _strict: self.code, state=self.state, folder="there"
        )


@pytest.fixture
def played_lab(monkeypatch: pytest.MonkeyPatch, report: dict[str, Any]) -> type[PlayedLab]:
    """The class in place of Lab; its attributes are the play."""
    played = type("Played", (PlayedLab,), {"report": report, "made": []})
    monkeypatch.setattr("mqviz.api.Lab", played)
    return played

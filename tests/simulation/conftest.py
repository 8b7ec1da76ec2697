"""Whole runs on real processes: labs that are always stopped, and what must hold at the end of each."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from mqviz.api import Lab, Run
from mqviz.simulation.engine import native_cache
from mqviz.simulation.scenario import loads

WAIT_S = 30.0
"""For something that must happen, however slow the machine is."""


@pytest.fixture(params=["python", "native"])
def engine(request: pytest.FixtureRequest) -> str:
    """Either engine, ready to go."""
    if request.param == "native":
        native_cache.warm()
    return str(request.param)


class Labs:
    """Starts labs of scenarios in TOML, and stops all of them in the end."""

    def __init__(self) -> None:
        self._made: list[Lab] = []

    def start(self, toml: str, *, engine: str = "python", **how: Any) -> Lab:
        """A lab whose load flows; without a folder unless `record` or `out` says so."""
        lab = Lab(loads(toml), engine=engine, **{"record": "out" in how, **how})
        self._made.append(lab)
        return lab.start()

    def run(self, toml: str, *, engine: str = "python", **how: Any) -> Run:
        """A run from start to end, which must not have failed."""
        lab = self.start(toml, engine=engine, **how)
        assert lab.wait(WAIT_S)
        run = lab.stop()
        assert run.state == "ended", lab.orchestrator.error
        return run

    @staticmethod
    def until(holds: Callable[[], object], what: str = "") -> None:
        """Wait for something that must come to be."""
        deadline = time.monotonic() + WAIT_S
        while not holds():
            assert time.monotonic() < deadline, f"did not happen: {what or holds}"
            time.sleep(0.02)

    @staticmethod
    def received(lab: Lab, link: str, more: int = 1) -> None:
        """Wait until this many more messages have come over a link."""
        before = lab.store.totals(link).received
        Labs.until(lambda: lab.store.totals(link).received >= before + more, f"{more} more over {link}")

    @staticmethod
    def agents() -> list[psutil.Process]:
        """The agents that live: one for each lab, none while a dead one is being replaced."""
        found = []
        for child in psutil.Process().children():
            with contextlib.suppress(psutil.Error):
                if "mqviz.telemetry.agent" in child.cmdline():
                    found.append(child)
        return found

    def stop(self) -> None:
        """All that still run."""
        for lab in self._made:
            lab.stop(0.0)


@pytest.fixture
def labs() -> Iterator[Labs]:
    """Labs that cannot be left running."""
    made = Labs()
    yield made
    made.stop()


Account = Callable[[Run], dict[str, Any]]


def _books_close(run: Run) -> dict[str, Any]:
    links: dict[str, Any] = run.report()["links"]
    for name, link in links.items():
        for who, block in {"": link, **link.get("per_subscriber", {})}.items():
            place = f"{name} {who}: {block}"
            assert block["sent"] == block["received"] + sum(block["lost"].values()), place
            assert block["in_flight"] == block["lost"]["unresolved"] == 0, place
            assert block["foreign"] == 0, place
        published = link["published"] if link["pattern"] == "pub-sub" else link["sent"]
        assert link["due"] == published + link["unsent"], name
        if link["pattern"] == "pub-sub":
            of_all = sum(one["sent"] for one in link["per_subscriber"].values())
            assert link["sent"] == of_all + link["lost"]["no-subscriber"], name
    return links


def _nothing_lost(run: Run) -> dict[str, Any]:
    links = _books_close(run)
    for name, link in links.items():
        assert link["received"] > 0, name
        assert link["sent"] == link["received"], (name, link["lost"])
        assert link["unsent"] == 0, name
    return links


@pytest.fixture(scope="session")
def books_close() -> Account:
    """Asserts that every link and subscriber has sent = received + lost by cause; returns the links."""
    return _books_close


@pytest.fixture(scope="session")
def nothing_lost() -> Account:
    """Asserts that the books close and that all that was due was sent and received; returns the links."""
    return _nothing_lost

"""Fixtures for the page's tests: fake labs with a real store, ended when the test ends."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def _load() -> ModuleType:
    name = "mqviz_test_fakes"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("fakes.py"))
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture(scope="session")
def load_fakes() -> Callable[[], ModuleType]:
    """Loads the module beside this one; tests are no package that could import it."""
    return _load


@pytest.fixture
def fakes() -> ModuleType:
    """The module with the fake lab."""
    return _load()


@pytest.fixture
def new_lab(fakes: ModuleType) -> Iterator[Callable[..., Any]]:
    """Makes fake labs."""
    made: list[Any] = []

    def make(**options: Any) -> Any:
        made.append(fakes.FakeLab(**options))
        return made[-1]

    yield make
    for lab in made:
        lab.stop()


@pytest.fixture
def lab(new_lab: Callable[..., Any]) -> Any:
    """A lab that moves only when it is told to, at monotonic 1,000 s."""
    made = new_lab(live=False)
    made.begin(1_000_000_000_000)
    return made


@pytest.fixture
def new_host(new_lab: Callable[..., Any], fakes: ModuleType) -> Callable[..., Any]:
    """Makes a host that offers `order-pipeline`, `slow-subscriber`, `hostile` and `broken`."""
    from mqviz.dashboard.host import LabHost

    def make(**options: Any) -> Any:
        def lab_of(name: str) -> Any:
            if name == "broken":
                return new_lab(fails="tcp://127.0.0.1:5555 is in use by another program")
            shape = fakes.topology(fakes.HOSTILE, fakes.HOSTILE) if name == "hostile" else fakes.PIPELINE
            return new_lab(shape=shape, **options)

        return LabHost(lab_of, ["order-pipeline", "slow-subscriber", "hostile", "broken"], "order-pipeline")

    return make

"""Fixtures for the charts' tests: rows of a real store, fed by the page's fake lab."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def lab() -> Any:
    """A pipeline that ran for 20 s from monotonic 1,000 s on; tests only read it."""
    name = "mqviz_test_fakes"
    if name not in sys.modules:
        path = Path(__file__).parents[1] / "dashboard" / "fakes.py"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    made = sys.modules[name].FakeLab(live=False)
    made.begin(1_000_000_000_000)
    made.run_for(200)
    return made

"""Engines: who moves the messages. `native` compiles the loop (numba), `python` needs nothing; same results."""

from __future__ import annotations

import importlib.util
import sys
from typing import NamedTuple

from mqviz.errors import BadInput, MissingExtra
from mqviz.simulation.engine.producer import Producers
from mqviz.simulation.engine.receiver import Receivers

ENGINES = ("auto", "native", "python")


class Engine(NamedTuple):
    """The two loops of an engine."""

    name: str
    producers: type[Producers]
    receivers: type[Receivers]


def native_available() -> bool:
    """Whether the native engine can run here: Linux, with numba installed."""
    return sys.platform == "linux" and importlib.util.find_spec("numba") is not None


def choose(wanted: str) -> str:
    """The engine that `auto`, `native` or `python` means here.

    Raises BadInput for another word, MissingExtra for `native` without numba.
    """
    if wanted not in ENGINES:
        raise BadInput(f'there is no engine "{wanted}"; there are {", ".join(ENGINES)}')
    if wanted == "python" or (wanted == "auto" and not native_available()):
        return "python"
    if not native_available():
        raise MissingExtra("the native engine", "native")
    return "native"


def load(name: str) -> Engine:
    """Import an engine's loops."""
    if name == "native":
        from mqviz.simulation.engine.native_producer import NativeProducers
        from mqviz.simulation.engine.native_receiver import NativeReceivers

        return Engine(name, NativeProducers, NativeReceivers)
    from mqviz.simulation.engine.python_producer import PythonProducers
    from mqviz.simulation.engine.python_receiver import PythonReceivers

    return Engine(name, PythonProducers, PythonReceivers)

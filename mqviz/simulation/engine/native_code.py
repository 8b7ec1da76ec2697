"""The native engine's loops, loaded from the object files that native_build has made. Numba is not needed here."""

from __future__ import annotations

import ctypes
import hashlib
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from llvmlite import binding

from mqviz.simulation.engine import native_cache, native_symbols
from mqviz.telemetry.histogram import I64

_ENTRY = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_void_p] * 5, ctypes.c_int64)


class Part(msgspec.Struct, frozen=True):
    """One loop's object file."""

    symbol: str
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """What lies in the folder."""

    parts: dict[str, Part]
    absent: list[str]  # functions that are mentioned and never called


class Loop:
    """A compiled loop; it runs without the GIL."""

    def __init__(self, engine: Any, symbol: str) -> None:
        self._engine = engine  # owns the code
        self._function = _ENTRY(engine.get_function_address(symbol))

    def __call__(self, words: I64, state: I64, third: I64, fourth: I64, fifth: I64, until_ns: int) -> int:
        code: int = self._function(
            words.ctypes.data,
            state.ctypes.data,
            third.ctypes.data,
            fourth.ctypes.data,
            fifth.ctypes.data,
            until_ns,
        )
        return code


class Loops(NamedTuple):
    """All of them; each says in its module what its arrays are and what it returns."""

    produce: Loop
    drain: Loop
    serve: Loop


@cache
def loops() -> Loops:
    """Load them; what is missing or damaged is compiled first, once."""
    place = native_cache.folder()
    try:
        return _load(place)
    except Exception:  # whatever a damaged file leads to
        with native_cache.locked(place):
            try:  # another process may just have compiled
                return _load(place)
            except Exception:
                native_cache.wipe(place)
    native_cache.warm()
    return _load(place)


def _load(place: Path) -> Loops:
    manifest = msgspec.json.decode((place / native_cache.MANIFEST).read_bytes(), type=Manifest)
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    native_symbols.define()
    native_symbols.define_as_absent(manifest.absent)
    return Loops(*[_open(place / f"{name}.o", manifest.parts[name]) for name in Loops._fields])


def _open(path: Path, part: Part) -> Loop:
    code = path.read_bytes()
    if hashlib.sha256(code).hexdigest() != part.sha256:
        raise ValueError(f"{path} is damaged")
    machine = binding.Target.from_default_triple().create_target_machine()
    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), machine)
    engine.add_object_file(binding.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return Loop(engine, part.symbol)

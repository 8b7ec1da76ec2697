"""The native engine's compiled code on disk: a private folder, named by everything that it depends on.

Numba's cache is a pickle, so nobody else may write there; it does not notice that a constant of another module
has changed, so the folder's name does. A truncated file in it is fatal to numba: then it is wiped and
everything compiled once more. This module does not import numba.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib
import importlib.metadata
import os
import platform
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import zmq

from mqviz.channels import message
from mqviz.errors import CannotRun
from mqviz.telemetry import histogram, probe
from mqviz.version import __version__

LOOPS = (
    "mqviz.simulation.engine.native_producer_loop",
    "mqviz.simulation.engine.native_drain_loop",
    "mqviz.simulation.engine.native_service_loop",
)
"""The modules that are compiled when they are imported."""
COMPLETE = "complete"
"""The file that says that every loop has been compiled into the folder."""
COMPILE_SECONDS = 300.0
FORGET_SECONDS = 30 * 86_400.0

_ready = False


def name() -> str:
    """The folder's name: versions, and a hash over the sources that are compiled or laid out by."""
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for path in [*sorted(here.glob("native_*.py")), *(Path(str(m.__file__)) for m in (message, histogram, probe))]:
        digest.update(path.read_bytes())
    for part in (
        __version__, importlib.metadata.version("numba"), importlib.metadata.version("llvmlite"),
        np.__version__, zmq.__version__, zmq.zmq_version(), sys.version, platform.machine(),
    ):  # fmt: skip
        digest.update(part.encode() + b"\0")
    return f"native-{digest.hexdigest()[:16]}"


def folder() -> Path:
    """The private folder, made if need be: in the user's cache, or where that is not safe in a temporary one."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    for parent in (Path(home) / "mqviz", Path(tempfile.gettempdir()) / f"mqviz-{os.geteuid()}"):
        try:
            parent.mkdir(0o700, parents=True, exist_ok=True)
            place = parent / name()
            place.mkdir(0o700, exist_ok=True)
            if is_private(parent) and is_private(place):
                return place
        except OSError:
            continue
    return Path(tempfile.mkdtemp(prefix="mqviz-native-"))


def is_private(place: Path) -> bool:
    """A real folder of ours in which nobody else can write."""
    found = place.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022


def is_warm() -> bool:
    """Whether every loop lies compiled in the folder."""
    return (folder() / COMPLETE).exists()


def warm(cancelled: Callable[[], bool] = lambda: False) -> float:
    """Compile what is missing, in a process of its own. Returns the seconds that it took.

    Raises CannotRun when it does not compile here, or when `cancelled` comes true meanwhile.
    """
    began = time.monotonic()
    if is_warm():
        return 0.0
    with subprocess.Popen(
        [sys.executable, "-m", __spec__.name],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as compiling:
        try:
            while True:
                try:
                    _, words = compiling.communicate(timeout=0.1)
                    break
                except subprocess.TimeoutExpired:
                    if cancelled():
                        raise CannotRun("the run is ending") from None
                    if time.monotonic() - began > COMPILE_SECONDS:
                        raise CannotRun("the native engine takes too long to compile; use engine = python") from None
        finally:
            compiling.kill()
    if compiling.returncode:
        last = (words.strip().splitlines() or ["no reason given"])[-1]
        raise CannotRun(f"the native engine does not compile on this machine ({last}); use engine = python")
    return time.monotonic() - began


def ready() -> None:
    """Import the compiled loops from the cache. Call it before anything else imports numba."""
    global _ready
    if _ready:
        return
    place = folder()
    os.environ["NUMBA_CACHE_DIR"] = str(place)
    if "numba" in sys.modules:  # it has read its environment already
        sys.modules["numba"].config.CACHE_DIR = str(place)
    try:
        _import_loops()
    except Exception:
        with _locked(place):
            try:  # another process may have mended it meanwhile
                _import_loops()
            except Exception:
                _wipe(place)
                _import_loops()
    _ready = True


def _import_loops() -> None:
    try:
        for module in LOOPS:
            importlib.import_module(module)
    except Exception:
        for module in LOOPS:
            sys.modules.pop(module, None)
        raise


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    with (place / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _wipe(place: Path) -> None:
    for path in place.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != "lock":
            path.unlink(missing_ok=True)


def _forget_old(place: Path) -> None:
    for other in place.parent.glob("native-*"):
        if other != place and time.time() - other.stat().st_mtime > FORGET_SECONDS:
            shutil.rmtree(other, ignore_errors=True)


def main() -> None:
    """Compile everything, alone."""
    place = folder()
    with _locked(place):
        if (place / COMPLETE).exists():
            return
        _forget_old(place)
    ready()
    (place / COMPLETE).touch()


if __name__ == "__main__":
    main()

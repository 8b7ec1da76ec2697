"""The native engine's compiled code on disk: a private folder, named by everything that it depends on.

It is machine code, so nobody else may write there. Neither numba nor llvmlite is imported here.
"""

from __future__ import annotations

import fcntl
import hashlib
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

MANIFEST = "manifest.json"
"""Written last: every loop has been compiled into the folder."""
COMPILE_SECONDS = 300.0
FORGET_SECONDS = 30 * 86_400.0


def name() -> str:
    """The folder's name: versions, processor, and a hash over the sources that are compiled or laid out by."""
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for path in [
        *sorted(here.glob("native_*.py")),
        *(Path(str(m.__file__)) for m in (message, histogram, probe)),
    ]:
        digest.update(path.read_bytes())
    for part in (
        __version__, importlib.metadata.version("numba"), importlib.metadata.version("llvmlite"),
        np.__version__, zmq.__version__, zmq.zmq_version(), sys.version, platform.machine(), _processor(),
    ):  # fmt: skip
        digest.update(part.encode() + b"\0")
    return f"native-{digest.hexdigest()[:16]}"


def _processor() -> str:
    """Model and features: the code is for this one, and a home folder may be shared by several machines."""
    lines = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
    return "\n".join(
        line for line in lines if line.startswith(("model name", "flags", "CPU part", "Features"))
    )


def folder() -> Path:
    """The private folder, made if need be: in the user's cache, or where that is not safe in the temporary folder.

    Raises CannotRun when neither can be private.
    """
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
    raise CannotRun(
        "there is no private folder for compiled code; set XDG_CACHE_HOME, or use engine = python"
    )


def is_private(place: Path) -> bool:
    """A real folder of ours in which nobody else can write."""
    found = place.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022


def is_warm() -> bool:
    """Whether every loop lies compiled in the folder."""
    try:
        return (folder() / MANIFEST).exists()
    except CannotRun:
        return False


def warm(cancelled: Callable[[], bool] = lambda: False) -> float:
    """Compile what is missing, in a process of its own. Returns the seconds that it took.

    Raises CannotRun when it does not compile here, or when `cancelled` comes true meanwhile.
    """
    began = time.monotonic()
    if is_warm():
        return 0.0
    with subprocess.Popen(
        # the parent may be gone before the compiler can look who it is
        [sys.executable, "-m", f"{__package__}.native_build", str(os.getpid())],
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
                        raise CannotRun(
                            "the native engine takes too long to compile; use engine = python"
                        ) from None
        finally:
            compiling.kill()
    if compiling.returncode:
        last = (words.strip().splitlines() or ["no reason given"])[-1]
        raise CannotRun(f"the native engine does not compile on this machine ({last}); use engine = python")
    return time.monotonic() - began


def ready() -> None:
    """Numba keeps here what else it caches, such as the loops of a benchmark. Call it before numba is imported."""
    os.environ["NUMBA_CACHE_DIR"] = str(folder())


@contextmanager
def locked(place: Path) -> Iterator[None]:
    """One process at a time."""
    with (place / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def wipe(place: Path) -> None:
    """Back to nothing compiled; while it is locked."""
    for path in (place / MANIFEST, *place.glob("*.o")):
        path.unlink(missing_ok=True)


def forget_old(place: Path) -> None:
    """Folders of versions that have not been used for long."""
    for other in place.parent.glob("native-*"):
        if other != place and time.time() - other.stat().st_mtime > FORGET_SECONDS:
            shutil.rmtree(other, ignore_errors=True)

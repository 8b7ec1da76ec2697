"""The private folder of a lab: probes and sockets, mode 0700, gone when the lab has gone."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

PREFIX = "mqviz-"
ROOM_BYTES = 256 << 20


def places() -> list[Path]:
    """Where such folders are made: memory first, then the temporary folder."""
    found = []
    for place in (Path("/dev/shm"), Path(tempfile.gettempdir())):
        if place.is_dir() and os.access(place, os.W_OK):
            found.append(place)
    return found


def create() -> Path:
    """A new folder; leftovers of labs whose process is dead are removed first."""
    sweep()
    for place in places():
        if shutil.disk_usage(place).free >= ROOM_BYTES:
            break
    import psutil

    started = int(psutil.Process().create_time() * 100)
    return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-{started}-", dir=place))


def sweep() -> None:
    """Remove the folders of labs that were killed together with all their processes."""
    for place in places():
        for folder in place.glob(f"{PREFIX}*-*-*"):
            pid, _, rest = folder.name.removeprefix(PREFIX).partition("-")
            started = rest.partition("-")[0]
            if pid.isdigit() and started.isdigit() and not _alive(int(pid), int(started)):
                remove(folder)


def _alive(pid: int, started: int) -> bool:
    import psutil  # 20 ms, which a runner that tidies away at most one folder does not need

    try:
        return bool(abs(psutil.Process(pid).create_time() * 100 - started) < 200)
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True


def remove(folder: Path) -> None:
    """The folder and all in it; that it is gone already is no error."""
    shutil.rmtree(folder, ignore_errors=True)

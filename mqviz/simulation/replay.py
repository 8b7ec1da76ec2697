"""Replay: recorded send times from a file, one offset in seconds a line (of a CSV the first column)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mqviz.errors import ScenarioError
from mqviz.simulation.wording import shown

MAX_FILE_BYTES = 32 << 20
MAX_ENTRIES = 1_000_000
MAX_OFFSET_S = 366 * 24 * 3600


def offsets(path: str) -> NDArray[np.float64]:
    """The offsets in seconds, never decreasing; read-only. A file that changes is read anew."""
    try:
        file = Path(path)
        if not file.is_file():
            raise ScenarioError("", f"there is no replay file {shown(path)}")
        stat = file.stat()
        if stat.st_size > MAX_FILE_BYTES:
            raise ScenarioError("", f"replay file {shown(path)} is larger than {MAX_FILE_BYTES >> 20} MiB")
        return _read(path, stat.st_mtime_ns, stat.st_size)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a usable path"
        raise ScenarioError("", f"replay file {shown(path)} cannot be read: {reason}") from error


def natural_rate(path: str) -> float:
    """Entries per second as recorded."""
    entries = offsets(path)
    return len(entries) / float(entries[-1])


@lru_cache(maxsize=4)
def _read(path: str, _changed_ns: int, _size: int) -> NDArray[np.float64]:
    with open(path, encoding="utf-8", errors="replace") as file:
        lines = file.read(MAX_FILE_BYTES + 1).splitlines()
    values: list[float] = []
    before = 0.0
    for number, line in enumerate(lines, start=1):
        cell = line.split(",", 1)[0].strip().strip('"')
        if not cell or cell.startswith("#"):
            continue
        try:
            value = float(cell)
        except ValueError:
            if number == 1:  # the title of a column
                continue
            value = -1.0
        # what stands there is not repeated: the file may be any file of this machine
        if not before <= value <= MAX_OFFSET_S:
            raise ScenarioError(
                "",
                f"replay file {shown(path)}, line {number}: not an offset in seconds of at least 0 and "
                "at least the one before",
            )
        values.append(value)
        before = value
    if len(values) > MAX_ENTRIES:
        raise ScenarioError("", f"replay file {shown(path)} has more than {MAX_ENTRIES} entries")
    if not values or values[-1] <= 0:
        raise ScenarioError("", f"replay file {shown(path)} needs at least one offset above 0")
    result = np.array(values)
    result.flags.writeable = False
    return result

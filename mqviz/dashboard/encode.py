"""How rows travel to viewers: a snapshot is binary, a row is one line of JSON, each encoded once for all."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

Table = Mapping[str, npt.NDArray[np.float64]]


def message(kind: str, **fields: Any) -> str:
    """A JSON message for every viewer."""
    return msgspec.json.encode({"kind": kind, **fields}).decode()


def snapshot(head: dict[str, Any], times: npt.NDArray[np.float64], table: Table) -> bytes:
    """u32 length, JSON head padded so that what follows is aligned to 8, float64 times, float32 columns."""
    text = msgspec.json.encode({**head, "rows": len(times), "columns": list(table)})
    text += b" " * (-(len(text) + 4) % 8)
    parts = [struct.pack("<I", len(text)), text, times.astype("<f8").tobytes()]
    parts += [np.asarray(column, "<f4").tobytes() for column in table.values()]
    return b"".join(parts)


def row(tier: int, sequence: int, time_s: float, values: Sequence[float]) -> str:
    """`[tier, sequence, time, …]` with five significant digits; null where nothing is known."""
    told = ",".join("null" if value != value else f"{value:.5g}" for value in values)
    return f"[{tier},{sequence},{time_s:.3f},{told}]"

"""Delivery: what became of what was sent on a link; each pattern has its own books."""

from __future__ import annotations

from typing import Protocol

import msgspec

from mqviz.telemetry.columns import CAUSES, UNRESOLVED
from mqviz.telemetry.histogram import U64
from mqviz.telemetry.roll import Fate, Roll
from mqviz.telemetry.world import World


class Delivery(msgspec.Struct, frozen=True):
    """sent = received + backlog + all of `lost` (which has `unresolved` beside the proven causes)."""

    sent: int
    received: int
    backlog: int
    lost: dict[str, int]


def losses(**counts: int) -> dict[str, int]:
    """Every cause in its order, zero where nothing is given (`peer_death=3`)."""
    return {cause: counts.get(cause.replace("-", "_"), 0) for cause in (*CAUSES, UNRESOLVED)}


class Books(Protocol):
    """How one pattern accounts for what was sent."""

    def rebuild(self, world: World, roll: Roll) -> None:
        """Probes or marks have come in."""

    def deliver(self, words: U64, read_ns: int, ending: Fate | None) -> Delivery:
        """The books by these counters, all of which were read at `read_ns` or later.

        `ending` is None while the run lasts; then it says what became of those who lived to the end.
        """

    def subscribers(self) -> dict[str, Delivery]:
        """The same for each subscriber by instance name, at the last `deliver`; empty for push-pull."""

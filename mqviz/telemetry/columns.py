"""Columns: what a row of the store holds, and where.

link   cumulative counts and losses, gauges, percentiles of the bucket
node   cumulative busy time, gauges
""     the whole: end-to-end, sums over the links, the cost of watching
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mqviz.telemetry.topology import Topology

WHOLE = ""
"""The owner of what belongs to no single link or node."""

CAUSES = (
    "hwm",
    "slow-joiner",
    "no-subscriber",
    "peer-death",
    "disconnect",
    "linger",
    "conflated",
    "network",
)
"""Proven causes of a loss, in the order they are shown."""
BY_DESIGN = ("no-subscriber", "conflated")
"""Causes that a filter or an option asks for: in the books, but no reason for alarm."""
UNRESOLVED = "unresolved"
"""In flight or lost, not known yet; stands after the proven causes."""


def lost_field(cause: str) -> str:
    """The column of a cause: `slow-joiner` is `lost_slow_joiner`."""
    return "lost_" + cause.replace("-", "_")


PERCENTS = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p999": 99.9}
LINK_DURATIONS = ("response", "transit")
"""Durations whose percentiles every link has as columns; those of the others are read from the bins."""

LINK_COUNTERS = (
    "due",
    "published",
    "sent",
    "unsent",
    "received",
    "worked_off",
    "sent_bytes",
    "received_bytes",
    "foreign",
    "blocked_ns",
    *(lost_field(cause) for cause in CAUSES),
)
LINK_GAUGES = ("backlog", UNRESOLVED, "blocked")
LINK_PERCENTILES = tuple(f"{duration}_{p}" for duration in LINK_DURATIONS for p in PERCENTS)
NODE_COUNTERS = ("busy_ns",)
NODE_GAUGES = ("alive", "count", "paused")
WHOLE_COUNTERS = ("samples_lost", "agent_cpu_ns", "received", "lost")
WHOLE_GAUGES = ("backlog", "span_ns")
WHOLE_PERCENTILES = tuple(f"end_to_end_{p}" for p in PERCENTS)

LINK_FIELDS = LINK_COUNTERS + LINK_GAUGES + LINK_PERCENTILES
NODE_FIELDS = NODE_COUNTERS + NODE_GAUGES
WHOLE_FIELDS = WHOLE_COUNTERS + WHOLE_GAUGES + WHOLE_PERCENTILES
GAUGES = frozenset(LINK_GAUGES + LINK_PERCENTILES + NODE_GAUGES + WHOLE_GAUGES + WHOLE_PERCENTILES)


class Columns:
    """The place of each (owner, field) of one topology; the same for every tier."""

    def __init__(self, topology: Topology) -> None:
        owners = [(link.name, LINK_FIELDS) for link in topology.links]
        owners += [(node.name, NODE_FIELDS) for node in topology.nodes]
        owners += [(WHOLE, WHOLE_FIELDS)]
        self.names = [(owner, field) for owner, fields in owners for field in fields]
        self._places = {name: place for place, name in enumerate(self.names)}
        self.gauges: npt.NDArray[np.int64] = np.array(
            [place for place, (_, field) in enumerate(self.names) if field in GAUGES], np.int64
        )
        """Places of the gauges, which have a low, high and mean beside their last value."""
        self._gauge_places = {int(place): rank for rank, place in enumerate(self.gauges)}

    def __len__(self) -> int:
        return len(self.names)

    def place(self, owner: str, field: str) -> int:
        """Where a field is in a row. Raises KeyError for one that there is not."""
        try:
            return self._places[owner, field]
        except KeyError:
            raise KeyError(f"no column {field!r} of {owner!r}") from None

    def gauge(self, owner: str, field: str) -> int:
        """Where a gauge is among the gauges."""
        place = self.place(owner, field)
        try:
            return self._gauge_places[place]
        except KeyError:
            raise KeyError(
                f"{field!r} of {owner!r} is a count, not a gauge: it has no low, high, mean"
            ) from None

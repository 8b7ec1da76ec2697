"""Which lines a chart by link has: one a link, a short name and a steady colour for each; the many share one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

from mqviz.charts.theme import Palette
from mqviz.telemetry.topology import Topology

LIMIT = 10
"""Lines a chart can carry and still be read; what is beyond is summed in a last one."""


@dataclass(frozen=True)
class Series:
    """One line: its label, the links it sums, and its place in the palette (None: the shared one)."""

    label: str
    links: tuple[str, ...]
    place: int | None

    def colour(self, palette: Palette) -> str:
        """Its colour in a theme."""
        return palette.dim if self.place is None else palette.series[self.place]


def labels(topology: Topology) -> dict[str, str]:
    """Each link by the one of its ends that no other link is known by, else by both."""
    sources = Counter(link.source for link in topology.links)
    targets = Counter(link.target for link in topology.links)
    short = {}
    for link in topology.links:
        if sources[link.source] == 1:
            short[link.name] = link.source
        elif targets[link.target] == 1:
            short[link.name] = link.target
        else:
            short[link.name] = f"{link.source} → {link.target}"
    used = Counter(short.values())
    return {
        link.name: short[link.name] if used[short[link.name]] == 1 else f"{link.source} → {link.target}"
        for link in topology.links
    }


@lru_cache(maxsize=32)
def series(topology: Topology) -> tuple[Series, ...]:
    """The lines of a topology, in the order of its links."""
    names = labels(topology)
    links = [link.name for link in topology.links]
    if len(links) <= LIMIT:
        return tuple(Series(names[link], (link,), place) for place, link in enumerate(links))
    alone = links[: LIMIT - 1]
    rest = tuple(links[LIMIT - 1 :])
    return (
        *(Series(names[link], (link,), place) for place, link in enumerate(alone)),
        Series(f"{len(rest)} others", rest, None),
    )

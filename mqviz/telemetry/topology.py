"""Topology: the nodes and links that the counters belong to; all that a store knows of a scenario."""

from __future__ import annotations

import msgspec


class NodeInfo(msgspec.Struct, frozen=True):
    """A node as readers see it."""

    name: str
    role: str  # producer | worker | consumer
    count: int


class LinkInfo(msgspec.Struct, frozen=True):
    """A link as readers see it."""

    source: str
    target: str
    pattern: str  # push-pull | pub-sub
    transport: str  # tcp | ipc | inproc
    topics: tuple[str, ...] = ("",)  # by topic number; push-pull has one, unnamed
    send_hwm: int = 1000
    receive_hwm: int = 1000
    terminal: bool = False  # the target has no out-link: end-to-end ends here
    conflate: bool = False

    @property
    def name(self) -> str:
        """As users write it: `orders -> pricing`."""
        return f"{self.source} -> {self.target}"


class Topology(msgspec.Struct, frozen=True):
    """Nodes and links in the order of the scenario."""

    name: str
    nodes: tuple[NodeInfo, ...]
    links: tuple[LinkInfo, ...]

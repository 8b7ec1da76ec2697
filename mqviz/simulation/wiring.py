"""Wiring: the plans of instances, the producer numbers of their ends, and who connects to whom."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from mqviz.channels import zeromq
from mqviz.errors import CannotRun
from mqviz.simulation import placement, plan
from mqviz.simulation.model import Link, Node, Scenario

SPARE_PRODUCERS = 24
"""Restarts and added producers that a receive end has room for, beside those of the start."""


@dataclass
class Placed:
    """One incarnation of an instance in a running lab."""

    node: str
    index: int
    incarnation: int
    numbers: dict[str, int]
    """Producer number by out-link."""
    endpoints: dict[str, str] = field(default_factory=dict)
    """Bound endpoint by out-link, known once its runner has told."""
    runner: str = ""
    alive: bool = True
    state: str = "starting"

    @property
    def name(self) -> str:
        """As users write it, such as `pricing.1`."""
        return f"{self.node}.{self.index}"


class Wiring:
    """Makes plans for a scenario whose counts may change while it runs."""

    def __init__(self, scenario: Scenario, folder: Path, engine: str, run_number: int) -> None:
        self.scenario = scenario
        self.nodes: dict[str, Node] = {node.name: node for node in scenario.nodes}
        """As they are now: live changes are written back here."""
        self.links: dict[str, Link] = {link.name: link for link in scenario.links}
        self._folder = folder
        self._engine = engine
        self._run_number = run_number
        self._next_number = dict.fromkeys(self.links, 0)
        counts = {node.name: node.count for node in scenario.nodes}
        self._room = {link.name: counts[link.source] + SPARE_PRODUCERS for link in scenario.links}
        self._runners = 0

    def out_links(self, node: str) -> list[Link]:
        """In the order of the scenario."""
        return [link for link in self.links.values() if link.source == node]

    def in_links(self, node: str) -> list[Link]:
        """In the order of the scenario."""
        return [link for link in self.links.values() if link.target == node]

    def check_room(self, node: str, more: int) -> None:
        """Raises CannotRun when an out-link has no room for so many more producers."""
        for link in self.out_links(node):
            number = self._next_number[link.name]
            if number + more > self._room[link.name]:
                raise CannotRun(
                    f'{node}: link "{link.name}" has had {number} producers in this run and has no room for '
                    f"{more} more; stop the run and start it again"
                )

    def new_instance(self, node: str, index: int, incarnation: int) -> Placed:
        """Numbers for one more incarnation; `check_room` comes first."""
        numbers = {link.name: self._next_number[link.name] for link in self.out_links(node)}
        for name in numbers:
            self._next_number[name] += 1
        return Placed(node, index, incarnation, numbers)

    def runner_plan(self, seats: list[list[Placed]]) -> plan.RunnerPlan:
        """One process; each list in `seats` is a thread with instances of one node."""
        name = f"runner-{self._runners}"
        self._runners += 1
        for placed in (p for seat in seats for p in seat):
            placed.runner = name
        return plan.RunnerPlan(
            runner=name,
            engine=self._engine,
            probe=str(self._folder / f"{name}.probe"),
            run_number=self._run_number,
            seed=self.scenario.seed,
            loops=tuple(self._loop(seat) for seat in seats),
        )

    def _loop(self, seat: list[Placed]) -> plan.LoopPlan:
        node = self.nodes[seat[0].node]
        producer = node.role == "producer"
        closed_loop = producer and node.rate == float("inf")
        return plan.LoopPlan(
            node=node.name,
            role=node.role,
            count=node.count,
            instances=tuple(self._instance(placed) for placed in seat),
            size=node.size.text,
            rate=node.rate if producer and not closed_loop else None,
            arrivals=node.arrivals.text if producer else "poisson",
            service=node.service.text,
            spin=node.service_mode == "spin",
        )

    def _instance(self, placed: Placed) -> plan.Instance:
        return plan.Instance(
            index=placed.index,
            incarnation=placed.incarnation,
            receives=tuple(self._inbound(link, placed) for link in self.in_links(placed.node)),
            sends=tuple(self._outbound(link, placed) for link in self.out_links(placed.node)),
        )

    def _inbound(self, link: Link, placed: Placed) -> plan.Inbound:
        topics = tuple(link.topics) or ("",)
        subscribe = self.nodes[placed.node].subscribe if link.pattern == "pub-sub" else ("",)
        matched = len(zeromq.matching_topics(topics, subscribe))
        return plan.Inbound(
            link=link.name,
            pattern=link.pattern,
            receive_hwm=link.receive_hwm,
            receive_buffer=link.receive_buffer,
            conflate=link.conflate,
            subscribe=subscribe,
            topics=topics,
            rows=self._room[link.name] * matched,
            terminal=not self.out_links(link.target),
        )

    def _outbound(self, link: Link, placed: Placed) -> plan.Outbound:
        number = placed.numbers[link.name]
        place = list(self.links).index(link.name)
        if link.transport == "tcp":
            bind = "tcp://127.0.0.1:*"
        elif link.transport == "ipc":
            bind = f"ipc://{self._folder}/{place}-{number}.ipc"
        else:
            bind = f"inproc://{place}-{number}"
        targets = self.nodes[link.target].count
        weights = tuple(link.topics.values()) or (1.0,)
        return plan.Outbound(
            link=link.name,
            pattern=link.pattern,
            bind=bind,
            number=number,
            send_hwm=link.send_hwm,
            send_buffer=link.send_buffer,
            linger_ms=link.linger_ns // 1_000_000,
            conflate=link.conflate,
            topics=tuple(link.topics) or ("",),
            weights=weights,
            peers=targets if link.wiring == "mesh" else -(-targets // self.nodes[link.source].count),
        )

    def joined(self, link: Link, source: Placed, target: Placed) -> bool:
        """Whether these two are to be connected."""
        return placement.joined(
            link, source.index, target.index, self.nodes[link.source].count, self.nodes[link.target].count
        )

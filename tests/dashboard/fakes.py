"""A lab without processes: a real store, fed with the counters that a simple model of the scenario would show."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from mqviz.errors import CannotRun, ScenarioError
from mqviz.telemetry import clock, histogram, probe
from mqviz.telemetry.sample import Announce, Mark, Report, Sample
from mqviz.telemetry.store import Store
from mqviz.telemetry.topology import LinkInfo, NodeInfo, Topology

TICK_NS = 100_000_000
SIZE = 1024
HWM = 500
HOSTILE = "<img src=x onerror=alert(1)>"

PIPELINE = Topology(
    "order pipeline",
    (
        NodeInfo("orders", "producer", 2),
        NodeInfo("refunds", "producer", 1),
        NodeInfo("pricing", "worker", 3),
        NodeInfo("ledger", "consumer", 1),
        NodeInfo("analytics", "consumer", 1),
        NodeInfo("audit", "consumer", 1),
    ),
    (
        LinkInfo("orders", "pricing", "push-pull", "tcp"),
        LinkInfo("refunds", "pricing", "push-pull", "tcp"),
        LinkInfo("pricing", "ledger", "pub-sub", "tcp", terminal=True),
        LinkInfo("pricing", "analytics", "pub-sub", "tcp", terminal=True),
        LinkInfo("pricing", "audit", "pub-sub", "tcp", terminal=True),
    ),
)
RATES = {"orders": 2000.0, "refunds": 400.0}
CAPACITY = {"pricing": 1100.0, "ledger": 4000.0, "analytics": 2395.0, "audit": 3000.0}
"""Messages a second and instance."""


def topology(first: str = "orders", name: str = "order pipeline") -> Topology:
    """The pipeline, with another name for its first node."""
    renamed = {"orders": first}
    return Topology(
        name,
        tuple(NodeInfo(renamed.get(n.name, n.name), n.role, n.count) for n in PIPELINE.nodes),
        tuple(
            msgspec.structs.replace(link, source=renamed.get(link.source, link.source))
            for link in PIPELINE.links
        ),
    )


class View(NamedTuple):
    """An instance as an orchestrator lists it."""

    name: str
    node: str
    index: int
    incarnation: int
    alive: bool
    pid: int | None
    state: str


@dataclass
class FakeNode:
    """A node of the fake scenario, as the controls read it."""

    name: str
    role: str
    count: int
    rate: float
    service: Any
    size: Any


@dataclass
class Text:
    """A distribution, as the controls read it."""

    text: str


@dataclass
class FakeScenario:
    """What a page reads of a scenario."""

    name: str
    nodes: list[FakeNode]


class Model:
    """Fluid queues behind real probe words; `advance` makes one Report of the next 100 ms."""

    def __init__(self, shape: Topology, rates: dict[str, float], capacity: dict[str, float]) -> None:
        self.topology = shape
        self.rates = rates
        self.capacity = capacity
        self.random = np.random.default_rng(7)
        self.alive = {(n.name, i): True for n in shape.nodes for i in range(n.count)}
        self.paused: set[str] = set()
        numbers: dict[tuple[str, str, int], int] = {}
        for link in shape.links:
            count = next(n.count for n in shape.nodes if n.name == link.source)
            numbers |= {(link.name, link.source, i): i for i in range(count)}
        counts = {n.name: n.count for n in shape.nodes}
        plans = [
            probe.InstancePlan(
                node.name, index, 0,
                tuple(
                    probe.ReceivePlan(link.name, counts[link.source], link.terminal)
                    for link in shape.links if link.target == node.name
                ),
                tuple(
                    probe.SendPlan(link.name, numbers[link.name, node.name, index], 1)
                    for link in shape.links if link.source == node.name
                ),
            )
            for node in shape.nodes for index in range(node.count)
        ]  # fmt: skip
        self.schema = probe.lay_out("all", "python", plans)
        self.words = np.zeros(self.schema.words, np.uint64)
        self.blocks = {(block.node, block.index): block for block in self.schema.instances}
        self.sends = {(end.link, i): end for (_, i), block in self.blocks.items() for end in block.sends}
        self.receives = {
            (end.link, index): end for (_, index), block in self.blocks.items() for end in block.receives
        }
        self.bins = {(block.link, block.phase, block.duration): block for block in self.schema.histograms}
        self.sequence = 0
        self.queue = {link.name: 0.0 for link in shape.links}
        self.carry: dict[Any, float] = {}
        self.announce = Announce(0, msgspec.json.encode(self.schema))

    def whole(self, key: Any, amount: float) -> int:
        """Whole messages of a flow, the rest kept for next time."""
        self.carry[key] = self.carry.get(key, 0.0) + amount
        count = int(self.carry[key])
        self.carry[key] -= count
        return count

    def living(self, node: str) -> list[int]:
        """Indices of a node's living instances."""
        return [index for (name, index), alive in self.alive.items() if name == node and alive]

    def advance(self, at_ns: int, measure: bool, *, final: bool = False) -> Report:
        """Let 100 ms pass."""
        if not final:
            self._flow(measure)
        moved = np.flatnonzero(self.words).astype("<u4")
        sample = Sample(0, moved.tobytes(), self.words[moved].astype("<u8").tobytes())
        report = Report(
            "agent-1", self.sequence, at_ns, 60_000, 1_000_000 * self.sequence, True, final,
            (self.announce,), (sample,),
        )  # fmt: skip
        self.sequence += 1
        return report

    def _flow(self, measure: bool) -> None:
        seconds = TICK_NS / 1e9
        emitted: dict[str, float] = {}
        for node in self.topology.nodes:
            inward = [link for link in self.topology.links if link.target == node.name]
            if node.role == "producer":
                living = self.living(node.name)
                rate = 0.0 if node.name in self.paused else self.rates[node.name]
                due = self.random.poisson(rate * seconds * len(living) / node.count)
                emitted[node.name] = float(due)
            else:
                emitted[node.name] = self._serve(node, inward, seconds, measure)
            for link in self.topology.links:
                if link.source == node.name:
                    self._send(link, emitted[node.name])

    def _send(self, link: LinkInfo, amount: float) -> None:
        living = self.living(link.source)
        for index in living:
            count = self.whole(("send", link.name, index), amount / len(living))
            end = self._send_end(link, index)
            self.words[end.offset + probe.DUE] += np.uint64(count)
            self.words[end.offset + probe.SENT_BYTES] += np.uint64(count * SIZE)
            self.words[end.offset + probe.SEND_WORDS] += np.uint64(count)
        self.queue[link.name] += amount if living else 0.0

    def _serve(self, node: NodeInfo, inward: list[LinkInfo], seconds: float, measure: bool) -> float:
        living = self.living(node.name)
        limit = 0.0 if node.name in self.paused else self.capacity[node.name] * len(living) * seconds
        wanted = sum(self.queue[link.name] for link in inward)
        share = min(1.0, limit / wanted) if wanted else 0.0
        done = 0.0
        for link in inward:
            taken = self.queue[link.name] * share
            self.queue[link.name] -= taken
            done += taken
            over = max(0.0, self.queue[link.name] - HWM) if link.pattern == "pub-sub" else 0.0
            self.queue[link.name] -= over
            self._receive(link, living, taken, over)
            wait_ms = 0.4 + 1e3 * self.queue[link.name] / max(limit / seconds, 1.0)
            self._record(link, int(taken), wait_ms, measure)
        for index in living:
            block = self.blocks[node.name, index]
            busy = seconds * done / max(limit, 1e-9) if limit else 0.0
            self.words[block.offset + probe.BUSY_NS] += np.uint64(int(min(busy, seconds) * 1e9))
        return done

    def _receive(self, link: LinkInfo, living: list[int], taken: float, over: float) -> None:
        producers = next(n.count for n in self.topology.nodes if n.name == link.source)
        rooms = [self._room(link, number) for number in range(producers)]
        for index in living:
            end = self.receives[link.name, index]
            for number in range(producers):
                share = rooms[number] / max(sum(rooms), 1) / len(living)
                row = end.offset + probe.RECEIVE_WORDS + number * probe.ROW_WORDS
                room = self._room(link, number)
                count = min(self.whole(("take", link.name, index, number), taken * share), room)
                gaps = min(self.whole(("gap", link.name, index, number), over * share), room - count)
                self.words[row + probe.KEY] = 1 + number * 65536
                self.words[row + probe.RECEIVED] += np.uint64(count)
                self.words[row + probe.GAPS] += np.uint64(gaps)
                if self.words[row + probe.RECEIVED]:
                    self.words[row + probe.FIRST] = 1
                    self.words[row + probe.LAST] = (
                        self.words[row + probe.RECEIVED] + self.words[row + probe.GAPS]
                    )
                self.words[end.offset + probe.BYTES] += np.uint64(count * SIZE)
                self.words[end.offset + probe.WORKED_OFF] += np.uint64(count)

    def _room(self, link: LinkInfo, number: int) -> int:
        """Sent by a producer and neither received nor dropped yet."""
        sent = int(self.words[self._send_end(link, number).offset + probe.SEND_WORDS])
        return sent - sum(self._rows(link, number, probe.RECEIVED, probe.GAPS))

    def _rows(self, link: LinkInfo, number: int, *words: int) -> list[int]:
        return [
            int(self.words[end.offset + probe.RECEIVE_WORDS + number * probe.ROW_WORDS + word])
            for (name, _), end in self.receives.items() if name == link.name
            for word in words
        ]  # fmt: skip

    def _record(self, link: LinkInfo, count: int, typical_ms: float, measure: bool) -> None:
        values = (self.random.lognormal(np.log(typical_ms), 0.6, max(count, 0)) * 1e6).astype(np.int64)
        bins = histogram.bins_of(np.minimum(values, histogram.LIMIT_NS - 1))
        phase = "measure" if measure else "warm-up"
        spread = np.bincount(bins, minlength=histogram.BINS).astype(np.uint64)
        for duration in probe.RECEIVER_DURATIONS:
            block = self.bins.get((link.name, phase, duration))
            if block is None:
                continue
            base = block.offset + histogram.HEAD
            self.words[base : base + histogram.BINS] += spread
            self.words[block.offset + histogram.SUM] += np.uint64(values.sum())
            top = max(int(self.words[block.offset + histogram.MAX]), int(values.max(initial=0)))
            self.words[block.offset + histogram.MAX] = np.uint64(top)

    def _send_end(self, link: LinkInfo, index: int) -> probe.SendEnd:
        return self.sends[link.name, index]


@dataclass
class FakeLab:
    """Has what a page needs of an orchestrator; with `live` it feeds itself from a thread."""

    shape: Topology = PIPELINE
    live: bool = True
    fails: str = ""
    warmup_ticks: int = 5
    folder: Path | None = None
    engine: str = "python"
    state: str = "idle"
    error: str | None = None
    calls: list[tuple[Any, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        first = self.shape.nodes[0].name
        self.store = Store(self.shape, clock.anchor())
        self.model = Model(self.shape, {**RATES, first: RATES["orders"]}, dict(CAPACITY))
        self.scenario = FakeScenario(
            self.shape.name,
            [
                FakeNode(
                    n.name, n.role, n.count, self.model.rates.get(n.name, 0.0), Text("900us"), Text("1KiB")
                )
                for n in self.shape.nodes
            ],
        )
        self.ticks = 0
        self._began_ns = 0
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def elapsed_s(self) -> float:
        """Since load began."""
        return self.ticks * TICK_NS / 1e9

    def start(self) -> None:
        """Let load flow."""
        if self.fails:
            self.state = "failed"
            raise CannotRun(self.fails)
        self.begin(clock.now_ns())
        if self.live:
            self._thread = threading.Thread(target=self._run, name="mqviz-fake", daemon=True)
            self._thread.start()

    def begin(self, at_ns: int) -> None:
        """The marks of a start."""
        self._began_ns = at_ns
        self.state = "starting"
        self.mark("phase", "starting", at_ns - 1, phase="starting")
        for node, index in self.model.alive:
            self.mark(
                "birth",
                "",
                at_ns - 1,
                instance=f"{node}.{index}",
                node=node,
                incarnation=0,
                runner="all",
                subscribe={},
            )
        for link in self.shape.links:
            if link.pattern == "pub-sub":
                for target in self.model.living(link.target):
                    for number in self.model.living(link.source):
                        self.mark(
                            "join",
                            "",
                            at_ns - 1,
                            link=link.name,
                            producer=number,
                            subscriber=f"{link.target}.{target}",
                            incarnation=0,
                            start=[0],
                        )
        self._enter("warm-up" if self.warmup_ticks else "measure", at_ns)

    def tick(self) -> None:
        """100 ms of load."""
        self.ticks += 1
        at_ns = self._began_ns + self.ticks * TICK_NS
        if self.ticks == self.warmup_ticks:
            self._enter("measure", at_ns)
        self.store.append(self.model.advance(at_ns, self.ticks > self.warmup_ticks))

    def run_for(self, ticks: int) -> None:
        """Many ticks at once."""
        for _ in range(ticks):
            self.tick()

    def stop(self, limit_s: float | None = None) -> None:
        """End it."""
        if self.state in ("idle", "ended", "failed"):
            return
        self._end.set()
        if self._thread is not None:
            self._thread.join()
        at_ns = self._began_ns + self.ticks * TICK_NS + 1
        self._enter("drain", at_ns)
        self.store.append(self.model.advance(at_ns + 1, True, final=True))
        self._enter("ended", at_ns + 2)

    def _run(self) -> None:
        while not self._end.wait(
            max(0.0, (self._began_ns + (self.ticks + 1) * TICK_NS - clock.now_ns()) / 1e9)
        ):
            self.tick()

    def _enter(self, phase: str, at_ns: int) -> None:
        self.state = phase
        self.mark("phase", phase, at_ns, phase=phase)

    def mark(self, kind: str, text: str, at_ns: int | None = None, **data: Any) -> None:
        """Something that happened."""
        at_ns = self._began_ns + self.ticks * TICK_NS if at_ns is None else at_ns
        assert self.store.append(Mark(at_ns, kind, text, data))

    def instances(self) -> list[View]:
        """All of them."""
        return [
            View(
                f"{node}.{index}",
                node,
                index,
                0,
                alive and self.state not in ("idle", "ended", "failed"),
                None,
                "running",
            )
            for (node, index), alive in self.model.alive.items()
        ]

    def node(self, name: str) -> FakeNode:
        """As it is now."""
        return next(node for node in self.scenario.nodes if node.name == name)

    def kill(self, node: str, instance: int) -> list[str]:
        """One is gone."""
        self.calls.append(("kill", node, instance))
        self.model.alive[node, instance] = False
        name = f"{node}.{instance}"
        self.mark("death", "", instance=name, node=node, incarnation=0, cause="peer-death")
        self.mark("event", f"kill {name}")
        return [name]

    def revive(self, node: str, instance: int | None = None) -> list[str]:
        """It is back."""
        self.calls.append(("revive", node, instance))
        assert instance is not None
        self.model.alive[node, instance] = True
        self.mark("event", f"start {node}.{instance}")
        return [f"{node}.{instance}"]

    def pause(self, node: str) -> None:
        """Stand still."""
        self.calls.append(("pause", node))
        self.model.paused.add(node)
        self.mark("event", f"pause {node}")

    def resume(self, node: str) -> None:
        """Go on."""
        self.calls.append(("resume", node))
        self.model.paused.discard(node)
        self.mark("event", f"resume {node}")

    def set(self, node: str, **fields: Any) -> None:
        """Change the load."""
        self.calls.append(("set", node, fields))
        for name, value in fields.items():
            if name == "rate":
                text = str(value).removesuffix("/s").replace("k", "e3")
                try:
                    rate = float(text)
                except ValueError:
                    raise ScenarioError(
                        f'node "{node}", rate', f'"{value}" is not a rate, such as 2000/s'
                    ) from None
                self.model.rates[node] = rate
            elif name == "service":
                if not str(value).endswith(("us", "ms", "s")):
                    raise ScenarioError(
                        f'node "{node}", service', f'"{value}" is not a duration, such as 2ms'
                    )
            self.mark("event", f"set {node}.{name} = {value}")


def wait_for(test: Any, seconds: float = 10.0) -> None:
    """Until it holds."""
    end = time.monotonic() + seconds
    while not test():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.02)

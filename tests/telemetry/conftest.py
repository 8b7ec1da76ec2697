"""A run in miniature: probes whose words the tests write as an engine would, and the Reports that show them."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from mqviz.telemetry import histogram, probe
from mqviz.telemetry.clock import Anchor
from mqviz.telemetry.probe import InstancePlan, ReceivePlan, SendPlan, lay_out
from mqviz.telemetry.sample import Announce, Mark, Report, Sample
from mqviz.telemetry.store import Store
from mqviz.telemetry.topology import LinkInfo, NodeInfo, Topology

STEP_NS = 100_000_000
START_NS = 1_000_000_000_000


class FakeRun:
    """A store and the words of one runner that holds every instance."""

    def __init__(self, topology: Topology, plans: list[InstancePlan], runner: str = "r1") -> None:
        self.topology = topology
        self.store = Store(topology, Anchor(START_NS, 0))
        self.records: list[Report | Mark] = []
        self.at_ns = START_NS
        self.sequence = 0
        self.agent = "agent-1"
        self.schemas: list[probe.Schema] = []
        self.words: list[np.ndarray] = []
        self._shown: list[np.ndarray] = []
        self.add(runner, plans)

    def add(self, runner: str, plans: list[InstancePlan]) -> None:
        """One more probe, announced with the next report."""
        schema = lay_out(runner, "python", plans)
        self.schemas.append(schema)
        self.words.append(np.zeros(schema.words, np.uint64))

    def _end(self, link: str, number: int) -> tuple[np.ndarray, probe.SendEnd]:
        for words, schema in zip(self.words, self.schemas, strict=True):
            for end in (end for i in schema.instances for end in i.sends):
                if (end.link, end.number) == (link, number):
                    return words, end
        raise KeyError(number)

    def instance(self, name: str, incarnation: int = 0) -> tuple[np.ndarray, probe.InstanceBlock]:
        """The words and the block of an instance."""
        for words, schema in zip(self.words, self.schemas, strict=True):
            for block in schema.instances:
                if (block.name, block.incarnation) == (name, incarnation):
                    return words, block
        raise KeyError(name)

    def send(self, link: str, number: int, count: int = 1, topic: int = 0, size: int = 100) -> None:
        """Count messages as sent."""
        words, end = self._end(link, number)
        words[end.offset + probe.DUE] += np.uint64(count)
        words[end.offset + probe.SENT_BYTES] += np.uint64(count * size)
        words[end.offset + probe.SEND_WORDS + topic] += np.uint64(count)

    def send_words(self, link: str, number: int) -> np.ndarray:
        """The words of a send end, to write to."""
        words, end = self._end(link, number)
        return words[end.offset : end.offset + probe.SEND_WORDS + end.topics]

    def published(self, link: str, number: int) -> list[int]:
        """Publications per topic so far."""
        return [int(n) for n in self.send_words(link, number)[probe.SEND_WORDS :]]

    def receive_words(self, link: str, name: str, incarnation: int = 0) -> np.ndarray:
        """The words of a receive end with its rows, to write to."""
        words, block = self.instance(name, incarnation)
        end = next(end for end in block.receives if end.link == link)
        size = probe.RECEIVE_WORDS + end.rows * probe.ROW_WORDS
        return words[end.offset : end.offset + size]

    def receive(
        self, link: str, name: str, number: int, sequence: int, topic: int = 0, incarnation: int = 0
    ) -> None:
        """Count one message as received, as an engine does."""
        words = self.receive_words(link, name, incarnation)
        words[probe.BYTES] += np.uint64(100)
        words[probe.WORKED_OFF] += np.uint64(1)
        key = 1 + number * 65536 + topic
        rows = words[probe.RECEIVE_WORDS :].reshape(-1, probe.ROW_WORDS)
        row = next(row for row in rows if row[probe.KEY] in (0, key))
        if row[probe.KEY] == 0:
            row[probe.KEY] = key
            row[probe.FIRST] = sequence + 1
        elif sequence + 1 > row[probe.LAST]:
            row[probe.GAPS] += np.uint64(sequence) - row[probe.LAST]
        else:
            row[probe.GAPS] -= np.uint64(1)
            row[probe.LATE] += np.uint64(1)
        row[probe.RECEIVED] += np.uint64(1)
        row[probe.LAST] = max(int(row[probe.LAST]), sequence + 1)

    def record(self, link: str, duration: str, value_ns: int, count: int = 1, phase: str = "measure") -> None:
        """Add to a histogram."""
        block = next(
            b for b in self.schemas[0].histograms if (b.link, b.duration, b.phase) == (link, duration, phase)
        )
        words = self.words[0][block.offset : block.offset + histogram.WORDS]
        words[histogram.SUM] += np.uint64(value_ns * count)
        words[histogram.MAX] = max(int(words[histogram.MAX]), value_ns)
        words[histogram.HEAD + histogram.bin_of(value_ns)] += np.uint64(count)

    def make_report(self, *, full: bool = False, final: bool = False, span_ns: int = 50_000) -> Report:
        """What an agent would send now."""
        self.at_ns += STEP_NS
        announced, samples = [], []
        for number, (schema, words) in enumerate(zip(self.schemas, self.words, strict=True)):
            if number == len(self._shown):
                self._shown.append(np.zeros_like(words))
                announced.append(Announce(number, msgspec.json.encode(schema)))
            elif full or final:
                announced.append(Announce(number, msgspec.json.encode(schema)))
            shown = self._shown[number]
            used = np.flatnonzero(words | shown) if full or final else np.flatnonzero(words != shown)
            shown[:] = words
            if len(used):
                positions, values = used.astype("<u4").tobytes(), words[used].astype("<u8").tobytes()
                samples.append(Sample(number, positions, values))
        self.sequence += 1
        return Report(
            self.agent,
            self.sequence - 1,
            self.at_ns,
            span_ns,
            self.sequence * 1000,
            full or final,
            final,
            tuple(announced),
            tuple(samples),
        )

    def append(self, record: Report | Mark) -> None:
        """Into the store, which must take it."""
        self.records.append(record)
        assert self.store.append(record)

    def report(self, **how: Any) -> None:
        """One pass of the agent."""
        self.append(self.make_report(**how))

    def mark(self, kind: str, text: str = "", **data: Any) -> None:
        """One mark of the lab, after the last report and before the next."""
        self.append(Mark(self.at_ns + STEP_NS // 2, kind, text, data))

    def die(self, name: str, cause: str = "peer-death", incarnation: int = 0) -> None:
        """The mark of a death."""
        node = name.rsplit(".", 1)[0]
        self.mark("death", instance=name, node=node, incarnation=incarnation, cause=cause)

    def end(self, drained: bool = True) -> None:
        """The last report, and the end of the run."""
        self.report(final=True)
        self.mark("phase", phase="ended", drained=drained)


class Fakes:
    """Makes runs of the usual shapes."""

    push_pull_link = "orders -> pricing"
    pub_sub_link = "prices -> ledger"

    def push_pull(self, producers: int = 1, consumers: int = 1, **link: Any) -> FakeRun:
        """Producers `orders` and consumers `pricing`; producer number = index."""
        name = self.push_pull_link
        nodes = NodeInfo("orders", "producer", producers), NodeInfo("pricing", "consumer", consumers)
        info = LinkInfo("orders", "pricing", "push-pull", "tcp", terminal=True, **link)
        plans = [InstancePlan("orders", i, 0, (), (SendPlan(name, i, 1),)) for i in range(producers)]
        plans += [
            InstancePlan("pricing", i, 0, (ReceivePlan(name, producers + 2, True),)) for i in range(consumers)
        ]
        return FakeRun(Topology("push-pull", nodes, (info,)), plans)

    def pub_sub(
        self, publishers: int = 1, subscribers: int = 1, topics: tuple[str, ...] = ("",), **link: Any
    ) -> FakeRun:
        """Publishers `prices` and subscribers `ledger`; producer number = index."""
        name = self.pub_sub_link
        nodes = NodeInfo("prices", "producer", publishers), NodeInfo("ledger", "consumer", subscribers)
        info = LinkInfo("prices", "ledger", "pub-sub", "tcp", topics, terminal=True, **link)
        plans = [
            InstancePlan("prices", i, 0, (), (SendPlan(name, i, len(topics)),)) for i in range(publishers)
        ]
        rows = (publishers + 2) * len(topics)
        plans += [InstancePlan("ledger", i, 0, (ReceivePlan(name, rows, True),)) for i in range(subscribers)]
        return FakeRun(Topology("pub-sub", nodes, (info,)), plans)

    run = FakeRun


@pytest.fixture(scope="session")
def fakes() -> Fakes:
    """Runs in miniature."""
    return Fakes()

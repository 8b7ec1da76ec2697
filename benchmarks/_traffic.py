"""Traffic without sockets: the counters of many instances, moved on as engines would, ten times a second.

On each link every producer has a consumer of its own. What is sent in one step is received in the next, so there
is always a backlog, and the books always close.
"""

from __future__ import annotations

from collections import Counter

import msgspec
import numpy as np

from mqviz.telemetry import histogram, probe
from mqviz.telemetry.histogram import I64, U64
from mqviz.telemetry.probe import InstancePlan, ReceivePlan, Schema, SendPlan, lay_out
from mqviz.telemetry.sample import Announce, Mark, Report, Sample
from mqviz.telemetry.topology import LinkInfo, NodeInfo, Topology

STEP_S = 0.1
BYTES = 128
SERVICE_NS = 50_000
TYPICAL_NS = 400_000


def shape(sources: int, targets: int, count: int) -> Topology:
    """Every source linked to every target; so many instances of each node."""
    froms = [NodeInfo(f"source-{n}", "producer", count) for n in range(sources)]
    tos = [NodeInfo(f"target-{n}", "consumer", count) for n in range(targets)]
    links = [LinkInfo(a.name, b.name, "push-pull", "tcp", terminal=True) for a in froms for b in tos]
    return Topology("benchmark", (*froms, *tos), tuple(links))


def schemas(topology: Topology, probes: int) -> list[Schema]:
    """All instances, packed into so many probes."""
    plans = []
    for node in topology.nodes:
        ends = [link.name for link in topology.links if node.name in (link.source, link.target)]
        for index in range(node.count):
            sends = tuple(SendPlan(link, index, 1) for link in ends) if node.role == "producer" else ()
            receives = tuple(ReceivePlan(link, 1, True) for link in ends) if node.role == "consumer" else ()
            plans.append(InstancePlan(node.name, index, 0, receives, sends))
    share = -(-len(plans) // probes)
    return [lay_out(f"runner-{i}", "python", plans[i * share : (i + 1) * share]) for i in range(probes)]


def births(schemas_: list[Schema], at_ns: int) -> list[Mark]:
    """What a lab says of the instances before they have counted anything."""
    blocks = [(schema.runner, block) for schema in schemas_ for block in schema.instances]
    return [
        Mark(at_ns, "birth", "", {"instance": b.name, "node": b.node, "incarnation": 0, "runner": runner})
        for runner, b in blocks
    ]


class Counts:
    """The words of one probe; `step` is 100 ms of load at so many messages/s an instance."""

    def __init__(self, schema: Schema, words: U64, rate: float, seed: int) -> None:
        self.words = words
        self._flow = np.random.default_rng(1)  # the same for all probes: both ends of a link must agree
        self._values = np.random.default_rng(seed)
        self._mean = rate * STEP_S
        self._sent = 0
        numbers = [i.index for i in schema.instances for _ in i.receives]
        self._sends = index([e.offset for i in schema.instances for e in i.sends])
        self._receives = index([e.offset for i in schema.instances for e in i.receives])
        self._rows = self._receives + probe.RECEIVE_WORDS
        self._busy = index([i.offset + probe.BUSY_NS for i in schema.instances if i.receives])
        self._histograms = [h for h in schema.histograms if h.phase == "measure"]
        self._ends = Counter(e.link for i in schema.instances for e in i.receives)
        self._ends.update(e.link for i in schema.instances for e in i.sends)
        words[self._rows + probe.KEY] = [1 + (number << 16) for number in numbers]
        words[self._rows + probe.FIRST] = 1

    def step(self) -> None:
        """Every counter once, and a value for each message in every histogram."""
        received, sent = self._sent, max(1, int(self._flow.poisson(self._mean)))
        self._sent = sent
        for places, more in (
            (self._receives + probe.BYTES, received * BYTES),
            (self._receives + probe.WORKED_OFF, received),
            (self._rows + probe.RECEIVED, received),
            (self._rows + probe.LAST, received),
            (self._busy, received * SERVICE_NS),
            (self._sends + probe.DUE, sent),
            (self._sends + probe.SENT_BYTES, sent * BYTES),
            (self._sends + probe.SEND_WORDS, sent),
        ):
            self.words[places] += np.uint64(more)
        for block in self._histograms:
            count = sent if block.duration in probe.SENDER_DURATIONS else received
            self._record(block.offset, count * self._ends[block.link])

    def _record(self, at: int, count: int) -> None:
        values = self._values.lognormal(np.log(TYPICAL_NS), 0.6, count).astype(np.int64)
        np.add.at(self.words, at + histogram.HEAD + histogram.bins_of(values), np.uint64(1))
        self.words[at + histogram.SUM] += np.uint64(values.sum())
        top = max(int(self.words[at + histogram.MAX]), int(values.max(initial=0)))
        self.words[at + histogram.MAX] = top


def index(places: list[int]) -> I64:
    """Word numbers as an index array."""
    return np.array(places, np.int64)


class Reporter:
    """Makes Reports of counts in this process: what an agent would have sent."""

    def __init__(self, schemas_: list[Schema], counts: list[Counts]) -> None:
        self._counts = counts
        self._announced = tuple(Announce(n, msgspec.json.encode(each)) for n, each in enumerate(schemas_))
        self._shown = [np.zeros_like(each.words) for each in counts]
        self._sequence = 0

    def report(self, at_ns: int) -> Report:
        """All that has changed since the last one."""
        samples = []
        for number, (counts, shown) in enumerate(zip(self._counts, self._shown, strict=True)):
            changed = np.flatnonzero(counts.words != shown)
            shown[changed] = counts.words[changed]
            values = counts.words[changed].astype("<u8")
            samples.append(Sample(number, changed.astype("<u4").tobytes(), values.tobytes()))
        first = self._sequence == 0
        self._sequence += 1
        return Report(
            "agent",
            self._sequence - 1,
            at_ns,
            0,
            0,
            first,
            False,
            self._announced if first else (),
            tuple(samples),
        )

"""Store: the bounded history of a run, fed with Reports and Marks, read by cursor.

A Report closes a bucket of about 100 ms (of several agents, the last one to report does, or after 300 ms).
A bucket is a row of tier 0; rows merge into 1 s and 10 s. What was counted is exact at any time, whatever
Reports were lost: their words are cumulative.

Memory: with L links, N nodes, C = 29 L + 4 N + 10 columns of which G = 11 L + 3 N + 6 are gauges, and
K = 6 L + 1 histograms, it is at most

    7,320 rows x 8 C  +  6,120 rows x 24 G  +  3 x 24 MiB of bins  +  159 KB x K for what is merged and open

bytes, and for each probe as much as its file. `memory_bytes` says what it is now.
"""

from __future__ import annotations

import threading
from bisect import bisect_left

import numpy as np

from mqviz.telemetry import clock
from mqviz.telemetry.clock import Anchor
from mqviz.telemetry.columns import (
    CAUSES,
    LINK_COUNTERS,
    LINK_DURATIONS,
    NODE_FIELDS,
    PERCENTS,
    UNRESOLVED,
    WHOLE,
    Columns,
    lost_field,
)
from mqviz.telemetry.histogram import Histogram
from mqviz.telemetry.ledger import Ledger, LinkTotals
from mqviz.telemetry.roll import LIMIT, MalformedError, Roll
from mqviz.telemetry.sample import Mark, Report
from mqviz.telemetry.spectrum import Bins, Spectrum, percentiles
from mqviz.telemetry.tiers import BINS_BYTES, F64, Rows, Tier
from mqviz.telemetry.topology import Topology
from mqviz.telemetry.world import World

__all__ = ["LinkTotals", "Rows", "Store"]

WAIT_NS = 300_000_000
"""A bucket does not wait longer than this for an agent."""
SILENT_NS = 1_000_000_000
"""An agent that has not reported for so long is not waited for."""
MOST_MARKS = 20_000
MOST_AGENTS = 256


class Agent:
    """What is known of one agent."""

    __slots__ = ("at_ns", "cpu_ns", "final", "pending", "sequence", "span_ns")

    def __init__(self) -> None:
        self.sequence = -1
        self.at_ns = 0
        self.span_ns = 0
        self.cpu_ns = 0
        self.final = False
        self.pending = False  # has reported since the last row


class Store:
    """One writer side (`append`), any number of readers, any threads."""

    def __init__(
        self, topology: Topology, anchor: Anchor | None = None, *, bins_bytes: int = BINS_BYTES
    ) -> None:
        self.topology = topology
        self.anchor = clock.anchor() if anchor is None else anchor
        self._lock = threading.RLock()
        self._columns = Columns(topology)
        self._spectrum = Spectrum(topology)
        self._world = World(topology, self._spectrum)
        self._roll = Roll(topology)
        self._ledger = Ledger(topology, self._world, self._roll)
        self._tier = Tier(self._columns, self._spectrum, 0, bins_bytes)
        self._agents: dict[str, Agent] = {}
        self._marks: list[tuple[int, Mark]] = []
        self._next_mark = 0
        self._row_ns = -1
        self._open_ns: int | None = None
        self._computed = False
        self._samples_lost = 0
        self._foreign = 0

    # the writer's side

    def append(self, record: Report | Mark) -> bool:
        """Take in a record; False for one that cannot be true: counted as foreign, it changes nothing."""
        with self._lock:
            try:
                if isinstance(record, Mark):
                    self._mark(record)
                else:
                    self._report(record)
            except MalformedError:
                self._foreign += 1
                return False
            return True

    def refuse(self) -> None:
        """Count something that came in and was not even a record."""
        with self._lock:
            self._foreign += 1

    # the reader's side

    def since(self, cursor: int, tier: int = 0) -> tuple[Rows, int]:
        """The rows from number `cursor` on, or from the oldest kept, and the cursor for next time."""
        with self._lock:
            ring = self._tier.tier(tier)
            return ring.rows(cursor), ring.next

    def marks(self, cursor: int = 0) -> tuple[list[Mark], int]:
        """The marks from number `cursor` on, and the cursor for next time."""
        with self._lock:
            first = bisect_left(self._marks, cursor, key=lambda numbered: numbered[0])
            return [mark for _, mark in self._marks[first:]], self._next_mark

    def histogram(self, link: str | None, duration: str, phase: str | None = None) -> Histogram:
        """All durations so far, of one phase or both; link None: all terminal links together."""
        with self._lock:
            return self._spectrum.histogram(link, duration, phase)

    def totals(self, link: str) -> LinkTotals:
        """The exact counters of a link by the last Report."""
        with self._lock:
            self._compute()
            return self._ledger.links[link].totals

    def subscribers(self, link: str) -> dict[str, LinkTotals]:
        """The exact counters of each subscriber by instance name; empty for push-pull."""
        with self._lock:
            self._compute()
            return self._ledger.links[link].by_subscriber(self._world.words)

    @property
    def closed(self) -> bool:
        """The run has ended: nothing is in flight and nothing unresolved."""
        return self._roll.ending is not None

    @property
    def final(self) -> bool:
        """Every agent has sent its last Report; one whose probes another has taken over is not waited for."""
        with self._lock:
            over = any(agent.final for agent in self._agents.values())
            return over and all(agent.final for agent in self._reading())

    @property
    def samples_lost(self) -> int:
        """Reports that were sent and never came: resolution lost, no counts."""
        return self._samples_lost

    @property
    def foreign(self) -> int:
        """What came in and was no record, or one that cannot be true."""
        return self._foreign

    def memory_bytes(self) -> int:
        """What the store takes now."""
        with self._lock:
            return self._tier.nbytes + self._spectrum.nbytes + self._world.nbytes

    # inside

    def _mark(self, mark: Mark) -> None:
        if not 0 <= mark.at_ns < LIMIT:
            raise MalformedError("a time that cannot be")
        was_closed = self.closed
        self._roll.follow(mark)
        self._computed = False
        self._marks.append((self._next_mark, mark))
        self._next_mark += 1
        if len(self._marks) > MOST_MARKS:
            self._marks = thinned(self._marks)
        if self.closed and not was_closed:
            self._close(max(mark.at_ns, self._row_ns + 1))
            self._tier.flush()

    def _report(self, report: Report) -> None:
        numbers = report.sequence, report.at_ns, report.span_ns, report.cpu_ns
        if not all(0 <= number < LIMIT for number in numbers):
            raise MalformedError("a number that cannot be")
        agent = self._agents.get(report.agent)
        if agent is None and len(self._agents) >= MOST_AGENTS:
            raise MalformedError("too many agents")
        self._foreign += self._world.take(report)
        if agent is None:
            agent = self._agents[report.agent] = Agent()
        # a lower number is an agent that was started anew
        self._samples_lost += max(0, report.sequence - agent.sequence - 1)
        agent.sequence, agent.at_ns, agent.final = report.sequence, report.at_ns, report.final
        agent.span_ns, agent.cpu_ns = report.span_ns, report.cpu_ns
        agent.pending = True
        self._computed = False
        if report.at_ns > self._row_ns and self._complete(report.at_ns):
            self._close(report.at_ns)

    def _complete(self, at_ns: int) -> bool:
        """Whether the open bucket has heard of every agent that it waits for."""
        if self._open_ns is None:
            self._open_ns = at_ns
        if at_ns - self._open_ns >= WAIT_NS:
            return True
        agents = self._reading()
        return all(agent.pending or agent.final or at_ns - agent.at_ns > SILENT_NS for agent in agents)

    def _reading(self) -> list[Agent]:
        """The agents that probes are read by."""
        return [self._agents[name] for name in self._world.readers]

    def _compute(self) -> None:
        if not self._computed:
            at = [agent.at_ns for agent in self._reading()]
            self._ledger.compute(min(at, default=-1), max(at, default=-1))
            self._computed = True

    def _close(self, at_ns: int) -> None:
        self._compute()
        bins = self._spectrum.take()
        values = self._values(bins)
        gauges = values[self._columns.gauges]
        self._tier.append(at_ns, values, np.array((gauges, gauges, gauges)), bins)
        self._row_ns = at_ns
        self._open_ns = None
        for agent in self._agents.values():
            agent.pending = False

    def _values(self, bins: Bins) -> F64:
        """One row, in the order of the columns."""
        values: list[float] = []
        percents = list(PERCENTS.values())
        received = lost = backlog = 0
        for name, ledger in self._ledger.links.items():
            totals = ledger.totals
            counts = {lost_field(cause): totals.lost[cause] for cause in CAUSES}
            values += [counts[f] if f in counts else getattr(totals, f) for f in LINK_COUNTERS]
            values += [totals.in_flight, totals.lost[UNRESOLVED], totals.blocked]
            for duration in LINK_DURATIONS:
                values += percentiles(bins.of(self._spectrum.key(name, duration)), percents)
            received, lost = received + totals.received, lost + totals.alarming
            backlog += totals.in_flight
        for node in self.topology.nodes:
            fields = self._ledger.node(node.name)
            values += [fields[field] for field in NODE_FIELDS]
        agents = self._agents.values()
        values += [self._samples_lost, sum(agent.cpu_ns for agent in agents), received, lost]
        values += [backlog, max((agent.span_ns for agent in agents), default=0)]
        values += percentiles(bins.of(self._spectrum.key(WHOLE, "end_to_end")), percents)
        return np.array(values, np.float64)


def thinned(marks: list[tuple[int, Mark]]) -> list[tuple[int, Mark]]:
    """Without the older half of the marks that only the books need, or else of the events; phases stay."""
    for kinds in (("birth", "death", "join", "leave"), ("event",)):
        places = [place for place, (_, mark) in enumerate(marks) if mark.kind in kinds]
        if len(places) > MOST_MARKS // 2:
            gone = set(places[: len(places) // 2])
            return [each for place, each in enumerate(marks) if place not in gone]
    return marks

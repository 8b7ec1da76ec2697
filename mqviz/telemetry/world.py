"""World: the last known counters of every probe, in one array that the ledger reads with index arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from mqviz.telemetry import probe
from mqviz.telemetry.histogram import HEAD, I64, SUM, U64, WORDS
from mqviz.telemetry.probe import InstanceBlock, ReceiveEnd, Schema, SendEnd
from mqviz.telemetry.roll import LIMIT, UNREADABLE, Life, MalformedError
from mqviz.telemetry.sample import Report
from mqviz.telemetry.spectrum import Spectrum
from mqviz.telemetry.topology import Topology

MOST_WORDS = 1 << 24
"""Counters of all probes together; what announces more is not ours."""
MOST_GROWTH = 1 << 40
"""No bin gains so much in one report."""


@dataclass(eq=False, slots=True)
class Place:
    """Where the counters of a probe begin in the world, and its histograms as last seen."""

    text: bytes  # the schema as announced: what a probe is known by
    schema: Schema
    base: int  # -1: not entered yet
    counters: int
    sent: I64  # which counters are `sent` words
    sent_now: U64  # those as last read; the world has their maximum
    cells: I64  # the spectrum's cell of each histogram
    seen: U64
    agent: str = ""  # who reads it


class SendRef(NamedTuple):
    """One send end, and whose."""

    life: Life
    end: SendEnd
    base: int

    @property
    def offset(self) -> int:
        """Its first word in the world."""
        return self.base + self.end.offset


class ReceiveRef(NamedTuple):
    """One receive end, and whose."""

    life: Life
    end: ReceiveEnd
    base: int

    @property
    def offset(self) -> int:
        """Its first word in the world."""
        return self.base + self.end.offset


Checked = tuple[Place, I64, U64]


class World:
    """Takes in reports; `version` grows when a probe comes in."""

    def __init__(self, topology: Topology, spectrum: Spectrum) -> None:
        self._topics = {link.name: len(link.topics) for link in topology.links}
        self._nodes = {node.name for node in topology.nodes}
        self._spectrum = spectrum
        self._used = 0
        self._by_schema: dict[bytes, Place] = {}
        self._by_number: dict[tuple[str, int], Place] = {}
        self._numbers: set[tuple[str, int]] = set()
        self.words: U64 = np.zeros(1024, np.uint64)
        self.sends: dict[str, list[SendRef]] = {name: [] for name in self._topics}
        self.receives: dict[str, list[ReceiveRef]] = {name: [] for name in self._topics}
        self.instances: dict[str, list[tuple[Life, int]]] = {name: [] for name in self._nodes}
        self.readers: dict[str, int] = {}
        """The agents that probes are read by, and how many each."""
        self.version = 0

    def take(self, report: Report) -> int:
        """Take in a report; how many samples are of probes not announced yet (the next full one brings them).

        Raises MalformedError, and then has taken nothing.
        """
        texts = {each.schema: self._announced(each.schema) for each in report.announced}
        announced = {each.probe: texts[each.schema] for each in report.announced}
        if len(announced) != len(report.announced):
            raise MalformedError("a probe announced twice")
        self._check_room([place for place in texts.values() if place.base < 0])
        checked: dict[int, Checked] = {}
        unknown = 0
        for sample in report.samples:
            place = announced.get(sample.probe) or self._by_number.get((report.agent, sample.probe))
            if sample.probe in checked:
                raise MalformedError(f"probe {sample.probe} comes twice")
            if place is None:
                unknown += 1
                continue
            checked[sample.probe] = self._checked(place, sample.positions, sample.values)
        for number, place in announced.items():
            self._enter(report.agent, number, place)
        for place, positions, values in checked.values():
            self._apply(place, positions, values)
        if report.final:
            for place in self._by_schema.values():
                if place.agent == report.agent:
                    self.words[place.base + place.sent] = place.sent_now
        return unknown

    @staticmethod
    def rows_of(ref: ReceiveRef) -> I64:
        """The first word of each row of a receive end."""
        return np.arange(ref.end.rows) * probe.ROW_WORDS + ref.offset + probe.RECEIVE_WORDS

    def _announced(self, text: bytes) -> Place:
        known = self._by_schema.get(text)
        if known is not None:
            return known
        try:
            schema = msgspec.json.decode(text, type=Schema)
        except UNREADABLE as error:
            raise MalformedError(f"a schema that cannot be read: {error}") from error
        check_schema(schema, self._topics, self._nodes)
        counters = schema.receive_words + schema.send_words
        firsts = [
            (end.offset + probe.SEND_WORDS, end.topics)
            for instance in schema.instances
            for end in instance.sends
        ]
        sent = np.unique(np.concatenate([np.zeros(0, np.int64), *(at + np.arange(n) for at, n in firsts)]))
        try:
            cells = [self._spectrum.cell(h.link, h.duration, h.phase) for h in schema.histograms]
        except (KeyError, ValueError) as error:
            raise MalformedError(str(error)) from error
        seen = np.zeros(schema.histogram_words, np.uint64)
        return Place(
            text, schema, -1, counters, sent, np.zeros(len(sent), np.uint64), np.array(cells, np.int64), seen
        )

    def _check_room(self, entering: list[Place]) -> None:
        if self._used + sum(place.counters for place in entering) > MOST_WORDS:
            raise MalformedError("too many counters")
        taken = set(self._numbers) if entering else set()
        for place in entering:
            for end in (end for instance in place.schema.instances for end in instance.sends):
                if (end.link, end.number) in taken:
                    raise MalformedError(f"producer number {end.number} of {end.link!r} comes twice")
                taken.add((end.link, end.number))

    def _checked(self, place: Place, position_bytes: bytes, value_bytes: bytes) -> Checked:
        if len(position_bytes) % 4 or len(value_bytes) != 2 * len(position_bytes):
            raise MalformedError("positions and values do not fit together")
        positions = np.frombuffer(position_bytes, "<u4").astype(np.int64)
        values = np.frombuffer(value_bytes, "<u8").astype(np.uint64)
        if not len(positions):
            return place, positions, values
        if positions[-1] >= place.schema.words or np.any(np.diff(positions) <= 0):
            raise MalformedError("positions out of range or not ascending")
        split = int(np.searchsorted(positions, place.counters))
        if np.any(values[:split] >= LIMIT):
            raise MalformedError("a counter that cannot be so high")
        places = positions[split:] - place.counters
        # a sum may wrap around, all else in a histogram only grows
        rising = places % WORDS != SUM
        growth = (values[split:] - place.seen[places])[rising].astype(np.int64)
        bins = (places % WORDS)[rising] >= HEAD
        if np.any(growth < 0) or np.any(growth[bins] > MOST_GROWTH):
            raise MalformedError("a histogram that lost counts, or grew too much")
        return place, positions, values

    def _enter(self, agent: str, number: int, place: Place) -> None:
        self._by_number[agent, number] = place
        if place.agent != agent:
            # an agent that was started anew takes over the probes of the one before
            if place.agent:
                self.readers[place.agent] -= 1
            self.readers[agent] = self.readers.get(agent, 0) + 1
            self.readers = {name: probes for name, probes in self.readers.items() if probes}
            place.agent = agent
        if place.base >= 0:
            return
        place.base = self._used
        self._used += place.counters
        if self._used > len(self.words):
            grown = np.zeros(2 * self._used, np.uint64)
            grown[: len(self.words)] = self.words
            self.words = grown
        self._by_schema[place.text] = place
        for instance in place.schema.instances:
            life = instance.name, instance.incarnation
            self.instances[instance.node].append((life, place.base + instance.offset))
            for into in instance.receives:
                self.receives[into.link].append(ReceiveRef(life, into, place.base))
            for out in instance.sends:
                self.sends[out.link].append(SendRef(life, out, place.base))
                self._numbers.add((out.link, out.number))
        self.version += 1

    def _apply(self, place: Place, positions: I64, values: U64) -> None:
        split = int(np.searchsorted(positions, place.counters))
        counters, news = positions[:split], values[:split]
        rank, is_sent = find(place.sent, counters)
        place.sent_now[rank[is_sent]] = news[is_sent]
        # a blocked producer takes back the count of the try that failed, so until the final report the most counts
        news[is_sent] = np.maximum(news[is_sent], self.words[place.base + counters[is_sent]])
        self.words[place.base + counters] = news
        places, news = positions[split:] - place.counters, values[split:]
        if len(places):
            deltas = news - place.seen[places]
            place.seen[places] = news
            self._spectrum.add(place.cells[places // WORDS], places % WORDS, news, deltas)

    @property
    def nbytes(self) -> int:
        """What it takes in memory, without the schemas."""
        return self.words.nbytes + sum(
            p.seen.nbytes + p.sent.nbytes + p.sent_now.nbytes for p in self._by_schema.values()
        )


def find(ascending: I64, values: I64) -> tuple[I64, npt.NDArray[np.bool_]]:
    """The place of each value, and whether it is there at all (its place is 0 where it is not)."""
    place = np.searchsorted(ascending, values)
    there = place < len(ascending)
    there[there] = ascending[place[there]] == values[there]
    return np.where(there, place, 0), there


def check_schema(schema: Schema, topics: dict[str, int], nodes: set[str]) -> None:
    """Raises MalformedError for a schema that does not fit the topology or itself."""
    receive, send = schema.receive_words, schema.receive_words + schema.send_words
    sound = min(schema.receive_words, schema.send_words) >= 0
    sound &= schema.histogram_words == len(schema.histograms) * WORDS
    sound &= len({(h.link, h.duration, h.phase) for h in schema.histograms}) == len(schema.histograms)
    sound &= all(h.offset == send + i * WORDS for i, h in enumerate(schema.histograms))
    sound &= send <= MOST_WORDS
    if not (sound and all(_fits(instance, receive, send, topics, nodes) for instance in schema.instances)):
        raise MalformedError(f"the schema of runner {schema.runner!r} does not fit this scenario")


def _fits(instance: InstanceBlock, receive: int, send: int, topics: dict[str, int], nodes: set[str]) -> bool:
    fits = instance.node in nodes and 0 <= instance.incarnation < LIMIT
    fits &= 0 <= instance.offset <= receive - probe.INSTANCE_WORDS
    for into in instance.receives:
        size = probe.RECEIVE_WORDS + into.rows * probe.ROW_WORDS
        fits &= into.link in topics and into.rows >= 0 and 0 <= into.offset <= receive - size
    for out in instance.sends:
        fits &= out.link in topics and 0 <= out.topics <= topics.get(out.link, 0)
        fits &= receive <= out.offset <= send - probe.SEND_WORDS - out.topics and 0 <= out.number < 1 << 16
    return fits

"""Ends: the open sockets of one loop and where their counters are; what both engines work on."""

from __future__ import annotations

import errno

import zmq

from mqviz.channels import message, zeromq
from mqviz.simulation.plan import Inbound, Instance, LoopPlan, Outbound
from mqviz.telemetry import probe
from mqviz.telemetry.histogram import U64


class Receiver:
    """A receive end: its socket, its counters, and the producers that it knows."""

    def __init__(
        self, context: zeromq.Context, plan: Inbound, end: probe.ReceiveEnd, words: U64, run_number: int
    ) -> None:
        self.plan = plan
        self.link = plan.link
        self.offset = end.offset
        self.prefix = message.prefix_bytes(plan.topics)
        self.socket = zeromq.open_receiver(
            context,
            plan.pattern,
            hwm=plan.receive_hwm,
            buffer_bytes=plan.receive_buffer,
            conflate=plan.conflate,
            subscribe=plan.subscribe,
        )
        self.topics = zeromq.matching_topics(plan.topics, plan.subscribe)
        self.rows: dict[tuple[int, int], int] = {}
        """(producer number, topic number) -> first word of its row."""
        self.awaited: set[int] = set()
        """Producer numbers whose hello has not come yet."""
        self._words = words
        self._run_number = run_number
        self._endpoints: dict[int, str] = {}

    def producer_id(self, number: int) -> int:
        """As it stands in a header."""
        return self._run_number << 16 | number

    def connect(self, number: int, endpoint: str, hello: bool = True) -> None:
        """Know a producer: give it rows, then connect. `hello`: it will say hello, which is waited for."""
        for topic in self.topics:
            if (number, topic) not in self.rows:
                if len(self.rows) >= self.plan.rows:
                    raise ValueError(f"{self.link}: no room for another producer")
                at = self.offset + probe.RECEIVE_WORDS + len(self.rows) * probe.ROW_WORDS
                self.rows[number, topic] = at
                self._words[at + probe.KEY] = 1 + (number << 16 | topic)
        if self.topics and hello:
            self.awaited.add(number)
        self._endpoints[number] = endpoint
        self.socket.connect(endpoint)

    def disconnect(self, number: int) -> None:
        """A producer that has gone: do not look for it any more; its rows stay."""
        endpoint = self._endpoints.pop(number, None)
        self.awaited.discard(number)
        if endpoint is not None:
            try:
                self.socket.disconnect(endpoint)
            except zmq.ZMQError as error:
                if error.errno != errno.ENOENT:  # inproc, or the pipe has ended by itself
                    raise

    def close(self) -> None:
        """At once: receivers have nothing to flush."""
        self.socket.close(0)


class Sender:
    """A send end: its bound socket and its counters."""

    def __init__(self, context: zeromq.Context, plan: Outbound, end: probe.SendEnd, run_number: int) -> None:
        self.plan = plan
        self.link = plan.link
        self.offset = end.offset
        self.sent = end.offset + probe.SEND_WORDS
        """First of the `sent` words, one a topic."""
        self.producer_id = run_number << 16 | plan.number
        self.width = message.prefix_bytes(plan.topics)
        self.prefixes = [message.prefix(topic, self.width) for topic in plan.topics]
        self.socket, self.endpoint = zeromq.open_sender(
            context,
            plan.pattern,
            plan.bind,
            hwm=plan.send_hwm,
            buffer_bytes=plan.send_buffer,
            linger_ms=plan.linger_ms,
            conflate=plan.conflate,
        )

    def hello(self) -> None:
        """One hello for each receiver and topic, dropped where there is no room."""
        for topic, prefix in enumerate(self.prefixes):
            header = message.Header(message.FLAG_HELLO, self.producer_id, topic, 0, 0, 0, 0)
            frame = prefix + message.pack(header)
            for _ in range(self.plan.peers if self.plan.pattern == "push-pull" else 1):
                try:
                    self.socket.send(frame, zmq.DONTWAIT)
                except zmq.Again:
                    return

    def close(self) -> None:
        """Within the link's linger."""
        self.socket.close(self.plan.linger_ms)


class Member:
    """One instance within a loop: its plan, its own words, its ends."""

    def __init__(
        self,
        plan: Instance,
        block: probe.InstanceBlock,
        receivers: list[Receiver],
        senders: list[Sender],
    ) -> None:
        self.plan = plan
        self.index = plan.index
        self.offset = block.offset
        self.receivers = receivers
        self.senders = senders
        self.halted = False

    def close(self) -> None:
        """All sockets."""
        for sender in self.senders:
            sender.close()
        for receiver in self.receivers:
            receiver.close()


class HistogramPlaces:
    """Where the histograms of a runner are: (link, duration) -> word offsets by phase."""

    def __init__(self, schema: probe.Schema) -> None:
        self._places: dict[tuple[str, str], list[int]] = {}
        for block in schema.histograms:
            pair = self._places.setdefault((block.link, block.duration), [0, 0])
            pair[probe.PHASES.index(block.phase)] = block.offset

    def of(self, link: str, duration: str) -> tuple[int, int] | None:
        """Offsets for warm-up and measure, None where the probe has no such histogram."""
        pair = self._places.get((link, duration))
        return (pair[0], pair[1]) if pair else None


def open_members(
    context: zeromq.Context, plan: LoopPlan, schema: probe.Schema, words: U64, run_number: int
) -> list[Member]:
    """Open every socket of a loop."""
    members = []
    blocks = {(b.node, b.index, b.incarnation): b for b in schema.instances}
    for instance in plan.instances:
        block = blocks[plan.node, instance.index, instance.incarnation]
        receivers = [
            Receiver(context, want, end, words, run_number)
            for want, end in zip(instance.receives, block.receives, strict=True)
        ]
        senders = [
            Sender(context, want, end, run_number)
            for want, end in zip(instance.sends, block.sends, strict=True)
        ]
        members.append(Member(instance, block, receivers, senders))
    return members

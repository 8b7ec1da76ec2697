"""The ends that engines.py and pacing.py compare: bare pyzmq, and the loops of mqviz's engines."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import zmq

from mqviz.simulation import engine, plan
from mqviz.simulation.engine.ends import HistogramPlaces, Member, open_members
from mqviz.simulation.engine.producer import Producers
from mqviz.simulation.engine.receiver import Receivers
from mqviz.simulation.runner import SLICE_NS, instance_plans
from mqviz.telemetry import clock, probe
from mqviz.telemetry.histogram import WORDS, Histogram

LINK = "a -> b"
RUN_NUMBER = 7
HELLO = b"hello"
READING_NS = 5_000_000
"""A receiving loop's count is read so often: a rate is between two of them."""
MOST_BYTES = 400 << 20
"""A publisher without a high-water mark queues all that its subscriber is behind: no more than this."""
CHUNK = 100
"""Messages between two looks at the clock."""
CATCH_UP_NS = 500_000_000


class Case(NamedTuple):
    """What is sent how; `rate`: messages/s on a constant schedule, None: as fast as sends are accepted."""

    variant: str  # pyzmq | python | native | uninstrumented
    pattern: str
    transport: str
    size: int
    rate: float | None = None

    @property
    def hwm(self) -> int:
        """A publisher drops what is above its mark, so there it has none."""
        return 1000 if self.pattern == "push-pull" else 0

    @property
    def most(self) -> int:
        """Messages that one run may send."""
        return MOST_BYTES // self.size

    def bind(self, folder: Path) -> str:
        """Where the sending end is to listen."""
        return "tcp://127.0.0.1:*" if self.transport == "tcp" else f"ipc://{folder}/{self.variant}.ipc"


class Sent(NamedTuple):
    """What the sending end has to tell."""

    messages: int
    rate_error: float = 0.0  # of a schedule: achieved / offered - 1
    lateness_p99_ns: int = 0


class Received(NamedTuple):
    """What the receiving end has to tell."""

    messages: int
    rate: float


Total = Callable[[], int | None]
"""How many messages there were in all; None while the sender still sends."""


class BareSender:
    """A loop around `send`, as anybody would write it."""

    def __init__(self, case: Case, folder: Path) -> None:
        self._case = case
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.PUSH if case.pattern == "push-pull" else zmq.PUB)
        self._socket.sndhwm = case.hwm
        self._socket.bind(case.bind(folder))
        self.endpoint = self._socket.last_endpoint.rstrip(b"\0").decode()

    def hello(self) -> None:
        """One, where there is room."""
        try:
            self._socket.send(HELLO, zmq.DONTWAIT)
        except zmq.Again:
            pass

    def send(self, seconds: float) -> Sent:
        """For so long; an empty message comes last."""
        send, payload, most = self._socket.send, b"x" * self._case.size, self._case.most
        messages = 0
        end = time.monotonic() + seconds
        while not messages or (time.monotonic() < end and messages < most):
            for _ in range(CHUNK):
                send(payload)
            messages += CHUNK
        send(b"")
        return Sent(messages)

    def close(self) -> None:
        """All has been received."""
        self._socket.close(0)
        self._context.term()


class BareReceiver:
    """A loop around `recv`."""

    def __init__(self, case: Case, endpoint: str, folder: Path) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.PULL if case.pattern == "push-pull" else zmq.SUB)
        self._socket.rcvhwm = case.hwm
        if case.pattern == "pub-sub":
            self._socket.subscribe(b"")
        self._socket.connect(endpoint)

    def hear(self) -> bool:
        """Whether a hello has come."""
        return bool(self._socket.poll(10)) and self._socket.recv() == HELLO

    def receive(self, total: Total) -> Received:
        """Until the empty message."""
        receive = self._socket.recv
        while receive() == HELLO:
            pass
        began = clock.now_ns()
        while receive():
            pass
        took = clock.now_ns() - began
        while (messages := total()) is None:
            time.sleep(0.001)
        return Received(messages, (messages - 1) * 1e9 / took)

    def close(self) -> None:
        """At once."""
        self._socket.close(0)
        self._context.term()


class EngineEnd:
    """One instance with one end, its probe and its loop, without the process that a runner is."""

    def __init__(self, case: Case, folder: Path, role: str, instance: plan.Instance) -> None:
        loop = plan.LoopPlan(
            node=role, role=role, count=1, instances=(instance,), size=str(case.size), rate=case.rate,
            arrivals="constant",
        )  # fmt: skip
        whole = plan.RunnerPlan(
            runner=role, engine=case.variant, probe=str(folder / f"{role}.probe"), run_number=RUN_NUMBER,
            seed=1, loops=(loop,),
        )  # fmt: skip
        schema = probe.lay_out(role, case.variant, instance_plans(whole))
        self.probe = probe.Probe.create(Path(whole.probe), schema)
        self.words = self.probe.words
        self.places = HistogramPlaces(schema)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.member: Member
        (self.member,) = open_members(self._context, loop, schema, self.words, RUN_NUMBER)
        kinds = engine.load(case.variant)
        kind = kinds.producers if role == "producer" else kinds.receivers
        self.load: Producers | Receivers = kind(loop, [self.member], self.words, self.places, 1)

    def close(self) -> None:
        """Sockets and files."""
        self.member.close()
        self._context.term()
        os.unlink(self.probe.path)


class EngineSender(EngineEnd):
    """A producer of either engine."""

    load: Producers

    def __init__(self, case: Case, folder: Path) -> None:
        out = plan.Outbound(
            link=LINK, pattern=case.pattern, bind=case.bind(folder), number=0, send_hwm=case.hwm,
            send_buffer=-1, linger_ms=0, conflate=False, topics=("",), weights=(1.0,), peers=1,
        )  # fmt: skip
        super().__init__(case, folder, "producer", plan.Instance(index=0, incarnation=0, sends=(out,)))
        self._case = case
        (self._sender,) = self.member.senders
        self.endpoint = self._sender.endpoint
        self.hello = self._sender.hello

    def send(self, seconds: float) -> Sent:
        """For so long, or by the schedule."""
        return self._send(seconds) if self._case.rate is None else self._pace(seconds, self._case.rate)

    @property
    def _messages(self) -> int:
        return int(self.words[self._sender.sent])

    def _send(self, seconds: float) -> Sent:
        began = clock.now_ns()
        until = began + int(seconds * 1e9)
        self.load.begin(began, 0, None)
        while not self._messages or (clock.now_ns() < until and self._messages < self._case.most):
            self.load.slice(clock.now_ns() + READING_NS)
        self.load.finish(clock.now_ns())
        self.load.settle(clock.now_ns())
        return Sent(self._messages)

    def _pace(self, seconds: float, rate: float) -> Sent:
        began = clock.now_ns() + 2 * SLICE_NS
        until = began + int(seconds * 1e9)
        self.load.begin(began, 0, until)
        while (now := clock.now_ns()) < until:
            self.load.slice(min(now + SLICE_NS, until))
            self.load.count_due(now)
        in_time = self._messages
        self.load.finish(until)
        while self.load.catching_up and clock.now_ns() < until + CATCH_UP_NS:
            self.load.slice(clock.now_ns() + READING_NS)
        self.load.settle(clock.now_ns())
        place = self.places.of(LINK, "lateness")
        assert place is not None, "a producer's probe has it"
        lateness = Histogram.from_words(self.words[place[1] : place[1] + WORDS])
        return Sent(self._messages, in_time / (rate * seconds) - 1, lateness.percentile(99) or 0)


class EngineReceiver(EngineEnd):
    """A consumer of either engine, without service time."""

    load: Receivers

    def __init__(self, case: Case, endpoint: str, folder: Path) -> None:
        into = plan.Inbound(
            link=LINK, pattern=case.pattern, receive_hwm=case.hwm, receive_buffer=-1, conflate=False,
            subscribe=("",), topics=("",), rows=1, terminal=True,
        )  # fmt: skip
        super().__init__(case, folder, "consumer", plan.Instance(index=0, incarnation=0, receives=(into,)))
        self.load.connect((plan.Wire(0, LINK, 0, endpoint),))
        (receiver,) = self.member.receivers
        (self._row,) = receiver.rows.values()

    def hear(self) -> bool:
        """Whether a hello has come."""
        self._slice()
        return not self.load.awaits

    def _slice(self) -> int:
        self.load.slice(clock.now_ns() + READING_NS)
        return int(self.words[self._row + probe.RECEIVED])

    def receive(self, total: Total) -> Received:
        """Until all is there."""
        received = timed(self._slice, total)
        self.load.settle(clock.now_ns())
        return received


def timed(slice_: Callable[[], int], total: Total) -> Received:
    """Run slices, each of which tells how many have come so far, until all have; the rate while they came."""
    began_ns = clock.now_ns()
    readings: list[tuple[int, int]] = []
    while True:
        count = slice_()
        wanted = total()
        if count == wanted:
            break
        if count:
            readings.append((clock.now_ns(), count))
    # the slice in which the last one comes goes on without messages, so its end tells no rate if others can
    if len(readings) < 2:
        readings = [(began_ns, 0), (clock.now_ns(), count)]
    (first_ns, first), (last_ns, last) = readings[0], readings[-1]
    return Received(count, (last - first) * 1e9 / (last_ns - first_ns))

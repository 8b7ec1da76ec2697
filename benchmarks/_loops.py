"""The loops of mqviz's engines: one producer, one consumer, without the processes that runners are."""

from __future__ import annotations

import os
from pathlib import Path

import zmq
from _case import READING_NS, Case, Received, Sent, Total, timed

from mqviz.simulation import engine, plan
from mqviz.simulation.engine.ends import HistogramPlaces, Member, open_members
from mqviz.simulation.engine.producer import Producers
from mqviz.simulation.engine.receiver import Receivers
from mqviz.simulation.runner import CATCH_UP_NS, SLICE_NS, instance_plans
from mqviz.telemetry import clock, probe
from mqviz.telemetry.histogram import WORDS, Histogram

LINK = "a -> b"
RUN_NUMBER = 7


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

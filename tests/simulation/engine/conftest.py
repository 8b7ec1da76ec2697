"""A rig: one producer loop and one receiver loop over real sockets, without runner and orchestrator."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

from mqviz.simulation import engine
from mqviz.simulation.engine.ends import HistogramPlaces, Member, open_members
from mqviz.simulation.engine.producer import Producers
from mqviz.simulation.engine.receiver import Receivers
from mqviz.simulation.plan import Inbound, Instance, LoopPlan, Outbound, Wire
from mqviz.telemetry import clock, probe
from mqviz.telemetry.histogram import WORDS, Histogram

RUN_NUMBER = 0xBEEF
"""With its highest bit set: a producer id does not fit a signed word."""
SLICE_NS = 5_000_000
MS = 1_000_000


def outbound(link: str = "a -> b", number: int = 0, **changes: object) -> Outbound:
    """A send end; tcp, push-pull, no topics."""
    values: dict[str, object] = {
        "link": link, "pattern": "push-pull", "bind": "tcp://127.0.0.1:*", "number": number,
        "send_hwm": 1000, "send_buffer": -1, "linger_ms": 0, "conflate": False,
        "topics": ("",), "weights": (1.0,), "peers": 1,
    }  # fmt: skip
    return Outbound(**{**values, **changes})  # type: ignore[arg-type]


def inbound(link: str = "a -> b", **changes: object) -> Inbound:
    """A receive end."""
    values: dict[str, object] = {
        "link": link, "pattern": "push-pull", "receive_hwm": 1000, "receive_buffer": -1, "conflate": False,
        "subscribe": ("",), "topics": ("",), "rows": 16, "terminal": True,
    }  # fmt: skip
    return Inbound(**{**values, **changes})  # type: ignore[arg-type]


def producer_plan(*instances: tuple[Outbound, ...], **changes: object) -> LoopPlan:
    """Producers of node a, one instance for each tuple of send ends."""
    values: dict[str, object] = {
        "node": "a", "role": "producer", "count": len(instances), "size": "64B", "rate": 1000.0,
        "instances": tuple(Instance(index=i, incarnation=0, sends=s) for i, s in enumerate(instances)),
        "arrivals": "constant",
    }  # fmt: skip
    return LoopPlan(**{**values, **changes})  # type: ignore[arg-type]


def consumer_plan(*instances: tuple[Inbound, ...], **changes: object) -> LoopPlan:
    """Consumers of node b, one instance for each tuple of receive ends."""
    values: dict[str, object] = {
        "node": "b", "role": "consumer", "count": len(instances), "size": "64B",
        "instances": tuple(Instance(index=i, incarnation=0, receives=r) for i, r in enumerate(instances)),
    }  # fmt: skip
    return LoopPlan(**{**values, **changes})  # type: ignore[arg-type]


def worker_plan(receives: Inbound, *sends: Outbound, **changes: object) -> LoopPlan:
    """One worker, node b."""
    values: dict[str, object] = {
        "node": "b", "role": "worker", "count": 1, "size": "100B", "service": "1ms",
        "instances": (Instance(index=0, incarnation=0, receives=(receives,), sends=sends),),
    }  # fmt: skip
    return LoopPlan(**{**values, **changes})  # type: ignore[arg-type]


class Rig:
    """Loops of one process, their probe, and what the lab would do with them."""

    def __init__(self, name: str, path: Path, plans: list[LoopPlan], seed: int = 7) -> None:
        chosen = engine.load(name)
        wanted = [
            probe.InstancePlan(
                plan.node, i.index, i.incarnation,
                tuple(probe.ReceivePlan(r.link, r.rows, r.terminal) for r in i.receives),
                tuple(probe.SendPlan(s.link, s.number, len(s.topics)) for s in i.sends),
            )
            for plan in plans
            for i in plan.instances
        ]  # fmt: skip
        self.schema = probe.lay_out("r", name, wanted)
        self.probe = probe.Probe.create(path / "r.probe", self.schema)
        self.words = self.probe.words
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        places = HistogramPlaces(self.schema)
        self.loops: dict[str, Producers | Receivers] = {}
        for plan in plans:
            members = open_members(self.context, plan, self.schema, self.words, RUN_NUMBER)
            kind = chosen.producers if plan.role == "producer" else chosen.receivers
            self.loops[plan.node] = kind(plan, members, self.words, places, seed)
        self._plain: list[zmq.Socket[bytes]] = []
        self.threads: list[threading.Thread] = []
        self.stop = threading.Event()
        self.failures: list[BaseException] = []
        self._wire()

    def plain(self, kind: int) -> zmq.Socket[bytes]:
        """A socket that is closed with the rig."""
        socket = self.context.socket(kind)
        socket.setsockopt(zmq.LINGER, 0)
        self._plain.append(socket)
        return socket

    def raw(self, kind: int, node: str = "a", index: int = 0) -> zmq.Socket[bytes]:
        """A plain socket: connected to the first send end of a node, or bound as producer 0 of `index`."""
        socket = self.plain(kind)
        socket.setsockopt(zmq.RCVTIMEO, 10_000)
        if kind == zmq.PUSH:
            port = socket.bind_to_random_port("tcp://127.0.0.1")
            load = self.receivers(node)
            link = load.members[index].receivers[0].link
            assert load.connect((Wire(index, link, 0, f"tcp://127.0.0.1:{port}"),))
        else:
            socket.connect(self.loops[node].members[index].senders[0].endpoint)
        return socket

    @property
    def producers(self) -> Producers:
        """Node a."""
        load = self.loops["a"]
        assert isinstance(load, Producers)
        return load

    def receivers(self, node: str = "b") -> Receivers:
        """A node that receives."""
        load = self.loops[node]
        assert isinstance(load, Receivers)
        return load

    def members(self) -> Iterator[Member]:
        """Of all loops."""
        for load in self.loops.values():
            yield from load.members

    def _wire(self) -> None:
        senders = [sender for member in self.members() for sender in member.senders]
        for load in self.loops.values():
            if isinstance(load, Receivers):
                load.connect(
                    tuple(
                        Wire(member.index, receiver.link, sender.plan.number, sender.endpoint)
                        for member in load.members
                        for receiver in member.receivers
                        for sender in senders
                        if sender.link == receiver.link
                    )
                )

    def say_hello(self) -> None:
        """Until every receiver has heard every producer."""
        receivers = [load for load in self.loops.values() if isinstance(load, Receivers)]
        deadline = clock.now_ns() + 10_000 * MS
        while any(load.awaits for load in receivers):
            assert clock.now_ns() < deadline, "a hello has not come"
            for member in self.members():
                for sender in member.senders:
                    sender.hello()
            for load in receivers:
                load.slice(clock.now_ns() + MS)
        for load in receivers:  # those that are still on their way
            load.slice(clock.now_ns() + 5 * MS)

    def begin(self, seconds: float | None = None, measure_after: float = 0.0) -> int:
        """The load of every loop begins; returns when."""
        at = clock.now_ns() + MS
        until = None if seconds is None else at + int(seconds * 1e9)
        for load in self.loops.values():
            load.begin(at, at + int(measure_after * 1e9), until)
        return at

    def spin_up(self) -> None:
        """A thread for each loop, as in a runner."""
        for node, load in self.loops.items():
            run = self._produce if isinstance(load, Producers) else self._receive
            self.threads.append(threading.Thread(target=self._guard, args=(run, load), name=node))
        for thread in self.threads:
            thread.start()

    def _guard(self, run: Callable[[Producers | Receivers], None], load: Producers | Receivers) -> None:
        try:
            run(load)
        except BaseException as error:
            self.failures.append(error)

    def _produce(self, load: Producers) -> None:
        while not self.stop.is_set() and not load.finished:
            now = clock.now_ns()
            load.slice(now + SLICE_NS if load.ending else min(now + SLICE_NS, load.until_ns))
            now = clock.now_ns()
            load.count_due(now)
            if now >= load.until_ns and not load.ending:
                load.finish(now)
            if load.ending and not load.catching_up:
                load.finished = True
        load.settle(clock.now_ns())

    def _receive(self, load: Receivers) -> None:
        while not self.stop.is_set():
            load.slice(clock.now_ns() + SLICE_NS)

    def run(self, seconds: float, measure_after: float = 0.0) -> None:
        """Hello, the load, and the drain until everything that was sent has been worked off."""
        self.say_hello()
        self.begin(seconds, measure_after)
        self.spin_up()
        self.drain(seconds)

    def drain(self, seconds: float = 0.0) -> None:
        """Until the books balance; then every loop ends."""
        deadline = clock.now_ns() + int((seconds + 10) * 1e9)
        self.wait_for(lambda: self._producers_done() and self.balanced(), deadline)
        self.join()

    def wait_for(self, done: Callable[[], bool], deadline: int | None = None) -> None:
        """While the threads run: until something has come about, or one has failed."""
        deadline = deadline or clock.now_ns() + 10_000 * MS
        while not done() and not self.failures and clock.now_ns() < deadline:
            threading.Event().wait(0.005)

    def receive(self, done: Callable[[], bool], node: str = "b") -> None:
        """Slices of a receiving loop, in this thread, until something has come about."""
        deadline = clock.now_ns() + 10_000 * MS
        while not done():
            assert clock.now_ns() < deadline, "it has not come about"
            self.receivers(node).slice(clock.now_ns() + 2 * MS)
        self.receivers(node).flush()

    def produce(self, milliseconds: int) -> None:
        """Slices of the producing loop, in this thread."""
        end = clock.now_ns() + milliseconds * MS
        while clock.now_ns() < end:
            self.producers.slice(min(end, clock.now_ns() + SLICE_NS))
        self.producers.flush()
        self.producers.count_due(clock.now_ns())

    def join(self) -> None:
        """End the threads; a failure of one is raised here."""
        self.stop.set()
        for thread in self.threads:
            thread.join()
        self.threads.clear()
        if self.failures:
            raise self.failures[0]
        for load in self.loops.values():
            load.flush()

    def _producers_done(self) -> bool:
        return all(load.finished for load in self.loops.values() if isinstance(load, Producers))

    def balanced(self) -> bool:
        """Everything sent by push has been worked off."""
        ends = [(b, r) for b in self.schema.instances for r in b.receives]
        worked_off = sum(int(self.words[r.offset + probe.WORKED_OFF]) for _, r in ends)
        return worked_off == sum(
            sum(self.sent(b.node, b.index, s.link)) for b in self.schema.instances for s in b.sends
        )

    # what the probe shows

    def _block(self, node: str, index: int) -> probe.InstanceBlock:
        return next(b for b in self.schema.instances if (b.node, b.index) == (node, index))

    def instance(self, word: int, node: str, index: int = 0) -> int:
        """A word of an instance."""
        return int(self.words[self._block(node, index).offset + word])

    def _send_end(self, node: str, index: int, link: str) -> probe.SendEnd:
        return next(s for s in self._block(node, index).sends if s.link == link)

    def _receive_end(self, node: str, index: int, link: str) -> probe.ReceiveEnd:
        return next(r for r in self._block(node, index).receives if r.link == link)

    def send_word(self, word: int, node: str = "a", index: int = 0, link: str = "a -> b") -> int:
        """A word of a send end."""
        return int(self.words[self._send_end(node, index, link).offset + word])

    def sent(self, node: str = "a", index: int = 0, link: str = "a -> b") -> list[int]:
        """`sent` of a send end, by topic."""
        end = self._send_end(node, index, link)
        at = end.offset + probe.SEND_WORDS
        return [int(n) for n in self.words[at : at + end.topics]]

    def receive_word(self, word: int, node: str = "b", index: int = 0, link: str = "a -> b") -> int:
        """A word of a receive end."""
        return int(self.words[self._receive_end(node, index, link).offset + word])

    def rows(self, node: str = "b", index: int = 0, link: str = "a -> b") -> dict[tuple[int, int], list[int]]:
        """(producer number, topic) -> RECEIVED, FIRST, LAST, GAPS, LATE."""
        end = self._receive_end(node, index, link)
        found = {}
        for n in range(end.rows):
            at = end.offset + probe.RECEIVE_WORDS + n * probe.ROW_WORDS
            key = int(self.words[at + probe.KEY])
            if key:
                words = self.words[at + 1 : at + probe.ROW_WORDS]
                found[(key - 1) >> 16, (key - 1) & 0xFFFF] = [int(word) for word in words]
        return found

    def histogram(self, duration: str, phase: str | None = None, link: str = "a -> b") -> Histogram:
        """A histogram of the probe, of one phase or both."""
        found = Histogram()
        for block in self.schema.histograms:
            if (block.link, block.duration) == (link, duration) and phase in (None, block.phase):
                found = found.merge(Histogram.from_words(self.words[block.offset : block.offset + WORDS]))
        return found

    def close(self) -> None:
        """Threads, sockets and context."""
        self.stop.set()
        for thread in self.threads:
            thread.join()
        for load in self.loops.values():
            if isinstance(load, Receivers):
                load.poller.close()
        for member in self.members():
            if not member.halted:
                for end in (*member.senders, *member.receivers):
                    end.socket.close(0)
        for socket in self._plain:
            socket.close(0)
        self.context.term()


@pytest.fixture(scope="session")
def compiled() -> None:
    """The native engine's loops, compiled once for all tests."""
    if engine.native_available():
        from mqviz.simulation.engine import native_cache

        native_cache.warm()


@pytest.fixture(params=["python", "native"])
def engine_name(request: pytest.FixtureRequest, compiled: None) -> str:
    """Each engine that can run here."""
    name: str = request.param
    if name == "native" and not engine.native_available():
        pytest.skip("numba is not installed")
    return name


class Rigs:
    """Makes rigs of one engine, and closes them."""

    def __init__(self, engine_name: str, folder: Path) -> None:
        self.engine_name = engine_name
        self._folder = folder
        self._made: list[Rig] = []

    outbound = staticmethod(outbound)
    inbound = staticmethod(inbound)
    producers = staticmethod(producer_plan)
    consumers = staticmethod(consumer_plan)
    worker = staticmethod(worker_plan)

    def __call__(self, *plans: LoopPlan, seed: int = 7) -> Rig:
        folder = self._folder / str(len(self._made))
        folder.mkdir()
        self._made.append(Rig(self.engine_name, folder, list(plans), seed))
        return self._made[-1]

    def close(self) -> None:
        """All of them."""
        for rig in self._made:
            rig.close()


@pytest.fixture
def rigs(engine_name: str, tmp_path: Path) -> Iterator[Rigs]:
    """Rigs of one engine."""
    made = Rigs(engine_name, tmp_path)
    yield made
    made.close()

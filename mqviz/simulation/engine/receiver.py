"""What both engines' workers and consumers share: connections, live changes, draws."""

from __future__ import annotations

import select

import numpy as np
import zmq

from mqviz.simulation.distribution import (
    draw_service,
    draw_sizes,
    parse_service_distribution,
    parse_size_distribution,
)
from mqviz.simulation.engine.ends import HistogramPlaces, Member, Receiver
from mqviz.simulation.plan import Command, LoopPlan, Wire
from mqviz.simulation.schedule import NEVER, seed_of
from mqviz.telemetry import probe
from mqviz.telemetry.histogram import I64, U64

DRAWS = 1024
SELECT_LIMIT = 1024
"""The first descriptor that select() refuses."""


class Draws:
    """What one instance draws: service times, and sizes and topics of what a worker sends."""

    def __init__(self, plan: LoopPlan, member: Member, seed: int) -> None:
        self._seed = (seed, plan.node, member.index, member.plan.incarnation)
        self._changes = 0
        self._size_rng = np.random.default_rng(seed_of(*self._seed, "size"))
        self._topic_rng = np.random.default_rng(seed_of(*self._seed, "topic"))
        weights = member.senders[0].plan.weights if member.senders else (1.0,)
        self._cumulative = np.cumsum(np.array(weights) / sum(weights))
        self.set_service(plan.service)
        self.set_size(plan.size)

    def set_service(self, text: str) -> None:
        """From the next draw on."""
        self._service = parse_service_distribution(text)
        self._service_rng = np.random.default_rng(seed_of(*self._seed, "service", self._changes))
        self._changes += 1
        self.serves = self._service.mean > 0

    def set_size(self, text: str) -> None:
        """From the next draw on."""
        self._size = parse_size_distribution(text)

    def services(self) -> I64:
        """The next DRAWS service times in ns."""
        return draw_service(self._service, self._service_rng, DRAWS)

    def sizes(self) -> I64:
        """The next DRAWS sizes in bytes."""
        return draw_sizes(self._size, self._size_rng, DRAWS)

    def topics(self) -> I64:
        """The next DRAWS topic numbers."""
        if len(self._cumulative) == 1:
            return np.zeros(DRAWS, np.int64)
        drawn = np.searchsorted(self._cumulative, self._topic_rng.random(DRAWS), "right")
        return drawn.clip(0, len(self._cumulative) - 1)


class Receivers:
    """Worker or consumer instances of one node that share a thread; an engine fills in `slice`."""

    def __init__(
        self, plan: LoopPlan, members: list[Member], words: U64, places: HistogramPlaces, seed: int
    ) -> None:
        self.plan = plan
        self.members = members
        self.words = words
        self.places = places
        self.draws = [Draws(plan, member, seed) for member in members]
        self.paused = False
        self.measure_ns = NEVER
        self.ends: list[Receiver] = [r for m in members for r in m.receivers]
        self.owner = [k for k, m in enumerate(members) for _ in m.receivers]
        self.poller = Readiness(self.ends)
        for member in members:
            self.words[member.offset + probe.STATE] = probe.STATES.index("running")

    def connect(self, wires: tuple[Wire, ...]) -> bool:
        """Know these producers and connect to them; False when none of the wires is for this loop."""
        mine = [(end, wire) for wire in wires if (end := self._end(wire)) is not None]
        for end, wire in mine:
            end.connect(wire.number, wire.endpoint, wire.hello)
        if mine:
            self.rows_changed()
            self._ask_all()
        return bool(mine)

    def disconnect(self, wires: tuple[Wire, ...]) -> None:
        """Forget the endpoints of producers that have gone."""
        for wire in wires:
            end = self._end(wire)
            if end is not None:
                end.disconnect(wire.number)
        self._ask_all()

    def _end(self, wire: Wire) -> Receiver | None:
        for member in self.members:
            if member.index == wire.index and not member.halted:
                return next((r for r in member.receivers if r.link == wire.link), None)
        return None

    @property
    def awaits(self) -> bool:
        """A producer has not been heard yet."""
        return any(r.awaited for m in self.members if not m.halted for r in m.receivers)

    def begin(self, at_ns: int, measure_ns: int, until_ns: int | None) -> None:
        """The load starts; what a worker sends is of the measure phase from `measure_ns` on."""
        self.measure_ns = measure_ns

    def change(self, command: Command, now_ns: int) -> None:
        """A live change of service time or of the size of what a worker sends."""
        for draws in self.draws:
            if command.service is not None:
                draws.set_service(command.service)
            if command.size is not None:
                draws.set_size(command.size)
        if command.service is not None or command.size is not None:
            self.draws_changed()

    def pause(self, now_ns: int) -> None:
        """Stop reading; a message in service is worked off."""
        self.paused = True
        self._set_state("paused")

    def resume(self, now_ns: int) -> None:
        """Read on."""
        self.paused = False
        self._set_state("running")
        self._ask_all()

    def _set_state(self, state: str) -> None:
        for member in self.members:
            if not member.halted:
                self.words[member.offset + probe.STATE] = probe.STATES.index(state)

    def halt(self, index: int, now_ns: int) -> None:
        """One instance ends; a message in its service is lost with it."""
        for member in self.members:
            if member.index == index and not member.halted:
                self.flush()
                member.halted = True
                self.words[member.offset + probe.STATE] = probe.STATES.index("stopped")
                for receiver in member.receivers:
                    self.poller.forget(receiver)
                member.close()
                self.rows_changed()

    def settle(self, now_ns: int) -> None:
        """Final counts."""
        self.flush()
        self._set_state("stopped")
        self.poller.close()

    # what an engine adds

    def slice(self, until_ns: int) -> None:
        """Receive, serve and send on until the clock shows `until_ns`."""
        raise NotImplementedError

    def rows_changed(self) -> None:
        """A receive end knows other producers than before."""

    def _ask_all(self) -> None:
        """Read every socket once more. connect and disconnect carry out what waits for a socket, and with that
        may take the signal away that a message has come; a new inproc pipe gives none for its first messages."""
        self.poller.all_ready()

    def draws_changed(self) -> None:
        """Service times or sizes have a new distribution."""

    def flush(self) -> None:
        """What is kept in batches goes into the probe."""


class Readiness:
    """Which sockets may have messages: epoll, edge-triggered, on each socket's ZMQ_FD.

    The rule for such a descriptor: read the socket once after registering, and after each event until EAGAIN
    (a poll over many sockets costs three times the CPU). Without epoll every socket is asked by zmq_poll.
    """

    def __init__(self, ends: list[Receiver]) -> None:
        self._ends = ends
        self._by_fd: dict[int, int] = {}
        self._fresh = list(range(len(ends)))
        self.epoll = select.epoll() if hasattr(select, "epoll") else None
        self._poller = None if self.epoll else zmq.Poller()
        for e, end in enumerate(ends):
            fd = int(end.socket.getsockopt(zmq.FD))
            self._by_fd[fd] = e
            if self.epoll:
                self.epoll.register(fd, select.EPOLLIN | select.EPOLLET)
            elif self._poller:
                self._poller.register(end.socket, zmq.POLLIN)

    def all_ready(self) -> None:
        """Ask every socket next time."""
        self._fresh = list(range(len(self._ends)))

    def forget(self, end: Receiver) -> None:
        """Before its socket is closed."""
        e = self._ends.index(end)
        for fd, at in list(self._by_fd.items()):
            if at == e:
                del self._by_fd[fd]
                if self.epoll:
                    self.epoll.unregister(fd)
                elif self._poller:
                    self._poller.unregister(end.socket)
        self._fresh = [at for at in self._fresh if at != e]

    def wait(self, timeout_ns: int) -> list[int]:
        """Positions of the ends to read until EAGAIN; empty after the timeout."""
        if self._fresh:
            fresh, self._fresh = self._fresh, []
            return fresh
        if self.epoll:
            if len(self._by_fd) == 1 and timeout_ns > 0:  # one alone is quiet once it has been read empty
                return list(self._by_fd.values()) if _readable(next(iter(self._by_fd)), timeout_ns) else []
            if timeout_ns > 0 and not _readable(self.epoll.fileno(), timeout_ns):
                return []
            return [self._by_fd[fd] for fd, _ in self.epoll.poll(0) if fd in self._by_fd]
        assert self._poller is not None
        events = dict(self._poller.poll(max(0, timeout_ns) // 1_000_000))
        return [e for e, end in enumerate(self._ends) if end.socket in events]

    def close(self) -> None:
        """Once."""
        if self.epoll and not self.epoll.closed:
            self.epoll.close()


def _readable(fd: int, timeout_ns: int) -> bool:
    """Whether a descriptor has become readable within the time."""
    if fd < SELECT_LIMIT:  # only select knows microseconds
        return bool(select.select([fd], [], [], timeout_ns / 1e9)[0])
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(-(-timeout_ns // 1_000_000)))

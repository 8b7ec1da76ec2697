"""Workers and consumers of the native engine: Python connects and draws, compiled code receives and serves."""

from __future__ import annotations

import time

import numpy as np
import zmq

from mqviz.simulation.engine import native_cache
from mqviz.simulation.engine.ends import HistogramPlaces, Member
from mqviz.simulation.engine.receiver import DRAWS, Receivers
from mqviz.simulation.plan import LoopPlan
from mqviz.telemetry import clock
from mqviz.telemetry.histogram import U64

native_cache.ready()  # before numba is imported: it reads then where its cache is

from mqviz.simulation.engine import native_drain_loop as drain_loop  # noqa: E402
from mqviz.simulation.engine import native_receive as end  # noqa: E402
from mqviz.simulation.engine import native_service_loop as loop  # noqa: E402
from mqviz.simulation.engine.native_ends import check, grown, link_members, open_sending  # noqa: E402
from mqviz.simulation.engine.native_libzmq import EVENT_STRIDE, MAX_EVENTS, new_scratch  # noqa: E402
from mqviz.simulation.engine.native_message import BUSY  # noqa: E402

AHEAD = 8
"""Draws of one instance alone are made for this many times DRAWS messages."""


class NativeReceivers(Receivers):
    """The loop in compiled code."""

    def __init__(
        self, plan: LoopPlan, members: list[Member], words: U64, places: HistogramPlaces, seed: int
    ) -> None:
        super().__init__(plan, members, words, places, seed)
        rows = np.zeros((len(members), loop.INSTANCE_COLUMNS), np.int64)
        link_members(rows, members)
        first = 0
        for row, member in zip(rows, members, strict=True):
            row[loop.PLACE] = member.offset
            row[loop.FIRST_END], row[loop.ENDS] = first, len(member.receivers)
            first += len(member.receivers)
        ahead = DRAWS * max(1, min(AHEAD, AHEAD * AHEAD // len(members)))
        services, sizes, topics = (np.zeros((len(members), ahead), np.int64) for _ in range(3))
        receiving = self._open_receiving(words, places)
        self._drain = drain_loop.Drain(receiving, rows[:, loop.PLACE].copy())
        self._service = loop.Service(
            receiving=receiving,
            sending=open_sending(words, members, places),
            rows=rows,
            control=np.zeros(loop.CONTROLS, np.int64),
            services=services,
            sizes=sizes,
            topics=topics,
        )
        self._service.control[loop.SPIN] = plan.spin
        for k in range(len(members)):
            self._draw_services(k)
            self._draw_outputs(k)

    def _open_receiving(self, words: U64, places: HistogramPlaces) -> end.Receiving:
        ends = np.zeros((len(self.ends), end.END_COLUMNS), np.int64)
        for row, receiver in zip(ends, self.ends, strict=True):
            row[end.SOCKET] = receiver.socket.underlying
            row[end.DESCRIPTOR] = receiver.socket.getsockopt(zmq.FD)
            row[end.OFFSET] = receiver.offset
            row[end.PREFIX] = receiver.prefix
            row[end.TOPICS] = len(receiver.plan.topics)
            row[end.MAYBE] = 1  # the rule of ZMQ_FD: read once after registering
            for first, duration in (
                (end.TRANSIT, "transit"), (end.SERVICE, "service"),
                (end.RESPONSE, "response"), (end.END_TO_END, "end_to_end"),
            ):  # fmt: skip
                row[first : first + 2] = places.of(receiver.link, duration) or (0, 0)
        end_of = np.zeros(int(ends[:, end.DESCRIPTOR].max(initial=0)) + 1, np.int64)
        end_of[ends[:, end.DESCRIPTOR]] = range(len(ends))
        buffer = np.zeros((int(ends[:, end.PREFIX].max(initial=0)) + end.HEADER_BYTES) // 8, np.int64)
        events = np.zeros(MAX_EVENTS * EVENT_STRIDE, np.int32)
        assert self.poller.epoll is not None, "the native engine runs on Linux"
        return end.Receiving(
            words=words.view(np.int64),
            ends=ends,
            table=np.zeros(0, np.int64),
            heard=np.zeros(0, np.int64),
            run_number=self.ends[0].producer_id(0) >> 16,
            buffer=buffer,
            buffer_at=buffer.ctypes.data,
            epoll=self.poller.epoll.fileno(),
            events=events,
            events_at=events.ctypes.data,
            end_of=end_of,
            scratch=new_scratch(),
        )

    def _set_receiving(self, receiving: end.Receiving) -> None:
        self._drain = self._drain._replace(receiving=receiving)
        self._service = self._service._replace(receiving=receiving)

    def begin(self, at_ns: int, measure_ns: int, until_ns: int | None) -> None:
        super().begin(at_ns, measure_ns, until_ns)
        self._service = self._service._replace(
            sending=self._service.sending._replace(measure_ns=measure_ns)
        )

    def rows_changed(self) -> None:
        ends = self._drain.receiving.ends
        table: list[int] = []
        heard = 0
        for row, receiver in zip(ends, self.ends, strict=True):
            numbers = {number for number, _ in receiver.rows}
            lowest = min(numbers, default=0)
            span = max(numbers) - lowest + 1 if numbers else 0
            topics = len(receiver.plan.topics)
            words = [0] * (span * topics)
            for (number, topic), at in receiver.rows.items():
                words[(number - lowest) * topics + topic] = at
            row[end.LOWEST], row[end.SPAN] = lowest, span
            row[end.TABLE], row[end.HEARD] = len(table), heard
            table.extend(words)
            heard += span
        for k, member in enumerate(self.members):
            if member.halted:
                self._service.rows[k, loop.HALTED] = 1
                ends[[e for e, owner in enumerate(self.owner) if owner == k], end.CLOSED] = 1
        receiving = self._drain.receiving
        self._set_receiving(
            receiving._replace(table=np.array(table, np.int64), heard=np.zeros(heard, np.int64))
        )

    def draws_changed(self) -> None:
        for k in range(len(self.members)):
            self._draw_services(k)
            self._draw_outputs(k)
        self.ask_all()  # the other loop may go on, with its own way of knowing who is ready

    def resume(self, now_ns: int) -> None:
        super().resume(now_ns)
        rows = self._service.rows
        rows[:, loop.PREVIOUS_END] = np.maximum(rows[:, loop.PREVIOUS_END], now_ns)

    def ask_all(self) -> None:
        self._drain.receiving.ends[:, end.MAYBE] = 1

    def _draw_services(self, k: int) -> None:
        services = self._service.services
        for first in range(0, services.shape[1], DRAWS):
            services[k, first : first + DRAWS] = self.draws[k].services()
        self._service.rows[k, loop.SERVED] = 0

    def _draw_outputs(self, k: int) -> None:
        if not self.members[k].senders:
            return
        sizes, topics = self._service.sizes, self._service.topics
        for first in range(0, sizes.shape[1], DRAWS):
            sizes[k, first : first + DRAWS] = self.draws[k].sizes()
            topics[k, first : first + DRAWS] = self.draws[k].topics()
        self._service.rows[k, loop.EMITTED] = 0
        self._service = self._service._replace(sending=grown(self._service.sending, sizes[k]))

    @property
    def _one_by_one(self) -> bool:
        serves = any(draws.serves for draws in self.draws) or any(m.senders for m in self.members)
        return serves or bool(self._service.rows[:, BUSY].any())

    def slice(self, until_ns: int) -> None:
        if self._one_by_one:
            self._serve(until_ns)
        elif self.paused:
            time.sleep(max(0, until_ns - clock.now_ns()) / 1e9)
        else:
            check(drain_loop.drain(self._drain, until_ns), self.plan.node)
        self._hear()

    def _serve(self, until_ns: int) -> None:
        control = self._service.control
        control[loop.PAUSED] = self.paused
        while True:
            code = loop.serve(self._service, until_ns)
            if code != loop.DRAW:
                check(code, self.plan.node)
                return
            k = int(control[loop.WHICH])
            row = self._service.rows[k]
            if row[loop.SERVED] >= self._service.services.shape[1]:
                self._draw_services(k)
            if row[loop.EMITTED] >= self._service.sizes.shape[1]:
                self._draw_outputs(k)

    def _hear(self) -> None:
        """Whose hello has come."""
        receiving = self._drain.receiving
        for row, receiver in zip(receiving.ends, self.ends, strict=True):
            if receiver.awaited:
                lowest, first = int(row[end.LOWEST]), int(row[end.HEARD])
                heard = receiving.heard[first : first + int(row[end.SPAN])]
                receiver.awaited.difference_update((lowest + np.flatnonzero(heard)).tolist())

"""One feed for all viewers: a WebSocket each, every row encoded once; it only tells, it takes no orders."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import msgspec
from tornado.ioloop import IOLoop, PeriodicCallback
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from mqviz.charts.rates import per_second
from mqviz.dashboard import figures
from mqviz.dashboard.encode import message
from mqviz.dashboard.feed import TIERS, Feed
from mqviz.dashboard.host import OVER, LabHost
from mqviz.telemetry.columns import WHOLE
from mqviz.telemetry.store import Store

EVERY_MS = 100
STATUS_EVERY = 5  # ticks
SLOW_BYTES = 1 << 20
"""A viewer that has this much unread is let go; it comes back and asks for a snapshot."""


class Ask(msgspec.Struct):
    """All that a viewer may say: which tier it shows and how many rows; or that nobody looks at it now."""

    ask: int | None = None
    rows: int = 600
    hidden: bool = False


_asks = msgspec.json.Decoder(Ask)


class Broadcast:
    """Reads the store of the current lab ten times a second and tells every viewer what is new."""

    def __init__(self, host: LabHost, origins: Collection[str]) -> None:
        self.host = host
        self.origins = frozenset(origins)
        self.viewers: set[Viewer] = set()
        self.boot = uuid4().hex
        self.on_change: list[Callable[[], None]] = []
        """Called on the loop when the lab or its state is another one; for the controls of each session."""
        self._ticks = 0
        self._seen = (host.number, "")
        self._feed = Feed(host.lab.store)
        self._final: dict[str, Any] | None = None
        self._cost = Cost()
        self._clock: PeriodicCallback | None = None

    def start(self) -> None:
        """Begin, on the loop of the calling thread."""
        self._clock = PeriodicCallback(self.tick, EVERY_MS)
        self._clock.start()

    def stop(self) -> None:
        """End, and close every viewer's socket."""
        if self._clock is not None:
            self._clock.stop()
        for viewer in list(self.viewers):
            viewer.close(1001)

    def tick(self) -> None:
        """One pass: another run, new rows, new marks, and twice a second the status."""
        self._ticks += 1
        host = self.host
        seen = (host.number, host.state)
        if seen[0] != self._seen[0]:
            self._feed = Feed(host.lab.store)
            self._final = None
            self._tell(self.run_message())
        turned = seen != self._seen
        self._seen = seen
        if self.viewers:
            for row in self._feed.read_rows():
                self._tell(row, row=True)
        else:
            self._feed.skip_rows()
        marks = self._feed.read_marks()
        if marks:
            self._tell(message("marks", marks=marks))
        if turned:
            for tell in self.on_change:
                tell()
        if turned or self._ticks % STATUS_EVERY == 0:
            if self.viewers:
                self._tell(self.status_message())

    def run_message(self) -> str:
        """Which lab this is: what a viewer needs before it can ask."""
        topology = self.host.topology
        return message(
            "run",
            boot=self.boot,
            run=self.host.number,
            scenario=self.host.current,
            name=topology.name,
            engine=self.host.lab.engine if self.host.state != "idle" else "",
            nodes=[{"name": n.name, "role": n.role, "count": n.count} for n in topology.nodes],
            marks=self._feed.marks[-200:],
        )

    def status_message(self) -> str:
        """State, figures strip, nodes, and what watching costs."""
        host, store = self.host, self._feed.store
        state = host.state
        over = state in OVER
        if over and self._final is None:
            self._final = figures.final(store, self._feed.phases)
        flowing = self._feed.origin_ns is not None
        return message(
            "status",
            run=self._seen[0],
            state=state,
            error=host.error,
            elapsed_s=round(host.lab.elapsed_s, 1),
            figures=(self._final if over else figures.live(store)) if flowing else None,
            nodes=figures.nodes(store, host.lab.instances()),
            folder=str(host.lab.folder or ""),
            viewers=len(self.viewers),
            **self._cost.read(store),
        )

    def snapshot(self, tier: int, rows: int) -> bytes:
        """For one viewer that has just come, or missed something."""
        return self._feed.snapshot(tier if tier in TIERS else 0, rows)

    def _tell(self, text: str, *, row: bool = False) -> None:
        for viewer in list(self.viewers):
            if not (row and viewer.hidden):
                viewer.tell(text)


class Cost:
    """What watching takes: CPU time of the agent and of this process, over the last seconds."""

    def __init__(self) -> None:
        self._before: tuple[float, float] | None = None
        self._told: dict[str, Any] = {"page_share": None, "agent_share": None, "samples_lost": 0}

    def read(self, store: Store) -> dict[str, Any]:
        """Shares of one core, renewed every two seconds."""
        now = (time.monotonic(), time.process_time())
        if self._before is None or now[0] < self._before[0]:
            self._before = now
        elapsed = now[0] - self._before[0]
        if elapsed >= 2:
            rows = figures.last(store, 0, 5 * figures.SECOND)
            agent = figures.mean(per_second(rows, rows.column(WHOLE, "agent_cpu_ns")))
            self._told = {
                "page_share": (now[1] - self._before[1]) / elapsed,
                "agent_share": None if agent is None else agent / 1e9,
                "samples_lost": store.samples_lost,
            }
            self._before = now
        return self._told


class Viewer(WebSocketHandler):
    """One page that looks on."""

    hidden = False

    def initialize(self, broadcast: Broadcast) -> None:
        """Tornado's constructor for arguments of a route."""
        self.broadcast = broadcast

    def check_origin(self, origin: str) -> bool:
        """Only pages of this server; the Host header is the asker's own word and proves nothing."""
        return urlsplit(origin).netloc in self.broadcast.origins

    def open(self, *args: str, **kwargs: str) -> None:
        """Say what runs; the viewer then asks for the rows it wants."""
        self.set_nodelay(True)
        self.broadcast.viewers.add(self)
        self.tell(self.broadcast.run_message())
        self.tell(self.broadcast.status_message())

    def on_message(self, text: str | bytes) -> None:
        """An ask; anything else ends the connection."""
        try:
            asked = _asks.decode(text)
        except (ValueError, RecursionError):
            self.close(1003)
            return
        self.hidden = asked.hidden
        if asked.ask is not None:
            self.tell(self.broadcast.snapshot(asked.ask, asked.rows))

    def on_close(self) -> None:
        """Gone."""
        self.broadcast.viewers.discard(self)

    def tell(self, data: str | bytes) -> None:
        """Send, or let go of a viewer that does not read."""
        connection = self.ws_connection
        if connection is None or connection.stream.closed():
            self.broadcast.viewers.discard(self)
            return
        if len(connection.stream._write_buffer) > SLOW_BYTES:
            self.broadcast.viewers.discard(self)
            # the stream, not the handshake of a close: that would wait behind what is unread
            connection.stream.close()
            return
        try:
            sent = self.write_message(data, binary=isinstance(data, bytes))
        except WebSocketClosedError:
            self.broadcast.viewers.discard(self)
            return
        IOLoop.current().add_future(sent, _seen)


def _seen(sent: Any) -> None:
    """A viewer that went away while it was written to is not an error."""
    sent.exception()

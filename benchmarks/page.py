"""Page: what a server of the live page spends on its viewers, at ten rows a second.

A viewer is a WebSocket on the feed that reads all it is sent, as the page's own script does. The share is of one
core, without the thread that fills the store (a collector's work, measured in watching.py). A chart shows at most
ten lines, so ten links make as many series as a page ever has; of 50 links the most are summed into one line. A
full page is a Bokeh session and a viewer.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import re
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from typing import Any

from _common import Options, alternated, run
from _figures import Figure, at_most
from _host import Spent, serve
from tornado.httpclient import AsyncHTTPClient
from tornado.websocket import WebSocketClientConnection, websocket_connect

SHAPES = {"1 link": (1, 1), "10 links": (2, 5), "50 links": (5, 10)}
"""Sources and targets, every one linked to every other."""
MOST_SERIES = "10 links"
"""The one with a target, and with full pages."""
VIEWERS = (1, 5, 20)
PAGES = 3
"""Full pages open at once, and loaded a round."""
ROWS = 620
SETTLE_S = 0.6
SECONDS = 1.5
QUICK_SECONDS = 0.8
ANSWER_S = 60.0


def measure(options: Options) -> Iterator[Figure]:
    """Each topology in a server of its own."""
    for name, (sources, targets) in SHAPES.items():
        if options.quick and name != MOST_SERIES:
            continue
        start = multiprocessing.get_context("spawn")
        ours, theirs = start.Pipe()
        process = start.Process(target=serve, args=(theirs, sources, targets), daemon=True)
        process.start()
        theirs.close()
        try:
            if not ours.poll(ANSWER_S):
                raise RuntimeError("the page did not come up")
            yield from asyncio.run(watch(Page(ours, ours.recv()), name, options))
        finally:
            ours.close()
            process.join(10)
            process.kill()


async def watch(page: Page, name: str, options: Options) -> list[Figure]:
    """All rounds of one topology."""
    seconds = QUICK_SECONDS if options.quick else SECONDS
    shares: dict[int, list[float]] = {count: [] for count in VIEWERS}
    loads: list[float] = []
    opened: list[float] = []
    async with page.viewers(1) as first:  # the charts of a new topology are made once, not in a round
        await asyncio.sleep(SETTLE_S)
    turns = (*VIEWERS, None) if name == MOST_SERIES else VIEWERS
    for turn in alternated(turns, options.rounds):
        if turn is None:
            load, share = await page.full(PAGES, seconds)
            loads.append(load)
            opened.append(share)
        else:
            async with page.viewers(turn):
                shares[turn].append(await page.share(seconds))
    row = f"{name}, {first[0].series} series"
    wanted = {20: at_most(0.06)} if name == MOST_SERIES else {}
    table = "Page at 10 Hz, share of a core"
    figures = [
        Figure(table, row, f"{count} viewer{'s'[: count > 1]}", "core", tuple(values), wanted.get(count))
        for count, values in shares.items()
    ]
    each = tuple(
        (many - one) / (VIEWERS[-1] - 1) for one, many in zip(shares[1], shares[VIEWERS[-1]], strict=True)
    )
    figures.append(Figure(table, row, "one more viewer", "core", each))
    if opened:
        figures.append(Figure(table, row, f"{PAGES} full pages", "core", tuple(opened)))
        figures.append(Figure("Loading a full page", row, "CPU of the server", "ms", tuple(loads)))
    return figures


class Viewer:
    """One that looks on, and what it has seen."""

    def __init__(self, socket: WebSocketClientConnection) -> None:
        self.socket = socket
        self.rows = 0
        self.series = 0
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        while (message := await self.socket.read_message()) is not None:
            if isinstance(message, bytes):
                head = json.loads(message[4 : 4 + int.from_bytes(message[:4], "little")])
                self.series = len(head["columns"])
            elif message.startswith("["):
                self.rows += 1

    async def close(self) -> None:
        """Leave."""
        self.socket.close()
        await self._reading


class Page:
    """The server under test."""

    def __init__(self, pipe: Connection, url: str) -> None:
        self._pipe = pipe
        self._url = url
        self._feed = url.replace("http", "ws", 1) + "feed"
        self._looking: list[Viewer] = []

    def spent(self) -> Spent:
        """CPU time so far."""
        self._pipe.send("read")
        found: Spent = self._pipe.recv()
        return found

    async def view(self) -> Viewer:
        """One more viewer, who asks for the newest minute as the page does."""
        viewer = Viewer(await websocket_connect(self._feed))
        await viewer.socket.write_message(json.dumps({"ask": 0, "rows": ROWS}))
        return viewer

    @asynccontextmanager
    async def viewers(self, count: int) -> AsyncIterator[list[Viewer]]:
        """So many, until the end of the block."""
        self._looking = [await self.view() for _ in range(count)]
        try:
            yield self._looking
        finally:
            for viewer in self._looking:
                await viewer.close()

    async def share(self, seconds: float) -> float:
        """What the page spends while all look on. Raises RuntimeError when one of them sees too little."""
        await asyncio.sleep(SETTLE_S)
        before, seen = self.spent(), [viewer.rows for viewer in self._looking]
        await asyncio.sleep(seconds)
        after = self.spent()
        fewest = min(viewer.rows - then for viewer, then in zip(self._looking, seen, strict=True))
        if fewest < 5 * seconds:
            raise RuntimeError(f"a viewer has seen {fewest} rows in {seconds} s: the machine is too busy")
        return page_ns(before, after) / (after.at_ns - before.at_ns)

    async def full(self, count: int, seconds: float) -> tuple[float, float]:
        """Load full pages one after the other: CPU ms of each load, and the share while all are open."""
        before = self.spent()
        sessions = [await self.session() for _ in range(count)]
        after = self.spent()
        async with self.viewers(count):
            share = await self.share(seconds)
        for session in sessions:
            session.close()
        return page_ns(before, after) / 1e6 / count, share

    async def session(self) -> WebSocketClientConnection:
        """What Bokeh's script in a browser does: the page, the socket with its token, the document."""
        answer = await AsyncHTTPClient().fetch(self._url)
        token = re.search(r'"token":"([^"]+)"', answer.body.decode())
        if token is None:
            raise RuntimeError("the page has no session token")
        socket = await websocket_connect(
            self._url.replace("http", "ws", 1) + "ws", subprotocols=["bokeh", token[1]]
        )
        await message_of(socket)  # ACK
        for fragment in ({"msgid": "1", "msgtype": "PULL-DOC-REQ"}, {}, {}):
            await socket.write_message(json.dumps(fragment))
        await message_of(socket)
        return socket


def page_ns(before: Spent, after: Spent) -> int:
    """CPU time of all but the thread that fills the store."""
    return (after.all_ns - before.all_ns) - (after.feed_ns - before.feed_ns)


async def message_of(socket: WebSocketClientConnection) -> Any:
    """One message of Bokeh's protocol: header, metadata, content. Raises RuntimeError for an error."""
    parts = [await asyncio.wait_for(socket.read_message(), ANSWER_S) for _ in range(3)]
    if parts[0] is None or json.loads(parts[0])["msgtype"] == "ERROR":
        raise RuntimeError(f"the page refuses a session: {parts[2]!r}")
    return parts


if __name__ == "__main__":
    sys.exit(run("page", "CPU of the live page", measure))

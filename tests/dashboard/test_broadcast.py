"""The feed over real sockets: a server in a thread, viewers as plain WebSocket clients, no browser."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import msgspec
import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from mqviz.dashboard.host import LabHost
from mqviz.dashboard.serve import Server


@pytest.fixture
def server(new_host: Any) -> Iterator[Server]:
    """A page whose lab runs."""
    made = Server(new_host(), port=0)
    made.start()
    assert made.wait_ready(60)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def shared(load_fakes: Callable[[], Any]) -> Iterator[Server]:
    """A page for tests that leave it as it is."""
    lab = load_fakes().FakeLab()
    made = Server(LabHost(lambda name: lab, ["order-pipeline"], "order-pipeline"), port=0)
    made.start()
    assert made.wait_ready(60)
    yield made
    made.stop()


class Viewer:
    """A viewer without a browser."""

    def __init__(self, connection: WebSocketClientConnection) -> None:
        self.connection = connection
        self.gone = False

    async def until(self, fits: Callable[[Any], bool]) -> Any:
        """The first message that fits: JSON, or a snapshot's head."""
        while True:
            data = await asyncio.wait_for(self.connection.read_message(), 20)
            if data is None:
                self.gone = True
                return None
            if isinstance(data, bytes):
                (length,) = struct.unpack_from("<I", data)
                told = {**msgspec.json.decode(data[4 : 4 + length]), "kind": "snapshot"}
            else:
                told = json.loads(data)
            if fits(told):
                return told

    async def kind(self, name: str) -> Any:
        """The next message of a kind."""
        return await self.until(lambda told: isinstance(told, dict) and told["kind"] == name)

    async def row(self, tier: int = 0) -> Any:
        """The next row."""
        return await self.until(lambda told: isinstance(told, list) and told[0] == tier)

    def ask(self, **words: Any) -> None:
        """Say something."""
        self.connection.write_message(json.dumps(words))


def events(told: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """Those that a message of a kind tells of; phases may be between them."""
    return [mark for mark in told["marks"] if mark["kind"] == "event"] if told["kind"] == kind else []


def look(server: Server, work: Callable[[Callable[[], Awaitable[Viewer]]], Awaitable[None]]) -> None:
    """Run `work` with a function that brings viewers; all leave at the end."""

    async def run() -> None:
        viewers: list[Viewer] = []

        async def come(origin: str | None = None) -> Viewer:
            address = server.url.replace("http", "ws") + "feed"
            request = HTTPRequest(address, headers={"Origin": origin} if origin else {})
            viewers.append(Viewer(await websocket_connect(request)))
            return viewers[-1]

        try:
            await work(come)
        finally:
            for viewer in viewers:
                viewer.connection.close()
                if not viewer.gone:
                    await viewer.until(lambda told: False)

    asyncio.run(run())


@pytest.mark.slow
def test_a_viewer_is_told_what_runs_then_gets_a_snapshot_and_rows_without_a_gap(shared: Server) -> None:
    async def work(come: Any) -> None:
        viewer = await come(shared.url.rstrip("/"))
        run = await viewer.kind("run")
        assert [node["name"] for node in run["nodes"]][:2] == ["orders", "refunds"]
        await viewer.row()
        viewer.ask(ask=0, rows=600)
        snapshot = await viewer.kind("snapshot")
        # a row that was on its way when the snapshot was made comes once more
        rows = [
            await viewer.until(
                lambda told: isinstance(told, list) and told[0] == 0 and told[1] > snapshot["sequence"]
            )
        ]
        rows += [await viewer.row() for _ in range(4)]
        assert [row[1] for row in rows] == [snapshot["sequence"] + n for n in range(1, 6)]
        status = await viewer.kind("status")
        assert status["state"] in ("warm-up", "measure")
        assert status["viewers"] == 1
        assert status["figures"]["lost"] == 0
        assert [node["lives"] for node in status["nodes"]] == ["11", "1", "111", "1", "1", "1"]

    look(shared, work)


@pytest.mark.slow
def test_all_viewers_hear_the_same_rows_and_a_hidden_one_none(shared: Server) -> None:
    async def work(come: Any) -> None:
        one, two, hidden = await come(), await come(), await come()
        hidden.ask(hidden=True)
        await hidden.kind("status")
        first, second = await one.row(), await two.row()
        while second[1] < first[1]:
            second = await two.row()
        while first[1] < second[1]:
            first = await one.row()
        assert first == second
        nothing = await hidden.until(lambda told: isinstance(told, list) or told["kind"] == "status")
        assert nothing["kind"] == "status"
        hidden.ask(ask=0, rows=5)
        assert (await hidden.kind("snapshot"))["rows"] == 5
        assert await hidden.row()

    look(shared, work)


@pytest.mark.slow
def test_another_scenario_is_another_run_for_everybody(server: Server) -> None:
    async def work(come: Any) -> None:
        viewer = await come()
        assert (await viewer.kind("run"))["run"] == 1
        await asyncio.to_thread(server.host.pick, "hostile")
        run = await viewer.kind("run")
        assert run["run"] == 2
        assert run["nodes"][0]["name"] == "<img src=x onerror=alert(1)>"
        row = await viewer.row()
        assert row[2] < 5
        charts = await AsyncHTTPClient().fetch(server.url + "charts.json?theme=light")
        assert json.loads(charts.body)["legends"]["backlog"][0]["label"] == "<img src=x onerror=alert(1)>"

    look(server, work)


@pytest.mark.slow
def test_an_event_reaches_the_viewer_and_the_one_who_comes_later(server: Server) -> None:
    async def work(come: Any) -> None:
        viewer = await come()
        await viewer.row()
        await asyncio.to_thread(server.host.lab.kill, "pricing", 1)
        told = await viewer.until(lambda told: isinstance(told, dict) and events(told, "marks"))
        (kill,) = events(told, "marks")
        assert kill["text"] == "kill pricing.1"
        late = await come()
        assert events(await late.kind("run"), "run") == [kill]

    look(server, work)


@pytest.mark.slow
@pytest.mark.parametrize(
    "origin", ["http://evil.example", "http://evil.example:5006", "null", "http://127.0.0.1:1"]
)
def test_a_page_of_another_origin_is_refused(shared: Server, origin: str) -> None:
    async def work(come: Any) -> None:
        with pytest.raises(HTTPClientError) as caught:
            await come(origin)
        assert caught.value.code == 403

    look(shared, work)


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", ["", "{", "[]", '{"ask": "0"}', '{"ask": 1e400}', '"' + "x" * 100_000, "\x00", '{"hidden": 7}']
)
def test_a_viewer_that_talks_nonsense_is_let_go_and_nobody_else_notices(shared: Server, words: str) -> None:
    async def work(come: Any) -> None:
        other, viewer = await come(), await come()
        viewer.connection.write_message(words)
        assert await viewer.until(lambda told: False) is None
        assert await other.row()

    look(shared, work)


@pytest.mark.slow
def test_an_ask_for_what_is_not_there_gets_what_there_is(shared: Server) -> None:
    async def work(come: Any) -> None:
        viewer = await come()
        await viewer.row()
        viewer.ask(ask=99, rows=10**9)
        assert (await viewer.kind("snapshot"))["tier"] == 0

    look(shared, work)


@pytest.mark.slow
def test_a_viewer_that_does_not_read_is_let_go_and_the_others_go_on(shared: Server) -> None:
    async def work(come: Any) -> None:
        viewer = await come()
        with socket.create_connection((shared.address, shared.port)) as deaf:
            deaf.sendall(
                b"GET /feed HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
            ask = b'{"ask":0,"rows":1200}'
            frame = bytes([0x81, 0x80 | len(ask), 0, 0, 0, 0]) + ask  # masked with zeros
            people = []

            async def ask_on() -> None:
                for _ in range(2_000):
                    await asyncio.to_thread(deaf.sendall, 10 * frame)
                    people.append(len(shared.page.broadcast.viewers))
                    await asyncio.sleep(0.01)

            with pytest.raises(OSError, match=r"reset|[Bb]roken pipe"):
                await ask_on()
        assert max(people) == 2
        assert await viewer.row()
        assert len(shared.page.broadcast.viewers) == 1

    look(shared, work)

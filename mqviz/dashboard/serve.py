"""Serve the live page of a scenario: in front of the user until Ctrl-C, or from a thread for tests and notebooks."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
import webbrowser
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tornado.httpserver import HTTPServer

from mqviz.dashboard.address import listen, origins
from mqviz.dashboard.front import Front
from mqviz.dashboard.host import LabHost
from mqviz.errors import CannotRun

STOP_S = 10.0
LEAVE_S = 1.0


class Server:
    """One page: listens when made, answers while `run` runs, and stops its lab when it ends."""

    def __init__(self, host: LabHost, *, address: str = "127.0.0.1", port: int | None = None) -> None:
        self.host = host
        self._socket, self.port = listen(address, port)
        self.address = address
        self.url = f"http://{f'[{address}]' if ':' in address else address}:{self.port}/"
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None
        self.page: Any = None
        """The application behind the address, once it is built."""
        self._answering = threading.Event()
        self._ready = threading.Event()

    def start(self) -> None:
        """Run in a thread; returns when the listener answers."""
        self._thread = threading.Thread(target=self.run, name="mqviz-page", daemon=True)
        self._thread.start()
        self._answering.wait(STOP_S)

    def wait_ready(self, timeout_s: float = 30.0) -> bool:
        """Until the page itself has taken over from the skeleton."""
        return self._ready.wait(timeout_s) and self._failure is None

    def run(self, *, signals: bool = False) -> None:
        """Serve until `stop`, or with `signals` until Ctrl-C or SIGTERM."""
        asyncio.run(self._serve(signals))
        if self._failure is not None:
            raise CannotRun(f"the page could not be built: {self._failure!r}") from self._failure

    def stop(self) -> None:
        """End from any thread; returns when the lab has stopped and the port is free."""
        if self._loop is not None and self._end is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                self._loop.call_soon_threadsafe(self._end.set)
        if self._thread is not None:
            self._thread.join(STOP_S)
            self._thread = None

    async def _serve(self, signals: bool) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        if signals:
            for number in (signal.SIGINT, signal.SIGTERM):
                self._loop.add_signal_handler(number, self._end.set)
        front = Front()
        http = HTTPServer(front)
        http.add_socket(self._socket)
        self._answering.set()
        self._in_thread(self.host.start, "mqviz-lab-start")
        self._in_thread(lambda: self._build(front), "mqviz-page-build")
        try:
            await self._end.wait()
        finally:
            if signals:
                self._loop.remove_signal_handler(signal.SIGINT)  # a second Ctrl-C does not wait
            closed = self._close_host()
            http.stop()
            if self.page is not None:
                self.page.stop()
            await http.close_all_connections()
            # a start cannot be broken off; what it has started ends with this process
            patience = LEAVE_S if self.host.state == "starting" else STOP_S
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(closed.wait(), patience)

    def _close_host(self) -> asyncio.Event:
        """Stop the lab in a thread; the event says when it has stopped."""
        loop, closed = asyncio.get_running_loop(), asyncio.Event()

        def close() -> None:
            self.host.close()
            with contextlib.suppress(RuntimeError):  # nobody waited so long
                loop.call_soon_threadsafe(closed.set)

        self._in_thread(close, "mqviz-page-close")
        return closed

    def _build(self, front: Front) -> None:
        """The slow part, beside the loop: Panel takes seconds to import."""
        try:
            from mqviz.dashboard.app import Page

            page = Page(self.host, origins(self.address, self.port))
        except BaseException as error:
            self._failure = error
        loop, end = self._loop, self._end
        assert loop is not None
        assert end is not None

        def hand_over() -> None:
            if self._failure is not None:
                end.set()
            else:
                page.start()
                self.page = page
                front.hand_over(page.application)
            self._ready.set()

        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(hand_over)
        if self._failure is None:
            page.boards.read("dark")  # the first viewer will ask for it

    @staticmethod
    def _in_thread(work: Callable[[], object], name: str) -> None:
        # daemons: an import or a start that hangs must not hold Ctrl-C
        threading.Thread(target=work, name=name, daemon=True).start()


def start_server(
    source: LabHost | Any = "order-pipeline", *, address: str = "127.0.0.1", port: int | None = 0
) -> Server:
    """A page in a thread of its own: `.url`, and `.stop()` when done."""
    server = Server(as_host(source), address=address, port=port)
    server.start()
    return server


def serve(
    source: LabHost | Any = "order-pipeline",
    *,
    port: int | None = None,
    address: str = "127.0.0.1",
    open_browser: bool = True,
    say: Callable[[str], object] = partial(print, flush=True),
) -> None:
    """Serve a scenario (name, file, or orchestrator) until Ctrl-C; results are kept."""
    server = Server(as_host(source), address=address, port=port)
    say(f"mqviz is on {server.url} (Ctrl-C ends it)")
    if open_browser:
        threading.Thread(target=webbrowser.open, args=(server.url,), daemon=True).start()
    server.run(signals=True)
    folder = server.host.lab.folder
    if folder is not None:
        say(f"results: {folder}")


def as_host(source: Any) -> LabHost:
    """A host for a scenario's name or file, an orchestrator, or a host."""
    if isinstance(source, LabHost):
        return source
    from mqviz.simulation import builtin
    from mqviz.simulation.orchestrator import Orchestrator
    from mqviz.simulation.scenario import load

    def make(name: str) -> Any:
        return Orchestrator(load(name))

    if isinstance(source, str | Path):
        return LabHost(make, builtin.names(), str(source))
    return LabHost(make, builtin.names(), source.scenario.name, source)

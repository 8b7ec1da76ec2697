"""The first to answer: a listener that shows a skeleton at once and hands over to the page when that is ready."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tornado.httputil import HTTPMessageDelegate, HTTPServerConnectionDelegate
from tornado.web import Application, RequestHandler, StaticFileHandler

STATIC = Path(__file__).parent / "static"

ONLY_HERE = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' blob: data:; "
    "object-src 'none'; base-uri 'self'; form-action 'none'"
)
"""Content-Security-Policy of the page: whatever a library wants, the browser asks nobody but this server.

Panel embeds scripts and styles and loads components from blobs, Bokeh makes functions from text.
"""

SKELETON = (STATIC / "skeleton.html").read_text(encoding="utf-8")
BODY = (STATIC / "skeleton_body.html").read_text(encoding="utf-8")


class Front(HTTPServerConnectionDelegate):
    """What the HTTP server calls; `application` can be exchanged between two requests."""

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self.failure: str | None = None
        self.application: Any = Application([*files(), ("/ready", Ready, {"front": self}), ("/", Skeleton)])

    def hand_over(self, application: Any) -> None:
        """From the next request on `application` answers."""
        self.application = application
        self.ready.set()

    def start_request(self, server_conn: object, request_conn: Any) -> HTTPMessageDelegate:
        """Tornado's call for each request, made as soon as the one before it is answered."""
        return Late(self, server_conn, request_conn)


class Late(HTTPMessageDelegate):
    """A request to come: who answers is settled when it is there, not while its connection is idle."""

    def __init__(self, front: Front, server_conn: object, request_conn: Any) -> None:
        self._front = front
        self._connections = server_conn, request_conn
        self._answering: HTTPMessageDelegate | None = None

    def headers_received(self, start_line: Any, headers: Any) -> Any:
        """Now it is known."""
        self._answering = self._front.application.start_request(*self._connections)
        return self._answering.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Any:
        """Passed on."""
        return self._answering.data_received(chunk) if self._answering else None

    def finish(self) -> None:
        """Passed on."""
        if self._answering:
            self._answering.finish()

    def on_connection_close(self) -> None:
        """Passed on."""
        if self._answering:
            self._answering.on_connection_close()


def files() -> list[Any]:
    """Routes of the page's own files."""
    return [("/mq/(.*)", Files, {"path": str(STATIC)})]


class Files(StaticFileHandler):
    """The page's scripts and styles; the browser asks each time whether they are still the same."""

    def set_extra_headers(self, path: str) -> None:
        """With an ETag this costs a round trip and no bytes."""
        self.set_header("Cache-Control", "no-cache")


class Skeleton(RequestHandler):
    """The page's shape without its content; it reloads itself when the page is ready."""

    def get(self) -> None:
        """The same for everybody."""
        self.set_header("Cache-Control", "no-store")
        self.set_header("Content-Security-Policy", ONLY_HERE)
        self.write(SKELETON.replace("<!-- body -->", BODY))


class Ready(RequestHandler):
    """Answers when the page can be loaded."""

    def initialize(self, front: Front) -> None:
        """Tornado's constructor for arguments of a route."""
        self.front = front

    async def get(self) -> None:
        """Waits."""
        await self.front.ready.wait()
        self.set_header("Cache-Control", "no-store")
        self.write("ready")

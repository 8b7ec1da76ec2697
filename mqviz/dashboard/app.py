"""The page's web application: Panel for the controls, the broadcast for all that moves, its files beside them."""

from __future__ import annotations

import asyncio
import threading
import warnings
from collections.abc import Collection
from typing import Any

from bokeh.core.validation import silence
from bokeh.core.validation.warnings import EMPTY_LAYOUT
from bokeh.server.tornado import BokehTornado
from bokeh.util.warnings import BokehUserWarning
from panel.io.application import build_applications
from panel.io.server import DocHandler
from panel.io.state import state
from tornado.ioloop import IOLoop
from tornado.web import RequestHandler

from mqviz.charts.theme import PALETTES
from mqviz.dashboard.board_json import board_json
from mqviz.dashboard.broadcast import Broadcast, Viewer
from mqviz.dashboard.front import ONLY_HERE, files
from mqviz.dashboard.host import LabHost
from mqviz.dashboard.page import make_page

BREATH_S = 0.03


class Page:
    """Everything behind one address; `start` and `stop` on the loop that serves it."""

    def __init__(self, host: LabHost, origins: Collection[str]) -> None:
        self.broadcast = Broadcast(host, origins)
        self.boards = Boards(host)
        # a click on a widget that was made after the page was loaded repeats that widget; nothing is wrong
        warnings.filterwarnings("ignore", "reference already known", BokehUserWarning)
        # the controls are empty until a node is selected
        silence(EMPTY_LAYOUT, True)
        self.application = BokehTornado(
            build_applications({"/": lambda: make_page(host, self.broadcast)}, title="mqviz"),
            extra_websocket_origins=list(origins),
            extra_patterns=[
                *files(),
                ("/feed", Viewer, {"broadcast": self.broadcast}),
                ("/charts.json", Charts, {"boards": self.boards}),
                ("/ready", Ready),
            ],
            redirect_root=False,
            use_index=False,
        )
        state._server_config[self.application] = {}
        serve_pages_our_way(self.application)

    def start(self) -> None:
        """Begin to tell viewers."""
        self.application.initialize(IOLoop.current())
        self.application.start()
        self.broadcast.start()

    def stop(self) -> None:
        """Let everybody go."""
        self.broadcast.stop()
        self.application.stop()
        state._server_config.pop(self.application, None)


class Boards:
    """The charts of the current lab as JSON, built once for each theme."""

    def __init__(self, host: LabHost) -> None:
        self.host = host
        self._built: dict[tuple[int, str], bytes] = {}
        self._turn = threading.Lock()

    def read(self, theme: str) -> bytes:
        """For a theme, the dark one where it is not known; a third of a second where it has to be built."""
        number = self.host.number
        theme = theme if theme in PALETTES else "dark"
        with self._turn:
            found = self._built.get((number, theme))
            if found is None:
                self._built = {key: value for key, value in self._built.items() if key[0] == number}
                found = self._built[number, theme] = board_json(self.host.topology, PALETTES[theme])
        return found


class Charts(RequestHandler):
    """`charts.json?theme=dark`."""

    def initialize(self, boards: Boards) -> None:
        """Tornado's constructor for arguments of a route."""
        self.boards = boards

    async def get(self) -> None:
        """The same bytes for everybody, from a thread: rows go on meanwhile."""
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        self.write(await asyncio.to_thread(self.boards.read, self.get_query_argument("theme", "dark")))


class Ready(RequestHandler):
    """For a skeleton that asks once more after the page has taken over."""

    def get(self) -> None:
        """At once."""
        self.write("ready")


def serve_pages_our_way(application: Any) -> None:
    """Pages ask nobody else, and sessions are made one by one: each blocks the loop, and rows must go out."""
    turn = asyncio.Lock()

    class Ours(DocHandler):
        async def get_session(self) -> Any:
            async with turn:
                session = await super().get_session()
                await asyncio.sleep(BREATH_S)
                return session

        def set_default_headers(self) -> None:
            self.set_header("Content-Security-Policy", ONLY_HERE)

    for rule in application.wildcard_router.rules:
        if rule.target is DocHandler:
            rule.target = Ours

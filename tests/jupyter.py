"""A real JupyterLab of its own for tests: in a temporary folder, on a free port, with a notebook in a browser."""

from __future__ import annotations

import base64
import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat

from mqviz.dashboard.display import LOADED_S

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

START_S = 60.0
KERNEL = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
NEWEST = """() => !globalThis.Bokeh ? [] : Bokeh.documents.flatMap(
    (board) => [...board._all_models.values()]
        .filter((model) => model.name === "mq:throughput")
        .map((model) => model.data.t.at(-1) ?? 0))"""
"""The newest time that each card shows."""


class JupyterLab:
    """A server; `stop()` shuts its kernels down too."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "work"
        self.folder.mkdir(parents=True)
        self._log = folder / "jupyterlab.log"
        self._token = secrets.token_hex(16)
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self._address = f"http://127.0.0.1:{one.getsockname()[1]}"
        settings = folder / "settings/@jupyterlab/apputils-extension"
        settings.mkdir(parents=True)
        (settings / "notification.jupyterlab-settings").write_text(
            json.dumps({"fetchNews": "false", "checkForUpdates": False})
        )
        # nothing of the person who runs the tests: no settings, no kernels of other environments
        own = {
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTER_RUNTIME_DIR": "runtime",
            "JUPYTERLAB_SETTINGS_DIR": "settings",
            "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
            "IPYTHONDIR": "ipython",
        }
        command = [
            sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1",
            f"--port={self._address.rpartition(':')[2]}", "--ServerApp.port_retries=0",
            f"--IdentityProvider.token={self._token}", f"--ServerApp.root_dir={self.folder}",
        ]  # fmt: skip
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                command,
                env={**os.environ, **{name: str(folder / place) for name, place in own.items()}},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_for(self._answers, START_S)

    def _answers(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        try:
            self.ask("GET", "status")
        except OSError:
            return False
        return True

    def ask(self, method: str, path: str) -> Any:
        """The server's own interface."""
        request = urllib.request.Request(
            f"{self._address}/api/{path}", method=method, headers={"Authorization": f"token {self._token}"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")

    def write(self, name: str, cells: Sequence[str]) -> Path:
        """A notebook of code cells."""
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell) for cell in cells], metadata={"kernelspec": KERNEL}
        )
        nbformat.write(notebook, self.folder / name)
        return self.folder / name

    def open(self, browser: Browser, name: str) -> Notebook:
        """A notebook in a page of its own, when its kernel is there."""
        page = browser.new_page(viewport={"width": 1300, "height": 1100})
        page.set_default_timeout(60_000)
        page.goto(f"{self._address}/lab/tree/{name}?token={self._token}&reset")
        page.wait_for_selector("text=Python 3 (ipykernel) | Idle")
        return Notebook(self, page)

    def stop(self) -> None:
        """End the kernels, then the server."""
        try:
            for kernel in self.ask("GET", "kernels"):
                self.ask("DELETE", f"kernels/{kernel['id']}")
        finally:
            self._process.terminate()
            self._process.wait(30)


class Notebook:
    """A notebook that is open in a browser."""

    def __init__(self, server: JupyterLab, page: Page) -> None:
        self._server = server
        self.page = page
        self.errors: list[str] = []
        self.requests: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))

    def run(self, cell: int) -> None:
        """Start a cell; it may take its time."""
        self.page.locator(".jp-CodeCell .cm-content").nth(cell).click()
        self.page.keyboard.press("Shift+Enter")

    def choose(self, *entries: str) -> None:
        """Click through a menu."""
        for place, entry in enumerate(entries):
            bar = ".lm-MenuBar-itemLabel" if place == 0 else ".lm-Menu-itemLabel"
            self.page.locator(bar, has_text=entry).first.click()

    def state(self, cell: int) -> str:
        """`[ ]`, `[*]` while it runs or waits, `[3]` when it is done."""
        prompts = self.page.locator(".jp-CodeCell .jp-InputPrompt")
        return prompts.nth(cell).inner_text().rstrip(":").strip()

    def done(self, cell: int, seconds: float = 60.0) -> str:
        """Its text output when it is done."""
        wait_for(lambda: self.state(cell)[1:-1].isdigit(), seconds)
        texts = self.page.locator(".jp-CodeCell").nth(cell).locator(".jp-OutputArea-executeResult pre")
        return texts.first.inner_text() if texts.count() else ""

    @property
    def times(self) -> list[float]:
        """The newest time on each card, seconds of the run."""
        found: list[float] = self.page.evaluate(NEWEST)
        return found

    def moves(self, seconds: float = 60.0) -> None:
        """Wait until the last card shows something new."""
        before = self.times
        wait_for(lambda: self.times and self.times[-1] > (before[-1] if before else 0.0), seconds)

    @property
    def cells(self) -> int:
        """How many cells of code there are."""
        return self.page.locator(".jp-CodeCell").count()

    def save(self) -> None:
        """Into the file, when all the scripts that a browser has taken are cleared."""
        self.page.wait_for_timeout(1_000 * (LOADED_S + 1))
        self.choose("File", "Save Notebook")
        self.page.wait_for_selector(".jp-mod-dirty, .jp-Document .jp-mod-dirty", state="detached")

    def pictures(self) -> list[bytes]:
        """Each card as PNG."""
        cards = self.page.locator(".jp-OutputArea-output", has=self.page.locator("canvas"))
        return [self._picture(cards.nth(place)) for place in range(cards.count())]

    def _picture(self, card: Locator) -> bytes:
        card.scroll_into_view_if_needed()
        self.page.wait_for_timeout(1_500)
        box = card.bounding_box()
        assert box is not None
        # a page that is drawn all the time never is as still as a screenshot of playwright waits for
        session = self.page.context.new_cdp_session(self.page)
        taken = session.send("Page.captureScreenshot", {"format": "png", "clip": {**box, "scale": 1}})
        return base64.b64decode(taken["data"])

    def interrupt(self) -> None:
        """The stop button."""
        self._server.ask("POST", f"kernels/{self._kernel}/interrupt")

    def shut_down(self) -> None:
        """The kernel; the page stays."""
        self._server.ask("DELETE", f"kernels/{self._kernel}")

    @property
    def _kernel(self) -> str:
        (session,) = self._server.ask("GET", "sessions")
        return str(session["kernel"]["id"])

    def close(self) -> None:
        """The page, and the kernel where it is still there."""
        self.page.close()
        for session in self._server.ask("GET", "sessions"):
            self._server.ask("DELETE", f"sessions/{session['id']}")


def wait_for(holds: Callable[[], Any], seconds: float) -> None:
    """Until it does."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"it did not come true in {seconds:g} s"
        time.sleep(0.1)

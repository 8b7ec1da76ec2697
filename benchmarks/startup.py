"""Startup: how long `import mqviz` takes, and `mqviz lab` until it answers and until a chart has moved.

Times run from the start of the process. The browser is running before that and opens the address as soon as it is
printed; a chart has moved when it has been drawn with two different newest rows. Without a Chromium the first
moving chart is left out.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from _common import Options, run
from _figures import Figure, at_most

IMPORTS = 7
"""Of each kind a round."""
IMPORT = "import time; a = time.perf_counter_ns(); import {}; print(time.perf_counter_ns() - a)"
LAB = [sys.executable, "-m", "mqviz.cli", "lab", "--no-open"]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-sync",
)
LIMIT_S = 60.0
NEWEST = """() => {
  for (const document of globalThis.Bokeh?.documents ?? []) {
    const times = document.get_model_by_name("mq:throughput")?.data.t
    if (times?.length) return times[times.length - 1]
  }
  return null
}"""
"""The time of the newest row that is in the throughput chart."""
MOVED = f"""() => {{
  const newest = ({NEWEST})()
  if (newest === null) return false
  globalThis.firstDrawn ??= newest
  return newest !== globalThis.firstDrawn
}}"""


def measure(options: Options) -> Iterator[Figure]:
    """Imports, then whole starts."""
    imported = {
        name: [import_ms(name) for _ in range(IMPORTS * options.rounds)] for name in ("mqviz", "mqviz.api")
    }
    with ExitStack() as stack:
        browser = open_browser(stack)
        starts = [start(browser) for _ in range(options.rounds)]
    for name, values in imported.items():
        wanted = at_most(50) if name == "mqviz" else None
        yield Figure("Import", f"import {name}", "wall time", "ms", tuple(values), wanted)
    table = "From the start of mqviz lab"
    yield Figure(
        table, "the page's skeleton answers", "after", "s", tuple(s for s, _ in starts), at_most(1.0)
    )
    moved = tuple(m for _, m in starts if m is not None)
    if moved:
        yield Figure(table, "the first chart has moved", "after", "s", moved, at_most(6.0))


def import_ms(name: str) -> float:
    """In a fresh interpreter, its own start excluded."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORT.format(name)], capture_output=True, text=True, check=True
    )
    return int(done.stdout) / 1e6


def open_browser(stack: ExitStack) -> Any:
    """A running Chromium, or None."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        found = None
    if found is None:
        print("no chromium or no playwright: the first moving chart is not measured", file=sys.stderr)
        return None
    playwright = stack.enter_context(sync_playwright())
    browser = playwright.chromium.launch(executable_path=found, args=QUIET)
    stack.callback(browser.close)
    return browser


def start(browser: Any) -> tuple[float, float | None]:
    """One lab: seconds until the skeleton answered, and until a chart had moved."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        page = None
        if browser is not None:
            page = browser.new_page()
            stack.callback(page.close)
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        began = time.perf_counter()
        process = subprocess.Popen(LAB, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
        stack.callback(end, process)
        url = address(process)
        with urllib.request.urlopen(url, timeout=LIMIT_S) as answer:
            answer.read()
        answered = time.perf_counter() - began
        if page is None:
            return answered, None
        page.goto(url, wait_until="commit")
        page.wait_for_function(MOVED, polling=50, timeout=LIMIT_S * 1000)
        return answered, time.perf_counter() - began


def address(process: subprocess.Popen[str]) -> str:
    """Where it says that it is. Raises RuntimeError when it ends before."""
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(r"http://\S+/", line):
            return found[0]
    raise RuntimeError("mqviz lab ended before it had an address")


def end(process: subprocess.Popen[str]) -> None:
    """As Ctrl-C does."""
    process.send_signal(signal.SIGINT)
    try:
        process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    sys.exit(run("startup", "Imports, and the start of mqviz lab", measure))

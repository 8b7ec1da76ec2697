"""Fixtures for every test: nothing may be left running, and one browser for those that need it."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

GRACE_S = 3.0
"""How long a process or thread that has been told to end may still be seen."""

TOKEN = f"MQVIZ_TESTS={os.getpid()}"
"""In the environment of every process that these tests start, orphans too; others' processes lack it."""

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pytest_configure(config: pytest.Config) -> None:
    """A temporary folder for these tests alone: what another mqviz here leaves is not their business.

    And Ctrl-C as in a terminal: a shell starts what runs in its background deaf to it, and so all its children.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    name, value = TOKEN.split("=")
    os.environ[name] = value
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    config.mqviz_folder = tempfile.mkdtemp(prefix="mqt-")  # type: ignore[attr-defined]
    os.environ["TMPDIR"] = tempfile.tempdir = config.mqviz_folder  # type: ignore[attr-defined]


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the folder."""
    shutil.rmtree(config.mqviz_folder, ignore_errors=True)  # type: ignore[attr-defined]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browser tests last: playwright keeps an event loop in the main thread once it has started."""
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)


@pytest.fixture(autouse=True)
def nothing_left_running() -> Iterator[None]:
    """Fail a test that leaves a process, a thread, a socket file or a private folder behind."""
    pids = set(psutil.pids())
    threads = set(threading.enumerate())
    files = _private_files()
    yield
    # a process on its way through exec has no environment to be known by, so one look is not enough
    looks = 2
    deadline = time.monotonic() + GRACE_S
    while True:
        processes = _left_processes(pids)
        left = [f"process {_describe(process)}" for process in processes]
        left += [f"thread {thread.name}" for thread in _left_threads(threads)]
        left += [f"file {path}" for path in sorted(_private_files() - files)]
        looks -= not left
        if not left and (not looks or pids.issuperset(psutil.pids())):
            return
        if left and time.monotonic() > deadline:
            break
        time.sleep(0.02)
    for process in processes:
        process.kill()
        if process.ppid() == os.getpid():
            process.wait(GRACE_S)
    for path in _private_files() - files:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    pytest.fail("left behind: " + "; ".join(left))


def _left_processes(before: set[int]) -> list[psutil.Process]:
    """New processes of these tests; not those of a fixture that was there before (a browser, a server)."""
    name, value = TOKEN.split("=")
    left = []
    for pid in set(psutil.pids()) - before:
        try:
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                ours = process.ppid() == os.getpid()
            else:
                ours = process.environ().get(name) == value
            parents = {parent.pid for parent in process.parents()} - {os.getpid()}
        except (psutil.Error, OSError):
            continue
        ancestors = {pid for pid in parents & before if _is_ours(pid)}
        if ours and not ancestors:
            left.append(process)
    return left


def _is_ours(pid: int) -> bool:
    name, value = TOKEN.split("=")
    try:
        return psutil.Process(pid).environ().get(name) == value
    except (psutil.Error, OSError):
        return False


def _describe(process: psutil.Process) -> str:
    try:
        return f"{process.pid} ({' '.join(process.cmdline())[:120] or process.status()})"
    except psutil.Error:
        return str(process.pid)


def _left_threads(before: set[threading.Thread]) -> list[threading.Thread]:
    new = (thread for thread in threading.enumerate() if thread not in before)
    return [thread for thread in new if not thread.daemon or thread.name.startswith("mqviz")]


def _private_files() -> set[Path]:
    """Labs' folders in memory carry the process id: those of another mqviz here do not count."""
    return {
        *Path(tempfile.gettempdir()).glob("mqviz-*"),
        *Path("/dev/shm").glob(f"mqviz-{os.getpid()}-*"),
    }


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A headless Chromium; where there is none the test fails and says how to get one."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = next(filter(None, map(shutil.which, BROWSERS)), playwright.chromium.executable_path)
        if not Path(found).exists():
            pytest.fail("no chromium here: sudo apt-get install chromium (or run scripts/chromium)")
        browser = playwright.chromium.launch(executable_path=found, args=QUIET)
        yield browser
        browser.close()

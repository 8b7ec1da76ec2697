"""`mqviz doctor`: what this machine offers, each thing tried and not guessed."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from mqviz.cli.words import help_text

HELP = help_text(
    "Say what this machine offers: libzmq, the engines, the kernel's counters, clocks and limits.",
    "Exit code 3 when something is missing that every run needs.",
    {"mqviz doctor": "as a table", "mqviz doctor --json": "as one JSON document"},
)

SIOCOUTQNSD = 0x894B  # bytes not yet sent; SIOCOUTQ would count those on loopback twice
FIONREAD = 0x541B
ENOUGH_FILES = 4096
ENOUGH_ROOM = 256 << 20


class Check(NamedTuple):
    """One thing that was looked at; status: ok, warn (works, with less) or fail (nothing runs)."""

    name: str
    status: str
    detail: str


def doctor(
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON document on stdout, nothing else.")
    ] = False,
) -> None:
    """Print every check."""
    checks = examine()
    if as_json:
        print(json.dumps({"command": "doctor", "checks": [check._asdict() for check in checks]}))
    else:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        colours = {"ok": "green", "warn": "yellow", "fail": "red"}
        table = Table(box=None, pad_edge=False, show_header=False)
        for check in checks:
            table.add_row(Text(check.status, style=colours[check.status]), check.name, Text(check.detail))
        Console().print(table)
    if any(check.status == "fail" for check in checks):
        raise typer.Exit(3)


def examine() -> list[Check]:
    """Every check in order; one that breaks says so and does not stop the others."""
    checks = []
    for name, look in CHECKS.items():
        try:
            status, detail = look()
        except Exception as error:
            status, detail = "fail", f"{type(error).__name__}: {error}"
        checks.append(Check(name, status, detail))
    return checks


def _python() -> tuple[str, str]:
    words = f"{platform.python_implementation()} {platform.python_version()} on {platform.system()}"
    if sys.platform == "win32":
        return "warn", f"{words}: not tested, use WSL 2"
    return "ok", f"{words} {platform.release()}"


def _libzmq() -> tuple[str, str]:
    import zmq

    with zmq.Context() as context, context.socket(zmq.PULL) as pull, context.socket(zmq.PUSH) as push:
        push.linger = 0
        pull.rcvtimeo = 2000
        push.connect(f"tcp://127.0.0.1:{pull.bind_to_random_port('tcp://127.0.0.1')}")
        push.send(b"mqviz")
        if pull.recv() != b"mqviz":
            return "fail", "a message over tcp came back changed"
    ipc = "" if zmq.has("ipc") else ", without ipc"
    return "ok", f"{zmq.zmq_version()} (pyzmq {zmq.pyzmq_version()}){ipc}, a message over tcp arrived"


def _engine() -> tuple[str, str]:
    if importlib.util.find_spec("numba") is None:
        return "warn", "python only; for the native one: pip install 'mqviz[native]'"
    from mqviz.simulation.engine import native_cache

    how = "compiled" if native_cache.is_warm() else "will be compiled once, at the first run"
    return "ok", f"native (numba {installed_version('numba')}, {how}) and python"


def _kernel_counters() -> tuple[str, str]:
    if sys.platform != "linux":
        return "warn", "the kernel's part of a backlog is unknown on this system"
    import fcntl

    with socket.create_server(("127.0.0.1", 0)) as server:
        one = socket.create_connection(server.getsockname())
        other, _ = server.accept()
    with one, other:
        one.sendall(b"12345")
        deadline = time.monotonic() + 1
        waiting = -1
        while waiting != 5 and time.monotonic() < deadline:
            unsent = _ask(fcntl.ioctl(one.fileno(), SIOCOUTQNSD, bytes(4)))
            waiting = unsent + _ask(fcntl.ioctl(other.fileno(), FIONREAD, bytes(4)))
    if waiting != 5:
        return "warn", f"5 bytes sent, {waiting} seen waiting: the kernel's part of a backlog is unknown"
    return "ok", "bytes waiting in a connection can be read"


def _ask(answer: bytes) -> int:
    return int(struct.unpack("i", answer)[0])


def _clock() -> tuple[str, str]:
    steps = [time.monotonic_ns() for _ in range(10_000)]
    cost = (steps[-1] - steps[0]) / len(steps)
    source = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
    name = source.read_text().strip() if source.exists() else "monotonic"
    if cost > 1000:
        return "warn", f"{name}: one reading takes {cost:.0f} ns, which slows every message"
    return "ok", f"{name}: one reading takes {cost:.0f} ns"


def _cores() -> tuple[str, str]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    load = os.getloadavg()[0]
    words = f"{cores}, load {load:.1f}"
    if cores < 2:
        return "warn", f"{words}: producers and consumers will wait for each other"
    if load > cores:
        return "warn", f"{words}: other programs will disturb a measurement"
    return "ok", words


def _open_files() -> tuple[str, str]:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    shown = "no limit" if soft == resource.RLIM_INFINITY else str(soft)
    if soft == resource.RLIM_INFINITY or soft >= ENOUGH_FILES:
        return "ok", shown
    most = "" if hard == resource.RLIM_INFINITY or hard >= ENOUGH_FILES else f" (the most here is {hard})"
    return "warn", f"{shown}: hundreds of instances need more: ulimit -n {ENOUGH_FILES}{most}"


def _room() -> tuple[str, str]:
    folder = tempfile.gettempdir()
    place = os.statvfs(folder)
    free = place.f_bavail * place.f_frsize
    words = f"{free / 1e9:.1f} GB free in {folder}"
    if free < ENOUGH_ROOM:
        return "warn", f"{words}: hundreds of runners need up to {ENOUGH_ROOM / 1e6:.0f} MB"
    return "ok", words


def _page() -> tuple[str, str]:
    try:
        names = ("panel", "bokeh", "panel-material-ui")
        return "ok", ", ".join(f"{name} {installed_version(name)}" for name in names)
    except PackageNotFoundError as error:
        return "warn", f"no live page: {error.name} is not installed; runs work"


def _notebook() -> tuple[str, str]:
    if importlib.util.find_spec("jupyterlab") is None:
        return "warn", "no JupyterLab here: pip install 'mqviz[notebook]'"
    return "ok", f"jupyterlab {installed_version('jupyterlab')}"


CHECKS: dict[str, Callable[[], tuple[str, str]]] = {
    "python": _python,
    "libzmq": _libzmq,
    "engine": _engine,
    "kernel counters": _kernel_counters,
    "clock": _clock,
    "cores": _cores,
    "open files": _open_files,
    "room for counters": _room,
    "page": _page,
    "notebook": _notebook,
}

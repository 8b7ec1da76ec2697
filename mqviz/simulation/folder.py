"""Run folder: where a run is kept. `run.json` is there from the start, and is replaced whole."""

from __future__ import annotations

import os
import platform
import re
import shutil
import time
from pathlib import Path
from typing import Any

import msgspec
import zmq

from mqviz.errors import CannotRun, RecordingError, ScenarioError
from mqviz.simulation.scenario import Scenario, loads, to_toml
from mqviz.version import __version__

RUNS = "mqviz-runs"
KEPT = 20
KEPT_BYTES = 1 << 30
FORMAT = 1
NEEDED = ("state", "engine", "scenario_toml")


def create(scenario: Scenario, out: Path | None, base: Path | None = None) -> Path:
    """A new run folder: `out` itself, or TIME-NAME in ./mqviz-runs. Raises CannotRun when it cannot be made."""
    if out is not None:
        if (out / "run.json").exists():
            raise CannotRun(f"{out} has a run already; name another folder with --out, or remove it")
        return _make(out)
    runs = (base or Path.cwd()) / RUNS
    prune(runs)
    stem = time.strftime("%Y%m%d-%H%M%S-") + (
        re.sub(r"[^A-Za-z0-9_-]+", "-", scenario.name).strip("-") or "run"
    )
    folder = runs / stem[:80]
    n = 1
    while folder.exists():
        n += 1
        folder = runs / f"{stem[:80]}-{n}"
    return _make(folder)


def _make(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise CannotRun(
            f"cannot write the run folder {folder} ({error.strerror}); name another with --out"
        ) from error
    return folder


def prune(runs: Path) -> None:
    """Keep the newest KEPT runs and at most KEPT_BYTES; one that still runs is left alone."""
    if not runs.is_dir():
        return
    folders = sorted((f for f in runs.iterdir() if (f / "run.json").is_file()), reverse=True)
    total = 0
    for place, folder in enumerate(folders):
        total += sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
        if (place >= KEPT - 1 or total > KEPT_BYTES) and not _running(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _running(folder: Path) -> bool:
    try:
        found = read(folder)
        os.kill(found["pid"], 0)
    except (RecordingError, OSError, KeyError, TypeError):
        return False
    return bool(found["state"] == "running")


def facts(scenario: Scenario, engine: str) -> dict[str, Any]:
    """What a run is stamped with: versions, machine, scenario, seed."""
    return {
        "format": FORMAT,
        "pid": os.getpid(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "scenario_toml": to_toml(scenario),
        "seed": scenario.seed,
        "engine": engine,
        "versions": {
            "mqviz": __version__,
            "python": platform.python_version(),
            "pyzmq": zmq.__version__,
            "libzmq": zmq.zmq_version(),
        },
        "machine": {
            "system": platform.system(),
            "kernel": platform.release(),
            "processor": platform.machine(),
            "cores": os.cpu_count(),
        },
    }


def write(folder: Path, content: dict[str, Any]) -> None:
    """Replace run.json whole."""
    text = msgspec.json.format(msgspec.json.encode(content), indent=2)
    unfinished = folder / ".run.json"
    unfinished.write_bytes(text + b"\n")
    unfinished.replace(folder / "run.json")


def read(folder: Path) -> dict[str, Any]:
    """run.json. Raises RecordingError with a sentence when it is not there or not one of ours."""
    try:
        content = msgspec.json.decode((folder / "run.json").read_bytes())
    except FileNotFoundError as error:
        raise RecordingError(f"{folder} is not a run folder: it has no run.json") from error
    except (OSError, ValueError, RecursionError) as error:
        raise RecordingError(f"{folder}/run.json cannot be read: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("format"), int):
        raise RecordingError(f"{folder}/run.json is not from mqviz")
    if content["format"] > FORMAT:
        raise RecordingError(
            f"{folder} was written by a newer mqviz (format {content['format']}, this one reads {FORMAT}); "
            "upgrade mqviz to open it"
        )
    lacking = [key for key in NEEDED if not isinstance(content.get(key), str)]
    if lacking:
        raise RecordingError(f"{folder}/run.json lacks {', '.join(lacking)}")
    return content


def scenario_of(folder: Path, content: dict[str, Any]) -> Scenario:
    """The scenario that a run.json holds; it need not be one that this machine could run."""
    try:
        return loads(content["scenario_toml"], here=False)
    except ScenarioError as error:
        raise RecordingError(f"the scenario in {folder}/run.json cannot be read: {error}") from error

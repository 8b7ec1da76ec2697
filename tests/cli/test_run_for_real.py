"""`mqviz run` as a script sees it: a process, its exit code, stdout, and the folder that it leaves."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

SMALL = """
name = "small"
duration = "2s"
warmup = "500ms"
seed = 7

[[node]]
name = "orders"
role = "producer"
rate = "200/s"

[[node]]
name = "ledger"
role = "consumer"

[[link]]
from = "orders"
to = "ledger"
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


@contextmanager
def started(*words: str, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "mqviz.cli", *words]
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def run(*words: str, cwd: Path) -> tuple[int, str, str]:
    with started(*words, cwd=cwd) as process:
        out, err = process.communicate(timeout=50)
        assert list(Path("/dev/shm").glob(f"mqviz-{process.pid}-*")) == []
        return process.returncode, out, err


def expected(report: dict[str, Any]) -> int:
    """On a machine too busy to keep the schedule a run is VOID, and says so."""
    return 1 if report["verdict"] == "VOID" else 0


@pytest.mark.parametrize("engine", ["python", "native"])
def test_a_run_prints_one_document_whose_books_close(engine: str, small: Path) -> None:
    code, out, _ = run("run", "small.toml", "--engine", engine, "--json", cwd=small.parent)
    report = json.loads(out)
    assert code == expected(report)
    assert (report["command"], report["scenario"], report["engine"]) == ("run", "small", engine)
    link = report["links"]["orders -> ledger"]
    assert link["sent"] == link["received"] + link["in_flight"] + sum(link["lost"].values())
    assert link["sent"] > 200
    assert (link["in_flight"], sum(link["lost"].values())) == (0, 0)


def test_the_folder_has_what_was_printed(small: Path) -> None:
    code, out, err = run("run", "small.toml", "--out", "kept", "--json", cwd=small.parent)
    report = json.loads(out)
    assert code == expected(report)
    assert "mqviz: results: kept" in err
    kept = json.loads((small.parent / "kept" / "run.json").read_text())
    assert {key: kept[key] for key in report} == report


def test_an_expectation_that_is_not_met_is_exit_code_1(small: Path) -> None:
    with small.open("a") as file:
        file.write('\n[[expect]]\nmetric = "orders -> ledger: received > 1000000"\n')
    code, out, err = run("run", "small.toml", cwd=small.parent)
    assert code == 1
    assert "FAILED orders -> ledger: received > 1000000" in out
    assert "mqviz: not met: orders -> ledger: received > 1000000" in err


def wait_for_load(folder: Path) -> None:
    """Until some of the load has been recorded."""
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        segments = list(folder.glob("samples/*.mqs"))
        if segments and segments[0].stat().st_size > 20_000:
            return
        time.sleep(0.02)
    pytest.fail("the run has recorded nothing")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_ends_cleanly_with_its_results(
    number: signal.Signals, code: int, small: Path
) -> None:
    words = ("run", "small.toml", "--duration", "50s", "--out", "kept", "--json")
    with started(*words, cwd=small.parent) as process:
        wait_for_load(small.parent / "kept")
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
        assert process.returncode == code, err
        assert list(Path("/dev/shm").glob(f"mqviz-{process.pid}-*")) == []
    link = json.loads(out)["links"]["orders -> ledger"]
    assert link["sent"] == link["received"] + sum(link["lost"].values()) > 0
    assert json.loads((small.parent / "kept" / "run.json").read_text())["state"] == "ended"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["no-such"], "no-such"),
        (["missing.toml"], "missing.toml"),
        (["small.toml", "--duration", "soon"], "soon"),
        (["small.toml", "--set", "orders.rate=0"], "orders"),
        (["small.toml", "--set", "nobody.rate=5"], "nobody"),
        (["small.toml", "--set", "orders.rat=5"], "rate"),
        (["small.toml", "--set", "rate"], "rate"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_sentence_and_exit_code_2(words: list[str], named: str, small: Path) -> None:
    code, out, err = run("run", *words, cwd=small.parent)
    assert (code, out) == (2, ""), err
    assert err.startswith("mqviz: ")
    assert err.count("\n") == 1
    assert named in err


def test_a_folder_that_cannot_be_written_could_not_run(small: Path) -> None:
    code, _, err = run("run", "small.toml", "--out", "small.toml/run", cwd=small.parent)
    assert code == 3
    assert err.count("\n") == 1
    assert "--out" in err


def test_a_named_port_that_is_taken_could_not_run(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, _, err = run("lab", "--no-open", "--port", port, cwd=tmp_path)
    assert code == 3
    assert port in err


def test_a_closed_pipe_is_no_fault(small: Path) -> None:
    shell = f"{sys.executable} -m mqviz.cli scenarios | true"
    done = subprocess.run(shell, shell=True, cwd=small.parent, env=os.environ, capture_output=True, text=True)
    assert "Traceback" not in done.stderr

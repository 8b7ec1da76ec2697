from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from mqviz.dashboard.serve import Server, start_server
from mqviz.errors import EndpointInUse

SCENARIO = """
name = "tiny"
[[node]]
name = "a"
role = "producer"
rate = "50/s"
[[node]]
name = "b"
role = "consumer"
[[link]]
from = "a"
to = "b"
"""


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        text: str = answer.read().decode()
        return text


def test_a_skeleton_answers_before_the_page_is_there(new_host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Server, "_build", lambda self, front: None)
    server = Server(new_host(live=False), port=0)
    server.start()
    try:
        assert 'id="mq-skeleton"' in read(server.url)
        assert "mq-grid" in read(server.url + "mq/live.css")
    finally:
        server.stop()


@pytest.mark.slow
def test_a_page_can_be_served_and_ended_and_frees_its_port(new_host: Any) -> None:
    host = new_host()
    server = start_server(host)
    assert server.wait_ready(60)
    assert read(server.url + "ready") == "ready"
    assert '"mq-skeleton"' in read(server.url)
    server.stop()
    assert host.state == "ended"
    socket.create_server(("127.0.0.1", server.port)).close()


def test_a_named_port_that_is_taken_is_said_before_anything_starts(new_host: Any) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        host = new_host()
        with pytest.raises(EndpointInUse):
            start_server(host, port=busy.getsockname()[1])
        assert host.state == "idle"


@pytest.mark.slow
def test_the_import_of_serve_does_not_import_panel() -> None:
    code = (
        "import sys, mqviz.dashboard.serve; "
        "print([m for m in ('panel', 'bokeh', 'pandas', 'panel_material_ui') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_an_interrupt_ends_the_page_and_keeps_the_results(tmp_path: Path) -> None:
    scenario = tmp_path / "tiny.toml"
    scenario.write_text(SCENARIO)
    code = f"from mqviz.dashboard.serve import serve; serve({str(scenario)!r}, port=0, open_browser=False)"
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", code],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        address = re.search(r"http://127\.0\.0\.1:\d+/", process.stdout.readline())
        assert address is not None
        deadline = time.monotonic() + 45
        while "mq-skeleton" not in read(address[0]) or not list(tmp_path.glob("mqviz-runs/*/samples/*")):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        read(address[0] + "ready")
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, err
    assert "results: " in out
    (folder,) = (tmp_path / "mqviz-runs").iterdir()
    assert (
        '"state": "ended"' in (folder / "run.json").read_text()
        or '"state":"ended"' in (folder / "run.json").read_text()
    )

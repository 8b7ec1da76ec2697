from __future__ import annotations

import importlib.util
import json
import sys

import pytest
import zmq

from mqviz.cli import doctor, main
from mqviz.simulation.engine import native_cache


def test_json_is_one_document_with_every_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["command"] == "doctor"
    assert [check["name"] for check in report["checks"]] == list(doctor.CHECKS)
    assert {check["status"] for check in report["checks"]} <= {"ok", "warn"}


def test_the_libzmq_that_sends_is_named() -> None:
    checks = {check.name: check for check in doctor.examine()}
    assert checks["libzmq"].status == "ok"
    assert checks["libzmq"].detail.startswith(f"{zmq.zmq_version()} ")


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's counters are read on Linux only")
def test_the_bytes_in_a_connection_are_found() -> None:
    assert doctor.CHECKS["kernel counters"]() == ("ok", "bytes waiting in a connection can be read")


def test_without_numba_the_way_to_the_native_engine_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert doctor.CHECKS["engine"]() == (
        "warn",
        "python only; for the native one: pip install 'mqviz[native]'",
    )


@pytest.mark.parametrize(
    ("warm", "words"), [(True, "compiled"), (False, "will be compiled once, at the first run")]
)
def test_whether_the_native_engine_is_compiled_is_told(
    warm: bool, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native_cache, "is_warm", lambda: warm)
    status, detail = doctor.CHECKS["engine"]()
    assert status == "ok"
    assert detail.endswith(f", {words}) and python")


def test_a_check_that_breaks_is_a_failure_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> tuple[str, str]:
        raise OSError("no such [device]")

    monkeypatch.setattr(doctor, "CHECKS", {"broken": broken, "python": doctor.CHECKS["python"]})
    assert main(["doctor"]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["fail", "broken", "OSError:", "no", "such", "[device]"]
    assert lines[1].split()[:2] == ["ok", "python"]

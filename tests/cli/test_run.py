from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mqviz.cli import main
from mqviz.errors import CannotRun, ScenarioError

if TYPE_CHECKING:
    from tests.cli.conftest import PlayedLab


def test_json_is_one_document_and_nothing_else_on_stdout(
    played_lab: type[PlayedLab], report: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "order-pipeline", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == report
    assert said.out.count("\n") == 1
    assert said.err == "mqviz: running 'order pipeline' with the python engine\nmqviz: results: there\n"


def test_the_words_reach_the_lab(played_lab: type[PlayedLab]) -> None:
    words = "run mine.toml --duration 10s --set orders.rate=2k/s --set seed=3 --engine python --out there"
    assert main(words.split()) == 0
    (lab,) = played_lab.made
    assert (lab.source, lab.out) == ("mine.toml", Path("there"))
    assert (lab.engine, lab.settings) == ("python", ["orders.rate=2k/s", "seed=3", "duration=10s"])
    assert lab.stopped == [None]


@pytest.mark.parametrize("code", [0, 1])
def test_the_exit_code_is_the_runs(code: int, played_lab: type[PlayedLab]) -> None:
    played_lab.code = code
    assert main(["run", "order-pipeline"]) == code


def test_what_is_wrong_is_said_on_stderr(
    played_lab: type[PlayedLab], report: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    report |= {"verdict": "SUSPECT", "reasons": ["the generator was late"]}
    report["expectations"] = [{"metric": "lost < 1", "met": False, "value": 3}]
    main(["run", "order-pipeline", "--json"])
    assert capsys.readouterr().err.splitlines()[1:] == [
        "mqviz: SUSPECT: the generator was late",
        "mqviz: not met: lost < 1",
        "mqviz: results: there",
    ]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_is_interrupted_keeps_its_results(
    number: signal.Signals, code: int, played_lab: type[PlayedLab], capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> None:
        os.kill(os.getpid(), number)

    played_lab.on_wait = staticmethod(interrupted)
    assert main(["run", "order-pipeline", "--json"]) == code
    said = capsys.readouterr()
    assert json.loads(said.out)["verdict"] == "VALID"
    assert "mqviz: ending the load, keeping the results\n" in said.err
    assert played_lab.made[0].stopped == [1.0]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize(
    ("error", "code"),
    [(ScenarioError('node "orders", rate', "must be above 0"), 2), (CannotRun("no room"), 3)],
    ids=["bad input", "could not run"],
)
def test_a_lab_that_does_not_start_says_why(
    error: Exception, code: int, played_lab: type[PlayedLab], capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error

    played_lab.on_start = staticmethod(fail)
    assert main(["run", "order-pipeline", "--json"]) == code
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", f"mqviz: {error}\n")


def test_a_run_that_broke_off_could_not_run(
    played_lab: type[PlayedLab], capsys: pytest.CaptureFixture[str]
) -> None:
    played_lab.state = "failed"
    assert main(["run", "order-pipeline", "--json"]) == 3
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.endswith("the run ended early: the agent ended 4 times; what it has is in there\n")


def test_a_run_without_an_end_is_refused(
    played_lab: type[PlayedLab], capsys: pytest.CaptureFixture[str]
) -> None:
    played_lab.duration_ns = None
    assert main(["run", "mine.toml"]) == 2
    assert capsys.readouterr().err == (
        "mqviz: mine.toml has no duration and would never end; give one, such as --duration 30s\n"
    )

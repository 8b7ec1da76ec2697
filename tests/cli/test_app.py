from __future__ import annotations

import subprocess
import sys

import pytest

import mqviz
from mqviz.cli import doctor, main
from mqviz.errors import BadInput, CannotRun, MqvizError, RecordingError

COMMANDS = ("lab", "run", "scenarios", "doctor")


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"mqviz {mqviz.__version__}\n"


def test_no_command_shows_all_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    shown = capsys.readouterr().out
    assert [command for command in COMMANDS if f" {command} " not in shown] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_has_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines[lines.index("Examples:") + 2].startswith(f"mqviz {command}")


@pytest.mark.parametrize(
    "words", [["fly"], ["run"], ["run", "order-pipeline", "--fly"], ["lab", "--port", "0"], ["doctor", "x"]]
)
def test_a_word_that_is_not_known_is_bad_input(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "Usage: mqviz" in said.err


@pytest.mark.parametrize(
    ("error", "code"),
    [(BadInput("no"), 2), (RecordingError("no"), 2), (CannotRun("no"), 3), (MqvizError("no"), 3)],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_an_error_is_one_sentence_and_its_exit_code(
    error: MqvizError, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> list[doctor.Check]:
        raise error

    monkeypatch.setattr(doctor, "examine", fail)
    assert main(["doctor"]) == code
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "mqviz: no\n")


def test_a_fault_of_mqviz_is_not_taken_for_a_failed_expectation(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "examine", lambda: 1 / 0)
    assert main(["doctor"]) == 3
    said = capsys.readouterr().err
    assert "ZeroDivisionError" in said
    assert "a fault in mqviz" in said


def test_the_module_runs_too() -> None:
    done = subprocess.run([sys.executable, "-m", "mqviz.cli", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"mqviz {mqviz.__version__}\n")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_can_complete(
    shell: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # typer asks the process tree which shell it is in; a CI job may have none
    monkeypatch.setattr("shellingham.detect_shell", lambda *_: (shell, f"/bin/{shell}"))
    assert main(["--show-completion"]) == 0
    assert "_MQVIZ_COMPLETE" in capsys.readouterr().out

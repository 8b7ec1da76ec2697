from __future__ import annotations

import pytest

from mqviz.cli import main
from mqviz.simulation import builtin, scenario


def test_every_built_in_scenario_is_listed_with_its_lesson(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scenarios"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for name in builtin.names():
        assert f"{name} {scenario.load(name).lesson.split()[0]}" in shown


def test_one_is_printed_as_it_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scenarios", "order-pipeline"]) == 0
    assert capsys.readouterr().out == builtin.text("order-pipeline")


def test_an_unknown_name_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scenarios", "order-pipelin"]) == 2
    assert "order-pipeline" in capsys.readouterr().err

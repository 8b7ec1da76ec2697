from __future__ import annotations

from pathlib import Path

import pytest

from mqviz.cli import words


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (None, "–"),
        (0, "0 ns"),
        (999, "999 ns"),
        (1_000, "1.00 µs"),
        (12_345, "12.3 µs"),
        (999_500, "1000 µs"),
        (1_234_000, "1.23 ms"),
        (9_996_000, "10.0 ms"),
        (123_456_789, "123 ms"),
        (1_500_000_000, "1.50 s"),
        (137_000_000_000, "137 s"),
    ],
)
def test_a_duration_has_three_digits_and_a_unit(ns: float | None, text: str) -> None:
    assert words.duration(ns) == text


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (999, "999"), (59_988, "59 988"), (1e6, "1 000 000")])
def test_a_count_has_its_thousands_apart(value: float, text: str) -> None:
    assert words.count(value) == text


def test_completion_offers_built_in_names_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "orders.toml").touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "fan.toml").touch()
    monkeypatch.chdir(tmp_path)
    assert words.complete_scenario("order") == ["order-pipeline", "orders.toml"]
    assert words.complete_scenario("more/") == ["more/fan.toml"]
    assert words.complete_scenario(f"{tmp_path}/o") == [f"{tmp_path}/orders.toml"]
    assert words.complete_scenario("no-such") == []


def test_a_help_text_lines_its_examples_up() -> None:
    text = words.help_text("What.", "", {"a b": "one", "a b c d": "two"})
    assert text == "What.\n\nExamples:\n\n[bold]a b        [/][dim]one[/]\n[bold]a b c d    [/][dim]two[/]"

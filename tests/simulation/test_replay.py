"""Recorded send times from a file that may be any file."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqviz.errors import ScenarioError
from mqviz.simulation import replay


def test_the_natural_rate_is_entries_over_the_last_offset(tmp_path: Path) -> None:
    file = tmp_path / "times"
    file.write_text("1\n2\n4\n")
    assert replay.offsets(str(file)).tolist() == [1, 2, 4]
    assert replay.natural_rate(str(file)) == 0.75


def test_a_file_that_has_changed_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "times"
    file.write_text("1\n")
    replay.offsets(str(file))
    file.write_text("1\n2\n")
    assert replay.offsets(str(file)).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("1\n0.5\n", "line 2: not an offset in seconds of at least 0 and at least the one before"),
        ("1\nsecret:x:0\n", "line 2: not an offset in seconds of at least 0 and at least the one before"),
        ("0\nnan\n", "line 2: not an offset"),
        ("0\n1e300\n", "line 2: not an offset"),
        ("-1\n", "line 1: not an offset"),
        ("", "needs at least one offset above 0"),
        ("0\n0\n", "needs at least one offset above 0"),
        ("1\n" * 1_000_001, "has more than 1000000 entries"),
    ],
    ids=["decreasing", "text", "nan", "too late", "negative", "empty", "all at once", "too many"],
)
def test_a_file_that_cannot_be_replayed_is_refused_without_repeating_it(
    tmp_path: Path, content: str, problem: str
) -> None:
    file = tmp_path / "times"
    file.write_text(content)
    with pytest.raises(ScenarioError, match=problem) as caught:
        replay.offsets(str(file))
    assert "secret" not in str(caught.value)


def test_only_a_regular_file_is_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "missing", "/dev/zero", "a\0b", "x" * 5000):
        with pytest.raises(ScenarioError, match="replay file"):
            replay.offsets(str(path))


@given(content=st.binary(max_size=200))
def test_any_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.mktemp("replay") / "times"
    file.write_bytes(content)
    with contextlib.suppress(ScenarioError):
        assert replay.offsets(str(file))[-1] > 0

"""Where runs are kept, and what of a folder can be read again."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

import mqviz
from mqviz.api import Run
from mqviz.errors import CannotRun, RecordingError
from mqviz.simulation import folder
from mqviz.simulation.scenario import push_pull, to_toml

SCENARIO = push_pull()


def finished(runs: Path, name: str, size: int = 10, **content: Any) -> Path:
    """A run folder as an older run would have left it."""
    made = runs / name
    made.mkdir(parents=True)
    folder.write(made, {**folder.facts(SCENARIO, "python"), "state": "ended", "pid": 1, **content})
    (made / "samples").mkdir()
    with (made / "samples/000001.mqs").open("wb") as file:
        file.truncate(size)
    return made


def test_a_run_has_a_folder_with_its_time_and_name(tmp_path: Path) -> None:
    made = folder.create(push_pull(name="a <b> & ../c"), None, tmp_path)
    assert made.parent == tmp_path / "mqviz-runs"
    assert made.name.endswith("-a-b-c")
    assert made.name[8] == "-"
    assert made.name[:8].isdigit()


def test_two_runs_of_the_same_second_have_two_folders(tmp_path: Path) -> None:
    assert len({folder.create(SCENARIO, None, tmp_path) for _ in range(5)}) == 5


def test_a_named_folder_is_used_as_it_is_and_only_once(tmp_path: Path) -> None:
    out = tmp_path / "deep/down"
    assert folder.create(SCENARIO, out) == out
    folder.write(out, folder.facts(SCENARIO, "python"))
    with pytest.raises(CannotRun, match="deep/down has a run already; name another folder with --out"):
        folder.create(SCENARIO, out)


@pytest.mark.parametrize("out", ["/proc/mqviz", "/dev/null/mqviz"])
def test_a_folder_that_cannot_be_written_is_refused_with_a_sentence(out: str) -> None:
    with pytest.raises(CannotRun, match=f"cannot write the run folder {out} .*; name another with --out"):
        folder.create(SCENARIO, Path(out))


def test_the_newest_runs_are_kept(tmp_path: Path) -> None:
    runs = tmp_path / "mqviz-runs"
    for n in range(25):
        finished(runs, f"20260101-0000{n:02}-x")
    (runs / "not a run").mkdir()
    made = folder.create(SCENARIO, None, tmp_path)
    left = sorted(path.name for path in runs.iterdir())
    assert left == [*(f"20260101-0000{n:02}-x" for n in range(6, 25)), made.name, "not a run"]
    assert len(left) == folder.KEPT + 1


def test_old_runs_make_room_when_there_is_too_much(tmp_path: Path) -> None:
    runs = tmp_path / "mqviz-runs"
    for n in range(4):
        finished(runs, f"20260101-00000{n}-x", size=400 << 20)
    folder.prune(runs)
    assert sorted(path.name for path in runs.iterdir()) == ["20260101-000002-x", "20260101-000003-x"]


def test_a_run_that_still_runs_is_never_removed(tmp_path: Path) -> None:
    runs = tmp_path / "mqviz-runs"
    for n in range(25):
        finished(runs, f"20260101-0000{n:02}-x", state="running", pid=os.getpid() if n == 3 else 1 << 30)
    folder.prune(runs)
    names = [path.name for path in runs.iterdir()]
    assert "20260101-000003-x" in names
    assert len(names) == folder.KEPT


def test_run_json_is_replaced_whole(tmp_path: Path) -> None:
    facts = folder.facts(SCENARIO, "python")
    folder.write(tmp_path, {**facts, "state": "running", "long": "x" * 10_000})
    folder.write(tmp_path, {**facts, "state": "ended"})
    assert folder.read(tmp_path) == {**facts, "state": "ended"}
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_run_is_stamped_with_all_that_is_needed_to_repeat_it() -> None:
    found = folder.facts(push_pull(seed=42), "python")
    assert (found["format"], found["seed"], found["engine"]) == (1, 42, "python")
    assert set(found["versions"]) == {"mqviz", "python", "pyzmq", "libzmq"}
    assert set(found["machine"]) == {"system", "kernel", "processor", "cores"}
    assert folder.scenario_of(Path("x"), found) == push_pull(seed=42)


def test_a_run_from_another_machine_is_read_whatever_this_one_can_carry() -> None:
    toml = folder.facts(SCENARIO, "python")["scenario_toml"]
    spinning = toml.replace('role = "consumer"', 'role = "consumer"\nservice = "2s"\nservice_mode = "spin"')
    assert folder.scenario_of(Path("x"), {"scenario_toml": spinning}).nodes[1].service_mode == "spin"
    elsewhere = toml.replace('role = "producer"', 'role = "producer"\narrivals = "replay(/no/such/file)"')
    assert folder.scenario_of(Path("x"), {"scenario_toml": elsewhere}).nodes[0].arrivals.kind == "replay"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "is not a run folder: it has no run.json"),
        ("", "run.json cannot be read"),
        ("{", "run.json cannot be read"),
        ("[]", "is not from mqviz"),
        ("{}", "is not from mqviz"),
        ('{"format": "1"}', "is not from mqviz"),
        ('{"format": 2}', r"written by a newer mqviz \(format 2, this one reads 1\); upgrade mqviz"),
        ('{"format": 1}', "lacks state, engine, scenario_toml"),
        ('{"format": 1, "engine": "python", "state": "ended", "scenario_toml": "node = 3"}', "written as"),
        ('{"format": 1, "engine": "python", "state": "ended", "scenario_toml": 3}', "lacks scenario_toml"),
    ],
)
def test_a_run_json_that_is_none_is_refused_with_a_sentence(
    tmp_path: Path, text: str | None, words: str
) -> None:
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    with pytest.raises(RecordingError, match=words) as caught:
        mqviz.load(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_folder_that_is_not_there_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="nowhere is not a run folder"):
        mqviz.load(tmp_path / "nowhere")


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A short run that has ended, with its folder."""
    scenario = push_pull(rate=500, duration="500ms", warmup="100ms", transport="ipc")
    return mqviz.run(scenario, engine="python", out=tmp_path_factory.mktemp("runs") / "run")


def test_a_loaded_run_says_what_the_live_one_said(ended: Run) -> None:
    assert ended.folder is not None
    loaded = mqviz.load(ended.folder)
    assert (loaded.state, loaded.engine, loaded.scenario) == ("ended", "python", ended.scenario)
    assert loaded.report() == ended.report()
    assert loaded.summary().equals(ended.summary())
    assert loaded.books().equals(ended.books())
    assert loaded.timeline().equals(ended.timeline())


def test_run_json_has_the_document_of_the_run(ended: Run) -> None:
    assert ended.folder is not None
    content = json.loads((ended.folder / "run.json").read_text())
    assert {key: content[key] for key in ended.report()} == ended.report()
    assert content["state"] == "ended"
    assert content["pid"] == os.getpid()


def test_a_recording_that_was_cut_or_altered_is_told_apart(ended: Run, tmp_path: Path) -> None:
    assert ended.folder is not None
    for name, damage in (("cut", lambda data: data[:-30]), ("altered", _flip)):
        copy = shutil.copytree(ended.folder, tmp_path / name)
        file = copy / "samples/000001.mqs"
        file.write_bytes(damage(file.read_bytes()))
    assert mqviz.load(tmp_path / "cut").report()["links"]["producer -> consumer"]["received"] > 0
    with pytest.raises(
        RecordingError, match=r"is damaged at byte .* s of the run can be read, the rest cannot"
    ):
        mqviz.load(tmp_path / "altered")
    shutil.rmtree(tmp_path / "cut/samples")
    with pytest.raises(RecordingError, match=r"there is no recording in .*cut"):
        mqviz.load(tmp_path / "cut")


def _flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :]


@pytest.mark.slow
def test_run_json_is_there_from_the_start(labs: Any, tmp_path: Path) -> None:
    lab = labs.start(to_toml(push_pull(rate=500, seed=8)), out=tmp_path / "run")
    content = folder.read(tmp_path / "run")
    assert content["state"] == "running"
    assert content["pid"] == os.getpid()
    assert content["seed"] == 8
    assert folder.scenario_of(tmp_path, content) == lab.scenario
    labs.received(lab, "producer -> consumer", 10)
    lab.stop()
    assert folder.read(tmp_path / "run")["state"] == "ended"

"""README and docs/ are true: every command and snippet runs, every place that they name exists."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import tomllib
import urllib.request
from pathlib import Path
from typing import NamedTuple

import pytest

from mqviz.simulation import builtin, expectation, fields, scenario
from mqviz.telemetry import probe

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    language: str
    text: str
    place: str


def blocks(language: str) -> list[Block]:
    found = []
    for page in PAGES:
        text = page.read_text()
        for match in FENCE.finditer(text):
            line = text.count("\n", 0, match.start()) + 2
            found.append(Block(match[1], match[2], f"{page.name}-{line}"))
    return [block for block in found if block.language == language]


def environment() -> dict[str, str]:
    """This Python's scripts first; a browser that opens nothing; output as it is by default."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ours = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return {**ours, "PATH": path, "BROWSER": "true"}


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("block", blocks("console"), ids=lambda block: block.place)
def test_the_commands_of_a_block_run(block: Block, tmp_path: Path) -> None:
    for line in block.text.splitlines():
        if not line.startswith("$ "):
            continue
        command = line[2:]
        match command.split():
            case ["make", *_]:
                subprocess.run(
                    ["make", "-n", *command.split()[1:]], cwd=ROOT, check=True, capture_output=True
                )
            case ["pip", "install", *what]:
                check_extras(" ".join(what))
            case ["mqviz", "lab", *_]:
                serve_and_stop(command, tmp_path)
            case ["mqviz", *_]:
                done = subprocess.run(
                    command, shell=True, cwd=tmp_path, env=environment(), capture_output=True, text=True
                )
                # a machine too busy to keep the schedule makes a run VOID, the command is right all the same
                too_busy = done.returncode == 1 and "VOID" in done.stderr and "was late" in done.stderr
                assert done.returncode == 0 or too_busy, done.stderr
                assert done.stdout or ">" in command
            case _:
                pytest.fail(f"a command that this test does not know: {command}")


def check_extras(what: str) -> None:
    extras = re.findall(r"\.\[(.*?)\]", what)
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {name for group in extras for name in group.split(",")} <= set(known)


def serve_and_stop(command: str, folder: Path) -> None:
    """The page answers at the address that is printed, and Ctrl-C ends it cleanly."""
    output = folder / "lab.txt"
    with output.open("w") as file:
        process = subprocess.Popen(
            command.split(), cwd=folder, env=environment(), stdout=file, stderr=subprocess.STDOUT
        )
    try:
        address = None
        deadline = time.monotonic() + 60
        while address is None and time.monotonic() < deadline:
            assert process.poll() is None, output.read_text()
            address = re.search(r"http://127\.0\.0\.1:\d+", output.read_text())
            time.sleep(0.05)
        assert address is not None, output.read_text()
        with urllib.request.urlopen(address[0], timeout=60) as answer:
            assert answer.status == 200
            assert b"mqviz" in answer.read()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0, output.read_text()
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("block", blocks("python"), ids=lambda block: block.place)
def test_a_snippet_runs(block: Block, tmp_path: Path) -> None:
    (tmp_path / "snippet.py").write_text(block.text)
    command = [sys.executable, "-W", "error", "snippet.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", blocks("toml"), ids=lambda block: block.place)
def test_a_scenario_of_the_documents_loads(block: Block) -> None:
    assert scenario.loads(block.text).nodes


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_architecture_names_every_package_and_no_file_that_is_not_there() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    named = set(re.findall(r"`(mqviz/[\w/]+(?:\.py)?)`", text))
    for package, files in re.findall(r"^\| `(mqviz/\w+)` \|.*\| (.*) \|$", text, re.MULTILINE):
        named |= {f"{package}/{file}" for file in re.findall(r"`(\w+)`", files)}
    missing = {path for path in named if not (ROOT / path).exists() and not (ROOT / f"{path}.py").exists()}
    assert missing == set()
    filled = (path.parent for path in (ROOT / "mqviz").glob("*/*.py") if path.stem != "__init__")
    assert {f"mqviz/{package.name}" for package in filled} <= named


def test_the_floors_of_the_architecture_are_those_that_are_kept() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    told = [set(re.findall(r"\w+", floor)) for floor in re.findall(r"^\d  (.*)$", text, re.MULTILINE)]
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    kept = [
        set(re.findall(r"(?<!\()mqviz\.(\w+)", layer)) for layer in layers
    ]  # (in brackets: may be missing)
    assert told == kept


def test_the_scenario_page_explains_every_key() -> None:
    text = (ROOT / "docs/scenarios.md").read_text()
    tables = (fields.SCENARIO, fields.NODE, fields.LINK, fields.EVENT)
    keys = {field.key for table in tables for field in table} | {"metric"}
    sections = text.partition("## The whole")[2].replace("| metric | |", "\n")
    headed = re.findall(r"^\| key \| default \|.*\n\|[-|]+\n((?:\|.*\n)+)", sections, re.MULTILINE)
    explained = {key for rows in headed for key in re.findall(r"^\| `(\w+)` \|", rows, re.MULTILINE)}
    assert explained == keys


def test_the_scenario_page_names_every_metric() -> None:
    text = (ROOT / "docs/scenarios.md").read_text()
    heads = {metric.partition(".")[0] for metric in expectation.METRICS} - {"end_to_end"}
    assert [head for head in sorted(heads) if not re.search(rf"`{head}[.`]", text)] == []


def test_the_scenario_page_names_every_built_in_scenario() -> None:
    text = (ROOT / "docs/scenarios.md").read_text()
    assert [name for name in builtin.names() if f"`{name}`" not in text] == []


def test_the_glossary_explains_every_duration_and_cause() -> None:
    text = (ROOT / "docs/glossary.md").read_text()
    words = [*(name.replace("_", "-") for name in probe.DURATIONS), *expectation.CAUSES]
    assert [word for word in words if f"| {word} |" not in text] == []

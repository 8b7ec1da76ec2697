"""The house itself: what may be imported where, the public surface, and files that must agree."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import mqviz

ROOT = Path(__file__).parents[1]
LIGHT = ("telemetry", "channels", "simulation", "checks")

BLOCK = """
import sys

BLOCKED = {blocked!r}

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ImportError(name + " is not to be loaded here")

sys.meta_path.insert(0, Block())
"""
HEAVY = ("pandas", "bokeh", "panel", "panel_material_ui", "numba", "typer", "rich", "tornado", "IPython")


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_mqviz_loads_the_standard_library_only() -> None:
    code = "import sys, mqviz; print(*{name.partition('.')[0] for name in sys.modules})"
    before = set(run_python(code.replace(", mqviz", "")).split())
    loaded = set(run_python(code).split()) - before
    assert loaded - set(sys.stdlib_module_names) == {"mqviz"}


def test_the_side_that_carries_load_imports_nothing_heavy() -> None:
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for floor in LIGHT
        for path in sorted((ROOT / "mqviz" / floor).rglob("*.py"))
        if not path.stem.startswith("native_")  # compiled with numba, loaded when it is chosen
    ]
    assert "mqviz.telemetry.store" in modules
    imports = "\n".join(f"import {module}" for module in modules)
    run_python(BLOCK.format(blocked=HEAVY) + imports)


def test_asking_for_the_version_loads_no_command() -> None:
    code = "import sys; from mqviz.cli import main; main(['--version']); assert 'typer' not in sys.modules"
    assert run_python(code) == f"mqviz {mqviz.__version__}\n"


def test_every_public_name_resolves() -> None:
    assert list(mqviz.__all__) == sorted(mqviz.__all__)
    for name in mqviz.__all__:
        assert getattr(mqviz, name) is not None
    assert set(mqviz.__all__) <= set(dir(mqviz))


def test_no_public_name_is_that_of_a_package() -> None:
    packages = {path.stem for path in (ROOT / "mqviz").iterdir()}
    assert packages.isdisjoint(mqviz.__all__)


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        getattr(mqviz, "no_such_name")  # noqa: B009


def test_every_dependency_has_a_tested_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(need for name in extras if name != "all" for need in extras[name])]
    lines = (ROOT / "constraints.txt").read_text().splitlines()[1:]
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][A-Za-z0-9.]*", line)] == []
    pinned = {_normal(line.partition("==")[0]) for line in lines}
    assert {_normal(re.split(r"[<>=\[ ;]", need)[0]) for need in wanted} <= pinned


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_ci_runs_the_readmes_test_command_and_nothing_else() -> None:
    assert (ROOT / ".ci/run").read_text() == "#!/bin/sh\nmake test\n"
    assert "$ make test\n" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("script", [".ci/run", "scripts/check", "scripts/chromium", "scripts/setup"])
def test_a_script_can_be_run(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)
    subprocess.run(["sh", "-n", ROOT / script], check=True)


def test_the_changelog_knows_this_version_or_is_ahead_of_it() -> None:
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased" or headings[0] == mqviz.__version__


LEFT_BEHIND = """
import subprocess
import tempfile
import threading
import time

def test_an_orphan():
    subprocess.run(["sh", "-c", "sleep 60 &"], start_new_session=True, stdout=subprocess.DEVNULL)

def test_a_thread():
    threading.Thread(target=time.sleep, args=(8,), name="mqviz-loop", daemon=True).start()

def test_a_folder():
    tempfile.mkdtemp(prefix="mqviz-")

def test_nothing():
    subprocess.run(["true"])
"""


@pytest.mark.slow
def test_a_test_that_leaves_something_behind_fails(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        (ROOT / "tests/conftest.py").read_text().replace("GRACE_S = 3.0", "GRACE_S = 0.3")
    )
    (tmp_path / "test_left.py").write_text(LEFT_BEHIND)
    command = [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", "-p", "no:asyncio", "."]
    environment = {name: value for name, value in os.environ.items() if name != "MQVIZ_TESTS"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    said = re.findall(r"^ERROR test_left.py::(\w+) - Failed: left behind: (\w+)", done.stdout, re.MULTILINE)
    assert said == [("test_an_orphan", "process"), ("test_a_thread", "thread"), ("test_a_folder", "file")]

"""Committed notebooks run from the top, and hold what a reader sees: outputs, but no scripts and no machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LIMIT = 300_000

RUN = """
import sys
import nbformat
from nbclient import NotebookClient

notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=120).execute()
nbformat.write(notebook, sys.argv[2])
"""
"""In a process of its own: the client leaves sockets and loops to the end of its process."""

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def outputs(notebook: Any) -> list[Any]:
    return [output for cell in notebook.cells for output in cell.get("outputs", ())]


def test_there_is_a_first_notebook() -> None:
    assert "01-first-look" in [path.stem for path in NOTEBOOKS]


@each
def test_it_is_small(path: Path) -> None:
    assert path.stat().st_size < LIMIT


@each
def test_it_is_valid_and_asks_for_no_kernel_of_somebody_else(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"


@each
def test_it_was_run_from_the_top_and_kept_its_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert not [output for output in outputs(notebook) if output.output_type == "error"]
    assert any("image/png" in output.get("data", {}) for output in outputs(notebook))


@each
def test_no_script_is_inlined(path: Path) -> None:
    for output in outputs(nbformat.read(path, as_version=4)):
        data = output.get("data", {})
        assert [kind for kind in data if "javascript" in kind or "holoviews" in kind] == []
        assert "<script" not in data.get("text/html", "")


@each
def test_it_names_no_place_of_the_machine_that_it_was_run_on(path: Path) -> None:
    text = path.read_text()
    assert re.findall(r"/(?:home|root|tmp|Users|work)/[\w./-]*", text) == []
    assert set(nbformat.reads(text, as_version=4).metadata) == {"kernelspec", "language_info"}


@pytest.mark.slow
@pytest.mark.timeout(180)
@each
def test_it_runs(path: Path, tmp_path: Path) -> None:
    done = tmp_path / "done.ipynb"
    # what a notebook leaves behind goes where the test can see it
    environment = {**os.environ, "IPYTHONDIR": str(tmp_path / "ipython")}
    command = [sys.executable, "-c", RUN, str(path), str(done)]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-3_000:]
    found = nbformat.read(done, as_version=4)
    dashboards = [o for o in outputs(found) if "application/vnd.holoviews_exec.v0+json" in o.get("data", {})]
    assert len(dashboards) >= 1

"""A lab in a real JupyterLab: the cell's output moves, whatever the kernel does, and nothing stays behind."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import psutil
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]

START = """import mqviz
lab = mqviz.Lab.push_pull(rate=500, duration="600s", engine="python", record=False)
lab.start()
lab"""
COMPUTE = """from pathlib import Path
while not Path("enough").exists(): sum(range(1_000))
lab.state"""
WAIT = """from pathlib import Path
while not Path("enough").exists(): lab.wait("100ms")"""
SLEEP = "import time\ntime.sleep(100)"
GONE_S = 6.0
"""What may pass between the end of a kernel and that of the last process of its lab."""


def load(name: str) -> ModuleType:
    """A module of tests/."""
    spec = importlib.util.spec_from_file_location(
        f"mqviz_test_{name}", Path(__file__).parents[1] / f"{name}.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def jupyter() -> ModuleType:
    return load("jupyter")


@pytest.fixture(scope="module")
def server(jupyter: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    lab = jupyter.JupyterLab(tmp_path_factory.mktemp("jupyterlab"))
    yield lab
    lab.stop()


@pytest.fixture
def open_notebook(server: Any, chromium: Browser) -> Iterator[Callable[[list[str]], Any]]:
    opened = []

    def make(cells: list[str]) -> Any:
        server.write(f"n{len(opened)}.ipynb", cells)
        opened.append(server.open(chromium, f"n{len(opened)}.ipynb"))
        return opened[-1]

    yield make
    for notebook in opened:
        notebook.close()


@pytest.fixture
def enough(server: Any) -> Iterator[Callable[[], None]]:
    """Ends the cells COMPUTE and WAIT."""
    yield (server.folder / "enough").touch
    (server.folder / "enough").unlink(missing_ok=True)


def processes_of_labs() -> set[int]:
    """Runners and agents that these tests have started, orphans too."""
    found = set()
    for process in psutil.process_iter(["cmdline", "environ"]):
        words = process.info["cmdline"] or []
        ours = (process.info["environ"] or {}).get("MQVIZ_TESTS") == os.environ["MQVIZ_TESTS"]
        if ours and ("mqviz.simulation.runner" in words or "mqviz.telemetry.agent" in words):
            found.add(process.pid)
    return found


def test_the_dashboard_moves_while_the_kernel_computes_and_after_an_interrupt(
    jupyter: ModuleType, open_notebook: Callable[[list[str]], Any], enough: Callable[[], None]
) -> None:
    notebook = open_notebook([START, COMPUTE, SLEEP, "lab.state"])
    notebook.run(0)
    notebook.moves()
    notebook.moves()
    (first,) = notebook.pictures()

    notebook.run(1)
    jupyter.wait_for(lambda: notebook.state(1) == "[*]", 10)
    notebook.moves(15)
    assert notebook.state(1) == "[*]"
    assert notebook.pictures() != [first]
    enough()
    assert notebook.done(1) == "'measure'" or notebook.done(1) == "'warm-up'"

    notebook.run(2)
    jupyter.wait_for(lambda: notebook.state(2) == "[*]", 10)
    notebook.interrupt()
    notebook.done(2)
    notebook.run(3)
    assert notebook.done(3) in ("'measure'", "'warm-up'")
    notebook.moves()

    assert notebook.errors == []
    assert len(processes_of_labs()) == 3
    notebook.shut_down()
    jupyter.wait_for(lambda: not processes_of_labs(), GONE_S)


def test_it_moves_when_all_cells_are_run_at_once(
    jupyter: ModuleType, open_notebook: Callable[[list[str]], Any], enough: Callable[[], None]
) -> None:
    notebook = open_notebook([START, WAIT, "lab.stop().state"])
    notebook.choose("Run", "Run All Cells")
    notebook.moves()
    notebook.moves()
    assert notebook.state(1) == "[*]"
    enough()
    assert notebook.done(2, 90) == "'ended'"
    jupyter.wait_for(
        lambda: "ended" in notebook.page.locator(".jp-OutputArea-output header").inner_text(), 30
    )


def test_twice_the_same_then_once_again_and_a_small_file(
    jupyter: ModuleType, server: Any, open_notebook: Callable[[list[str]], Any]
) -> None:
    views = "from mqviz.dashboard import display\nlen(display._shows[lab]._views)"
    notebook = open_notebook([START, "lab", views, "lab.stop().state"])
    notebook.run(0)
    notebook.moves()
    notebook.run(1)
    jupyter.wait_for(lambda: len(notebook.times) == 2 and min(notebook.times) > 0, 60)

    # what was there before is let go when its cell is run again
    notebook.done(1)
    notebook.run(1)
    jupyter.wait_for(lambda: len(notebook.times) == 2 and min(notebook.times) > 0, 60)

    def views_left() -> str:
        notebook.run(2)
        return str(notebook.done(2))

    jupyter.wait_for(lambda: views_left() == "2", 30)

    notebook.run(3)
    assert notebook.done(3) == "'ended'"
    jupyter.wait_for(lambda: len(set(notebook.times)) == 1, 60)
    notebook.save()
    saved = (server.folder / "n0.ipynb").read_text()
    assert len(saved) < 300_000
    outputs = [output for cell in json.loads(saved)["cells"] for output in cell["outputs"]]
    assert not any("application/javascript" in output.get("data", {}) for output in outputs)
    assert [url for url in notebook.requests if url.startswith("http") and "//127.0.0.1" not in url] == []


def test_a_page_that_is_loaded_anew_shows_it_again(
    jupyter: ModuleType, open_notebook: Callable[[list[str]], Any]
) -> None:
    notebook = open_notebook([START, "lab", "lab.stop().state"])
    notebook.run(0)
    notebook.moves()
    notebook.choose("File", "Save Notebook")
    notebook.page.reload()
    notebook.page.wait_for_selector("text=Python 3 (ipykernel) | Idle")
    notebook.run(1)
    notebook.moves()
    notebook.run(2)
    assert notebook.done(2) == "'ended'"

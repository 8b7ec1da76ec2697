"""The folder of compiled code, and what happens when it is not as it should be."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from mqviz.errors import CannotRun
from mqviz.simulation.engine import native_cache

needs_numba = pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="numba is not installed")
pytestmark = needs_numba

LOAD = """
import sys
from mqviz.simulation.engine import native_code
print(all(native_code.loops()), "numba" in sys.modules)
"""

ASK = "from mqviz.simulation.engine import native_cache; native_cache.warm()"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, and no temporary one to fall back to."""
    cache = tmp_path / "cache"
    cache.mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    (tmp_path / "none").write_text("in the way")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    return cache


def load() -> str:
    """Load the loops in a fresh process."""
    done = subprocess.run([sys.executable, "-c", LOAD], capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_folder_is_private_and_named_by_its_contents(home: Path) -> None:
    place = native_cache.folder()
    assert place.parent == home / "mqviz"
    assert place.stat().st_mode & 0o777 == 0o700
    assert native_cache.folder() == place
    assert not native_cache.is_warm()


def test_another_version_has_another_folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = native_cache.folder()
    monkeypatch.setattr(native_cache, "__version__", "another")
    assert native_cache.folder() != place


@pytest.mark.parametrize("which", ["folder", "parent"])
def test_a_folder_that_others_can_write_is_not_used(home: Path, which: str) -> None:
    place = native_cache.folder()
    (place if which == "folder" else place.parent).chmod(0o770)
    with pytest.raises(CannotRun, match="XDG_CACHE_HOME"):
        native_cache.folder()
    assert not native_cache.is_warm()


def test_a_link_in_place_of_the_folder_is_not_used(home: Path, tmp_path: Path) -> None:
    place = native_cache.folder()
    place.rmdir()
    (tmp_path / "elsewhere").mkdir(0o700)
    place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CannotRun):
        native_cache.folder()


def test_without_a_cache_folder_the_temporary_one_serves(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "mqviz").write_text("in the way")
    temporary = home / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    assert native_cache.folder().parent.parent == temporary


def test_folders_that_nobody_uses_are_forgotten(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = native_cache.folder()
    old, recent = (place.with_name(f"native-{name}") for name in ("old", "recent"))
    old.mkdir()
    monkeypatch.setattr(native_cache, "FORGET_SECONDS", -1.0)
    native_cache.forget_old(place)
    monkeypatch.undo()
    recent.mkdir()
    native_cache.forget_old(place)
    assert place.exists()
    assert recent.exists()
    assert not old.exists()


@pytest.mark.slow
@pytest.mark.parametrize("after_s", [0.0, 2.0])
def test_a_compiler_ends_soon_after_who_asked_for_it_was_killed(home: Path, after_s: float) -> None:
    asker = subprocess.Popen([sys.executable, "-c", ASK])
    compiler = None
    deadline = time.monotonic() + 30
    while compiler is None:
        assert time.monotonic() < deadline
        compiler = next(iter(psutil.Process(asker.pid).children()), None)
        time.sleep(0.005)
    time.sleep(after_s)
    asker.kill()
    asker.wait()
    compiler.wait(6)
    assert not native_cache.is_warm()


def test_a_runner_loads_the_loops_without_numba(compiled: None) -> None:
    assert load() == "True False"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_damaged_code_is_compiled_once_more(
    compiled: None, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = native_cache.folder()
    monkeypatch.delenv("XDG_CACHE_HOME")
    sound = native_cache.folder()
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    shutil.copytree(sound, place, dirs_exist_ok=True)
    damaged = place / "drain.o"
    damaged.write_bytes(damaged.read_bytes()[:1000])
    assert load() == "True False"
    assert len(damaged.read_bytes()) > 1000
    assert native_cache.is_warm()

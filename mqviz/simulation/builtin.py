"""Built-in scenarios: TOML files that come with mqviz."""

from __future__ import annotations

from pathlib import Path

from mqviz.errors import ScenarioError
from mqviz.simulation.wording import shown, suggestion

# in a wheel they are part of the package, in the repository they lie beside it
_PACKAGE = Path(__file__).resolve().parents[1]
_FOLDERS = (_PACKAGE / "scenarios", _PACKAGE.parent / "assets" / "scenarios")


def _files() -> dict[str, Path]:
    folder = next((folder for folder in _FOLDERS if folder.is_dir()), None)
    return {file.stem: file for file in sorted(folder.glob("*.toml"))} if folder else {}


def names() -> list[str]:
    """Their names; the first is the default one, the others follow the alphabet."""
    return sorted(_files(), key=lambda name: (name != "order-pipeline", name))


def path(name: str) -> Path:
    """The file of one."""
    files = _files()
    if name not in files:
        raise ScenarioError("", f"there is no built-in scenario {shown(name)}{suggestion(name, files)}")
    return files[name]


def text(name: str) -> str:
    """The TOML of one."""
    return path(name).read_text(encoding="utf-8")

"""The colours of the page and of every chart, dark and light; a link keeps its colour on all of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Palette:
    """The colours of one theme, as #rrggbb."""

    name: str
    background: str
    paper: str
    raised: str
    line: str
    text: str
    dim: str
    primary: str
    good: str
    warn: str
    bad: str
    series: tuple[str, ...]  # by the order of the links in the scenario
    causes: tuple[str, ...]  # by the order of the causes in the books


DARK = Palette(
    name="dark",
    background="#0b111b",
    paper="#121a27",
    raised="#182233",
    line="#212d3f",
    text="#e8eef6",
    dim="#93a2b5",
    primary="#4cc3ff",
    good="#3ddc97",
    warn="#ffb454",
    bad="#ff6b5e",
    series=(
        "#4cc3ff", "#ffb454", "#3ddc97", "#ff7ab6", "#b69cff", "#f2e05c", "#4fe0d0", "#ff8e66", "#93abff", "#b7cf4a",
    ),
    causes=("#ff6b5e", "#ffb454", "#93a2b5", "#ff7ab6", "#b69cff", "#4cc3ff", "#4fe0d0", "#f2e05c"),
)  # fmt: skip

LIGHT = Palette(
    name="light",
    background="#f4f6fa",
    paper="#ffffff",
    raised="#f6f8fc",
    line="#dfe5ee",
    text="#16202e",
    dim="#5a6778",
    primary="#0a7bd0",
    good="#0b9a63",
    warn="#b35f00",
    bad="#c62f25",
    series=(
        "#0a7bd0", "#c96a00", "#0b9a63", "#cc3a86", "#6d50cc", "#8a7400", "#0b8a8c", "#b8471f", "#3d5ac6", "#5d7a17",
    ),
    causes=("#c62f25", "#c96a00", "#5a6778", "#cc3a86", "#6d50cc", "#0a7bd0", "#0b8a8c", "#8a7400"),
)  # fmt: skip

PALETTES = {"dark": DARK, "light": LIGHT}

"""Writes the figures of all benchmarks into docs/performance.md, between two marks; the words around them stay."""

from __future__ import annotations

from pathlib import Path

from _common import ROOT, load
from _figures import Figure, Part, columns, rounds, show, tables

PAGE = ROOT / "docs" / "performance.md"
BEGIN = "<!-- figures: what `make bench ARGS=--doc` writes -->"
END = "<!-- /figures -->"


def write(results: Path) -> None:
    """Put what a file of results holds into the page."""
    text = PAGE.read_text(encoding="utf-8")
    before, found, rest = text.partition(BEGIN)
    _, closed, after = rest.partition(END)
    if not (found and closed):
        raise SystemExit(f"{PAGE} has lost its marks, {BEGIN} and {END}")
    PAGE.write_text(
        f"{before}{BEGIN}\n\n{body([part for part in load(results) if not part.quick])}\n\n{END}{after}",
        encoding="utf-8",
    )
    print(f"written: {PAGE}")


def body(parts: list[Part]) -> str:
    """Where it was measured, the targets, then every table."""
    return "\n\n".join([place(parts[-1]), against_targets(parts), *map(all_tables, parts)])


def place(part: Part) -> str:
    """The machine and the versions, in one sentence each."""
    machine, versions = part.machine, part.versions
    packages = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"Measured on {part.started[:10]}: {machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB, {machine['system']}, Python {machine['python']}; {packages}."
    )


def against_targets(parts: list[Part]) -> str:
    """One row a figure that has a target."""
    lines = ["| what | target | median | lowest to highest | |", "|---|---|---|---|---|"]
    for part in parts:
        for each in part.figures:
            if each.target is not None:
                verdict = "reached" if each.met else "**missed**"
                lines.append(
                    f"| {each.row}: {each.column} | {each.wanted} | {each.shown} | {spread(each)} | {verdict} |"
                )
    return "\n".join(["### Against the targets", "", *lines])


def spread(figure: Figure) -> str:
    """The lowest and highest value, and how many there are."""
    low, high = (show(value, figure.unit) for value in (min(figure.values), max(figure.values)))
    return f"{low} to {high} ({len(figure.values)})"


def all_tables(part: Part) -> str:
    """The medians of one benchmark."""
    text = [
        f"### {part.title}",
        "",
        f"`benchmarks/{part.benchmark}.py`, {rounds(part)}; when it began the load average was "
        f"{part.load_average[0]:.1f} and {part.busy_cores:.1f} cores were busy with other things.",
    ]
    for name, rows in tables(part).items():
        heads = columns(rows)
        text += ["", f"| {name} | {' | '.join(heads)} |", f"|---|{'---|' * len(heads)}"]
        for row, cells in rows.items():
            shown = [cells[head].shown if head in cells else "" for head in heads]
            text.append(f"| {row} | {' | '.join(shown)} |")
    return "\n".join(text)

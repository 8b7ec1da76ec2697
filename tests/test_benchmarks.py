"""Each benchmark runs and tells its figures; how good they are is not for a test on a busy machine to say."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
BENCHMARKS = {path.stem: path for path in (ROOT / "benchmarks").glob("[!_]*.py")}


Table = dict[tuple[str, str], dict[str, Any]]


def figures(name: str, *tables: str) -> list[Table]:
    """Run a benchmark quickly; its tables by row and column, after a look at the whole document."""
    command = [sys.executable, str(BENCHMARKS[name]), "--quick", "--json", "-"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["benchmark"] == name
    assert told["quick"] is True
    assert told["rounds"] == 1
    assert told["machine"]["cores"] >= 1
    assert told["versions"]["pyzmq"] != "not installed"
    assert len(told["load_average"]) == 3
    assert list(dict.fromkeys(each["table"] for each in told["figures"])) == list(tables)
    for each in told["figures"]:
        assert each["values"]
        assert min(each["values"]) <= each["median"] <= max(each["values"])
        assert (each["met"] is None) == (each["target"] is None)
    assert tables[0] in done.stderr  # the table that people read
    return [
        {(each["row"], each["column"]): each for each in told["figures"] if each["table"] == table}
        for table in tables
    ]


@pytest.mark.slow
@pytest.mark.timeout(160)
def test_engines_are_compared_with_a_bare_loop_and_with_themselves() -> None:
    rates, spent, ratios = figures(
        "engines", "Messages a second", "CPU a message, both ends", "Ratios within a round"
    )
    variants = ("bare pyzmq", "native", "uninstrumented", "Python")
    for pattern, many in (("push-pull", 4.0), ("pub-sub", 2.0)):
        row = f"{pattern} tcp 64 B"
        bare, native, *_ = (rates[row, variant]["median"] for variant in variants)
        assert ratios[row, "native ÷ pyzmq"]["median"] == pytest.approx(native / bare)
        assert ratios[row, "native ÷ pyzmq"]["target"] == {"sign": "≥", "value": many}
        assert ratios[row, "native ÷ uninstrumented"]["target"]["value"] == 0.95
        assert ratios[row, "Python ÷ pyzmq"]["target"]["value"] == 0.6
        assert all(rates[row, variant]["median"] > 1000 for variant in variants)
        assert all(10 < spent[row, variant]["median"] < 1e6 for variant in variants)


@pytest.mark.slow
@pytest.mark.timeout(160)
def test_pacing_tells_the_error_and_the_lateness_of_each_rate() -> None:
    (found,) = figures("pacing", "Pacing")
    for rate in ("1k/s", "10k/s", "100k/s", "1M/s"):
        assert 0 <= found[f"native {rate}", "rate error"]["median"] <= 100
        assert found[f"native {rate}", "lateness p99"]["median"] > 0
    assert found["native 1M/s", "rate error"]["target"] == {"sign": "≤", "value": 0.5}


@pytest.mark.slow
@pytest.mark.timeout(160)
def test_watching_adds_up_what_the_agent_and_the_collector_take() -> None:
    found, starts = figures("watching", "Watching", "Start of a runner")
    row = "1,000 instances in 10 probes, 10 Hz"
    parts = [found[row, head]["median"] for head in ("agent", "collector")]
    assert min(parts) > 0
    assert found[row, "agent + collector"]["median"] == pytest.approx(sum(parts))
    assert starts["python", "ready after"]["target"]["value"] == 0.1
    assert starts["native", "ready after"]["target"]["value"] == 0.5
    assert starts["python", "ready after"]["median"] > 0


@pytest.mark.slow
@pytest.mark.timeout(160)
def test_the_page_is_measured_with_one_five_and_twenty_viewers() -> None:
    found, loads = figures("page", "Page at 10 Hz, share of a core", "Loading a full page")
    row = "10 links, 43 series"
    shares = [found[row, head]["median"] for head in ("1 viewer", "5 viewers", "20 viewers", "3 full pages")]
    assert min(shares) > 0
    assert found[row, "20 viewers"]["target"] == {"sign": "≤", "value": 0.06}
    assert loads[row, "CPU of the server"]["median"] > 0


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.timeout(160)
def test_startup_ends_with_a_chart_that_has_moved() -> None:
    imports, starts = figures("startup", "Import", "From the start of mqviz lab")
    answered = starts["the page's skeleton answers", "after"]["median"]
    assert 0 < answered < starts["the first chart has moved", "after"]["median"]
    assert imports["import mqviz", "wall time"]["median"] < imports["import mqviz.api", "wall time"]["median"]


def test_every_benchmark_is_in_the_document_and_has_a_test() -> None:
    text = (ROOT / "docs/performance.md").read_text()
    tested = re.findall(r'figures\(\s*"(\w+)"', Path(__file__).read_text())
    assert [name for name in BENCHMARKS if f"`benchmarks/{name}.py`" not in text] == []
    assert set(tested) == set(BENCHMARKS)


def test_figures_are_written_between_the_marks_of_the_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    common, figures_, document = map(importlib.import_module, ("_common", "_figures", "_document"))
    made = (
        figures_.Figure("Rates", "tcp", "native", "/s", (3.1e6, 2.0e6, 2.5e6)),
        figures_.Figure("Rates", "tcp", "ratio", "x", (4.5, 3.5, 3.9), figures_.at_least(4.0)),
    )
    for name, quick in (("engines", False), ("pacing", True)):
        part = figures_.Part(
            name, f"About {name}", quick, 3, "2026-01-02T03:04:05+00:00", 9.0, (0.5, 0.4, 0.3), 0.1,
            common.machine(), common.versions(), made,
        )  # fmt: skip
        common.keep(part, tmp_path / "build/figures.json")
    page = tmp_path / "performance.md"
    page.write_text(f"before\n{document.BEGIN}\nold\n{document.END}\nafter\n")
    monkeypatch.setattr(document, "PAGE", page)
    document.write(tmp_path / "build/figures.json")
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    assert "| tcp: ratio | ≥ 4.00 x | 3.90 x | 3.50 x to 4.50 x (3) | **missed** |" in text
    assert "| Rates | native | ratio |\n|---|---|---|\n| tcp | 2.5 M/s | 3.90 x |" in text
    assert "About pacing" not in text  # quick figures are no figures
    assert document.BEGIN in (ROOT / "docs/performance.md").read_text()
    assert document.END in (ROOT / "docs/performance.md").read_text()

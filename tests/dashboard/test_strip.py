"""The notebook's header and figures say what is known, in units, and nothing more."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest

from mqviz.dashboard import figures, strip


def instance(name: str, alive: bool) -> Any:
    return SimpleNamespace(name=name, node=name.split(".")[0], index=0, alive=alive, state="")


def words(html: str) -> str:
    return re.sub(" +", " ", re.sub(r"<[^>]+>", " ", html)).strip()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (0, "0"),
        (3.25, "3.2"),
        (12.6, "13"),
        (59_988, "59\u202f988"),
        (1_234_567, "1.23\u202fM"),
        (2e9, "2\u202fG"),
    ],
)
def test_a_count_has_its_thousands_apart(value: float | None, text: str) -> None:
    assert strip.count(value) == text


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (None, ("–", "")),
        (640, ("640", "ns")),
        (1_500, ("1.50", "µs")),
        (35_500_000, ("35.5", "ms")),
        (2_250_000_000, ("2.25", "s")),
    ],
)
def test_a_duration_has_three_digits_and_a_unit(ns: float | None, text: tuple[str, str]) -> None:
    assert strip.duration(ns) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0:00"), (75, "1:15"), (3_725, "1:02:05")])
def test_a_clock_has_hours_where_there_are_any(seconds: float, text: str) -> None:
    assert strip.clock(seconds) == text


def test_the_header_escapes_names_and_errors() -> None:
    told = strip.header("<b>lab</b>", "failed", 3.0, "native", "<script>")
    assert "<b>lab</b>" not in told
    assert "<script>" not in told
    assert words(told) == "&lt;b&gt;lab&lt;/b&gt; failed 0:03 native engine &lt;script&gt;"


def test_the_header_of_an_idle_lab_names_no_engine() -> None:
    assert words(strip.header("lab", "idle", 0.0, "native", None)) == "lab idle 0:00"


def test_before_a_start_nothing_is_known() -> None:
    told = words(strip.strip("idle", None, []))
    assert told.count("–") == 5
    assert told.endswith("Instances alive – not started")


def test_while_it_runs_the_figures_are_those_of_the_page(lab: Any) -> None:
    lab.run_for(40)
    found = figures.live(lab.store)
    told = words(strip.strip("measure", found, lab.instances()))
    assert f"Throughput {strip.count(found['throughput'])} msg/s received, on all links" in told
    assert f"End-to-end p99 {' '.join(strip.duration(found['p99']))}" in told
    assert "Lost 0 messages" in told
    assert "Instances alive 9 / 9 all running" in told


def test_who_is_down_is_named() -> None:
    down = [instance(f"pricing.{index}", alive=False) for index in range(3)]
    told = strip.strip("measure", None, [instance("orders.0", alive=True), *down])
    assert "1 / 4" in told
    assert "pricing.0, pricing.1 and 1 more down" in told
    assert 'class="wrong"' in told


def test_losses_name_the_worst_cause_and_what_is_open() -> None:
    found = {
        "throughput": 100.0, "p50": 1, "p99": 2, "p999": 3, "backlog": 500.0, "backlog_slope": -50.0,
        "lost": 7, "unresolved": 2, "worst": {"cause": "hwm", "link": "a → b", "count": 7},
    }  # fmt: skip
    told = words(strip.strip("measure", found, []))
    assert "Lost 7 messages hwm on a → b · 2 not known yet" in told
    assert "Backlog 500 messages drains in 10 s" in told


def test_a_run_that_is_over_says_so() -> None:
    found = {
        "throughput": 100.0, "p50": 1, "p99": 2, "p999": 3, "backlog": 0.0, "backlog_slope": None,
        "lost": 0, "unresolved": 0, "worst": None,
    }  # fmt: skip
    told = words(strip.strip("ended", found, [instance("orders.0", alive=False)]))
    assert "Throughput 100 msg/s mean of the measure phase" in told
    assert "Backlog 0 messages at the end Lost 0 messages the books close" in told
    assert told.endswith("0 / 1 the run is over")

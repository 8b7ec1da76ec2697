from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from mqviz.cli.summary import print_summary


def printed(report: dict[str, Any], **settings: Any) -> list[str]:
    out = io.StringIO()
    print_summary(report, Console(file=out, width=120, **settings))
    return [" ".join(line.split()) for line in out.getvalue().splitlines()]


def test_a_link_is_a_row_and_the_verdict_follows(report: dict[str, Any]) -> None:
    assert printed(report) == [
        "link sent received in flight lost unsent p50 p99",
        "orders -> pricing 1 000 997 0 3 3 1.23 ms 9.88 ms",
        "lost on orders -> pricing: 3 peer-death",
        "end to end: p50 1.23 ms, p99 9.88 ms",
        "VALID, python engine, 9.5 s measured",
    ]


def test_a_subscriber_is_a_row_below_its_link(report: dict[str, Any]) -> None:
    link = report["links"]["orders -> pricing"]
    part = {name: link[name] for name in ("sent", "received", "in_flight", "lost", "unsent")}
    link["per_subscriber"] = {"pricing.0": part | {"sent": 500}, "pricing.1": part}
    assert printed(report)[2:4] == ["pricing.0 500 997 0 3 3", "pricing.1 1 000 997 0 3 3"]


def test_the_only_subscriber_has_no_row_of_its_own(report: dict[str, Any]) -> None:
    without = printed(report)
    report["links"]["orders -> pricing"]["per_subscriber"] = {"pricing.0": {}}
    assert printed(report) == without


def test_a_percentile_that_is_not_known_is_a_dash(report: dict[str, Any]) -> None:
    report["end_to_end_ns"] = {"count": 0, "mean": None, "p50": None, "p99": None}
    assert printed(report)[3] == "end to end: p50 –, p99 –"


def test_a_percentile_among_messages_never_sent_is_a_lower_bound(report: dict[str, Any]) -> None:
    response = {"p50": 1_000, "p99": None, "at_least": {"p99": 2_000_000_000}}
    report["links"]["orders -> pricing"]["latency_ns"] = {"response": response}
    assert printed(report)[1].endswith("3 1.00 µs ≥ 2.00 s")


@pytest.mark.parametrize(
    ("expectation", "line"),
    [
        (
            {"metric": "response.p99 < 50ms", "met": True, "value": 1_000},
            "met response.p99 < 50ms (was 1.00 µs)",
        ),
        ({"metric": "lost < 1", "met": False, "value": 3}, "FAILED lost < 1 (was 3)"),
        ({"metric": "throughput > 5", "met": False, "value": None}, "FAILED throughput > 5 (was not known)"),
    ],
)
def test_an_expectation_says_what_was(report: dict[str, Any], expectation: dict[str, Any], line: str) -> None:
    report["expectations"] = [expectation]
    assert printed(report)[-1] == line


def test_a_name_is_text_and_never_markup(report: dict[str, Any]) -> None:
    report["links"] = {"[red]a[/] -> <b>": report["links"]["orders -> pricing"]}
    assert printed(report, force_terminal=True, color_system=None)[1].startswith("[red]a[/] -> <b> 1 000")

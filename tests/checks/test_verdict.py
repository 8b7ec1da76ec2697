"""Whether a run may be believed, and why not."""

from __future__ import annotations

import pytest

from mqviz.checks.percentiles import Figures
from mqviz.checks.verdict import Finding, books, judge, lateness, samples

MS = 1_000_000


def p99(value_ns: int | None) -> Figures:
    return Figures(count=10_000, mean=None, p50=None, p90=None, p99=value_ns, p999=None, max=None)


def test_without_findings_a_run_is_valid() -> None:
    assert judge([]).verdict == "VALID"
    assert judge([]).reasons == ()


def test_the_worst_finding_is_the_verdict_and_stands_first() -> None:
    found = judge([Finding("SUSPECT", "a"), Finding("VOID", "b"), Finding("SUSPECT", "c")])
    assert found.verdict == "VOID"
    assert found.reasons == ("b", "a", "c")
    assert judge([Finding("SUSPECT", "a")]).verdict == "SUSPECT"


@pytest.mark.parametrize(
    ("late_ns", "response_ns", "verdict"),
    [
        (None, 1 * MS, None),
        (2 * MS, None, None),
        (3 * MS, None, "SUSPECT"),
        (2 * MS, 5 * MS, None),  # 40 % of it, yet too short to matter
        (3 * MS, 20 * MS, "SUSPECT"),
        (3 * MS, 30 * MS, None),
        (21 * MS, 20 * MS, "VOID"),
        (21 * MS, None, "VOID"),
        (21 * MS, 100 * MS, "SUSPECT"),
        (21 * MS, 210 * MS, None),
        (60 * MS, 100 * MS, "VOID"),
    ],
)
def test_a_late_generator_has_measured_itself(
    late_ns: int | None, response_ns: int | None, verdict: str | None
) -> None:
    found = lateness("a -> b", p99(late_ns), p99(response_ns))
    assert [finding.verdict for finding in found] == ([verdict] if verdict else [])
    if found and late_ns:
        assert found[0].reason == f"a -> b: the generator was late, lateness p99 {late_ns / MS:.1f} ms"


def test_books_that_do_not_close_void_a_run() -> None:
    assert books("a -> b", 10, 7, 1, 2) == []
    assert books("a -> b", 10, 7, 0, 2) == [
        Finding("VOID", "a -> b: the books do not close, 1 messages are unaccounted for")
    ]
    assert books("a -> b", 10, 12, 0, 0)[0].verdict == "VOID"


def test_lost_samples_cost_detail_only() -> None:
    assert samples(0) == []
    (finding,) = samples(3)
    assert finding.verdict == "SUSPECT"
    assert "counts are exact" in finding.reason

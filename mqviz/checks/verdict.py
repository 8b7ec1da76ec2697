"""Verdict: whether a run may be believed. VALID, SUSPECT or VOID, each with reasons.

The thresholds for lateness are those of an open-loop load: a generator that is itself late by a good part of
the response it measures has measured itself (G. Tene's coordinated omission).
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from mqviz.checks.percentiles import Figures

SUSPECT_NS, SUSPECT_SHARE = 2_000_000, 0.10
VOID_NS, VOID_SHARE = 20_000_000, 0.50
RANKS = {"VALID": 0, "SUSPECT": 1, "VOID": 2}


class Finding(msgspec.Struct, frozen=True):
    """One reason: how bad, and a sentence."""

    verdict: str  # SUSPECT | VOID
    reason: str


class Verdict(msgspec.Struct, frozen=True):
    """The worst of the findings, and all their sentences."""

    verdict: str
    reasons: tuple[str, ...]


def judge(findings: Iterable[Finding]) -> Verdict:
    """Put findings together."""
    found = sorted(findings, key=lambda f: -RANKS[f.verdict])
    return Verdict(found[0].verdict if found else "VALID", tuple(f.reason for f in found))


def lateness(link: str, late: Figures, response: Figures) -> list[Finding]:
    """The generator was late: its p99 against an absolute bound and against the response's p99."""
    if late.p99 is None:
        return []
    p99 = response.p99 or 0
    for verdict, floor, share in (("VOID", VOID_NS, VOID_SHARE), ("SUSPECT", SUSPECT_NS, SUSPECT_SHARE)):
        if late.p99 > max(floor, share * p99):
            return [Finding(verdict, f"{link}: the generator was late, lateness p99 {late.p99 / 1e6:.1f} ms")]
    return []


def books(link: str, sent: int, received: int, in_flight: int, lost: int) -> list[Finding]:
    """sent = received + in flight + lost, or the counts are wrong."""
    missing = sent - received - in_flight - lost
    if missing:
        return [Finding("VOID", f"{link}: the books do not close, {missing} messages are unaccounted for")]
    return []


def samples(lost: int) -> list[Finding]:
    """Samples that the collector never saw: counts are right, the time line is coarser."""
    if lost:
        return [Finding("SUSPECT", f"{lost} Samples were lost: the time line has gaps, counts are exact")]
    return []

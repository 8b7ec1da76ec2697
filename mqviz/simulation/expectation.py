"""Expectation: a sentence about a run, `[LINK:] METRIC < VALUE`: `orders -> pricing: response.p99 < 50ms`.

    durations   response lateness blocked transit service end_to_end, with .p50 .p90 .p99 .p99.9 .mean .max
    counts      due published sent unsent received in_flight foreign bytes, lost or lost.CAUSE
                (plain `lost`: without no-subscriber and conflated, which a filter or option asks for)
    rates       offered_rate achieved_rate throughput
    backlog     backlog.mean .max .end, in messages

Without a link: end-to-end for response, the sum for counts.
"""

from __future__ import annotations

import re

import msgspec

from mqviz.errors import ScenarioError
from mqviz.simulation.units import parse_duration, parse_plain, parse_rate
from mqviz.simulation.wording import shown, suggestion

DURATIONS = ("response", "lateness", "blocked", "transit", "service", "end_to_end")
STATISTICS = ("p50", "p90", "p99", "p99.9", "mean", "max")
COUNTS = ("due", "published", "sent", "unsent", "received", "in_flight", "foreign", "bytes")
CAUSES = (
    "hwm",
    "slow-joiner",
    "no-subscriber",
    "peer-death",
    "disconnect",
    "linger",
    "conflated",
    "network",
    "unresolved",
)
RATES = ("offered_rate", "achieved_rate", "throughput")
BACKLOG = ("mean", "max", "end")

METRICS = (
    *(f"{duration}.{statistic}" for duration in DURATIONS for statistic in STATISTICS),
    *COUNTS,
    "lost",
    *(f"lost.{cause}" for cause in CAUSES),
    *RATES,
    *(f"backlog.{part}" for part in BACKLOG),
)

MAX_TEXT = 300

_SENTENCE = re.compile(r"(?:([^:]+):)?\s*([a-zA-Z0-9_.\- ]+?)\s*(<=|>=|==|<|>)\s*([^<>=]+)")
_ARROW = re.compile(r"\s*->\s*")


class Expect(msgspec.Struct, frozen=True, kw_only=True):
    """One expectation, or the objective of a capacity search."""

    text: str
    link: str | None  # None: the whole
    metric: str  # one of METRICS
    operator: str  # < <= > >= ==
    value: float  # ns, messages, bytes or messages per second


def link_name(text: str) -> str:
    """A link as users write it, in the form of its name: `orders->pricing` is `orders -> pricing`."""
    return " -> ".join(_ARROW.split(text.strip().strip("\"'")))


def parse_expect(text: object) -> Expect:
    """From the sentence; whether the link exists is not looked at here."""
    if not isinstance(text, str):
        raise ScenarioError("", 'an expectation is a text such as "response.p99 < 50ms"')
    # a name may hold < or >, never ": " behind the arrow, so the link is cut off before the sentence is read
    link, colon, rest = text.rpartition(":")
    match = _SENTENCE.fullmatch(rest.strip()) if len(text) <= MAX_TEXT else None
    if not match or (colon and "->" not in link):
        raise ScenarioError("", f"{shown(text)} is not written as [LINK:] METRIC < VALUE")
    metric = match[2].strip()
    if metric.replace("end-to-end", "end_to_end") in METRICS:
        metric = metric.replace("end-to-end", "end_to_end")
    if metric not in METRICS:
        if metric in DURATIONS:
            raise ScenarioError("", f"{shown(metric)} needs a statistic, such as {metric}.p99")
        raise ScenarioError("", f"{shown(metric)} is not a metric{suggestion(metric, METRICS)}")
    if colon and metric.startswith("end_to_end"):
        raise ScenarioError("", "end_to_end is of the whole scenario and takes no link")
    return Expect(
        text=" ".join(text.split()),
        link=link_name(link) if colon else None,
        metric=metric,
        operator=match[3],
        value=_value(metric, match[4]),
    )


def _value(metric: str, text: str) -> float:
    if metric.split(".")[0] in DURATIONS:
        return float(parse_duration(text))
    if metric in RATES:
        return parse_rate(text)
    return parse_plain(text)

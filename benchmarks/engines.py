"""Engines: how many messages a second, against a bare pyzmq loop and against the native loop without measuring.

Two processes and one socket each, 64 B, 1 KiB and 64 KiB, tcp and ipc, push-pull and pub-sub (without a
high-water mark, so that nothing is dropped). Sizes are of the whole message, mqviz's header included. The Python
engine and the bare loop run in processes that have never loaded numba.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import product

from _case import Case
from _common import Options, run
from _figures import Figure, Target, at_least
from _line import lines

from mqviz.simulation import engine

SIZES = {"64 B": 64, "1 KiB": 1024, "64 KiB": 65536}
PATTERNS = ("push-pull", "pub-sub")
TRANSPORTS = ("tcp", "ipc")
VARIANTS = ("pyzmq", "native", "uninstrumented", "python")
PLAIN = ("pyzmq", "python")
"""Those of the processes without numba."""
RATIOS = (
    ("native ÷ pyzmq", "native", "pyzmq"),
    ("native ÷ uninstrumented", "native", "uninstrumented"),
    ("Python ÷ pyzmq", "python", "pyzmq"),
)
HEADS = {"pyzmq": "bare pyzmq", "native": "native", "uninstrumented": "uninstrumented", "python": "Python"}
SECONDS = 0.4
QUICK_SECONDS = 0.1


def target(ratio: str, pattern: str, transport: str, size: str) -> Target | None:
    """What a ratio is to reach; all targets are for tcp, where the smallest message has the most to lose."""
    if transport != "tcp":
        return None
    if size == "64 B":
        many = 4.0 if pattern == "push-pull" else 2.0
        return at_least(
            {"native ÷ pyzmq": many, "native ÷ uninstrumented": 0.95, "Python ÷ pyzmq": 0.6}[ratio]
        )
    return at_least(0.85) if size == "1 KiB" and ratio == "Python ÷ pyzmq" else None


Row = tuple[str, str, str]
"""Pattern, transport, size."""


def steps(cases: Sequence[Row], variants: Sequence[str], options: Options) -> Iterator[tuple[Row, str]]:
    """All cases in every round, those with a target three times; each round begins with another variant."""
    wanted = [case for case in cases if any(target(name, *case) for name, _, _ in RATIOS)]
    order = [*cases] if options.quick else [*cases, *wanted, *wanted]
    for _ in range(options.rounds):
        for case in order:
            for variant in variants:
                yield case, variant
        variants = (*variants[1:], variants[0])


def measure(options: Options) -> Iterator[Figure]:
    """All cases, each with its variants in turns."""
    sizes, transports = (("64 B",), ("tcp",)) if options.quick else (tuple(SIZES), TRANSPORTS)
    seconds = QUICK_SECONDS if options.quick else SECONDS
    cases = list(product(PATTERNS, transports, sizes))
    variants = VARIANTS if engine.native_available() else PLAIN
    rates = {case: {variant: list[float]() for variant in variants} for case in cases}
    spent = {case: {variant: list[float]() for variant in variants} for case in cases}
    with lines(2) as (plain, compiled):
        for variant in variants:  # the first of each imports and warms up
            line = plain if variant in PLAIN else compiled
            line.run(Case(variant, "push-pull", "tcp", 64), QUICK_SECONDS)
        for case, variant in steps(cases, variants, options):
            pattern, transport, size = case
            line = plain if variant in PLAIN else compiled
            ran = line.run(Case(variant, pattern, transport, SIZES[size]), seconds)
            rates[case][variant].append(ran.received.rate)
            spent[case][variant].append(ran.cpu_ns)
    for case in cases:
        row = " ".join(case)
        for variant in variants:
            head = HEADS[variant]
            yield Figure("Messages a second", row, head, "/s", tuple(rates[case][variant]))
            yield Figure("CPU a message, both ends", row, head, "ns", tuple(spent[case][variant]))
        for name, above, below in (each for each in RATIOS if each[1] in variants):
            pairs = zip(rates[case][above], rates[case][below], strict=True)
            ratios = tuple(a / b for a, b in pairs)
            yield Figure("Ratios within a round", row, name, "x", ratios, target(name, *case))


if __name__ == "__main__":
    sys.exit(run("engines", "Engines against a bare pyzmq loop", measure))

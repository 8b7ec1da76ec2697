"""Engines: how many messages a second, against a bare pyzmq loop and against the native loop without measuring.

Two processes and one socket each, 64 B, 1 KiB and 64 KiB, tcp and ipc, push-pull and pub-sub (without a
high-water mark, so that nothing is dropped). Sizes are of the whole message, mqviz's header included. The Python
engine and the bare loop run in processes that have never loaded numba.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import product

from _common import Figure, Options, Target, alternated, at_least, run
from _ends import Case
from _line import lines

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
        return at_least({"native ÷ pyzmq": many, "native ÷ uninstrumented": 0.95, "Python ÷ pyzmq": 0.6}[ratio])
    return at_least(0.85) if size == "1 KiB" and ratio == "Python ÷ pyzmq" else None


def measure(options: Options) -> Iterator[Figure]:
    """All cases, each with its variants in turns."""
    sizes, transports = (("64 B",), ("tcp",)) if options.quick else (tuple(SIZES), TRANSPORTS)
    seconds = QUICK_SECONDS if options.quick else SECONDS
    cases = list(product(PATTERNS, transports, sizes))
    rates: dict[tuple[str, str, str], dict[str, list[float]]] = {
        case: {variant: [] for variant in VARIANTS} for case in cases
    }
    with lines(2) as (plain, compiled):
        for variant in VARIANTS:  # the first of each compiles, imports and warms up
            line = plain if variant in PLAIN else compiled
            line.run(Case(variant, "push-pull", "tcp", 64), QUICK_SECONDS)
        for _ in range(options.rounds):
            for pattern, transport, size in cases:
                found = rates[pattern, transport, size]
                turn = len(found["pyzmq"]) + cases.index((pattern, transport, size))
                for variant in (*VARIANTS[turn % 4 :], *VARIANTS[: turn % 4]):
                    line = plain if variant in PLAIN else compiled
                    ran = line.run(Case(variant, pattern, transport, SIZES[size]), seconds)
                    found[variant].append(ran.received.rate)
    for (pattern, transport, size), found in rates.items():
        row = f"{pattern} {transport} {size}"
        for variant, values in found.items():
            yield Figure("Messages a second", row, HEADS[variant], "/s", tuple(values))
        for name, above, below in RATIOS:
            ratios = tuple(a / b for a, b in zip(found[above], found[below], strict=True))
            yield Figure("Ratios within a round", row, name, "x", ratios, target(name, pattern, transport, size))


if __name__ == "__main__":
    sys.exit(run("engines", "Engines against a bare pyzmq loop", measure))

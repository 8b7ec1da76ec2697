"""Pacing: how well a producer keeps a constant schedule of 64 B messages to one consumer over tcp.

Rate error: sent by the end of the schedule against what was intended by then. Lateness: from the intended time
to the first attempt, the generator's own fault. Above 20,000 messages/s a producer wakes once a millisecond, so
there its lateness is about that by design.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import product

from _case import Case
from _common import Options, alternated, run
from _figures import Figure, at_most
from _line import lines

from mqviz.simulation import engine

RATES = {"1k/s": 1e3, "10k/s": 1e4, "100k/s": 1e5, "1M/s": 1e6}
ENGINES = ("native", "python")
SECONDS = 1.5
QUICK_SECONDS = 0.4
WORST_PERCENT = 0.5


def measure(options: Options) -> Iterator[Figure]:
    """Every rate on both engines, in turns."""
    seconds = QUICK_SECONDS if options.quick else SECONDS
    engines = [name for name in ENGINES if name == "python" or engine.native_available()]
    if options.quick:
        engines = engines[:1]
    cases = list(product(engines, RATES))
    errors: dict[tuple[str, str], list[float]] = {case: [] for case in cases}
    lateness: dict[tuple[str, str], list[float]] = {case: [] for case in cases}
    with lines(len(engines)) as opened:
        for name, line in zip(engines, opened, strict=True):
            line.run(Case(name, "push-pull", "tcp", 64, rate=1e4), QUICK_SECONDS)  # imports and warms up
        for name, rate in alternated(cases, options.rounds):
            case = Case(name, "push-pull", "tcp", 64, rate=RATES[rate])
            sent = opened[engines.index(name)].run(case, seconds).sent
            errors[name, rate].append(abs(sent.rate_error) * 100)
            lateness[name, rate].append(sent.lateness_p99_ns / 1e6)
    for name, rate in cases:
        wanted = at_most(WORST_PERCENT) if (name, rate) == ("native", "1M/s") else None
        row = f"{name} {rate}"
        yield Figure("Pacing", row, "rate error", "%", tuple(errors[name, rate]), wanted)
        yield Figure("Pacing", row, "lateness p99", "ms", tuple(lateness[name, rate]))


if __name__ == "__main__":
    sys.exit(run("pacing", "Pacing of a constant schedule", measure))

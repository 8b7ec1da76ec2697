"""Pacing: how well a producer keeps a constant schedule of 64 B messages to one consumer over tcp.

Rate error: sent by the end of the schedule against what was intended by then. Lateness: from the intended time
to the first attempt, the generator's own fault. Above 20,000 messages/s a producer wakes once a millisecond, so
there its lateness is about that by design.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import product

from _common import Figure, Options, alternated, at_most, run
from _ends import Case
from _line import lines

RATES = {"1k/s": 1e3, "10k/s": 1e4, "100k/s": 1e5, "1M/s": 1e6}
ENGINES = ("native", "python")
SECONDS = 1.5
QUICK_SECONDS = 0.4
WORST_PERCENT = 0.5


def measure(options: Options) -> Iterator[Figure]:
    """Every rate on both engines, in turns."""
    seconds = QUICK_SECONDS if options.quick else SECONDS
    engines = ENGINES[:1] if options.quick else ENGINES
    cases = list(product(engines, RATES))
    errors: dict[tuple[str, str], list[float]] = {case: [] for case in cases}
    lateness: dict[tuple[str, str], list[float]] = {case: [] for case in cases}
    with lines(len(engines)) as opened:
        for engine, line in zip(engines, opened, strict=True):
            line.run(Case(engine, "push-pull", "tcp", 64, rate=1e4), QUICK_SECONDS)  # imports and warms up
        for engine, rate in alternated(cases, options.rounds):
            case = Case(engine, "push-pull", "tcp", 64, rate=RATES[rate])
            sent = opened[engines.index(engine)].run(case, seconds).sent
            errors[engine, rate].append(abs(sent.rate_error) * 100)
            lateness[engine, rate].append(sent.lateness_p99_ns / 1e6)
    for engine, rate in cases:
        wanted = at_most(WORST_PERCENT) if (engine, rate) == ("native", "1M/s") else None
        row = f"{engine} {rate}"
        yield Figure("Pacing", row, "rate error", "%", tuple(errors[engine, rate]), wanted)
        yield Figure("Pacing", row, "lateness p99", "ms", tuple(lateness[engine, rate]))


if __name__ == "__main__":
    sys.exit(run("pacing", "Pacing of a constant schedule", measure))

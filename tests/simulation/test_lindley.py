"""Waiting as theory has it: Lindley's recursion over the very numbers that a run has drawn.

Lindley, "The theory of queues with a single server" (1952): W' = max(0, W + S - A).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mqviz.simulation.arrivals import parse_arrivals, stream
from mqviz.simulation.distribution import draw_service, parse_service_distribution
from mqviz.simulation.schedule import seed_of
from mqviz.telemetry import probe

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

WORKERS, RATE, SERVICE = 3, 1000.0, "exponential(2ms)"
WARMUP_NS, DURATION_NS = 1_000_000_000, 6_000_000_000
TRIES = 4
QUIET_NS = 2_000_000
"""A run in which the generator itself was later than this says nothing about queues: the machine was busy."""

LINK = "orders -> pricing"
SCENARIO = f"""
duration = "6s"
warmup = "1s"
node = [
    {{name = "orders", role = "producer", rate = "{RATE:.0f}/s", size = "100B"}},
    {{name = "pricing", role = "worker", count = {WORKERS}, service = "{SERVICE}", size = "100B"}},
    {{name = "ledger", role = "consumer"}},
]
link = [
    {{from = "orders", to = "pricing", pattern = "push-pull"}},
    {{from = "pricing", to = "ledger", pattern = "push-pull"}},
]
"""


def first_words() -> dict[int, int]:
    """Which worker was given message 0, 1, 2: the FIRST words of this process's lab."""
    found = {}
    for path in Path("/dev/shm").glob(f"mqviz-{os.getpid()}-*/*.probe"):
        opened = probe.Probe.open(path)
        for block in opened.schema.instances:
            if block.node == "pricing":
                first = block.receives[0].offset + probe.RECEIVE_WORDS + probe.FIRST
                found[block.index] = int(opened.words[first]) - 1
        opened.close()
    return found


def mean_wait_ns(seed: int, first: dict[int, int]) -> float:
    """The mean over the measure phase when messages go round the workers from `first` on."""
    numbers = seed_of(seed, "orders", 0, 0, "arrivals", 0)
    times = stream(parse_arrivals("poisson"), RATE, 0, numbers, 0, 1).next(20_000)
    times = times[times < DURATION_NS]
    waits = np.zeros(len(times))
    for worker, offset in first.items():
        arrivals = times[offset::WORKERS]
        rng = np.random.default_rng(seed_of(seed, "pricing", worker, 0, "service", 0))
        services = draw_service(parse_service_distribution(SERVICE), rng, len(arrivals))
        wait = 0
        for n in range(1, len(arrivals)):
            wait = max(0, wait + int(services[n - 1]) - int(arrivals[n] - arrivals[n - 1]))
            waits[offset + n * WORKERS] = wait
    return float(waits[times >= WARMUP_NS].mean())


def test_the_mean_wait_is_that_of_lindleys_recursion(labs: Any, engine: str) -> None:
    said = []
    for seed in range(1, TRIES + 1):
        lab = labs.start(f"seed = {seed}\n{SCENARIO}", engine=engine)
        labs.received(lab, LINK, 100)
        first = first_words()
        assert sorted(first.values()) == [0, 1, 2]
        lab.wait()
        run = lab.stop()
        block = run.report()["links"][LINK]
        assert block["sent"] == block["received"]
        response, service, lateness = (
            run.store.histogram(LINK, name, "measure") for name in ("response", "service", "lateness")
        )
        assert response.count == service.count > 4_000
        assert response.mean_ns is not None
        assert service.mean_ns is not None
        ratio = (response.mean_ns - service.mean_ns) / mean_wait_ns(seed, first)
        late = lateness.percentile(99)
        said.append(
            f"seed {seed}: {ratio:.3f} of Lindley's mean wait, lateness p99 {(late or 0) / 1e6:.1f} ms"
        )
        if late is not None and late < QUIET_NS and 0.97 < ratio < 1.12:
            return
    pytest.fail("; ".join(said))

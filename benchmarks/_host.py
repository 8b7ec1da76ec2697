"""A page in a process of its own: the real server, host and store, fed without sockets from one thread."""

from __future__ import annotations

import threading
import time
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np
from _traffic import STEP_S, Counts, Reporter, births, schemas

from mqviz.dashboard.host import LabHost
from mqviz.dashboard.serve import Server
from mqviz.simulation import scenario
from mqviz.simulation.orchestrator import Orchestrator
from mqviz.telemetry import clock
from mqviz.telemetry.sample import Mark

RATE = 200.0
"""Messages/s on each link."""
NODE = """
[[node]]
name = "{name}"
role = "{role}"
"""
LINK = """
[[link]]
from = "{source}"
to = "{target}"
pattern = "push-pull"
transport = "tcp"
"""


class Spent(NamedTuple):
    """CPU times of the process so far, and when they were read."""

    at_ns: int
    all_ns: int
    feed_ns: int  # of the thread that feeds the store: a collector's work, not the page's


def text(sources: int, targets: int) -> str:
    """A scenario in which every source is linked to every target."""
    froms = [f"source-{n}" for n in range(sources)]
    tos = [f"target-{n}" for n in range(targets)]
    parts = ['name = "benchmark"\n']
    parts += [NODE.format(name=name, role="producer") + f'rate = "{RATE:.0f}/s"\n' for name in froms]
    parts += [NODE.format(name=name, role="consumer") for name in tos]
    parts += [LINK.format(source=a, target=b) for a in froms for b in tos]
    return "".join(parts)


class FedLab(Orchestrator):
    """A lab whose store is filled by arithmetic instead of runners."""

    def start(self) -> None:
        """From now on ten rows a second."""
        self.began_ns = clock.now_ns()
        self._made = schemas(self.store.topology, 1)
        for mark in (*births(self._made, self.began_ns), self._phase("warm-up")):
            self.store.append(mark)
        self.feeder = threading.Thread(target=self._feed, name="mqviz-feed", daemon=True)
        self.feeder.start()

    def stop(self, limit_s: float | None = None) -> None:
        """No more."""
        self._ended.set()
        self.feeder.join()
        self._phase("ended")

    def _phase(self, name: str) -> Mark:
        self.state = name
        return Mark(clock.now_ns(), "phase", name, {"phase": name})

    def _feed(self) -> None:
        counts = [
            Counts(each, np.zeros(each.words, np.uint64), RATE, seed) for seed, each in enumerate(self._made)
        ]
        reporter = Reporter(self._made, counts)
        due = time.monotonic()
        while not self._ended.wait(due - time.monotonic()):
            for each in counts:
                each.step()
            self.store.append(reporter.report(clock.now_ns()))
            due = max(due + STEP_S, time.monotonic())


def serve(pipe: Connection, sources: int, targets: int) -> None:
    """The process: tells its address, then at each `read` what it has spent, until the pipe is closed."""
    lab = FedLab(scenario.loads(text(sources, targets)), engine="python", record=False)

    def make(_: str) -> Any:
        return lab

    server = Server(LabHost(make, ["benchmark"], "benchmark"), port=0)
    server.start()
    if not server.wait_ready(60):
        raise RuntimeError("the page could not be built")
    pipe.send(server.url)
    try:
        while pipe.recv() == "read":
            feeder = lab.feeder.ident
            assert feeder is not None
            feed_ns = time.clock_gettime_ns(time.pthread_getcpuclockid(feeder))
            pipe.send(Spent(clock.now_ns(), time.process_time_ns(), feed_ns))
    except EOFError:
        pass
    server.stop()

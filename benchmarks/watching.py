"""Watching: what the agent and the collector cost, and how soon a runner is ready.

A process moves the counters of 1,000 instances in ten probe files on, ten times a second; a real agent reads
them, a real collector in this process, which does nothing else meanwhile, stores what comes. CPU times are those
of the whole processes. A runner is ready when it has told where its socket listens.
"""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec
import numpy as np
from _common import Options, alternated, run
from _figures import Figure, at_most
from _traffic import STEP_S, Counts, births, schemas, shape

from mqviz.simulation import engine, plan, private
from mqviz.simulation.engine import native_cache
from mqviz.simulation.process import environment
from mqviz.telemetry import clock
from mqviz.telemetry.agent import Settings
from mqviz.telemetry.collector import Collector
from mqviz.telemetry.probe import Probe
from mqviz.telemetry.store import Store

PAIRS, PROBES, RATE = 500, 10, 20.0
"""Producers with a consumer each, files that hold them, messages/s of each."""
SECONDS = 4.0
QUICK_SECONDS = 1.5
WARM_S = 1.5
STARTS = 3
"""Starts of each engine's runner in a round."""
READY_AT_MOST = {"native": 0.5, "python": 0.1}
RUNNER = [sys.executable, "-m", "mqviz.simulation.runner"]


def measure(options: Options) -> Iterator[Figure]:
    """Watching first, then starts."""
    topology = shape(1, 1, PAIRS)
    made = schemas(topology, PROBES)
    store = Store(topology)
    with ExitStack() as stack:
        folder = private.create()
        stack.callback(private.remove, folder)
        ours, theirs = (start := multiprocessing.get_context("spawn")).Pipe()
        writer = start.Process(target=write, args=(theirs, folder), daemon=True)
        writer.start()
        theirs.close()
        stack.callback(writer.join)
        stack.callback(ours.close)  # which ends the writer
        ours.recv()
        collector = Collector(store, f"ipc://{folder}/collector.ipc")
        collector.start()
        stack.callback(collector.stop)
        for mark in births(made, clock.now_ns()):
            collector.mark(mark)
        agent = start_agent(folder)
        stack.callback(end_agent, agent)
        time.sleep(WARM_S)
        seconds = QUICK_SECONDS if options.quick else SECONDS
        looks = [look(store, agent.pid, seconds) for _ in range(options.rounds)]
        if store.foreign or not store.totals(topology.links[0].name).received:
            raise RuntimeError("the collector did not take what the agent sent")
    row = f"{2 * PAIRS:,} instances in {PROBES} probes, 10 Hz"
    wanted = {"agent + collector": at_most(0.15)}
    for n, (head, unit) in enumerate(LOOK_HEADS):
        yield Figure("Watching", row, head, unit, tuple(each[n] for each in looks), wanted.get(head))
    yield from starts(options)


LOOK_HEADS = (
    ("agent", "core"), ("collector", "core"), ("agent + collector", "core"), ("one pass (CPU)", "ms"),
    ("counters read within", "ms"),
)  # fmt: skip


def look(store: Store, pid: int, seconds: float) -> tuple[float, ...]:
    """One round of watching."""
    cursor = store.since(1 << 62)[1]
    before = clock.now_ns(), cpu_ns(pid), time.process_time_ns()
    time.sleep(seconds)
    elapsed, agent, own = (
        now - then
        for now, then in zip((clock.now_ns(), cpu_ns(pid), time.process_time_ns()), before, strict=True)
    )
    rows, after = store.since(cursor)
    span_ms = float(np.median(rows.column("", "span_ns"))) / 1e6
    return agent / elapsed, own / elapsed, (agent + own) / elapsed, agent / 1e6 / (after - cursor), span_ms


def cpu_ns(pid: int) -> int:
    """CPU time of another process, to the nanosecond: the kernel's clock of a process has this number."""
    return time.clock_gettime_ns(~pid << 3 | 2)


def write(pipe: Connection, folder: Path) -> None:
    """The process that stands for all runners; until the pipe is closed."""
    counts = [
        Counts(each, Probe.create(folder / f"{each.runner}.probe", each).words, RATE, seed)
        for seed, each in enumerate(schemas(shape(1, 1, PAIRS), PROBES))
    ]
    pipe.send("ready")
    due = time.monotonic()
    while True:
        for each in counts:
            each.step()
        due = max(due + STEP_S, time.monotonic())
        if pipe.poll(due - time.monotonic()):
            return


def start_agent(folder: Path) -> subprocess.Popen[bytes]:
    """As a lab starts it."""
    command = [sys.executable, "-m", "mqviz.telemetry.agent"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    settings = Settings("agent", str(folder), f"ipc://{folder}/collector.ipc")
    assert process.stdin is not None
    process.stdin.write(msgspec.json.encode(settings) + b"\n")
    process.stdin.flush()
    return process


def end_agent(process: subprocess.Popen[bytes]) -> None:
    """With its last Report."""
    process.communicate(b"final\n", timeout=10)


def starts(options: Options) -> Iterator[Figure]:
    """How long a runner takes from its start until it has told its endpoint, and what of it is Python's own."""
    kinds = ["python", "native"] if engine.native_available() else ["python"]
    if "native" in kinds:
        native_cache.warm()
    found: dict[str, list[float]] = {kind: [] for kind in [*kinds, "imports"]}
    for kind in alternated(list(found), options.rounds * (1 if options.quick else STARTS)):
        found[kind].append(imports_s() if kind == "imports" else ready_s(kind))
    for kind in kinds:
        values = tuple(found[kind])
        yield Figure("Start of a runner", kind, "ready after", "s", values, at_most(READY_AT_MOST[kind]))
    yield Figure(
        "Start of a runner",
        "python -c 'import zmq, numpy, msgspec'",
        "ready after",
        "s",
        tuple(found["imports"]),
    )


def ready_s(kind: str) -> float:
    """One runner with one producer."""
    folder = private.create()
    out = plan.Outbound(
        link="a -> b", pattern="push-pull", bind="tcp://127.0.0.1:*", number=0, send_hwm=1000, send_buffer=-1,
        linger_ms=0, conflate=False, topics=("",), weights=(1.0,), peers=1,
    )  # fmt: skip
    loop = plan.LoopPlan(
        node="a", role="producer", count=1, size="64", rate=1000.0,
        instances=(plan.Instance(index=0, incarnation=0, sends=(out,)),),
    )  # fmt: skip
    whole = plan.RunnerPlan(
        runner="runner", engine=kind, probe=str(folder / "runner.probe"), run_number=1, seed=1, loops=(loop,)
    )
    began = time.perf_counter()
    process = subprocess.Popen(RUNNER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment())
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(msgspec.json.encode(whole) + b"\n")
        process.stdin.flush()
        reply = msgspec.json.decode(process.stdout.readline(), type=plan.Reply)
        took = time.perf_counter() - began
        if reply.what != "bound":
            raise RuntimeError(f"the runner did not start: {reply.text}")
        process.communicate(msgspec.json.encode(plan.Command(do="close")) + b"\n", timeout=10)
    finally:
        process.kill()
        process.wait()
        private.remove(folder)
    return took


def imports_s() -> float:
    """What a Python process with these packages takes before any of our code: no runner can be sooner."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import zmq, numpy, msgspec"], check=True, env=environment())
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(run("watching", "Cost of watching, and starts of runners", measure))

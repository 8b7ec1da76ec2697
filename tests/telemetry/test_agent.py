from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
import numpy as np
import psutil
import pytest
import zmq

from mqviz.telemetry import agent as agents
from mqviz.telemetry import reading as readings
from mqviz.telemetry import sample
from mqviz.telemetry.agent import Agent, Settings, split, watch
from mqviz.telemetry.collector import Collector
from mqviz.telemetry.probe import DUE, SEND_WORDS, InstancePlan, Probe, ReceivePlan, SendPlan, lay_out
from mqviz.telemetry.sample import Report, Sample
from mqviz.telemetry.store import Store
from mqviz.telemetry.topology import LinkInfo, NodeInfo, Topology

LINK = "orders -> pricing"
NODES = NodeInfo("orders", "producer", 1), NodeInfo("pricing", "consumer", 1)
TOPOLOGY = Topology("test", NODES, (LinkInfo("orders", "pricing", "push-pull", "tcp", terminal=True),))


class Wire:
    """A socket that keeps what is sent, or refuses it."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.full = False

    def send(self, data: bytes, flags: int) -> None:
        if self.full:
            raise zmq.Again
        record = sample.decode(data)
        assert isinstance(record, Report)
        self.reports.append(record)


def make_probe(folder, runner: str = "r1", number: int = 0) -> Probe:
    plans = [
        InstancePlan("orders", number, 0, (), (SendPlan(LINK, number, 1),)),
        InstancePlan("pricing", number, 0, (ReceivePlan(LINK, 4, True),)),
    ]
    return Probe.create(folder / f"{runner}.probe", lay_out(runner, "python", plans))


def make_agent(folder) -> tuple[Agent, Wire]:
    wire = Wire()
    return Agent(Settings("agent-1", str(folder), "unused"), wire), wire


def sent_word(probe: Probe) -> int:
    """Place of the `sent` word of a probe of `make_probe`."""
    return probe.schema.instances[0].sends[0].offset + SEND_WORDS


def positions(each: Sample) -> list[int]:
    return np.frombuffer(each.positions, "<u4").tolist()


def values(each: Sample) -> list[int]:
    return np.frombuffer(each.values, "<u8").tolist()


def test_the_first_report_announces_and_has_all_that_was_counted(tmp_path):
    probe = make_probe(tmp_path)
    probe.words[sent_word(probe)] = 7
    agent, wire = make_agent(tmp_path)
    agent.step()
    (report,) = wire.reports
    assert (report.agent, report.sequence, report.full, report.final) == ("agent-1", 0, True, False)
    assert msgspec.json.decode(report.announced[0].schema, type=type(probe.schema)) == probe.schema
    assert (positions(report.samples[0]), values(report.samples[0])) == ([sent_word(probe)], [7])
    assert report.span_ns > 0
    probe.close()


def test_then_only_what_changed(tmp_path):
    probe = make_probe(tmp_path)
    agent, wire = make_agent(tmp_path)
    agent.step()
    agent.step()
    bin_place = probe.schema.receive_words + probe.schema.send_words + 4 + 100
    probe.words[sent_word(probe)] = 9
    probe.words[bin_place] = 2
    agent.step()
    assert [report.samples for report in wire.reports[:2]] == [(), ()]
    assert wire.reports[2].announced == ()
    (changed,) = wire.reports[2].samples
    assert (positions(changed), values(changed)) == ([sent_word(probe), bin_place], [9, 2])
    assert [report.sequence for report in wire.reports] == [0, 1, 2]
    probe.close()


def test_a_histogram_that_is_filled_after_its_counters_is_still_seen(tmp_path):
    probe = make_probe(tmp_path)
    agent, wire = make_agent(tmp_path)
    agent.step()
    probe.words[sent_word(probe)] = 1
    agent.step()
    probe.words[-1] = 1
    agent.step()
    assert positions(wire.reports[2].samples[0]) == [probe.schema.words - 1]
    probe.close()


def test_the_histograms_of_a_probe_that_stands_still_are_left_alone_until_the_next_full_report(tmp_path):
    probe = make_probe(tmp_path)
    agent, wire = make_agent(tmp_path)
    for _ in range(readings.SETTLE + 2):
        agent.step()
    probe.words[-1] = 1
    agent.step()
    assert wire.reports[-1].samples == ()
    agent.step(final=True)
    assert wire.reports[-1].samples != ()
    probe.close()


def test_every_ten_seconds_all_words_and_schemas_go_again(tmp_path, monkeypatch):
    probe = make_probe(tmp_path)
    probe.words[sent_word(probe)] = 7
    agent, wire = make_agent(tmp_path)
    agent.step()
    now = agents.clock.now_ns()
    for later_s in (5, 9, 10.1, 12):
        monkeypatch.setattr(agents.clock, "now_ns", lambda later_s=later_s: now + int(later_s * 1e9))
        agent.step()
    assert [report.full for report in wire.reports] == [True, False, False, True, False]
    assert len(wire.reports[3].announced) == 1
    assert values(wire.reports[3].samples[0]) == [7]
    probe.close()


def test_a_word_that_went_back_to_zero_is_in_a_full_report_too(tmp_path):
    probe = make_probe(tmp_path)
    probe.words[sent_word(probe)] = 1
    agent, wire = make_agent(tmp_path)
    agent.step()
    probe.words[sent_word(probe)] = 0
    agent.step(final=True)
    assert (positions(wire.reports[1].samples[0]), values(wire.reports[1].samples[0])) == (
        [sent_word(probe)],
        [0],
    )
    probe.close()


def test_after_a_report_that_could_not_be_sent_all_words_follow(tmp_path):
    probe = make_probe(tmp_path)
    agent, wire = make_agent(tmp_path)
    agent.step()
    probe.words[sent_word(probe)] = 3
    wire.full = True
    agent.step()
    wire.full = False
    agent.step()
    assert [(report.sequence, report.full) for report in wire.reports] == [(0, True), (2, True)]
    assert values(wire.reports[1].samples[0]) == [3]
    probe.close()


def test_new_files_are_mapped_and_what_is_no_probe_is_ignored(tmp_path):
    first = make_probe(tmp_path, "r1", 0)
    (tmp_path / "garbage.probe").write_bytes(os.urandom(5000))
    (tmp_path / "empty.probe").touch()
    (tmp_path / "head.probe").write_bytes((tmp_path / "r1.probe").read_bytes()[:4096])
    (tmp_path / "other.log").write_text("x")
    agent, wire = make_agent(tmp_path)
    agent.step()
    second = make_probe(tmp_path, "r2", 1)
    agent.step()
    assert [[each.probe for each in report.announced] for report in wire.reports] == [[0], [1]]
    first.close()
    second.close()


def test_a_file_that_comes_in_the_same_tick_as_a_look_is_found_by_the_next(tmp_path):
    agent, wire = make_agent(tmp_path)
    first = make_probe(tmp_path, "r1", 0)
    time_ns = tmp_path.stat().st_mtime_ns
    agent.step()
    second = make_probe(tmp_path, "r2", 1)
    os.utime(tmp_path, ns=(time_ns, time_ns))
    agent.step()
    assert [len(report.announced) for report in wire.reports] == [1, 1]
    first.close()
    second.close()


def test_a_probe_whose_file_is_gone_is_still_read(tmp_path):
    probe = make_probe(tmp_path)
    agent, wire = make_agent(tmp_path)
    agent.step()
    (tmp_path / "r1.probe").unlink()
    probe.words[sent_word(probe)] = 4
    agent.step()
    assert values(wire.reports[1].samples[0]) == [4]
    probe.close()


def test_a_folder_that_is_gone_is_no_trouble(tmp_path):
    folder = tmp_path / "private"
    folder.mkdir()
    agent, wire = make_agent(folder)
    folder.rmdir()
    agent.step()
    assert wire.reports[0].announced == ()


def test_all_receive_regions_are_copied_before_any_send_region(tmp_path, monkeypatch):
    order: list[str] = []
    for name in ("read_received", "read_sent"):
        real = getattr(readings.Reading, name)

        def spy(self, name=name, real=real) -> None:
            order.append(name)
            real(self)

        monkeypatch.setattr(readings.Reading, name, spy)
    probes = [make_probe(tmp_path, f"r{number}", number) for number in range(3)]
    agent, _ = make_agent(tmp_path)
    agent.step()
    assert order == ["read_received"] * 3 + ["read_sent"] * 3
    for probe in probes:
        probe.close()


def test_too_much_for_one_report_goes_in_several_and_the_last_is_final(tmp_path, monkeypatch):
    monkeypatch.setattr(agents, "MOST_SAMPLE_BYTES", 30)
    probes = [make_probe(tmp_path, f"r{number}", number) for number in range(4)]
    for probe in probes:
        probe.words[sent_word(probe)] = 5
    agent, wire = make_agent(tmp_path)
    agent.step(final=True)
    assert [(len(r.samples), r.final) for r in wire.reports] == [(2, False), (2, True)]
    assert [len(r.announced) for r in wire.reports] == [4, 0]
    store = Store(TOPOLOGY)
    for report in wire.reports:
        assert store.append(report)
    assert store.totals(LINK).sent == 20
    assert store.final
    # a count that was taken back counts in every part of a final report
    for probe in probes:
        probe.words[sent_word(probe)] = 4
    agent.step(final=True)
    for report in wire.reports[2:]:
        assert store.append(report)
    assert store.totals(LINK).sent == 16
    for probe in probes:
        probe.close()


def test_one_sample_that_is_too_large_goes_alone():
    large, small = Sample(0, bytes(4), bytes(agents.MOST_SAMPLE_BYTES)), Sample(1, bytes(4), bytes(8))
    assert split([small, large, small]) == [[small], [large], [small]]
    assert split([]) == [[]]


@pytest.mark.parametrize(
    ("takes_s", "begins_s"),
    [
        ([0.01, 0.03, 0.0, 0.02], [0.0, 0.1, 0.2, 0.3]),
        ([0.01, 0.25, 0.01, 0.01], [0.0, 0.1, 0.4, 0.5]),
    ],
    ids=["no lateness adds up", "a slow pass skips"],
)
def test_passes_keep_to_a_grid_of_time(monkeypatch, takes_s, begins_s):
    now = [1000.0]
    begins: list[float] = []

    class Passes:
        def step(self) -> None:
            begins.append(round(now[0] - 1000, 6))
            now[0] += takes_s[len(begins) - 1]

    class Silence:
        def line(self, timeout_s: float) -> bytes | None:
            now[0] += timeout_s + 0.001  # wakes up a little late
            return b"final\n" if len(begins) == len(takes_s) else None

    monkeypatch.setattr(agents.time, "monotonic", lambda: now[0])
    assert watch(Passes(), Silence(), 0.1, os.getppid())
    assert begins == [pytest.approx(at, abs=0.0011) for at in begins_s]


@pytest.mark.parametrize(("line", "final"), [(b"final\n", True), (b"", False), (b"other\n", False)])
def test_only_the_word_final_asks_for_a_last_report(tmp_path, line, final):
    class Word:
        def line(self, timeout_s: float) -> bytes | None:
            return line

    agent, _ = make_agent(tmp_path)
    assert watch(agent, Word(), 0.1, os.getppid()) is final


def test_a_process_whose_parent_has_changed_stops_watching(tmp_path):
    class Silence:
        def line(self, timeout_s: float) -> bytes | None:
            return None

    agent, _ = make_agent(tmp_path)
    assert watch(agent, Silence(), 0.1, os.getppid() + 1) is False


# The process.


@contextmanager
def started(folder, interval_ms: int = 20) -> Iterator[tuple[subprocess.Popen[bytes], Store, Collector]]:
    endpoint = f"ipc://{folder}/c.ipc"
    store = Store(TOPOLOGY)
    collector = Collector(store, endpoint)
    collector.start()
    process = subprocess.Popen(
        [sys.executable, "-m", "mqviz.telemetry.agent"], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert process.stdin is not None
        assert process.stderr is not None
        settings = Settings("agent-1", str(folder), endpoint, interval_ms)
        process.stdin.write(msgspec.json.encode(settings) + b"\n")
        process.stdin.flush()
        yield process, store, collector
    finally:
        process.kill()
        process.communicate()
        collector.stop()


def wait_for(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.005)


def test_the_process_reports_until_it_is_told_and_its_last_report_has_all(tmp_path):
    probe = make_probe(tmp_path)
    with started(tmp_path) as (process, store, collector):
        wait_for(lambda: len(store.since(0)[0]) >= 3)
        probe.words[sent_word(probe)] = 1234
        probe.words[sent_word(probe) - SEND_WORDS + DUE] = 1300
        process.stdin.write(b"final\n")
        process.stdin.flush()
        assert collector.wait_final(5)
        assert process.wait(5) == 0
        assert process.stderr.read() == b""
    totals = store.totals(LINK)
    assert (totals.sent, totals.due, totals.unsent) == (1234, 1300, 66)
    assert (store.samples_lost, store.foreign) == (0, 0)
    probe.close()


def test_the_end_of_stdin_ends_the_process_without_a_final_report(tmp_path):
    with started(tmp_path) as (process, store, _):
        wait_for(lambda: len(store.since(0)[0]) >= 1)
        process.stdin.close()
        process.stdin = None
        assert process.wait(5) == 0
        assert process.stderr.read() == b""
    assert not store.final


def test_the_death_of_its_parent_ends_the_process(tmp_path):
    endpoint = f"ipc://{tmp_path}/c.ipc"
    line = msgspec.json.encode(Settings("agent-1", str(tmp_path), endpoint, 20))
    store = Store(TOPOLOGY)
    collector = Collector(store, endpoint)
    collector.start()
    # the other end of the agent's stdin stays open here: only its parent is gone
    reader, writer = os.pipe()
    script = (
        "import subprocess, sys, time\n"
        f"p = subprocess.Popen([sys.executable, '-m', 'mqviz.telemetry.agent'], stdin={reader}, stdout=2)\n"
        "print(p.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, pass_fds=[reader])
    try:
        process = psutil.Process(int(parent.stdout.readline()))
        os.write(writer, line + b"\n")
        wait_for(lambda: len(store.since(0)[0]) > 0)
        assert process.is_running()
        parent.kill()
        parent.communicate()
        wait_for(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)
    finally:
        parent.kill()
        parent.wait()
        os.close(reader)
        os.close(writer)
        collector.stop()


@pytest.mark.parametrize("line", [b"hello\n", b'{"agent": 1}\n', b"{}\n", b'{"agent": "\xff"}\n'])
def test_settings_that_cannot_be_read_are_told_in_one_line(line):
    found = subprocess.run([sys.executable, "-m", "mqviz.telemetry.agent"], input=line, capture_output=True)
    assert found.returncode == 2
    assert found.stderr.startswith(b"mqviz agent: the settings on stdin cannot be read")
    assert found.stderr.count(b"\n") == 1


def test_the_counts_of_a_process_that_was_killed_are_still_read(tmp_path):
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from mqviz.telemetry.probe import Probe\n"
        "from mqviz.telemetry.probe import InstancePlan, SendPlan, lay_out\n"
        f"plans = [InstancePlan('orders', 0, 0, (), (SendPlan({LINK!r}, 0, 1),))]\n"
        f"probe = Probe.create(Path({str(tmp_path / 'r1.probe')!r}), lay_out('r1', 'python', plans))\n"
        "words = memoryview(probe.words)\n"
        f"place = probe.schema.instances[0].sends[0].offset + {SEND_WORDS}\n"
        "while True:\n"
        "    words[place] += 1\n"
    )
    with started(tmp_path) as (process, store, collector):
        runner = subprocess.Popen([sys.executable, "-c", script])
        try:
            wait_for(lambda: store.totals(LINK).sent > 1000)
        finally:
            runner.kill()
            runner.wait()
        frozen = Probe.open(tmp_path / "r1.probe")
        expected = int(frozen.words[sent_word(frozen)])
        frozen.close()
        (tmp_path / "r1.probe").unlink()
        process.stdin.write(b"final\n")
        process.stdin.flush()
        assert collector.wait_final(5)
    assert store.totals(LINK).sent == expected

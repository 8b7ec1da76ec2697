"""Nothing outlives its lab: whatever is killed or interrupted, and whenever."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import mqviz

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

GONE_S = 6.0
"""What a killed lab has left may be seen for so long."""

SCENARIO = """
duration = "30s"
warmup = "100ms"
drain = "5s"
node = [
    {name = "a", role = "producer", rate = "200/s", size = "100B"},
    {name = "b", role = "worker"},
    {name = "c", role = "consumer", service = "1ms"},
]
link = [
    {from = "a", to = "b", pattern = "push-pull", transport = "ipc"},
    {from = "b", to = "c", pattern = "pub-sub"},
]
"""


class Lab:
    """`mqviz run` in a process of its own, known by a word in the environment of all that it starts."""

    def __init__(self, folder: Path) -> None:
        self.word = f"MQVIZ_LEASE={folder.name}-{os.urandom(4).hex()}"
        self.out = folder / "run"
        scenario = folder / "scenario.toml"
        scenario.write_text(SCENARIO)
        name, value = self.word.split("=")
        command = ["-m", "mqviz.cli", "run", str(scenario), "--engine", "python", "--json"]
        self.process = subprocess.Popen(
            [sys.executable, *command, "--out", str(self.out)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, name: value},
            start_new_session=True,
        )

    def family(self) -> list[psutil.Process]:
        """All processes of the lab, orphans too, but not itself."""
        name, value = self.word.split("=")
        found = []
        for process in psutil.process_iter():
            try:
                if process.pid != self.process.pid and process.environ().get(name) == value:
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    def left(self) -> list[str]:
        """Processes and files that are still there."""
        places = Path("/dev/shm"), Path(tempfile.gettempdir())
        files = [str(path) for place in places for path in place.glob(f"mqviz-{self.process.pid}-*")]
        return files + [f"process {process.pid}" for process in self.family()]

    def flows(self) -> None:
        """Wait until messages are being recorded."""
        deadline = time.monotonic() + 30
        while not any(path.stat().st_size > 10_000 for path in self.out.glob("samples/000001.mqs")):
            assert self.process.poll() is None, self.process.stderr and self.process.stderr.read()
            assert time.monotonic() < deadline, "the lab does not get going"
            time.sleep(0.05)

    def gone(self) -> list[str]:
        """What is left after the time that it may take."""
        deadline = time.monotonic() + GONE_S
        while (left := self.left()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return left

    def state(self) -> str:
        return str(json.loads((self.out / "run.json").read_text())["state"])


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A lab that is killed with all it has when the test has failed to end it."""
    found = Lab(tmp_path)
    yield found
    for process in found.family():
        process.kill()
    found.process.kill()
    found.process.communicate()


@pytest.mark.parametrize("moment_s", [0.05, *(n / 10 for n in range(2, 15, 2)), 1.8, 2.3, 3.0, 4.0])
def test_after_a_kill_of_the_lab_at_any_moment_nothing_is_left(lab: Lab, moment_s: float) -> None:
    time.sleep(moment_s)
    lab.process.kill()
    lab.process.wait()
    assert lab.gone() == []


@pytest.mark.parametrize("moment_s", [0.3, 0.7, 1.0, 1.4])
def test_an_interrupt_at_any_moment_of_the_start_leaves_nothing(lab: Lab, moment_s: float) -> None:
    time.sleep(moment_s)
    lab.process.send_signal(signal.SIGINT)
    lab.process.communicate(timeout=20)
    assert lab.gone() == []
    if (lab.out / "run.json").exists():
        assert lab.state() in ("failed", "ended")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_of_a_run_keeps_its_results(lab: Lab, how: signal.Signals) -> None:
    lab.flows()
    lab.process.send_signal(how)
    said, words = lab.process.communicate(timeout=20)
    assert lab.process.returncode == 128 + how, words
    assert lab.gone() == []
    found = json.loads(said)
    assert lab.state() == found["state"] == "ended"
    for block in found["links"].values():
        assert block["received"] > 0
        assert block["sent"] == block["received"] + sum(block["lost"].values())
    assert mqviz.load(lab.out).report()["links"] == found["links"]


@pytest.mark.parametrize("who", ["telemetry.agent", "simulation.runner"])
def test_a_kill_of_the_lab_and_of_one_of_its_processes_leaves_nothing(lab: Lab, who: str) -> None:
    lab.flows()
    victim = next(p for p in lab.family() if any(who in part for part in p.cmdline()))
    victim.kill()
    lab.process.kill()
    lab.process.wait()
    assert lab.gone() == []


def test_a_killed_lab_leaves_a_run_that_can_be_read(lab: Lab) -> None:
    lab.flows()
    time.sleep(1.5)
    lab.process.kill()
    lab.process.wait()
    assert lab.gone() == []
    run = mqviz.load(lab.out)
    assert run.state == lab.state() == "running"
    blocks = run.report()["links"]
    # it was flushed within the last second: of about 1.5 s or more at 200/s
    assert blocks["a -> b"]["received"] > 50
    assert blocks["b -> c"]["received"] > 50
    assert len(run.timeline()) > 10

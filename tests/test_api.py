"""What users call: Lab, run, load; and what they are told when it cannot be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
import threading
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

import mqviz
from mqviz.api import Lab
from mqviz.errors import BadInput, CannotRun, MissingExtra, MqvizError, RecordingError, ScenarioError
from mqviz.simulation.scenario import push_pull

LINK = "producer -> consumer"


def small(**how: object) -> Lab:
    """A lab that is over soon."""
    settings = {"rate": 500, "duration": "400ms", "warmup": "100ms", "transport": "ipc", "record": False}
    return Lab.push_pull(**{**settings, "engine": "python", **how})


def test_a_lab_runs_to_its_end_and_tells_how_it_was() -> None:
    lab = small()
    assert repr(lab) == "<Lab 'push-pull' idle>"
    assert lab.state == "idle"
    assert lab.start() is lab
    assert lab.state in ("starting", "warm-up", "measure")
    assert lab.wait("20s")
    run = lab.stop()
    assert (lab.state, run.state, run.engine, run.folder) == ("ended", "ended", "python", None)
    assert lab.stop().report() == run.report()
    assert 0.3 < lab.elapsed_s < 0.5
    assert run.report()["links"][LINK]["received"] > 100
    assert (
        run.summary()["received"][0] == run.books()["received"][0] == run.report()["links"][LINK]["received"]
    )
    assert "producer -&gt; consumer" in run._repr_html_()


def test_leaving_the_block_ends_the_run() -> None:
    with small(duration="1h") as lab:
        assert lab.wait("300ms") is False
        assert lab.wait(0) is False
        assert [view.name for view in lab.instances()] == ["producer.0", "consumer.0"]
    assert lab.state == "ended"


def test_an_error_in_the_block_ends_the_run_and_comes_through() -> None:
    with pytest.raises(ZeroDivisionError), small(duration="1h") as lab:
        1 / 0  # noqa: B018
    assert lab.state == "ended"
    assert lab.run.report()["links"][LINK]["in_flight"] == 0


def interrupt_soon() -> None:
    """As Ctrl-C, or a notebook's stop button, while the main thread waits."""
    threading.Timer(0.4, os.kill, (os.getpid(), signal.SIGINT)).start()


@pytest.mark.slow
def test_interrupting_a_wait_leaves_the_lab_running() -> None:
    with small(duration="1h") as lab:
        interrupt_soon()
        with pytest.raises(KeyboardInterrupt):
            lab.wait()
        assert lab.state in ("warm-up", "measure")
    assert lab.state == "ended"


@pytest.mark.slow
def test_interrupting_a_whole_run_ends_it_with_its_results(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wait = Lab.wait

    def waits(lab: Lab, duration: object = None) -> bool:
        interrupt_soon()
        return wait(lab)

    monkeypatch.setattr(Lab, "wait", waits)
    scenario = push_pull(rate=500, duration="1h", warmup="50ms", transport="ipc")
    with pytest.raises(KeyboardInterrupt):
        mqviz.run(scenario, engine="python", out=tmp_path / "run")
    run = mqviz.load(tmp_path / "run")
    block = run.report()["links"][LINK]
    assert run.state == "ended"
    assert block["sent"] == block["received"] > 50


@pytest.mark.slow
def test_a_lab_may_be_started_again_and_then_has_a_new_run() -> None:
    lab = small()
    told: list[str] = []
    lab.on_start.append(lambda: told.append(lab.state))
    first = lab.start().stop()
    second = lab.start()
    assert [state in ("starting", "warm-up", "measure") for state in told] == [True, True]
    assert lab.store is not first.store
    second.wait("20s")
    lab.stop()
    assert lab.run.report()["links"][LINK]["received"] > 100


@pytest.mark.slow
def test_a_lab_that_runs_cannot_be_started_twice() -> None:
    with small(duration="1h") as lab:
        with pytest.raises(CannotRun, match="a run starts once; make a new one"):
            lab.start()
        assert lab.state in ("starting", "warm-up", "measure")


@pytest.mark.slow
def test_two_labs_run_side_by_side() -> None:
    with small(transport="tcp") as one, small(transport="ipc") as other:
        assert one.wait("20s")
        assert other.wait("20s")
    for lab in (one, other):
        block = lab.run.report()["links"][LINK]
        assert block["sent"] == block["received"] > 100


@pytest.mark.slow
def test_a_lab_may_be_steered_from_several_threads() -> None:
    with small(duration="1h", consumers=3) as lab:
        problems: list[BaseException] = []

        def steer(act: Callable[[], object]) -> None:
            try:
                act()
            except MqvizError as error:
                problems.append(error)

        acts: list[Callable[[], object]] = [
            lambda: lab.kill("consumer", 2),
            lambda: lab.set("producer", rate=900),
            lambda: lab.revive("consumer"),
            lambda: lab.pause("producer"),
            lambda: lab.summary(),
            lambda: lab.books(),
            lambda: lab.resume("producer"),
            lambda: lab.timeline(),
        ]
        threads = [threading.Thread(target=steer, args=(act,)) for act in acts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert problems == []
    block = lab.run.report()["links"][LINK]
    assert block["sent"] == block["received"] + block["lost"]["peer-death"]


def test_run_and_load_give_the_same_run(tmp_path: Path) -> None:
    scenario = push_pull(rate=500, duration="300ms", warmup="50ms", transport="ipc")
    run = mqviz.run(scenario, engine="python", out=tmp_path / "run", settings=["seed=4"])
    assert run.scenario.seed == 4
    assert run.verdict == run.report()["verdict"]
    assert mqviz.load(tmp_path / "run").report() == run.report()
    with pytest.raises(CannotRun, match="has a run already; name another folder with --out"):
        mqviz.run(scenario, engine="python", out=tmp_path / "run")


@pytest.mark.parametrize(
    ("verdict", "met", "strict", "code"),
    [
        ("VALID", True, True, 0),
        ("SUSPECT", True, False, 0),
        ("SUSPECT", True, True, 1),
        ("VOID", True, False, 1),
        ("VALID", False, False, 1),
    ],
)
def test_the_exit_code_follows_verdict_and_expectations(
    monkeypatch: pytest.MonkeyPatch, verdict: str, met: bool, strict: bool, code: int
) -> None:
    run = small().run
    report = {"verdict": verdict, "expectations": [{"met": True}, {"met": met}]}
    monkeypatch.setattr(run, "report", lambda: report)
    assert run.exit_code(strict) == code


NODES = """
[[node]]
name = "a"
role = "producer"
rate = "100/s"
[[node]]
name = "b"
role = "worker"
[[node]]
name = "c"
role = "consumer"
"""
LINKS = """
[[link]]
from = "a"
to = "b"
[[link]]
from = "b"
to = "c"
"""
GOOD = NODES + LINKS

BAD_TOML = {
    "unknown key": (GOOD.replace('rate = "100/s"', 'rat = "100/s"'), 'node "a": unknown key "rat".*"rate"'),
    "wrong type": (
        GOOD.replace('role = "worker"', 'role = "worker"\ncount = "many"'),
        'node "b", count: "many"',
    ),
    "table for a text": (GOOD.replace('role = "worker"', "role = {x = 1}"), 'node "b", role'),
    "impossible value": (GOOD.replace('role = "worker"', 'role = "worker"\nsize = "1B"'), "at least 40B"),
    "rate 0": (GOOD.replace('"100/s"', "0"), 'node "a", rate: 0 is not a rate'),
    "rate 1e12": (GOOD.replace('"100/s"', "1e12"), 'node "a", rate: 1000000000000.0 is not a rate'),
    "cycle": (
        GOOD.replace('role = "consumer"', 'role = "worker"') + '[[link]]\nfrom = "c"\nto = "b"\n',
        "messages would go round for ever: . -> . -> .",
    ),
    "missing node": (GOOD.replace('to = "c"', 'to = "d"'), 'link "b -> d", to: there is no node "d"'),
    "40,000 connections": (
        GOOD.replace('"producer"', '"producer"\ncount = 200').replace('"worker"', '"worker"\ncount = 200'),
        'a mesh of 200 × 200 is 40000 connections.*wiring = "paired"',
    ),
    "spin that cannot fit": (
        GOOD.replace('"100/s"', '"10000/s"').replace(
            '"worker"', '"worker"\ncount = 900\nservice = "1s"\nservice_mode = "spin"'
        ),
        "spinning would take 9e\\+02 of .* cores",
    ),
    "not TOML": ("[[node", "not TOML"),
    "not text": ("\x00\x01", "not TOML"),
    "empty": ("", "there is no node"),
    "10 MB": ("# " + "x" * 10_000_000, "larger than 1000 KB"),
}


@pytest.mark.parametrize("case", BAD_TOML)
def test_a_bad_scenario_is_refused_with_one_sentence(tmp_path: Path, case: str) -> None:
    toml, words = BAD_TOML[case]
    file = tmp_path / "bad.toml"
    file.write_text(toml)
    with pytest.raises(ScenarioError, match=words) as caught:
        Lab(file)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


BAD_CALLS: dict[str, tuple[Callable[[], object], type[MqvizError], str, int]] = {
    "no such scenario": (lambda: Lab("order-pipelin"), ScenarioError, "order-pipeline", 2),
    "a folder": (lambda: Lab("/tmp"), ScenarioError, "neither a built-in scenario nor a file", 2),
    "a name too long": (lambda: Lab("x" * 100_000), ScenarioError, "neither", 2),
    "an unknown setting": (lambda: Lab("fan-out", settings=["news.rat=3"]), ScenarioError, '"rate"', 2),
    "a setting of no node": (
        lambda: Lab("fan-out", settings=["x.rate=3"]),
        ScenarioError,
        "no node or link",
        2,
    ),
    "half a setting": (lambda: Lab("fan-out", settings=["seed"]), ScenarioError, "KEY=VALUE", 2),
    "an unknown engine": (lambda: Lab("fan-out", engine="warp"), BadInput, "auto, native, python", 2),
    "an unknown field": (lambda: Lab.push_pull(colour="red"), ScenarioError, 'unknown key "colour"', 2),
    "no producers": (lambda: Lab.push_pull(producers=0), ScenarioError, "from 1 to 1000", 2),
    "a folder in no place": (lambda: small(out="/proc/x", record=True).start(), CannotRun, "cannot write", 3),
    "a run that is none": (lambda: mqviz.load("/tmp"), RecordingError, "is not a run folder", 2),
    "a time that is none": (lambda: small().wait("soon"), ScenarioError, "is not a duration", 2),
}


@pytest.mark.parametrize("case", BAD_CALLS)
def test_a_bad_call_is_refused_with_one_sentence(case: str) -> None:
    call, kind, words, code = BAD_CALLS[case]
    with pytest.raises(kind, match=words) as caught:
        call()
    assert caught.value.exit_code == code
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_the_native_engine_without_numba_is_refused_with_the_line_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    with pytest.raises(
        MissingExtra, match=r"^the native engine needs .* pip install 'mqviz\[native\]'$"
    ) as caught:
        Lab("fan-out", engine="native")
    assert caught.value.exit_code == 3
    assert Lab("fan-out", record=False).run.engine == "python"


def test_a_name_with_markup_is_a_name(tmp_path: Path) -> None:
    file = tmp_path / "named.toml"
    name = "<script>alert(1)</script>"
    toml = GOOD.replace('"b"', f'"{name}"').replace("[[node]]", '[[node]]\nsize = "64B"', 1)
    file.write_text('duration = "300ms"\nwarmup = "50ms"\n' + toml)
    run = mqviz.run(file, engine="python", out=tmp_path / "run")
    block = run.report()["links"][f"a -> {name}"]
    assert block["sent"] == block["received"] > 10
    assert "<script>" not in run._repr_html_()
    assert mqviz.load(tmp_path / "run").report() == run.report()


LIGHT = ("zmq", "pyzmq.libs", "msgspec", "numpy", "numpy.libs", "psutil")

LIGHT_RUN = """
import sys
from mqviz.simulation.orchestrator import Orchestrator
from mqviz.simulation.scenario import push_pull

for name in ("pandas", "bokeh", "panel", "numba", "typer", "rich"):
    try:
        __import__(name)
    except ImportError:
        continue
    sys.exit(name + " is here")
scenario = push_pull(rate=500, service="200us", duration="500ms", warmup="100ms")
orchestrator = Orchestrator(scenario, record=True, out=__import__("pathlib").Path(sys.argv[1]))
orchestrator.start()
orchestrator.wait(30)
orchestrator.stop()
block = orchestrator.document()["links"]["producer -> consumer"]
print(orchestrator.engine, orchestrator.state, block["received"] > 100, block["sent"] - block["received"])
"""


@pytest.mark.slow
def test_a_run_needs_nothing_but_the_light_packages(tmp_path: Path) -> None:
    here = Path(sysconfig.get_path("platlib"))
    light = tmp_path / "light"
    light.mkdir()
    for name in LIGHT:
        if (here / name).exists():
            (light / name).symlink_to(here / name)
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    python = tmp_path / "venv/bin/python"
    packages = next((tmp_path / "venv/lib").glob("python*/site-packages"))
    root = Path(mqviz.__file__).parents[1]
    (packages / "light.pth").write_text(f"{light}\n{root}\n")
    without = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [python, "-c", LIGHT_RUN, tmp_path / "run"], env=without, capture_output=True, text=True, timeout=50
    )
    assert done.stdout == "python ended True 0\n", done.stderr
    assert sys.executable != str(python)
    assert mqviz.load(tmp_path / "run").state == "ended"

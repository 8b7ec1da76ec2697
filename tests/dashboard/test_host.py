from __future__ import annotations

import threading
from typing import Any

import pytest

from mqviz.dashboard.host import LabHost
from mqviz.errors import CannotRun


def test_a_lab_starts_stops_and_starts_anew(new_host: Any) -> None:
    host = new_host(live=False)
    first = host.lab
    assert host.state == "idle"
    host.start()
    assert host.state == "warm-up"
    host.start()
    assert host.lab is first
    host.stop()
    assert host.state == "ended"
    host.start()
    assert host.lab is not first
    assert host.number == 2
    assert host.state == "warm-up"


def test_picking_a_scenario_ends_the_one_that_runs(new_host: Any) -> None:
    host = new_host(live=False)
    host.start()
    first = host.lab
    host.pick("slow-subscriber")
    assert first.state == "ended"
    assert (host.current, host.state, host.number) == ("slow-subscriber", "warm-up", 2)


def test_a_lab_that_cannot_start_says_why_and_another_can(new_host: Any) -> None:
    host = new_host(live=False)
    host.pick("broken")
    assert host.state == "failed"
    assert host.error == "tcp://127.0.0.1:5555 is in use by another program"
    host.pick("order-pipeline")
    assert host.state == "warm-up"
    assert host.error is None


def test_a_failed_lab_can_be_tried_again(new_host: Any) -> None:
    host = new_host(live=False)
    host.pick("broken")
    number = host.number
    host.start()
    assert host.number == number + 1
    assert host.state == "failed"


def test_a_scenario_that_cannot_be_made_leaves_the_old_one_in_sight(new_lab: Any) -> None:
    def make(name: str) -> Any:
        if name == "bad":
            raise CannotRun("the file has gone")
        return new_lab(live=False)

    host = LabHost(make, ["good", "bad"], "good")
    host.start()
    host.pick("bad")
    assert host.state == "failed"
    assert host.error == "the file has gone"
    host.pick("good")
    assert host.state == "warm-up"


def test_what_is_not_offered_cannot_be_picked(new_host: Any) -> None:
    with pytest.raises(CannotRun, match="not one of the scenarios"):
        new_host().pick("/etc/passwd")


def test_a_scenario_of_its_own_is_offered_first(new_lab: Any) -> None:
    host = LabHost(lambda name: new_lab(live=False), ["a", "b"], "mine.toml")
    assert host.names == ["mine.toml", "a", "b"]


def test_a_closed_host_starts_nothing_more(new_host: Any) -> None:
    host = new_host(live=False)
    host.start()
    host.close()
    assert host.state == "ended"
    host.start()
    assert host.state == "idle"


def test_many_hands_leave_one_lab_running(new_host: Any) -> None:
    host = new_host(live=False)
    names = ["order-pipeline", "slow-subscriber"]
    threads = [threading.Thread(target=host.pick, args=(names[i % 2],)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert host.number == 9
    assert host.state == "warm-up"

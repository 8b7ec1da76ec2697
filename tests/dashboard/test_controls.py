"""The controls as Panel objects, without a browser: what they offer, and that a page leaves nothing behind."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

pytestmark = pytest.mark.slow  # Panel takes seconds to import


@pytest.fixture
def controls(new_host: Any) -> Any:
    """The controls of a host whose lab runs."""
    from mqviz.dashboard.controls import Controls

    host = new_host(live=False)
    host.start()
    return Controls(host)


def test_a_nodes_controls_are_made_when_it_is_first_selected_and_kept(controls: Any) -> None:
    assert controls.view.objects == []
    controls.pick({"node": "orders", "instance": 0, "alive": True})
    (first,) = controls.view.objects
    controls.pick({"node": "pricing", "instance": 2, "alive": False})
    assert controls.view.objects != [first]
    controls.pick({"node": "orders", "instance": 0, "alive": True})
    assert controls.view.objects == [first]
    controls.pick({})
    assert controls.view.objects == []


@pytest.mark.parametrize(
    ("node", "fields"),
    [
        ("orders", ["rate", "size", "count"]),
        ("pricing", ["service", "size", "count"]),
        ("ledger", ["service", "count"]),
    ],
)
def test_a_node_has_the_fields_of_its_role(controls: Any, node: str, fields: list[str]) -> None:
    controls.pick({"node": node, "instance": 0, "alive": True})
    assert list(controls._shown.fields) == fields


@pytest.mark.parametrize(("alive", "kill", "revive"), [(True, False, True), (False, True, False)])
def test_the_dead_can_be_started_and_the_living_killed(
    controls: Any, alive: bool, kill: bool, revive: bool
) -> None:
    controls.pick({"node": "pricing", "instance": 1, "alive": alive})
    shown = controls._shown
    assert (shown.kill.disabled, shown.revive.disabled) == (kill, revive)


def test_nothing_can_be_changed_when_the_run_is_over(controls: Any) -> None:
    controls.pick({"node": "pricing", "instance": 1, "alive": True})
    controls._host.stop()
    controls.renew()
    shown = controls._shown
    assert all(each.disabled for each in (shown.kill, shown.revive, shown.pause, *shown.fields.values()))


def test_a_node_of_another_scenario_is_not_there(controls: Any) -> None:
    controls.pick({"node": "nobody", "instance": 0, "alive": True})
    assert controls.view.objects == []
    controls.pick({"node": "orders"})
    controls._host.pick("slow-subscriber")
    controls.renew()
    assert controls.view.objects == []


def test_a_refused_change_stands_at_its_field(controls: Any) -> None:
    controls.pick({"node": "orders", "instance": 0, "alive": True})
    shown = controls._shown
    field = shown.fields["rate"]

    async def change(text: str) -> None:
        await shown._setter("rate")(type("Event", (), {"new": text})())

    asyncio.run(change("fast"))
    assert field.error_state
    assert field.helper_text == '"fast" is not a rate, such as 2000/s'
    asyncio.run(change("1000/s"))
    assert not field.error_state
    assert field.helper_text == ""


def test_the_button_says_what_it_will_do(new_host: Any) -> None:
    from mqviz.dashboard.controls import Header

    host = new_host(live=False)
    header = Header(host)
    assert header.button.label == "Start"
    host.start()
    header.renew()
    assert (header.button.label, header.scenario.value) == ("Stop", "order-pipeline")
    host.pick("broken")
    header.renew()
    assert (header.button.label, header.scenario.value) == ("Run again", "broken")


def test_a_picked_scenario_stays_picked_when_the_page_is_renewed_while_the_old_one_stops(
    new_host: Any,
) -> None:
    from mqviz.dashboard.controls import Header

    host = new_host(live=False)
    header = Header(host)
    host.start()
    header.renew()
    stopping, go_on = threading.Event(), threading.Event()
    stop = host.lab.stop

    def slow(limit_s: float | None = None) -> None:
        stopping.set()
        go_on.wait(10)
        stop(limit_s)

    host.lab.stop = slow

    async def pick() -> tuple[str, bool]:
        header.scenario.value = "broken"
        await asyncio.to_thread(stopping.wait, 10)
        header.renew()
        meanwhile = header.scenario.value, header.button.disabled
        go_on.set()
        while header.button.disabled:
            await asyncio.sleep(0.01)
        return meanwhile

    assert asyncio.run(pick()) == ("broken", True)
    assert (host.number, header.scenario.value, header.button.label) == (2, "broken", "Run again")


def test_a_page_leaves_no_watcher_on_the_global_state() -> None:
    import panel as pn

    from mqviz.dashboard.page import quiet_page

    def count() -> int:
        return len(pn.state.param.watchers.get("busy", {}).get("value", []))

    before = count()
    quiet_page(title="x")
    assert count() == before

"""What a viewer can change: the scenario and whether it runs (bar), and each node's load (made when first selected)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import panel as pn
import panel_material_ui as pmui

from mqviz.dashboard.host import OVER, LabHost
from mqviz.errors import MqvizError, ScenarioError
from mqviz.simulation.units import format_rate

RUNNING = ("warm-up", "measure", "drain")

BAR_BUTTON = {"whiteSpace": "nowrap", "minWidth": 92, "height": 36}


class Header:
    """The scenario picker and the one button that starts or stops."""

    def __init__(self, host: LabHost) -> None:
        self._host = host
        self._renewing = False
        self._doing = False
        self._wanted: str | None = None
        self.scenario = pmui.Select(
            label="",
            options=list(host.names),
            value=host.current,
            size="small",
            margin=0,
            sizing_mode="stretch_width",
            min_width=110,
            max_width=210,
        )
        self.button = pmui.Button(size="small", margin=(0, 0, 0, 10))
        self.scenario.param.watch(self._pick, "value")
        self.button.on_click(self._press)
        # plain layouts: one of pmui costs every session as much as a widget
        self.view = pn.Row(self.scenario, self.button, margin=0, sizing_mode="stretch_width")
        self.renew()

    def renew(self) -> None:
        """Show what the lab is now."""
        state = self._host.state
        busy = self._doing or state in ("starting", "stopping", "drain")
        self._renewing = True
        try:
            self.scenario.param.update(
                options=list(self._host.names), value=self._wanted or self._host.current, disabled=busy
            )
        finally:
            self._renewing = False
        if state == "idle" or state in OVER:
            self.button.param.update(
                label="Start" if state == "idle" else "Run again", icon="play_arrow", color="primary",
                variant="contained", disabled=busy, sx=BAR_BUTTON,
            )  # fmt: skip
        else:
            words = {"starting": "Starting…", "stopping": "Stopping…", "drain": "Draining…"}
            self.button.param.update(
                label=words.get(state, "Stop"), icon="stop", color="primary", variant="outlined",
                disabled=busy, sx=BAR_BUTTON | {"borderColor": "divider"},
            )  # fmt: skip

    def _press(self, _: object) -> None:
        self._do(self._host.stop if self._host.state in RUNNING else self._host.start)

    def _pick(self, event: Any) -> None:
        # settled at once: when an async watcher gets its turn, the host may be at another scenario
        if not self._renewing:
            self._wanted = event.new
            self._do(lambda: self._host.pick(event.new))

    def _do(self, work: Callable[[], None]) -> None:
        self._doing = True
        self.renew()

        async def do() -> None:
            try:
                await asyncio.to_thread(work)
            finally:
                self._doing, self._wanted = False, None
                # without the document's lock this change could overtake or be overtaken by another renewal
                pn.state.execute(self.renew)

        pn.state.execute(do)


class Controls:
    """A node's controls, by the node selected in the list."""

    def __init__(self, host: LabHost) -> None:
        self._host = host
        self._made: dict[tuple[int, str], NodeControls] = {}
        self._shown: NodeControls | None = None
        self.view = pn.Column(margin=0, sizing_mode="stretch_width")

    def pick(self, picked: dict[str, Any]) -> None:
        """Show the controls of a node; `picked`: node, instance (index), alive (that instance), paused."""
        name = picked.get("node")
        node = next((node for node in self._host.topology.nodes if node.name == name), None)
        if node is None:
            self._shown = None
            self.view.objects = []
            return
        key = (self._host.number, node.name)
        found = self._made.get(key)
        if found is None:
            found = self._made[key] = NodeControls(self._host, node.name)
        found.instance = int(picked.get("instance") or 0)
        found.alive = bool(picked.get("alive"))
        found.paused = bool(picked.get("paused"))
        found.renew()
        if found is not self._shown:
            self._shown = found
            self.view.objects = [found.view]

    def renew(self) -> None:
        """The lab or its state is another one."""
        number = self._host.number
        stale = [key for key in self._made if key[0] != number]
        for key in stale:
            del self._made[key]
        if stale:
            self._shown = None
            self.view.objects = []
        elif self._shown is not None:
            self._shown.renew()


class NodeControls:
    """The fields and buttons of one node."""

    def __init__(self, host: LabHost, node: str) -> None:
        self._host = host
        self._number = host.number
        self.node = node
        self.instance = 0
        self.alive = True
        self.paused = False
        self.fields = {
            field: _field(label, value, field) for field, label, value in _settings(host.lab.node(node))
        }
        for name, field in self.fields.items():
            field.param.watch(self._setter(name), "value")
        self.kill = _button("Kill", "bolt", "error", self._act(lambda: host.lab.kill(node, self.instance)))
        self.revive = _button(
            "Start", "add", "primary", self._act(lambda: host.lab.revive(node, self.instance))
        )
        self.pause = _button("Pause", "pause", "primary", self._act(self._pause))
        self.said = pn.pane.Str("", margin=(2, 0), visible=False, css_classes=["mq-said"], styles=SAID)
        self.view = pmui.Column(
            pmui.Row(self.kill, self.revive, self.pause, margin=0, sx={"gap": "8px"}),
            pmui.Grid(
                *(pmui.Grid(field, size={"xs": 6}) for field in self.fields.values()),
                container=True, column_spacing=1.5, row_spacing=0, margin=0, sizing_mode="stretch_width",
            ),
            self.said,
            margin=0, sizing_mode="stretch_width",
        )  # fmt: skip

    def renew(self) -> None:
        """Enable what can be done now."""
        runs = self._host.state in ("warm-up", "measure")
        self.kill.disabled = not (runs and self.alive)
        self.revive.disabled = not runs or self.alive
        self.pause.disabled = not runs
        self.pause.param.update(
            label="Resume" if self.paused else "Pause", icon="play_arrow" if self.paused else "pause"
        )
        for field in self.fields.values():
            field.disabled = not runs

    def _pause(self) -> None:
        lab = self._host.lab
        (lab.resume if self.paused else lab.pause)(self.node)

    def _act(self, work: Callable[[], object]) -> Callable[[Any], Any]:
        async def act(_: object) -> None:
            try:
                await asyncio.to_thread(work)
            except MqvizError as error:
                self._say(str(error))
            else:
                self._say("")

        return act

    def _setter(self, name: str) -> Callable[[Any], Any]:
        async def change(event: Any) -> None:
            field = self.fields[name]
            try:
                await asyncio.to_thread(lambda: self._host.lab.set(self.node, **{name: event.new}))
            except ScenarioError as error:
                field.param.update(error_state=True, helper_text=_sentence(error.problem))
            except MqvizError as error:
                field.param.update(error_state=True, helper_text=_sentence(str(error)))
            else:
                field.param.update(error_state=False, helper_text="")

        return change

    def _say(self, text: str) -> None:
        self.said.object = text
        self.said.visible = bool(text)


SAID = {"color": "var(--mq-bad, #ff6b5e)", "font-size": "12px"}


def _button(label: str, icon: str, color: str, press: Callable[[Any], Any]) -> Any:
    button = pmui.Button(
        label=label, icon=icon, color=color, variant="outlined", size="small", margin=(2, 0, 8, 0),
        sizing_mode="stretch_width", sx={"paddingInline": "8px"},
    )  # fmt: skip
    button.on_click(press)
    return button


def _field(label: str, value: Any, name: str) -> Any:
    if name == "count":
        return pmui.IntInput(
            label=label,
            value=value,
            start=1,
            step=1,
            size="small",
            margin=(6, 0),
            sizing_mode="stretch_width",
        )
    return pmui.TextInput(
        label=label, value=value, size="small", margin=(6, 0), sizing_mode="stretch_width", max_length=80
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _settings(node: Any) -> list[tuple[str, str, Any]]:
    """The fields that can be changed while the node runs: name, label, value as the user would write it."""
    told: list[tuple[str, str, Any]] = []
    if node.role == "producer":
        told.append(("rate", "Rate of the node", format_rate(node.rate)))
    else:
        told.append(("service", "Service time", node.service.text))
    if node.role != "consumer":
        told.append(("size", "Message size", node.size.text))
    told.append(("count", "Instances", node.count))
    return told

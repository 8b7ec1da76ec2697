"""A lab in a notebook: what its output holds, when a browser is told what, and when the thread ends."""

from __future__ import annotations

import gc
import json
import re
import threading
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import msgspec
import panel as pn
import pytest
from bokeh.document.events import ModelChangedEvent
from bokeh.protocol import Protocol
from pyviz_comms import Comm, CommManager

from mqviz.dashboard import display, show, view
from mqviz.dashboard.card import Card, Words
from mqviz.dashboard.show import Show
from mqviz.dashboard.view import View
from mqviz.telemetry.topology import LinkInfo, NodeInfo, Topology


class Channel(Comm):
    """A channel to a browser that keeps what it is told."""

    def init(self, on_msg: Any = None) -> None:
        self._comm = object()
        self.sent: list[str] = []

    def send(self, data: Any = None, metadata: Any = None, buffers: Any = ()) -> None:
        self.sent.append(data)


class Channels(CommManager):
    server_comm = Channel
    client_comm = Channel


class Holder:
    """What a display sees of an api.Lab."""

    def __init__(self, running: Any) -> None:
        self.orchestrator = running
        self.on_start: list[Callable[[], object]] = []


class Browser:
    """The other end of a view."""

    def __init__(self, told: View) -> None:
        self.view = told
        self.ref = told._ref
        _, _, self.document, self.channel = pn.state._views[told._ref]

    def open(self) -> None:
        self.channel.init()

    def draw(self) -> None:
        """Say how wide the first chart is, as BokehJS does."""
        figure = self.view.card._first
        event = ModelChangedEvent(self.document, figure, "inner_width", 640)
        message = Protocol().create("PATCH-DOC", [event])
        parts = {"header": message.header, "metadata": message.metadata, "content": message.payload.content}
        self.view._comms[self.ref][1]._on_msg({**parts, "_buffers": {}})

    def leave(self) -> None:
        """As when the cell's output is cleared."""
        self.view._comms[self.ref][1]._on_msg({"closed": True})

    @property
    def inbox(self) -> list[dict[str, Any]]:
        """What came, without Bokeh's envelopes."""
        events = [e for text in self.channel.sent for e in json.loads(text).get("events", ())]
        return [json.loads(e["new"][0]) for e in events if e.get("attr") == "tags"]

    @property
    def times(self) -> list[float]:
        """Of the rows that a chart shows now."""
        shown: list[float] = []
        for piece in self.inbox:
            shown = ([] if piece["fresh"] else shown) + piece["charts"]["throughput"]["t"]
        return shown


ONE_LINK = Topology(
    "one link",
    (NodeInfo("orders", "producer", 1), NodeInfo("ledger", "consumer", 1)),
    (LinkInfo("orders", "ledger", "push-pull", "tcp", terminal=True),),
)


@pytest.fixture
def lab(new_lab: Callable[..., Any]) -> Any:
    """A small one, quickly drawn; it moves only when it is told to."""
    made = new_lab(shape=ONE_LINK, live=False)
    made.begin(1_000_000_000_000)
    return made


@pytest.fixture(autouse=True)
def _notebook(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    pn.extension(inline=True)
    monkeypatch.setattr(pn.state, "_comm_manager", Channels)
    yield
    pn.state._views.clear()


@pytest.fixture
def open_show() -> Iterator[Callable[[Any], Show]]:
    made = []

    def make(holder: Any) -> Show:
        made.append(Show(holder))
        return made[-1]

    yield make
    for each in made:
        each.close()


def shown(told: Show) -> Browser:
    return Browser(told._views[-1])


def pushed(told: View, lab: Any) -> None:
    """One turn of a thread of its own telling."""
    show.Telling(lab).push([told])


def own(html: str) -> str:
    """An output without the attributes of the components that other imports have brought into this process."""
    text = re.search(r"docs_json = (\{.*\});", html)
    assert text is not None
    (document,) = json.loads(text[1]).values()
    del document["defs"]
    return html[: text.start()] + json.dumps(document) + html[text.end() :]


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "mqviz-show"]


# what a cell holds


def test_without_a_notebook_there_is_text_only(lab: Any) -> None:
    holder = Holder(lab)
    assert display.mimebundle(holder) == ({"text/plain": repr(holder)}, {})
    assert threads() == []


def test_the_output_holds_no_data_and_no_scripts_of_panel(lab: Any, open_show: Callable[[Any], Show]) -> None:
    lab.run_for(20)
    data, metadata = open_show(Holder(lab)).add(lab)
    assert set(data) == {"text/html", "application/vnd.holoviews_exec.v0+json"}
    assert "cdn." not in data["text/html"]
    assert len(own(data["text/html"])) < 60_000
    (reference,) = pn.state._views
    assert metadata == {"application/vnd.holoviews_exec.v0+json": {"id": reference}}


def test_the_output_stays_small_after_an_import_of_panel_material_ui(
    lab: Any, open_show: Callable[[Any], Show]
) -> None:
    import panel_material_ui  # noqa: F401

    data, _ = open_show(Holder(lab)).add(lab)
    assert "MaterialWrapper" not in own(data["text/html"])
    assert len(data["text/html"]) < 250_000


def test_names_from_a_scenario_are_escaped(fakes: ModuleType, new_lab: Callable[..., Any]) -> None:
    lab = new_lab(shape=fakes.topology(fakes.HOSTILE, fakes.HOSTILE), live=False)
    card = Card(lab.store.topology, show.Telling(lab).words())
    texts = " ".join(card._told.values())
    assert fakes.HOSTILE not in texts


def test_every_chart_has_its_title_and_its_lines_beside_it_not_over_it(lab: Any) -> None:
    told = Card(lab.store.topology, Words("", "", {"hwm": 1_200, "no-subscriber": 5}))._told
    assert list(told) == ["header", "figures", "throughput", "latency", "backlog", "losses"]
    assert "orders</span>" in told["throughput"]
    assert "p99.9" in told["latency"]
    assert "hwm <b>1\u202f200</b>" in told["losses"]
    assert "no-subscriber <b>5</b> by design" in told["losses"]
    assert "linger" not in told["losses"]


# what a browser is told


@pytest.fixture
def told(lab: Any) -> View:
    made = View(Card(lab.store.topology, show.Telling(lab).words()))
    made.bundle()
    return made


def test_nothing_is_sent_before_a_browser_has_drawn(lab: Any, told: View) -> None:
    browser = Browser(told)
    lab.run_for(10)
    pushed(told, lab)
    browser.open()
    pushed(told, lab)
    assert browser.inbox == []
    browser.draw()
    pushed(told, lab)
    assert len(browser.times) == 10


def test_rows_follow_on_what_is_there(lab: Any, told: View) -> None:
    browser = Browser(told)
    browser.open()
    browser.draw()
    telling = show.Telling(lab)
    for _ in range(6):
        lab.run_for(3)
        telling.push([told])
    assert browser.times == [round(tick / 10, 3) for tick in range(1, 19)]
    assert [piece["fresh"] for piece in browser.inbox] == [True] + [False] * 5
    assert len(json.dumps(browser.inbox[-1])) < 4_000


def test_only_texts_that_changed_are_sent(lab: Any, told: View) -> None:
    browser = Browser(told)
    browser.open()
    browser.draw()
    telling = show.Telling(lab)
    for _ in range(3):
        lab.run_for(10)
        telling.push([told])
    first, second, third = (set(piece["texts"]) for piece in browser.inbox)
    assert first == {"header", "figures", "throughput", "latency", "backlog", "losses"}
    assert second == set()
    assert third == {"header", "figures"}


def test_a_page_that_was_loaded_anew_gets_everything(lab: Any, told: View) -> None:
    browser = Browser(told)
    browser.open()
    browser.draw()
    telling = show.Telling(lab)
    lab.run_for(10)
    telling.push([told])
    browser.open()
    browser.draw()
    lab.run_for(2)
    telling.push([told])
    assert [piece["fresh"] for piece in browser.inbox] == [True]
    assert len(browser.times) == 12


def test_a_kernel_that_hears_nobody_opens_the_channel_itself(
    lab: Any, told: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view, "BLIND_S", -1.0)
    told._knocks = [-1.0, 1e9]
    browser = Browser(told)
    telling = show.Telling(lab)
    for _ in range(3):
        lab.run_for(2)
        telling.push([told])
    assert len(browser.times) == 6
    assert told._knocks == [1e9]
    assert not told.shows((telling, False))


def test_what_was_sent_blindly_is_sent_again_when_the_browser_is_heard(
    lab: Any, told: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view, "BLIND_S", -1.0)
    browser = Browser(told)
    telling = show.Telling(lab)
    browser.open()
    lab.run_for(5)
    telling.push([told])
    browser.draw()
    telling.push([told])
    assert [len(piece["charts"]["losses"]["t"]) for piece in browser.inbox] == [5, 5]
    assert told.shows((telling, False))


def test_messages_are_none_of_an_ipywidget(new_lab: Callable[..., Any]) -> None:
    lab = new_lab(shape=msgspec.structs.replace(ONE_LINK, name="state of the art"), live=False)
    lab.begin(1_000_000_000_000)
    lab.run_for(10)
    made = View(Card(lab.store.topology, show.Telling(lab).words()))
    made.bundle()
    browser = Browser(made)
    browser.open()
    browser.draw()
    pushed(made, lab)
    assert "state of the art" in browser.inbox[0]["texts"]["header"]
    assert not any("state" in text for text in browser.channel.sent)


# the thread


def test_two_displays_share_one_store_and_one_thread(
    fakes: ModuleType, new_lab: Callable[..., Any], open_show: Callable[[Any], Show]
) -> None:
    lab = new_lab(shape=ONE_LINK)
    lab.start()
    holder = Holder(lab)
    together = open_show(holder)
    browsers = []
    for _ in range(2):
        together.add(lab)
        browsers.append(shown(together))
    for browser in browsers:
        browser.open()
        browser.draw()
    for browser in browsers:
        fakes.wait_for(lambda browser=browser: len(browser.times) > 10)
    assert browsers[0].times[:8] == browsers[1].times[:8]
    assert threads() == ["mqviz-show"]


def test_the_thread_ends_when_the_run_has_ended_and_all_of_it_is_shown(
    fakes: ModuleType, new_lab: Callable[..., Any], open_show: Callable[[Any], Show]
) -> None:
    lab = new_lab(shape=ONE_LINK)
    lab.start()
    holder = Holder(lab)
    together = open_show(holder)
    together.add(lab)
    browser = shown(together)
    browser.open()
    browser.draw()
    fakes.wait_for(lambda: browser.times)
    lab.stop()
    fakes.wait_for(lambda: not threads())
    assert browser.times[-1] == pytest.approx(lab.elapsed_s, abs=0.15)
    assert ">ended<" in browser.inbox[-1]["texts"]["header"]


def test_what_is_shown_goes_on_when_the_lab_is_started_again_much_later(
    fakes: ModuleType, new_lab: Callable[..., Any], open_show: Callable[[Any], Show]
) -> None:
    first, second = new_lab(shape=ONE_LINK, live=False), new_lab(shape=ONE_LINK, live=False)
    first.begin(1_000_000_000_000)
    first.run_for(5)
    first.stop()
    holder = Holder(first)
    together = open_show(holder)
    together.add(first)
    browser = shown(together)
    browser.open()
    browser.draw()
    fakes.wait_for(lambda: not threads())
    second.begin(2_000_000_000_000)
    second.run_for(7)
    holder.orchestrator = second
    for told in holder.on_start:
        told()
    fakes.wait_for(lambda: len(browser.times) == 7)


def test_the_thread_ends_when_the_last_output_is_cleared(
    fakes: ModuleType, lab: Any, open_show: Callable[[Any], Show]
) -> None:
    holder = Holder(lab)
    together = open_show(holder)
    together.add(lab)
    assert threads() == ["mqviz-show"]
    shown(together).leave()
    fakes.wait_for(lambda: not threads())


def test_the_thread_ends_with_a_lab_that_nobody_holds(
    fakes: ModuleType, lab: Any, open_show: Callable[[Any], Show]
) -> None:
    holder = Holder(lab)
    open_show(holder).add(lab)
    del holder
    gc.collect()
    fakes.wait_for(lambda: not threads())


def test_it_waits_for_a_browser_after_the_end_but_not_for_ever(
    fakes: ModuleType, lab: Any, open_show: Callable[[Any], Show], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.run_for(20)
    lab.stop()
    holder = Holder(lab)
    together = open_show(holder)
    together.add(lab)
    browser = shown(together)
    browser.open()
    browser.draw()
    fakes.wait_for(lambda: len(browser.times) >= 20)
    fakes.wait_for(lambda: not threads())
    monkeypatch.setattr(show, "GIVE_UP_S", 0.0)
    together.add(lab)
    fakes.wait_for(lambda: not threads())


def test_another_start_is_followed(
    fakes: ModuleType, new_lab: Callable[..., Any], open_show: Callable[[Any], Show]
) -> None:
    first, second = new_lab(shape=ONE_LINK, live=False), new_lab(shape=ONE_LINK, live=False)
    first.begin(1_000_000_000_000)
    second.begin(2_000_000_000_000)
    first.run_for(5)
    second.run_for(7)
    holder = Holder(first)
    together = open_show(holder)
    together.add(first)
    browser = shown(together)
    browser.open()
    browser.draw()
    fakes.wait_for(lambda: len(browser.times) == 5)
    holder.orchestrator = second
    fakes.wait_for(lambda: len(browser.times) == 7)


def test_a_view_that_fails_does_not_stop_the_others(lab: Any, told: View, caplog: Any) -> None:
    other = View(Card(lab.store.topology, show.Telling(lab).words()))
    other.bundle()
    browser = Browser(other)
    browser.open()
    browser.draw()
    lab.run_for(5)
    told.push = None  # type: ignore[assignment,method-assign]
    show.Telling(lab).push([told, other])
    assert len(browser.times) == 5
    assert told.closed
    assert "could not be brought up to date" in caplog.text

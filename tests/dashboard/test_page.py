"""The page in a browser: what it shows, what it lets one do, how it bears trouble; and that it asks nobody else."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from mqviz.dashboard.serve import Server

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(180)]

WAIT_MS = 60_000

NEWEST = """() => {
  const times = Bokeh.documents.map((d) => d.get_model_by_name("mq:throughput")?.data.t).filter(Boolean)
  return times.length ? times[times.length - 1].at(-1) ?? null : null
}"""

PAPER = "(element) => getComputedStyle(element).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)"

INSIDE = """(width) => [...document.querySelectorAll(".mq-card")].every((card) => {
  const {left, right} = card.getBoundingClientRect()
  return left >= 0 && right <= width
}) && document.documentElement.scrollWidth <= width"""


@pytest.fixture
def server(new_host: Any) -> Iterator[Server]:
    """A page over a fake lab."""
    made = Server(new_host(), port=0)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def visit(chromium: Browser, server: Server) -> Iterator[Callable[..., Page]]:
    """Opens the page; at the end it must have asked nobody else and have thrown nothing."""
    contexts = []
    seen: list[str] = []

    def open_page(width: int = 1440, height: int = 900, scheme: Any = "dark") -> Page:
        context = chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: _foreign(request.url, server) and seen.append(request.url))
        page.on("pageerror", lambda error: seen.append(str(error)))
        page.on("console", lambda said: said.type == "error" and seen.append(said.text))
        page.on("dialog", lambda dialog: seen.append(f"dialog: {dialog.message}"))
        page.goto(server.url, wait_until="commit")
        expect(page.locator(".mq-plot canvas").first).to_be_attached(timeout=WAIT_MS)
        page.wait_for_function(f"({NEWEST})() > 0", timeout=WAIT_MS)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert seen == []


def _foreign(url: str, server: Server) -> bool:
    return not url.startswith((server.url, server.url.replace("http", "ws"), "data:", "blob:"))


def figure(page: Page, name: str) -> Any:
    """A card of the figures strip."""
    return page.locator(f'.mq-figure[data-figure="{name}"]')


def node(page: Page, name: str) -> Any:
    """A row of the node list."""
    return page.locator(".mq-node").filter(has=page.get_by_text(name, exact=True))


def moves(page: Page) -> None:
    """The charts get newer data."""
    before = page.evaluate(NEWEST)
    page.wait_for_function(f"(before) => ({NEWEST})() > before", arg=before, timeout=WAIT_MS)


def test_charts_move_and_figures_tell_what_happens(visit: Any) -> None:
    page = visit()
    moves(page)
    expect(figure(page, "throughput").locator("strong")).to_have_text(
        re.compile(r"^\d\s?\d{3}$"), timeout=WAIT_MS
    )
    expect(figure(page, "alive").locator("strong")).to_have_text("9 / 9")
    expect(figure(page, "lost").locator("strong")).to_have_text(re.compile(r"^\d+$"))
    expect(page.locator(".mq-pill")).to_contain_text("measuring")
    expect(page.locator(".mq-events footer")).to_contain_text("Watching costs", timeout=WAIT_MS)
    assert page.locator(".mq-plot canvas").count() >= 4


def test_an_instance_is_killed_and_started_again(visit: Any, server: Server) -> None:
    page = visit()
    node(page, "pricing").click()
    page.get_by_role("button", name="pricing.1, alive").click()
    kill = page.get_by_role("button", name="Kill", exact=True)
    kill.click(timeout=WAIT_MS)
    expect(figure(page, "alive")).to_contain_text("pricing.1 down", timeout=WAIT_MS)
    expect(figure(page, "alive").locator("strong")).to_have_text("8 / 9")
    expect(page.locator(".mq-events li").filter(has_text="kill pricing.1")).to_be_visible()
    expect(kill).to_be_disabled()
    page.get_by_role("button", name="Start", exact=True).click()
    expect(figure(page, "alive").locator("strong")).to_have_text("9 / 9", timeout=WAIT_MS)
    assert server.host.lab.calls[:2] == [("kill", "pricing", 1), ("revive", "pricing", 1)]


def test_a_rate_is_changed_and_a_bad_one_gets_a_sentence_at_the_field(visit: Any, server: Server) -> None:
    page = visit()
    node(page, "orders").click()
    rate = page.get_by_label("Rate of the node", exact=True)
    rate.fill("fast", timeout=WAIT_MS)
    rate.press("Enter")
    expect(page.get_by_text('"fast" is not a rate, such as 2000/s')).to_be_visible(timeout=WAIT_MS)
    rate.fill("500/s")
    rate.press("Enter")
    expect(page.get_by_text('"fast" is not a rate')).to_have_count(0, timeout=WAIT_MS)
    expect(page.locator(".mq-events li").first).to_contain_text("set orders.rate = 500/s", timeout=WAIT_MS)
    assert server.host.lab.model.rates["orders"] == 500


def test_a_node_is_paused_and_goes_on(visit: Any, server: Server) -> None:
    page = visit()
    node(page, "refunds").click()
    page.get_by_role("button", name="Pause", exact=True).click(timeout=WAIT_MS)
    expect(page.locator(".mq-events li").first).to_contain_text("pause refunds", timeout=WAIT_MS)
    assert server.host.lab.model.paused == {"refunds"}


def test_a_run_is_stopped_and_run_again(visit: Any, server: Server) -> None:
    page = visit()
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.locator(".mq-pill")).to_contain_text("ended", timeout=WAIT_MS)
    expect(figure(page, "throughput")).to_contain_text("mean of the measure phase", timeout=WAIT_MS)
    page.get_by_role("button", name="Run again", exact=True).click(timeout=WAIT_MS)
    expect(page.locator(".mq-pill")).to_contain_text("measuring", timeout=WAIT_MS)
    assert server.host.number == 2
    moves(page)


def test_names_of_a_scenario_are_text_and_nothing_else(visit: Any, server: Server, fakes: Any) -> None:
    page = visit()
    page.get_by_role("combobox").first.click()
    page.get_by_role("menuitem", name="hostile").click()
    expect(node(page, fakes.HOSTILE)).to_be_visible(timeout=WAIT_MS)
    expect(page.locator(".mq-entry").filter(has_text=fakes.HOSTILE).first).to_be_visible(timeout=WAIT_MS)
    node(page, fakes.HOSTILE).click()
    expect(page.locator(".mq-detail strong")).to_have_text(fakes.HOSTILE)
    expect(page.get_by_label("Rate of the node", exact=True)).to_be_visible(timeout=WAIT_MS)
    page.get_by_role("button", name="Kill", exact=True).click(timeout=WAIT_MS)
    expect(page.locator(".mq-events li").first).to_contain_text(f"kill {fakes.HOSTILE}.0", timeout=WAIT_MS)
    expect(figure(page, "alive")).to_contain_text(f"{fakes.HOSTILE}.0 down", timeout=WAIT_MS)
    assert page.locator("img").count() == 0


def test_a_lab_that_cannot_start_says_why_on_the_page(visit: Any) -> None:
    page = visit()
    page.get_by_role("combobox").first.click()
    page.get_by_role("menuitem", name="broken").click()
    expect(page.locator(".mq-banner")).to_have_text(
        "tcp://127.0.0.1:5555 is in use by another program", timeout=WAIT_MS
    )
    expect(page.locator(".mq-pill")).to_contain_text("failed")
    expect(page.get_by_role("button", name="Run again", exact=True)).to_be_enabled()


def test_a_cut_connection_is_said_and_comes_back_without_a_gap(visit: Any, server: Server) -> None:
    page = visit()
    page.evaluate("""() => {
      const Real = WebSocket
      globalThis.refuse = true
      globalThis.WebSocket = function(...words) {
        if (globalThis.refuse && String(words[0]).endsWith("/feed")) words[0] = words[0] + "/nowhere"
        return new Real(...words)
      }
      Object.assign(globalThis.WebSocket, {OPEN: 1})
    }""")
    assert server._loop is not None
    server._loop.call_soon_threadsafe(
        lambda: [viewer.close() for viewer in list(server.page.broadcast.viewers)]
    )
    expect(page.locator(".mq-banner")).to_contain_text("connection to mqviz is lost", timeout=WAIT_MS)
    page.evaluate("() => { globalThis.refuse = false }")
    expect(page.locator(".mq-banner")).to_have_text("", timeout=WAIT_MS)
    moves(page)
    steps = page.evaluate("""() => {
      const times = Bokeh.documents.map((d) => d.get_model_by_name("mq:throughput")?.data.t).filter(Boolean).at(-1)
      return Array.from(times).slice(1).map((t, i) => t - times[i])
    }""")
    assert max(steps) < 0.35  # the fake lab's own thread may be late, no row may be missing


def test_controls_that_lost_their_session_come_back_with_a_new_page(visit: Any, server: Server) -> None:
    page = visit()
    page.evaluate("() => { globalThis.before = true }")
    assert server._loop is not None
    clients = server.page.application._clients
    server._loop.call_soon_threadsafe(lambda: [client._socket.close() for client in list(clients)])
    page.wait_for_function("() => !globalThis.before && globalThis.mqviz", timeout=WAIT_MS)
    node(page, "pricing").click(timeout=WAIT_MS)
    page.get_by_role("button", name="Kill", exact=True).click(timeout=WAIT_MS)
    expect(figure(page, "alive")).to_contain_text("pricing.0 down", timeout=WAIT_MS)


def test_windows_pause_and_theme_are_the_viewers_own(visit: Any) -> None:
    page, other = visit(), visit()
    page.get_by_role("button", name="5 min", exact=True).click()
    expect(page.get_by_role("button", name="5 min", exact=True)).to_have_attribute("aria-pressed", "true")
    expect(other.get_by_role("button", name="1 min", exact=True)).to_have_attribute("aria-pressed", "true")
    page.wait_for_function(
        """() => Bokeh.documents.some((d) => {
          const time = d.get_model_by_name("mq:time")
          return time && time.end - time.start === 300
        })""",
        timeout=WAIT_MS,
    )
    page.get_by_label("Hold the charts still").click()
    held = page.evaluate(NEWEST)
    moves(other)
    moves(other)
    assert page.evaluate(NEWEST) == held
    page.get_by_label("Let the charts go on").click()
    page.get_by_role("button", name="1 min", exact=True).click()
    moves(page)
    page.get_by_label("Toggle theme").click()
    page.wait_for_function("() => document.documentElement.dataset.mq === 'light'", timeout=WAIT_MS)
    assert other.evaluate("document.documentElement.dataset.mq") == "dark"
    moves(page)
    page.reload()
    expect(page.locator(".mq-plot canvas").first).to_be_attached(timeout=WAIT_MS)
    assert page.evaluate("document.documentElement.dataset.mq") == "light"


def test_a_page_begins_in_the_theme_of_the_system(visit: Any) -> None:
    for scheme, shades in (("light", range(200, 256)), ("dark", range(60))):
        page = visit(scheme=scheme)
        assert page.evaluate("document.documentElement.dataset.mq") == scheme
        for part in (".mq-card", ".MuiAppBar-root"):  # ours, and Material UI's
            assert {*page.locator(part).first.evaluate(PAPER)} <= {*shades}, (scheme, part)


def test_nothing_overlaps_and_nothing_leaves_the_page(visit: Any) -> None:
    page = visit()
    for width, height in ((1440, 900), (1000, 800), (420, 900)):
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_function(INSIDE, arg=width, timeout=WAIT_MS)
        boxes = page.locator(".mq-card").evaluate_all(
            """(cards) => cards.map((card) => {
              const {left, top, right, bottom} = card.getBoundingClientRect()
              return [left, top, right, bottom]
            })"""
        )
        assert len(boxes) == 11
        for place, (left, top, right, bottom) in enumerate(boxes):
            assert right - left > 100
            assert bottom - top > 30
            for other in boxes[place + 1 :]:
                apart = right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top
                assert apart, (width, boxes[place], other)
        if width == 1440:
            assert max(box[3] for box in boxes) <= height


def test_on_a_small_screen_the_controls_are_a_sheet_at_the_bottom(visit: Any) -> None:
    page = visit(420, 900)
    detail = page.locator(".mq-detail")
    expect(detail).not_to_be_visible()
    node(page, "pricing").click()
    expect(page.get_by_label("Service time", exact=True)).to_be_visible(timeout=WAIT_MS)
    expect(detail).to_be_in_viewport()
    box = detail.bounding_box()
    assert box is not None
    assert box["width"] == 420
    page.get_by_role("button", name="Close").click()
    expect(detail).not_to_be_visible()

"""The application behind the address, without a browser."""

from __future__ import annotations

import asyncio
import gc
import weakref
from types import SimpleNamespace
from typing import Any

import pytest

pytestmark = pytest.mark.slow  # Panel takes seconds to import


@pytest.fixture
def page(new_host: Any) -> Any:
    """A page over a lab that has not started."""
    from mqviz.dashboard.app import Page

    return Page(new_host(live=False), [])


def document(page: Any) -> Any:
    """A session's document, made as for a socket whose session is gone: without the HTML around it."""
    return page.application._applications["/"].application.create_document()


def test_a_session_that_is_made_without_its_html_has_its_styles_from_here(page: Any) -> None:
    from bokeh.models import ImportedStyleSheet

    found = {
        sheet.url for root in document(page).roots for sheet in root.select({"type": ImportedStyleSheet})
    }
    assert found
    assert [url for url in found if not url.startswith("static/")] == []


def test_charts_are_built_once_for_each_theme_and_run(page: Any) -> None:
    dark, light = page.boards.read("dark"), page.boards.read("light")
    assert dark != light
    assert page.boards.read("dark") is page.boards.read("no such theme") is dark
    page.boards.host.pick("slow-subscriber")
    assert page.boards.read("dark") is not dark
    assert len(page.boards._built) == 1


def test_a_closed_page_is_freed(page: Any) -> None:
    from bokeh.server.session import ServerSession
    from tornado.ioloop import IOLoop

    async def come_and_go() -> weakref.ref[Any]:
        made = document(page)
        session = ServerSession("one", made, io_loop=IOLoop.current())
        assert len(page.broadcast.on_change) == 1
        # as Bokeh does when a session has had no connection for a while
        for callback in made.session_destroyed_callbacks:
            callback(SimpleNamespace(id=session.id, _document=made))
        session.destroy()
        return weakref.ref(made)

    gone = asyncio.run(come_and_go())
    gc.collect()
    assert gone() is None
    assert page.broadcast.on_change == []

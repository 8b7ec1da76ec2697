"""A lab as the last line of a notebook's cell: the same charts as on the page, live, without a word before it."""

from __future__ import annotations

import threading
from typing import Any
from weakref import WeakKeyDictionary

import panel as pn

from mqviz.dashboard.show import Lab, Show

LOADED_S = 6.0
"""After so long the browser has taken Panel's scripts; 6 MB of them need not be saved with the notebook."""

_shows: WeakKeyDictionary[Lab, Show] = WeakKeyDictionary()
_making = threading.Lock()


def mimebundle(lab: Lab) -> tuple[dict[str, Any], dict[str, Any]]:
    """What IPython asks for; only text where there is no notebook."""
    text = {"text/plain": repr(lab)}
    if not _in_a_kernel():
        return text, {}
    load_panel()
    with _making:
        show = _shows.get(lab)
        if show is None:
            show = _shows[lab] = Show(lab)
    data, metadata = show.add(lab.orchestrator)
    return {**text, **data}, metadata


def _in_a_kernel() -> bool:
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return getattr(get_ipython(), "kernel", None) is not None


def load_panel() -> None:
    """Put Panel's scripts into the page.

    At each display: a kernel outlives the page, so nothing that it remembers can tell what the page has.
    """
    from IPython.display import display
    from IPython.utils.capture import capture_output

    # no model that asks for the browser's language and zone: it would be one more output each time
    with capture_output() as captured, pn.config.set(browser_info=False):
        pn.extension(inline=True)
    handles = [
        display(output.data, metadata=output.metadata, raw=True, display_id=True)
        for output in captured.outputs
    ]

    def clear() -> None:
        for handle in handles:
            handle.update({"text/plain": ""}, raw=True)

    timer = threading.Timer(LOADED_S, clear)
    timer.name, timer.daemon = "mqviz-loaded", True
    timer.start()

"""A card in a notebook's page: whether a browser is there, and what it has not been told yet."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Any

import panel as pn

from mqviz.dashboard.card import Card, Words
from mqviz.dashboard.window import Piece

BLIND_S = 1.0
"""A kernel that computes does not hear that a card is drawn; after so long it is taken to be."""

KNOCKS_S = (2.0, 5.0, 10.0, 20.0, 40.0)
"""Nor does it hear that a browser is there. Then the view opens a channel itself, until it does hear: the
card moves also where all cells were run at once. A channel that nobody takes does no harm."""

Bundle = tuple[dict[str, Any], dict[str, Any]]


class View(pn.pane.Bokeh):
    """One output of a cell; `bundle` makes it, `push` keeps it up to date."""

    def __init__(self, card: Card) -> None:
        # a design of its own: the import of panel_material_ui makes Material that of all, 1.5 MB an output
        super().__init__(card.layout, sizing_mode="stretch_width", design=pn.theme.Native)
        self.card = card
        # what a browser says comes in on another thread, and takes hold of the same document
        self._turn = threading.RLock()
        self._ref = ""
        self._made_s = 0.0
        self._knocks = list(KNOCKS_S)
        self._channel: Any = None
        self._opened_s = 0.0
        self._heard: Any = None  # the channel on which a browser has said that it has drawn
        self._filled: Hashable = None

    def bundle(self) -> Bundle:
        """What the cell shows."""
        # nothing from a CDN, and no other output beside this one for what callbacks print
        with pn.config.set(inline=True, console_output="disable"):
            data, metadata = self._repr_mimebundle_()
        (self._ref,) = self._models
        self._made_s = time.monotonic()
        return data, metadata

    @property
    def closed(self) -> bool:
        """Its output is gone."""
        return self._ref not in pn.state._views

    def close(self) -> None:
        """Push no more, and let its models go."""
        known = pn.state._views.pop(self._ref, None)
        if known is not None:
            known[0]._cleanup(known[1])

    def push(self, edition: Hashable, words: Words, piece: Piece, whole: Callable[[], Piece]) -> None:
        """Tell the browser what is new, or all of it where it has something else or nothing."""
        channel = self._open()
        drawn = channel is self._heard
        if channel is None or not (drawn or time.monotonic() - self._opened_s > BLIND_S):
            return  # it would be lost
        with self._turn:
            if self._filled == (channel, edition, drawn):
                self.card.add(piece, words)
            else:
                self.card.fill(whole(), words)
                self._filled = (channel, edition, drawn)
            pn.io.push_notebook(self)

    def shows(self, edition: Hashable) -> bool:
        """For sure."""
        return self._filled == (self._heard, edition, True)

    def _open(self) -> Any:
        """The channel to the browser: the first one, or that of a page that was loaded anew."""
        comm = pn.state._views.get(self._ref, (None,))[-1]
        if comm is None:
            return None
        now = time.monotonic()
        if self._heard is None and self._knocks and now - self._made_s > self._knocks[0]:
            del self._knocks[0]
            comm.init()
        if comm._comm is not self._channel:
            self._channel, self._opened_s = comm._comm, now
        return self._channel

    def _on_msg(self, ref: str, manager: Any, msg: Any) -> None:
        """Panel's way in for what a browser says."""
        with self._turn:
            if "closed" in msg:
                self.close()
            elif not self.closed:
                super()._on_msg(ref, manager, msg)
                if self.card.drawn:
                    self._heard = pn.state._views[ref][-1]._comm

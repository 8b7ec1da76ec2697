"""A card in a notebook's page: whether a browser is there, and what it has not been told yet."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Any

import panel as pn

from mqviz.dashboard.card import Card
from mqviz.dashboard.window import Piece

BLIND_S = 2.0
"""A kernel that computes may not hear that a card is drawn; after so long it is taken to be."""

Texts = tuple[str, str, dict[str, int]]
"""Header, figures strip, losses by cause."""

Bundle = tuple[dict[str, Any], dict[str, Any]]


class View(pn.pane.Bokeh):  # type: ignore[misc]
    """One output of a cell; `bundle` makes it, `push` keeps it up to date."""

    def __init__(self, card: Card) -> None:
        super().__init__(card.layout, sizing_mode="stretch_width")
        self.card = card
        # what a browser says comes in on another thread, and takes hold of the same document
        self._turn = threading.RLock()
        self._ref = ""
        self._channel: Any = None
        self._opened_s = 0.0
        self._heard: Any = None  # the channel on which a browser has said that it has drawn
        self._filled: Hashable = None

    def bundle(self) -> Bundle:
        """What the cell shows."""
        # without it Panel would show an output of its own beside this one, for what callbacks print
        with pn.config.set(console_output="disable"):
            data, metadata = self._repr_mimebundle_()
        (self._ref,) = self._models
        return data, metadata

    @property
    def closed(self) -> bool:
        """Its output is gone."""
        return self._ref not in pn.state._views

    def push(
        self, edition: Hashable, texts: Texts, piece: Piece, all_of_it: Callable[[], Piece]
    ) -> None:
        """Tell the browser what is new, or all of it where it has something else or nothing."""
        known = pn.state._views.get(self._ref)
        channel = known and known[-1]._comm
        if channel is None:
            return
        if channel is not self._channel:
            # the first one, or that of a page that was loaded anew
            self._channel, self._opened_s = channel, time.monotonic()
        with self._turn:
            drawn = self._heard is channel
            if not drawn and time.monotonic() - self._opened_s < BLIND_S:
                return  # it would be lost
            if self._filled == (channel, edition, drawn):
                self.card.add(piece)
            else:
                self.card.fill(all_of_it())
                self._filled = (channel, edition, drawn)
            self.card.tell(*texts)
            pn.io.push_notebook(self)

    def shows(self, edition: Hashable) -> bool:
        """For sure."""
        return self._filled == (self._channel, edition, True)

    def _on_msg(self, ref: str, manager: Any, msg: Any) -> None:
        """Panel's way in for what a browser says."""
        with self._turn:
            super()._on_msg(ref, manager, msg)
            if self.card.drawn:
                self._heard = pn.state._views[ref][-1]._comm

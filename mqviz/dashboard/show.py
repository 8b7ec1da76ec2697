"""The show of a lab: one thread that reads its store and keeps every view of it up to date."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from mqviz.dashboard import figures, strip
from mqviz.dashboard.card import Card, Words
from mqviz.dashboard.host import OVER
from mqviz.dashboard.view import Bundle, View
from mqviz.dashboard.window import Window
from mqviz.telemetry.store import Store

EVERY_S = 0.25
WORDS_EVERY = 2  # turns
GIVE_UP_S = 60.0
"""How long after the run a view may still appear; its cell may have been followed by others at once."""

log = logging.getLogger(__name__)


class Running(Protocol):
    """What is told of a run."""

    @property
    def store(self) -> Store: ...
    @property
    def state(self) -> str: ...
    @property
    def error(self) -> str | None: ...
    @property
    def engine(self) -> str: ...
    @property
    def elapsed_s(self) -> float: ...
    def instances(self) -> Iterable[Any]: ...


class Lab(Protocol):
    """What is shown: the run that goes on now, another one after each start."""

    on_start: list[Callable[[], object]]

    @property
    def orchestrator(self) -> Running: ...


class Show:
    """All views of one lab. The thread ends with the run, with the last view, or with the lab itself.

    When the lab is started again later, it begins anew: what is still shown then moves on.
    """

    def __init__(self, lab: Lab) -> None:
        self._lab = weakref.ref(lab)
        lab.on_start.append(self.wake)
        self._lock = threading.Lock()
        self._views: list[View] = []
        self._thread: threading.Thread | None = None
        self._telling: Telling | None = None

    def add(self, running: Running) -> Bundle:
        """One more view. Its charts start empty, so that a saved notebook stays small."""
        with self._lock:
            # told from the beginning, also to the others: the last telling may have come to its end
            self._telling = Telling(running)
            view = View(Card(running.store.topology, self._telling.words()))
            bundle = view.bundle()
            self._views.append(view)
        self.wake()
        return bundle

    def wake(self) -> None:
        """Tell the views again, if there are any."""
        with self._lock:
            if self._views and self._thread is None:
                self._thread = threading.Thread(target=self._run, name="mqviz-show", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """End the thread; what is shown stays as it is."""
        with self._lock:
            self._views.clear()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while self._turn():
            time.sleep(EVERY_S)

    def _turn(self) -> bool:
        """One pass; False when there is nothing left to do."""
        lab = self._lab()
        with self._lock:
            self._views = [view for view in self._views if not view.closed]
            telling = self._telling
            if lab is not None and telling is not None and lab.orchestrator is not telling.running:
                telling = self._telling = Telling(lab.orchestrator)
            if lab is None or telling is None or not self._views or telling.done(self._views):
                self._thread = None
                return False
            views = list(self._views)
        telling.push(views)
        return True


class Telling:
    """One run as it is told to every view: what is new is read once for all of them."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self._window = Window(running.store)
        self._turns = 0
        self._words = self.words()
        self._over_s: float | None = None

    def push(self, views: list[View]) -> None:
        """Bring the views up to date; one that cannot be is left as it is."""
        over = self.running.state in OVER
        piece = self._window.read()
        if over and self._over_s is None:
            self._over_s = time.monotonic()
            self._turns = 0
        if self._turns % WORDS_EVERY == 0 and not (over and self._turns):
            self._words = self.words()
        self._turns += 1
        everything = self._window.whole if over else self._window.last
        for view in views:
            try:
                view.push((self, over), self._words, piece, everything)
            except Exception:
                # the others go on; what a browser sends is not ours to trust
                log.exception("a view of the lab could not be brought up to date")
                view.close()

    def done(self, views: list[View]) -> bool:
        """The run is over, and every view that will ever be there shows its end."""
        if self._over_s is None:
            return False
        if time.monotonic() - self._over_s > GIVE_UP_S:
            return True
        return all(view.shows((self, True)) for view in views)

    def words(self) -> Words:
        """Header and figures, as they are now."""
        running, window = self.running, self._window
        state = running.state
        found = None
        if window.origin_ns is not None:
            over = state in OVER
            found = figures.final(running.store, window.phases) if over else figures.live(running.store)
        name = running.store.topology.name
        head = strip.header(name, state, running.elapsed_s, running.engine, running.error)
        return Words(head, strip.strip(state, found, running.instances()), found["causes"] if found else {})

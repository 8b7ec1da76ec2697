"""A runner or agent as its lab sees it: a child process in a session of its own, spoken to over its pipes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from mqviz.errors import CannotRun
from mqviz.simulation.plan import Reply


def environment() -> dict[str, str]:
    """Of a child: numpy's linear algebra is not used there, and its threads would double the time of a start."""
    return {**os.environ, "OPENBLAS_NUM_THREADS": "1"}


class Child:
    """One child process. Callbacks come from its reader thread: each reply, then once the exit code."""

    def __init__(
        self,
        module: str,
        first_line: bytes,
        log: Path,
        on_reply: Callable[[Child, Reply], None],
        on_exit: Callable[[Child, int], None],
    ) -> None:
        self.log = log
        self.expected = False
        """Its end is wanted."""
        self._lock = threading.Lock()
        try:
            with log.open("wb") as stderr:
                self.process = subprocess.Popen(
                    [sys.executable, "-m", module],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    start_new_session=True,
                    bufsize=0,
                    env=environment(),
                )
        except OSError as error:
            raise CannotRun(f"cannot start a process: {error}") from error
        self._on_reply = on_reply
        self._on_exit = on_exit
        self.say_line(first_line)
        self._reader = threading.Thread(
            target=self._read, name=f"mqviz-replies-{self.process.pid}", daemon=True
        )
        self._reader.start()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self.process.pid

    @property
    def alive(self) -> bool:
        """It has not ended, as far as is known."""
        return self.process.poll() is None

    def say(self, message: Any) -> None:
        """A JSON line; to one that has ended, nothing."""
        self.say_line(msgspec.json.encode(message))

    def say_line(self, line: bytes) -> None:
        """A raw line."""
        assert self.process.stdin is not None
        with self._lock:
            try:
                self.process.stdin.write(line + b"\n")
            except (BrokenPipeError, ValueError):
                pass

    def last_words(self) -> str:
        """The end of what it wrote to stderr, on one line."""
        try:
            text = self.log.read_bytes()[-2000:].decode(errors="replace").strip()
        except OSError:
            return ""
        return text.splitlines()[-1][-400:] if text else ""

    def join(self, timeout_s: float) -> bool:
        """Wait for its end and for the exit callback."""
        self._reader.join(timeout_s)
        return not self._reader.is_alive()

    def _read(self) -> None:
        assert self.process.stdout is not None and self.process.stdin is not None
        decoder = msgspec.json.Decoder(Reply)
        for line in self.process.stdout:
            self._on_reply(self, decoder.decode(line))
        code = self.process.wait()
        self.process.stdout.close()
        with self._lock:
            self.process.stdin.close()
        self._on_exit(self, code)

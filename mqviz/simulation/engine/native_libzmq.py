"""What compiled code calls: libzmq as pyzmq has it loaded, the clock and the waits of libc."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numba
import numpy as np
import numpy.typing as npt
import zmq
import zmq.backend.cython._zmq
from llvmlite import binding
from numba import types

from mqviz.errors import CannotRun
from mqviz.telemetry.histogram import I64

F = TypeVar("F", bound=Callable[..., Any])
Table = npt.NDArray[np.int64]
"""Two dimensions, one row a thing."""
I32 = npt.NDArray[np.int32]

DONTWAIT = int(zmq.DONTWAIT)
POLLOUT = int(zmq.POLLOUT)
EVENTS = int(zmq.EVENTS)
AGAIN = int(zmq.EAGAIN)
INTERRUPTED = 4
MONOTONIC = 1
TIMER_ABSTIME = 1
POLLIN_OF_POLL = 1

SCRATCH_WORDS = 16
"""Room for C structs: a timespec, a pollfd, a zmq_pollitem, an int and its size."""
_TIMESPEC, _POLLFD, _POLLITEM, _OPTION, _OPTION_SIZE = 0, 2, 3, 5, 6

MAX_EVENTS = 64
EVENT_STRIDE = 3 if platform.machine() == "x86_64" else 4
"""int32 words of a struct epoll_event, which only x86-64 packs; its data is the descriptor."""
EVENT_FD = EVENT_STRIDE - 2


def _symbol(library: ctypes.CDLL, name: str, *arguments: Any) -> Any:
    try:
        address = ctypes.cast(getattr(library, name), ctypes.c_void_p).value
    except AttributeError as error:
        raise CannotRun(f"the native engine does not find {name}; use engine = python") from error
    # a name of our own: another libzmq may be loaded in this process
    binding.add_symbol(f"mqviz_{name}", address)
    return types.ExternalFunction(f"mqviz_{name}", types.int32(*arguments))


_zmq = ctypes.CDLL(zmq.backend.cython._zmq.__file__)
_libc = ctypes.CDLL(None)
_int, _word = types.int32, types.int64
zmq_send = _symbol(_zmq, "zmq_send", _word, _word, _word, _int)
zmq_recv = _symbol(_zmq, "zmq_recv", _word, _word, _word, _int)
zmq_errno = _symbol(_zmq, "zmq_errno")
_zmq_poll = _symbol(_zmq, "zmq_poll", _word, _int, _word)
_zmq_getsockopt = _symbol(_zmq, "zmq_getsockopt", _word, _int, _word, _word)
_clock_gettime = _symbol(_libc, "clock_gettime", _int, _word)
_clock_nanosleep = _symbol(_libc, "clock_nanosleep", _int, _int, _word, _word)
_ppoll = _symbol(_libc, "ppoll", _word, _word, _word, _word)
_epoll_wait = _symbol(_libc, "epoll_wait", _int, _word, _int, _int)

WORD = types.int64
_TYPES: dict[str, Any] = {
    "int": types.int64,
    "I64": types.int64[::1],
    "Table": types.int64[:, ::1],
    "I32": types.int32[::1],
}


def compiled_type(kind: type[NamedTuple]) -> Any:
    """What numba calls a named tuple of ours; usable as a field of another afterwards."""
    names = [annotation.__forward_arg__ for annotation in kind.__annotations__.values()]
    found = types.NamedTuple([_TYPES[name] for name in names], kind)
    _TYPES[kind.__name__] = found
    return found


def helper(function: F) -> F:
    """A function that only compiled code calls: it is compiled into its callers, and not kept by itself."""
    made: F = numba.njit(nogil=True, error_model="numpy")(function)
    return made


def loop(*arguments: Any) -> Callable[[F], F]:
    """A function that Python calls: compiled at once or taken from the cache, runs without the GIL."""
    signature = types.int64(*arguments)

    def compile_it(function: F) -> F:
        made: F = numba.njit(signature, nogil=True, cache=True, error_model="numpy")(function)
        return made

    return compile_it


class Scratch(NamedTuple):
    """Memory of one loop for the structs that C functions want, and its address."""

    room: I64
    at: int


def new_scratch() -> Scratch:
    """One for each loop."""
    room = np.zeros(SCRATCH_WORDS, np.int64)
    return Scratch(room, room.ctypes.data)


SCRATCH = compiled_type(Scratch)


@helper
def now_ns(scratch: Scratch) -> int:
    """The same clock as telemetry.clock."""
    _clock_gettime(MONOTONIC, scratch.at)
    return scratch.room[_TIMESPEC] * 1_000_000_000 + scratch.room[_TIMESPEC + 1]


@helper
def set_timespec(scratch: Scratch, duration_ns: int) -> int:
    """Returns the struct's address."""
    scratch.room[_TIMESPEC] = duration_ns // 1_000_000_000
    scratch.room[_TIMESPEC + 1] = duration_ns % 1_000_000_000
    return scratch.at + _TIMESPEC * 8


@helper
def sleep_until(scratch: Scratch, at_ns: int) -> int:
    """Sleep to an absolute time, or until a signal. Returns the clock."""
    _clock_nanosleep(MONOTONIC, TIMER_ABSTIME, set_timespec(scratch, at_ns), 0)
    return now_ns(scratch)


@helper
def wait_readable(scratch: Scratch, descriptor: int, timeout_ns: int) -> bool:
    """Whether a descriptor has become readable within the time."""
    timespec = set_timespec(scratch, max(timeout_ns, 0))
    scratch.room[_POLLFD] = descriptor | POLLIN_OF_POLL << 32
    return _ppoll(scratch.at + _POLLFD * 8, 1, timespec, 0) > 0


@helper
def wait_room(scratch: Scratch, socket: int, timeout_ns: int) -> None:
    """Until a socket takes messages again; libzmq waits in whole milliseconds."""
    scratch.room[_POLLITEM] = socket
    scratch.room[_POLLITEM + 1] = POLLOUT << 32
    _zmq_poll(scratch.at + _POLLITEM * 8, 1, max(timeout_ns // 1_000_000, 1))


@helper
def has_room(scratch: Scratch, socket: int) -> bool:
    """Whether a send would be accepted now.

    A send that does not wait looks for the peer's "I have read" only about once a millisecond; this asks.
    """
    scratch.room[_OPTION] = 0
    scratch.room[_OPTION_SIZE] = 4
    _zmq_getsockopt(socket, EVENTS, scratch.at + _OPTION * 8, scratch.at + _OPTION_SIZE * 8)
    return scratch.room[_OPTION] & POLLOUT != 0


@helper
def epoll_now(epoll: int, events_at: int) -> int:
    """How many descriptors have had an event since the last call."""
    return _epoll_wait(epoll, events_at, MAX_EVENTS, 0)

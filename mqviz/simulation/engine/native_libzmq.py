"""What compiled code calls: libzmq as pyzmq has it loaded, the clock and the waits of libc."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable
from typing import Any, TypeVar

import numba
import zmq
import zmq.backend.cython._zmq
from llvmlite import binding
from numba import types

from mqviz.errors import CannotRun
from mqviz.simulation.engine.native_state import AT, OPTION, OPTION_SIZE, POLLFD, POLLITEM, TIMESPEC
from mqviz.telemetry.histogram import I64

F = TypeVar("F", bound=Callable[..., Any])

DONTWAIT = int(zmq.DONTWAIT)
POLLOUT = int(zmq.POLLOUT)
EVENTS = int(zmq.EVENTS)
AGAIN = int(zmq.EAGAIN)
INTERRUPTED = 4
MONOTONIC = 1
TIMER_ABSTIME = 1
POLLIN_OF_POLL = 1

MAX_EVENTS = 64
EVENT_STRIDE = 3 if platform.machine() == "x86_64" else 4
"""int32 words of a struct epoll_event, which only x86-64 packs; its data is the descriptor."""
EVENT_FD = EVENT_STRIDE - 2
EVENT_WORDS = MAX_EVENTS * EVENT_STRIDE // 2


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


def helper(function: F) -> F:
    """A function that only compiled code calls: it is compiled into its callers, and not kept by itself."""
    made: F = numba.njit(nogil=True, error_model="numpy")(function)
    return made


def loop(arrays: int) -> Callable[[F], F]:
    """A function that Python calls with so many arrays and the slice's end.

    It is compiled at once or taken from the cache, and runs without the GIL. Few plain arrays: tuples of them
    take LLVM ten times as long.
    """
    signature = types.int64(*[types.int64[::1]] * arrays, types.int64)

    def compile_it(function: F) -> F:
        made: F = numba.njit(signature, nogil=True, cache=True, error_model="numpy")(function)
        return made

    return compile_it


@helper
def now_ns(state: I64) -> int:
    """The same clock as telemetry.clock."""
    _clock_gettime(MONOTONIC, state[AT] + TIMESPEC * 8)
    return state[TIMESPEC] * 1_000_000_000 + state[TIMESPEC + 1]


@helper
def set_timespec(state: I64, duration_ns: int) -> int:
    """Returns the struct's address."""
    state[TIMESPEC] = duration_ns // 1_000_000_000
    state[TIMESPEC + 1] = duration_ns % 1_000_000_000
    return state[AT] + TIMESPEC * 8


@helper
def sleep_until(state: I64, at_ns: int) -> int:
    """Sleep to an absolute time, or until a signal. Returns the clock."""
    _clock_nanosleep(MONOTONIC, TIMER_ABSTIME, set_timespec(state, at_ns), 0)
    return now_ns(state)


@helper
def wait_readable(state: I64, descriptor: int, timeout_ns: int) -> bool:
    """Whether a descriptor has become readable within the time."""
    timespec = set_timespec(state, max(timeout_ns, 0))
    state[POLLFD] = descriptor | POLLIN_OF_POLL << 32
    return _ppoll(state[AT] + POLLFD * 8, 1, timespec, 0) > 0


@helper
def wait_room(state: I64, socket: int, timeout_ns: int) -> None:
    """Until a socket takes messages again; libzmq waits in whole milliseconds."""
    state[POLLITEM] = socket
    state[POLLITEM + 1] = POLLOUT << 32
    _zmq_poll(state[AT] + POLLITEM * 8, 1, max(timeout_ns // 1_000_000, 1))


@helper
def has_room(state: I64, socket: int) -> bool:
    """Whether a send would be accepted now.

    A send that does not wait looks for the peer's "I have read" only about once a millisecond; this asks.
    """
    state[OPTION] = 0
    state[OPTION_SIZE] = 4
    _zmq_getsockopt(socket, EVENTS, state[AT] + OPTION * 8, state[AT] + OPTION_SIZE * 8)
    return state[OPTION] & POLLOUT != 0


@helper
def epoll_now(state: I64, epoll: int, events: int) -> int:
    """How many descriptors have had an event since the last call; the structs lie at word `events`."""
    return _epoll_wait(epoll, state[AT] + events * 8, MAX_EVENTS, 0)


@helper
def event_descriptor(state: I64, events: int, n: int) -> int:
    """The descriptor of the nth event."""
    half = n * EVENT_STRIDE + EVENT_FD
    return state[events + (half >> 1)] >> 32 * (half & 1) & 0x7FFFFFFF

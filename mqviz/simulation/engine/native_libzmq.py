"""What compiled code calls: libzmq, the clock and the waits of libc."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import zmq
from numba import types

from mqviz.simulation.engine import native_symbols
from mqviz.simulation.engine.native_state import (
    AT,
    EVENT_FD,
    EVENT_STRIDE,
    MAX_EVENTS,
    OPTION,
    OPTION_SIZE,
    POLLFD,
    POLLITEM,
    TIMESPEC,
)
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


def _function(name: str, *arguments: Any) -> Any:
    return types.ExternalFunction(native_symbols.symbol(name), types.int32(*arguments))


native_symbols.define()
_int, _word = types.int32, types.int64
zmq_send = _function("zmq_send", _word, _word, _word, _int)
zmq_recv = _function("zmq_recv", _word, _word, _word, _int)
zmq_errno = _function("zmq_errno")
_zmq_poll = _function("zmq_poll", _word, _int, _word)
_zmq_getsockopt = _function("zmq_getsockopt", _word, _int, _word, _word)
_clock_gettime = _function("clock_gettime", _int, _word)
_clock_nanosleep = _function("clock_nanosleep", _int, _int, _word, _word)
_ppoll = _function("ppoll", _word, _word, _word, _word)
_epoll_wait = _function("epoll_wait", _int, _word, _int, _int)


def helper(function: F) -> F:
    """A function that only compiled code calls."""
    made: F = numba.njit(
        nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True, forceinline=True
    )(function)
    return made


def loop(arrays: int) -> Callable[[F], F]:
    """A function that Python calls with so many arrays and the slice's end, compiled at once, without the GIL.

    Few plain arrays: tuples of them take LLVM ten times as long.
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

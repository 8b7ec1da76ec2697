"""The C functions of the native engine: libzmq as pyzmq has it loaded, the clock and the waits of libc."""

from __future__ import annotations

import ctypes

import zmq.backend.cython._zmq
from llvmlite import binding

from mqviz.errors import CannotRun

OF_LIBZMQ = ("zmq_send", "zmq_recv", "zmq_errno", "zmq_poll", "zmq_getsockopt")
OF_LIBC = ("clock_gettime", "clock_nanosleep", "ppoll", "epoll_wait")


def symbol(name: str) -> str:
    """A name of our own: another libzmq may be loaded in this process."""
    return f"mqviz_{name}"


def define() -> None:
    """Tell LLVM where the functions are. Raises CannotRun when one is missing."""
    libzmq, libc = ctypes.CDLL(zmq.backend.cython._zmq.__file__), ctypes.CDLL(None)
    for library, names in ((libzmq, OF_LIBZMQ), (libc, OF_LIBC)):
        for name in names:
            binding.add_symbol(symbol(name), _address(library, name))


def define_as_absent(names: list[str]) -> None:
    """Functions of numba's runtime that the loops mention and never reach: they would end the process."""
    address = _address(ctypes.CDLL(None), "abort")
    for name in names:
        binding.add_symbol(name, address)


def _address(library: ctypes.CDLL, name: str) -> int:
    try:
        address = ctypes.cast(getattr(library, name), ctypes.c_void_p).value
    except AttributeError as error:
        raise CannotRun(f"the native engine does not find {name}; use engine = python") from error
    assert address is not None
    return address

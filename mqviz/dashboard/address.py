"""Where the page listens: a port of this machine, chosen kindly or taken as asked."""

from __future__ import annotations

import errno
import socket

from mqviz.errors import BadInput, CannotRun, EndpointInUse

DEFAULT_PORT = 5006
TRIES = 100
LOCAL = ("127.0.0.1", "localhost", "::1")


def listen(address: str, port: int | None) -> tuple[socket.socket, int]:
    """A listening socket and its port. None: the default port or the next free one; 0: any."""
    if address not in LOCAL:
        # everybody who can reach it could start load on this machine
        raise BadInput(f"address {address!r}: the page has no login, so it is served on 127.0.0.1 only")
    if port is not None:
        return _bound(address, port)
    for candidate in range(DEFAULT_PORT, DEFAULT_PORT + TRIES):
        try:
            return _bound(address, candidate)
        except EndpointInUse:
            continue
    raise CannotRun(f"ports {DEFAULT_PORT} to {DEFAULT_PORT + TRIES - 1} of {address} are all in use")


def _bound(address: str, port: int) -> tuple[socket.socket, int]:
    if not 0 <= port <= 65535:
        raise BadInput(f"port {port}: a port is a number from 0 to 65535")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        # one socket: port 0 on two would give two different ports
        bound = socket.create_server(
            ("127.0.0.1" if address == "localhost" else address, port), family=family, backlog=128
        )
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise EndpointInUse(f"{address}:{port}", "another page may be open there; try --port") from error
        raise CannotRun(f"{address}:{port} cannot be listened on: {error.strerror}") from error
    bound.setblocking(False)
    return bound, bound.getsockname()[1]


def origins(address: str, port: int) -> frozenset[str]:
    """The host:port pairs under which pages of this server are seen by a browser."""
    names = {address, *LOCAL}
    return frozenset(f"[{name}]:{port}" if ":" in name else f"{name}:{port}" for name in names)

"""ZeroMQ sockets as mqviz uses them: the sending side binds, receivers connect, every socket is bounded."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

import zmq

from mqviz.channels import message
from mqviz.errors import CannotRun, EndpointInUse

MAX_MESSAGE_BYTES = 32 << 20
"""Above what any scenario sends; a larger one closes the connection it came from."""

Socket = zmq.Socket[bytes]
Context = zmq.Context[Socket]

SEND_TYPES = {"push-pull": zmq.PUSH, "pub-sub": zmq.PUB}
RECEIVE_TYPES = {"push-pull": zmq.PULL, "pub-sub": zmq.SUB}


def open_sender(
    context: Context,
    pattern: str,
    bind: str,
    *,
    hwm: int = 1000,
    buffer_bytes: int = -1,
    linger_ms: int = 0,
    conflate: bool = False,
) -> tuple[Socket, str]:
    """A bound PUSH or PUB socket, and the endpoint that it really has (tcp with port *).

    Raises EndpointInUse when another socket holds the address, CannotRun when it cannot be bound.
    """
    socket = context.socket(SEND_TYPES[pattern])
    try:
        socket.setsockopt(zmq.SNDHWM, hwm)
        socket.setsockopt(zmq.SNDBUF, buffer_bytes)
        socket.setsockopt(zmq.LINGER, linger_ms)
        socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
        if conflate:
            socket.setsockopt(zmq.CONFLATE, 1)
        socket.bind(bind)
    except zmq.ZMQError as error:
        socket.close(0)
        if error.errno == errno.EADDRINUSE:
            raise EndpointInUse(bind, "another lab may be running") from error
        raise CannotRun(f"cannot bind {bind}: {os.strerror(error.errno or 0)}") from error
    return socket, socket.getsockopt_string(zmq.LAST_ENDPOINT)


def open_receiver(
    context: Context,
    pattern: str,
    *,
    hwm: int = 1000,
    buffer_bytes: int = -1,
    conflate: bool = False,
    subscribe: Sequence[str] = ("",),
) -> Socket:
    """A PULL or SUB socket, subscribed and not yet connected."""
    socket = context.socket(RECEIVE_TYPES[pattern])
    socket.setsockopt(zmq.RCVHWM, hwm)
    socket.setsockopt(zmq.RCVBUF, buffer_bytes)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
    if conflate:
        socket.setsockopt(zmq.CONFLATE, 1)
    if pattern == "pub-sub":
        for prefix in subscribe:
            socket.setsockopt(zmq.SUBSCRIBE, prefix.encode())
    return socket


def matching_topics(topics: Sequence[str], subscribe: Sequence[str]) -> list[int]:
    """Numbers of the topics that at least one of the prefixes matches, as ZeroMQ does it."""
    width = message.prefix_bytes(tuple(topics))
    frames = [message.prefix(topic, width) for topic in topics]
    return [n for n, frame in enumerate(frames) if any(frame.startswith(p.encode()) for p in subscribe)]

"""Sockets as mqviz opens them: bounded, bound by the sender, refused with a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from mqviz.channels import message, zeromq
from mqviz.errors import CannotRun, EndpointInUse


class Sockets:
    """Opens sockets of one context, and closes all of them."""

    def __init__(self) -> None:
        self.context: zeromq.Context = zmq.Context()
        self._opened: list[zeromq.Socket] = []

    def sender(self, pattern: str, bind: str, **how: Any) -> tuple[zeromq.Socket, str]:
        socket, endpoint = zeromq.open_sender(self.context, pattern, bind, **how)
        self._opened.append(socket)
        return socket, endpoint

    def receiver(self, pattern: str, endpoint: str = "", **how: Any) -> zeromq.Socket:
        socket = zeromq.open_receiver(self.context, pattern, **how)
        self._opened.append(socket)
        if endpoint:
            socket.connect(endpoint)
        return socket

    def close(self) -> None:
        for socket in self._opened:
            socket.close(0)
        self.context.term()


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    """Closed afterwards."""
    found = Sockets()
    yield found
    found.close()


@pytest.mark.parametrize("bind", ["tcp://127.0.0.1:*", "ipc://{}/s.ipc", "inproc://s"])
@pytest.mark.parametrize("pattern", ["push-pull", "pub-sub"])
def test_what_is_sent_is_received(sockets: Sockets, tmp_path: Path, bind: str, pattern: str) -> None:
    sender, endpoint = sockets.sender(pattern, bind.format(tmp_path))
    assert "*" not in endpoint
    receiver = sockets.receiver(pattern, endpoint)
    while not receiver.poll(20):
        sender.send(b"hello")
    assert receiver.recv() == b"hello"


@pytest.mark.parametrize("pattern", ["push-pull", "pub-sub"])
def test_every_socket_is_bounded(sockets: Sockets, pattern: str) -> None:
    sender, _ = sockets.sender(pattern, "tcp://127.0.0.1:*", hwm=7, buffer_bytes=9999, linger_ms=50)
    receiver = sockets.receiver(pattern, hwm=8, buffer_bytes=8888)
    assert (sender.sndhwm, sender.getsockopt(zmq.SNDBUF), sender.linger) == (7, 9999, 50)
    assert (receiver.rcvhwm, receiver.getsockopt(zmq.RCVBUF), receiver.linger) == (8, 8888, 0)
    assert sender.maxmsgsize == receiver.maxmsgsize == zeromq.MAX_MESSAGE_BYTES


def test_the_marks_hold(sockets: Sockets) -> None:
    sender, endpoint = sockets.sender("push-pull", "inproc://s", hwm=3)
    sockets.receiver("push-pull", endpoint, hwm=2)
    for _ in range(5):
        sender.send(b"", zmq.DONTWAIT)
    with pytest.raises(zmq.Again):
        sender.send(b"", zmq.DONTWAIT)


def test_a_conflating_receiver_has_the_newest_only(sockets: Sockets) -> None:
    sender, endpoint = sockets.sender("push-pull", "inproc://s", conflate=True)
    receiver = sockets.receiver("push-pull", endpoint, conflate=True)
    for n in range(10):
        sender.send(b"%d" % n)
    assert receiver.recv() == b"9"
    with pytest.raises(zmq.Again):
        receiver.recv(zmq.DONTWAIT)


def test_an_address_that_is_taken_is_told_with_its_name(sockets: Sockets) -> None:
    _, endpoint = sockets.sender("push-pull", "tcp://127.0.0.1:*")
    with pytest.raises(
        EndpointInUse, match=f"{endpoint} is in use by another program; another lab"
    ) as caught:
        sockets.sender("push-pull", endpoint)
    assert caught.value.endpoint == endpoint


@pytest.mark.parametrize("bind", ["ipc:///no/such/folder/s.ipc", "tcp://203.0.113.1:5555", "nonsense://x"])
def test_an_address_that_cannot_be_had_is_told_with_a_sentence(sockets: Sockets, bind: str) -> None:
    with pytest.raises(CannotRun, match=f"cannot bind {bind}: \\w+"):
        sockets.sender("pub-sub", bind)


@pytest.mark.parametrize(
    ("topics", "subscribe", "numbers"),
    [
        (("",), ("",), [0]),
        (("eur", "usd"), ("",), [0, 1]),
        (("eur", "usd"), ("eur",), [0]),
        (("eur", "euro", "usd"), ("eur",), [0, 1]),
        (("eur", "euro", "usd"), ("euro", "us"), [1, 2]),
        (("eur",), ("europe",), []),
        (("é", "e"), ("é",), [0]),
        (("", "x"), ("x",), [1]),
    ],
)
def test_a_prefix_matches_the_topics_that_begin_with_it(
    topics: tuple[str, ...], subscribe: tuple[str, ...], numbers: list[int]
) -> None:
    assert zeromq.matching_topics(topics, subscribe) == numbers


WORDS = st.text("ab", max_size=3)


@given(st.lists(WORDS, min_size=1, max_size=4, unique=True), st.lists(WORDS, min_size=1, max_size=3))
def test_matching_is_what_zeromq_does(topics: list[str], subscribe: list[str]) -> None:
    width = message.prefix_bytes(tuple(topics))
    opened = Sockets()
    sender, endpoint = opened.sender("pub-sub", "inproc://s")
    receiver = opened.receiver("pub-sub", endpoint, subscribe=subscribe)
    for number, topic in enumerate(topics):
        sender.send(message.prefix(topic, width) + message.pack(message.Header(0, 0, number, 0, 0, 0, 0)))
    got = []
    while receiver.poll(0):
        header = message.unpack(receiver.recv(), width)
        assert header is not None
        got.append(header.topic)
    opened.close()
    assert got == zeromq.matching_topics(topics, subscribe)

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from mqviz.dashboard import address
from mqviz.errors import BadInput, EndpointInUse


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        yield busy.getsockname()[1]


def test_a_named_port_that_is_taken_is_an_error(taken: int) -> None:
    with pytest.raises(EndpointInUse, match=rf"127\.0\.0\.1:{taken} is in use.*--port") as caught:
        address.listen("127.0.0.1", taken)
    assert caught.value.exit_code == 3


def test_a_default_port_that_is_taken_gives_way_to_the_next(
    taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(address, "DEFAULT_PORT", taken)
    listening, port = address.listen("127.0.0.1", None)
    listening.close()
    assert taken < port < taken + address.TRIES


def test_port_0_is_any_free_one() -> None:
    listening, port = address.listen("localhost", 0)
    with listening:
        assert listening.getsockname() == ("127.0.0.1", port)


@pytest.mark.parametrize("where", ["0.0.0.0", "::", "192.168.1.7", "example.org", ""])
def test_the_page_is_for_this_machine_only(where: str) -> None:
    with pytest.raises(BadInput, match="no login"):
        address.listen(where, 0)


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_is_a_port(port: int) -> None:
    with pytest.raises(BadInput, match="0 to 65535"):
        address.listen("127.0.0.1", port)


def test_only_names_of_this_server_are_its_origins() -> None:
    assert address.origins("127.0.0.1", 5006) == {"127.0.0.1:5006", "localhost:5006", "[::1]:5006"}

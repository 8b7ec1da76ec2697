from __future__ import annotations

from typing import Any

import pytest

from mqviz.cli import main
from mqviz.dashboard import serve as serving
from mqviz.errors import EndpointInUse


@pytest.mark.parametrize(
    ("words", "scenario", "port", "opens"),
    [
        (["lab"], "order-pipeline", None, True),
        (["lab", "mine.toml", "--port", "8080", "--no-open"], "mine.toml", 8080, False),
    ],
    ids=["as it comes", "all given"],
)
def test_the_words_reach_the_page(
    words: list[str], scenario: str, port: int | None, opens: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[Any] = []
    monkeypatch.setattr(serving, "serve", lambda *args, **named: served.append((args, named)))
    assert main(words) == 0
    assert served == [((scenario,), {"port": port, "open_browser": opens})]


def test_a_port_that_is_taken_could_not_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def taken(*_args: Any, **_named: Any) -> None:
        raise EndpointInUse("127.0.0.1:5006")

    monkeypatch.setattr(serving, "serve", taken)
    assert main(["lab", "--port", "5006"]) == 3
    assert capsys.readouterr().err == "mqviz: 127.0.0.1:5006 is in use by another program\n"

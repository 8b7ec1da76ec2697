"""Scenario: everything needed to repeat a load; what it is made of, how it is read and checked."""

from __future__ import annotations

from pathlib import Path

from mqviz.errors import ScenarioError
from mqviz.simulation import builtin
from mqviz.simulation.document import KEYS, MAX_BYTES, loads, to_toml, with_replay
from mqviz.simulation.expectation import Expect, parse_expect
from mqviz.simulation.fields import LINK, NODE, SCENARIO, read_fields
from mqviz.simulation.model import Event, Link, Node, Scenario, default_warmup_ns
from mqviz.simulation.settings import changed, with_settings
from mqviz.simulation.validation import validate
from mqviz.simulation.wording import shown, suggestion
from mqviz.telemetry.topology import LinkInfo, NodeInfo, Topology

__all__ = [
    "KEYS",
    "Event",
    "Expect",
    "Link",
    "Node",
    "Scenario",
    "changed",
    "load",
    "loads",
    "parse_expect",
    "push_pull",
    "to_toml",
    "topology",
    "validate",
    "with_settings",
]


def load(source: str | Path) -> Scenario:
    """A scenario from a built-in name or a TOML file."""
    if isinstance(source, str) and source in builtin.names():
        return _load_file(builtin.path(source))
    try:
        file = Path(source)
        found = file.is_file()  # not a device or a pipe, which might never end
    except (OSError, ValueError):  # too long, or with a NUL
        found = False
    if not found:
        near = suggestion(str(source), builtin.names()) or "; see mqviz scenarios"
        raise ScenarioError("", f"{shown(str(source))} is neither a built-in scenario nor a file{near}")
    return _load_file(file)


def _load_file(file: Path) -> Scenario:
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise ScenarioError("", f"{shown(str(file))} cannot be read: {error.strerror}") from error
    stem = "".join(c for c in file.stem if c.isprintable())[:64].strip()
    return loads(content, file.parent, name=stem or "unnamed")


def topology(scenario: Scenario) -> Topology:
    """What a store knows of a scenario."""
    senders = {link.source for link in scenario.links}
    return Topology(
        name=scenario.name,
        nodes=tuple(NodeInfo(node.name, node.role, node.count) for node in scenario.nodes),
        links=tuple(
            LinkInfo(
                source=link.source,
                target=link.target,
                pattern=link.pattern,
                transport=link.transport,
                topics=tuple(link.topics),
                send_hwm=link.send_hwm,
                receive_hwm=link.receive_hwm,
                terminal=link.target not in senders,
                conflate=link.conflate,
            )
            for link in scenario.links
        ),
    )


def push_pull(
    *,
    producers: int = 1,
    consumers: int = 1,
    rate: float | str = 1000,
    service: str | float = 0,
    size: str | float = "1KiB",
    arrivals: str = "poisson",
    transport: str = "tcp",
    **fields: object,
) -> Scenario:
    """Producers -> consumers by PUSH/PULL; further fields are top-level ones: duration, warmup, seed.

    `rate`: messages/s of all producers together, or "max".
    """
    sends = {"name": "producer", "role": "producer", "count": producers, "rate": rate}
    takes = {"name": "consumer", "role": "consumer", "count": consumers, "service": service}
    joins = {"from": "producer", "to": "consumer", "transport": transport}
    top = read_fields("push_pull", {"name": "push-pull", **fields}, SCENARIO)
    top.setdefault("warmup_ns", default_warmup_ns(top.get("duration_ns")))
    scenario = Scenario(
        **top,
        nodes=(
            with_replay(
                Node(**read_fields("producers", sends | {"size": size, "arrivals": arrivals}, NODE)), None
            ),
            Node(**read_fields("consumers", takes, NODE)),
        ),
        links=(Link(**read_fields("link", joins, LINK)),),
    )
    return validate(scenario)

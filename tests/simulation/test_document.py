"""A scenario's TOML: every wrong key and value is named with its place, whatever the bytes."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqviz.errors import BadInput, ScenarioError
from mqviz.simulation.document import KEYS, loads, to_toml

MINIMAL = """
[[node]]
name = "a"
role = "producer"
rate = "10/s"
[[node]]
name = "b"
role = "consumer"
[[link]]
from = "a"
to = "b"
"""


def test_what_is_left_out_has_a_default() -> None:
    scenario = loads(MINIMAL)
    assert (scenario.name, scenario.duration_ns, scenario.warmup_ns) == ("unnamed", None, 2 * 10**9)
    (link,) = scenario.links
    assert (link.pattern, link.transport, link.wiring, link.send_hwm) == ("push-pull", "tcp", "mesh", 1000)
    assert loads('duration = "5s"\n' + MINIMAL).warmup_ns == 10**9


def test_every_value_is_written_and_read_back() -> None:
    text = """
name = "ünï <b>"
lesson = "A \\"quoted\\" \\\\ line"
duration = "1min"
warmup = "0s"
drain = "250ms"
seed = 9223372036854775807
engine = "python"
[[node]]
name = "<b>a</b>"
role = "producer"
count = 3
rate = 0.1
arrivals = "steps(1s, 0, 0.5)"
size = "lognormal(1KiB, 0.7)"
[[node]]
name = "b 2"
role = "worker"
service = "uniform(1us, 3us)"
size = 77
[[node]]
name = "c"
role = "consumer"
subscribe = ["e", "usd"]
[[link]]
from = "<b>a</b>"
to = "b 2"
transport = "ipc"
wiring = "paired"
send_hwm = 0
receive_hwm = 5
send_buffer = "8KiB"
receive_buffer = "system"
linger = "1s"
conflate = true
[[link]]
from = "b 2"
to = "c"
pattern = "pub-sub"
topics = { "eur" = 3, usd = 0.25 }
[[event]]
at = "1s"
action = "set"
node = "<b>a</b>"
rate = "max"
size = "40B"
count = 2
[[event]]
at = "2s"
action = "start"
node = "c"
[[expect]]
metric = "<b>a</b> -> b 2: lost < 1"
"""
    scenario = loads(text)
    assert scenario.events[0].fields == {"rate": "max", "size": "40B", "count": 2}
    assert scenario.links[0].send_buffer == 8192
    assert scenario.nodes[2].subscribe == ("e", "usd")
    assert loads(to_toml(scenario)) == scenario
    assert to_toml(loads(to_toml(scenario))) == to_toml(scenario)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('rate = "10/s"', 'rat = "10/s"', 'node "a": unknown key "rat"; did you mean "rate"?'),
        ("[[node]]", "[[nodes]]", 'scenario: unknown key "nodes"; did you mean "node"?'),
        ("[[link]]", "[link]", 'scenario: "link" is written as [[link]], one block each'),
        ('to = "b"', "", 'link 1: "to" is missing'),
        ('name = "b"', "", 'node 2: "name" is missing'),
        ('role = "consumer"', 'role = "customer"', None),
        ('rate = "10/s"', "rate = 0", None),
        ('rate = "10/s"', "rate = 1e12", None),
        ('rate = "10/s"', "rate = nan", 'node "a", rate: nan is not a rate such as 5000/s, 5k/s or "max"'),
        ('rate = "10/s"', "", 'node "a": a producer needs a rate, such as rate = "1000/s"'),
        ('name = "b"', 'name = "b.1"', 'node "b.1", name: the name "b.1" has a ., which a name cannot have'),
        ('name = "b"', 'name = "b\\u202e"', 'node "b?", name: a name "b?" has a control character'),
        ('name = "b"', 'name = " "', 'node " ", name: the name " " is empty or has a space at an end'),
        ('name = "b"', f'name = "{"b" * 65}"', None),
        ('name = "b"', "name = 5", "node 2, name: 5 is not a text"),
        ('role = "consumer"', 'role = "consumer"\ncount = 0', None),
        ('role = "consumer"', 'role = "consumer"\ncount = true', None),
        ('from = "a"', 'from = "a"\nsend_hwm = -1', None),
        ('from = "a"', 'from = "a"\nconflate = 1', 'link "a -> b", conflate: 1 is not true or false'),
        ('from = "a"', 'from = "a"\nsend_buffer = "0B"', None),
        ('from = "a"', 'from = "a"\ntopics = 3', None),
        ("[[link]]", '[[event]]\nat = "1s"\naction = "heal"\nnode = "a"\n[[link]]', None),
        ("[[link]]", '[[event]]\nat = "1s"\naction = "set"\nnode = "a"\nrat = 1\n[[link]]', None),
        ("[[link]]", '[[expect]]\nmetric = "speed < 3"\n[[link]]', None),
        ("[[node]]", 'duration = "0s"\n[[node]]', None),
        ("[[node]]", "duration = 60\n[[node]]", None),
        ("[[node]]", "seed = -1\n[[node]]", None),
    ],
)
def test_a_wrong_key_or_value_is_named_with_its_place(old: str, new: str, sentence: str | None) -> None:
    with pytest.raises(ScenarioError) as caught:
        loads(MINIMAL.replace(old, new, 1))
    told = str(caught.value)
    assert caught.value.where
    assert len(told) < 250
    assert "\n" not in told
    if sentence:
        assert told == sentence


@pytest.mark.parametrize(
    "text",
    [
        "[" * 5000,
        "a" + ".a" * 3000 + " = 1",
        "a = " + "9" * 4200 + "\n",
        "a = " + "[" * 1500,
        "a = 2020-13-40",
        "\x7f",
    ],
    ids=["brackets", "dots", "digits", "arrays", "date", "control"],
)
def test_hostile_toml_is_refused(text: str) -> None:
    with pytest.raises(ScenarioError):
        loads(text)


@given(st.text(max_size=300) | st.binary(max_size=300))
def test_any_bytes_load_or_are_refused(text: str | bytes) -> None:
    with pytest.raises(BadInput):  # nothing this short and random has a node and a link
        loads(text)


VALUES = st.recursive(
    st.text(max_size=20)
    | st.integers()
    | st.floats()
    | st.booleans()
    | st.sampled_from(["a", "b", "max", "1s"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def written(value: object) -> str:
    """A value as TOML, hostile ones too."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return (
            '"' + "".join(f"\\U{ord(c):08x}" if not 0xD800 <= ord(c) < 0xE000 else "?" for c in value) + '"'
        )
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{written(k)} = {written(v)}" for k, v in value.items()) + "}"
    return repr(value)


@given(
    place=st.sampled_from(["\n[[node]]\nname", "\n[[link]]\nfrom", 'role = "producer"', "\n[[node]]"]),
    key=st.sampled_from(sorted(KEYS)),
    value=VALUES,
)
def test_any_value_at_any_key_loads_or_is_refused(place: str, key: str, value: object) -> None:
    line = f"\n{key} = {written(value)}\n"
    text = MINIMAL.replace(place, line + place, 1)
    with contextlib.suppress(BadInput):
        scenario = loads(text)
        assert loads(to_toml(scenario)) == scenario


@given(table=st.dictionaries(st.sampled_from(sorted(KEYS)) | st.text(max_size=8), VALUES, max_size=6))
def test_any_node_or_link_loads_or_is_refused(table: dict[str, object]) -> None:
    body = "".join(f"{written(key)} = {written(value)}\n" for key, value in table.items())
    for kind in ("node", "link", "event", "expect"):
        with contextlib.suppress(BadInput):
            loads(f"{MINIMAL}\n[[{kind}]]\n{body}")

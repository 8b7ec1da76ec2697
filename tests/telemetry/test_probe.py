from __future__ import annotations

import errno
import os

import pytest

from mqviz.errors import CannotRun
from mqviz.telemetry import histogram, probe
from mqviz.telemetry.probe import InstancePlan, Probe, ReceivePlan, SendPlan, lay_out

PLANS = [
    InstancePlan("orders", 0, 0, (), (SendPlan("orders -> pricing", 0, 1),)),
    InstancePlan(
        "pricing",
        1,
        2,
        (ReceivePlan("orders -> pricing", 5, False),),
        (SendPlan("pricing -> ledger", 3, 2),),
    ),
    InstancePlan("ledger", 0, 0, (ReceivePlan("pricing -> ledger", 4, True),)),
]


def spans(schema: probe.Schema) -> list[tuple[int, int]]:
    """First and last + 1 word of everything in a schema."""
    found = []
    for block in schema.instances:
        found.append((block.offset, block.offset + probe.INSTANCE_WORDS))
        found += [
            (end.offset, end.offset + probe.RECEIVE_WORDS + end.rows * probe.ROW_WORDS)
            for end in block.receives
        ]
        found += [(end.offset, end.offset + probe.SEND_WORDS + end.topics) for end in block.sends]
    return found + [(block.offset, block.offset + histogram.WORDS) for block in schema.histograms]


def test_every_word_has_one_owner():
    schema = lay_out("r1", "python", PLANS)
    owned = [word for first, end in spans(schema) for word in range(first, end)]
    assert sorted(owned) == list(range(schema.words))


def test_receive_words_come_before_send_words():
    schema = lay_out("r1", "python", PLANS)
    sends = [end.offset for block in schema.instances for end in block.sends]
    receives = [end.offset for block in schema.instances for end in block.receives]
    assert max(receives) < schema.receive_words <= min(sends)


def test_a_link_has_one_histogram_a_duration_and_phase_and_end_to_end_only_where_it_ends():
    schema = lay_out("r1", "python", PLANS)
    found = {(block.link, block.duration) for block in schema.histograms}
    assert len(schema.histograms) == 2 * len(found)
    assert {duration for link, duration in found if link == "orders -> pricing"} == {
        "lateness", "blocked", "transit", "service", "response",
    }  # fmt: skip
    assert ("pricing -> ledger", "end_to_end") in found
    assert schema.instances[1].name == "pricing.1"


def test_who_opens_a_probe_sees_what_its_maker_writes(tmp_path):
    made = Probe.create(tmp_path / "r1.probe", lay_out("r1", "python", PLANS))
    opened = Probe.open(tmp_path / "r1.probe")
    made.words[7] = 11
    assert opened.schema == made.schema
    assert opened.words[7] == 11
    with pytest.raises(ValueError, match="read-only"):
        opened.words[7] = 12
    opened.close()
    made.close()


def test_it_can_be_read_after_its_file_is_gone(tmp_path):
    made = Probe.create(tmp_path / "r1.probe", lay_out("r1", "python", PLANS))
    opened = Probe.open(tmp_path / "r1.probe")
    made.words[0] = 5
    made.close()
    os.unlink(tmp_path / "r1.probe")
    assert opened.words[0] == 5
    opened.close()


def test_nothing_unfinished_is_left(tmp_path):
    Probe.create(tmp_path / "r1.probe", lay_out("r1", "python", PLANS)).close()
    assert [path.name for path in tmp_path.iterdir()] == ["r1.probe"]


def test_a_full_disk_is_told_at_once_and_leaves_no_file(tmp_path, monkeypatch):
    def full(fd: int, offset: int, size: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(CannotRun, match=r"no room for the counters: 0\.7 MB"):
        Probe.create(tmp_path / "r1.probe", lay_out("r1", "python", PLANS))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [b"x" * 8192, b"MQVIZPRB" + b"\x09\0\0\0" + bytes(8192), b"\0"],
    ids=["another file", "another version", "one byte"],
)
def test_what_is_no_probe_of_this_version_is_refused(tmp_path, content):
    (tmp_path / "r1.probe").write_bytes(content)
    with pytest.raises(ValueError, match="not a probe of version"):
        Probe.open(tmp_path / "r1.probe")


def test_a_probe_that_was_cut_is_refused(tmp_path):
    path = tmp_path / "r1.probe"
    Probe.create(path, lay_out("r1", "python", PLANS)).close()
    os.truncate(path, path.stat().st_size - 8)
    with pytest.raises(ValueError, match="shorter than its schema says"):
        Probe.open(path)

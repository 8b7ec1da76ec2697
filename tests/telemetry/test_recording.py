from __future__ import annotations

import errno
import os
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mqviz.errors import RecordingError
from mqviz.telemetry import recording, sample, segment
from mqviz.telemetry.recording import Recording, merge, read, replay_into_store
from mqviz.telemetry.sample import Mark, Report, Sample

LINK = "orders -> pricing"


def recorded(run, folder, **how) -> list[Report | Mark]:
    """Write all that a run has appended."""
    writer = Recording(folder, run.topology, run.store.anchor, **how)
    for record in run.records:
        writer.append(record)
    writer.close()
    assert writer.failed is None
    return run.records


def lively(fakes, reports: int = 30):
    """A run with traffic, a death and an end."""
    run = fakes.push_pull(producers=2, consumers=2)
    received = 0
    for step in range(reports):
        run.send(LINK, 0, 5)
        run.send(LINK, 1, 3)
        for _ in range(4):
            run.receive(LINK, "pricing.0", 0, received)
            received += 1
        run.record(LINK, "response", 1_000 * (step + 1), 4)
        run.report(full=step % 10 == 0)
        if step == reports // 2:
            run.die("pricing.1")
            run.mark("event", "kill pricing.1")
    run.end()
    return run


def books(store) -> list[object]:
    return [store.totals(link.name) for link in store.topology.links]


def test_what_was_appended_is_read_again(fakes, tmp_path):
    run = lively(fakes)
    records = recorded(run, tmp_path)
    found = read(tmp_path)
    assert list(found) == records
    assert (found.topology, found.anchor, found.torn) == (run.topology, run.store.anchor, False)
    assert [path.name for path in (tmp_path / "samples").iterdir()] == ["000001.mqs"]


def test_a_replayed_store_is_the_one_that_was(fakes, tmp_path):
    run = lively(fakes)
    recorded(run, tmp_path)
    store = replay_into_store(tmp_path)
    assert store.closed
    assert books(store) == books(run.store)
    assert store.marks() == run.store.marks()
    for tier in (0, 1, 2):
        old, new = run.store.since(0, tier)[0], store.since(0, tier)[0]
        assert old.at_ns.tolist() == new.at_ns.tolist()
        for owner, field in run.store._columns.names:
            assert np.array_equal(old.column(owner, field), new.column(owner, field), equal_nan=True)


def test_bytes_are_kept_as_they_came(fakes, tmp_path):
    run = fakes.push_pull()
    report = run.make_report()
    data = sample.encode(report)
    writer = Recording(tmp_path, run.topology, run.store.anchor)
    writer.append(report, data)
    writer.close()
    assert (tmp_path / "samples" / "000001.mqs").read_bytes().endswith(data)


def test_what_was_written_a_second_ago_is_on_disk_without_closing(fakes, tmp_path, monkeypatch):
    run = lively(fakes, 10)
    now = iter(range(0, 10**12, recording.FLUSH_NS))
    monkeypatch.setattr(recording.clock, "now_ns", lambda: next(now))
    writer = Recording(tmp_path, run.topology, run.store.anchor)
    for record in run.records:
        writer.append(record)
    assert list(read(tmp_path)) == run.records
    writer.close()


@pytest.mark.parametrize("cut", [1, 7, 20])
def test_a_torn_tail_loses_only_the_last_frame(fakes, tmp_path, cut):
    run = lively(fakes)
    records = recorded(run, tmp_path)
    path = tmp_path / "samples" / "000001.mqs"
    os.truncate(path, path.stat().st_size - cut)
    found = read(tmp_path)
    assert list(found) == records[:-1]
    assert found.torn


def test_zeros_behind_the_end_are_a_torn_tail(fakes, tmp_path):
    records = recorded(lively(fakes), tmp_path)
    with (tmp_path / "samples" / "000001.mqs").open("ab") as file:
        file.write(bytes(4096))
    found = read(tmp_path)
    assert list(found) == records
    assert found.torn


@pytest.mark.parametrize("where", ["length", "checksum", "data"])
def test_damage_in_the_middle_is_named_with_what_can_be_saved(fakes, tmp_path, where):
    records = recorded(lively(fakes), tmp_path)
    path = tmp_path / "samples" / "000001.mqs"
    data = bytearray(path.read_bytes())
    with path.open("rb") as file:
        segment.read_head(file, path)
        for _ in zip(range(20), segment.frames(file), strict=False):
            damaged = file.tell()
    data[damaged + {"length": 2, "checksum": 5, "data": 30}[where]] ^= 0x55
    path.write_bytes(data)
    found = []
    with pytest.raises(
        RecordingError, match=rf"000001\.mqs is damaged at byte {damaged}: the first \d\.\d s"
    ):
        found.extend(read(tmp_path))
    assert found == records[:20]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_altered_byte_is_noticed_or_harmless(fakes, tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("run")
    records = recorded(lively(fakes, 6), folder)
    path = folder / "samples" / "000001.mqs"
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    got = []
    try:
        for record in read(folder):
            got.append(record)
    except RecordingError:
        pass
    # a frame that cannot be trusted is never handed out
    assert got == records[: len(got)]


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_garbage_instead_of_a_segment_raises_one_error(tmp_path_factory, garbage):
    folder = tmp_path_factory.mktemp("run")
    (folder / "samples").mkdir()
    (folder / "samples" / "000001.mqs").write_bytes(garbage)
    with pytest.raises(RecordingError):
        list(read(folder))


def test_a_newer_format_is_refused_with_what_to_do(fakes, tmp_path):
    recorded(lively(fakes), tmp_path)
    path = tmp_path / "samples" / "000001.mqs"
    data = bytearray(path.read_bytes())
    data[8] = 2
    path.write_bytes(data)
    with pytest.raises(
        RecordingError, match=r"by a newer mqviz \(format 2, this one reads up to 1\): upgrade"
    ):
        read(tmp_path)


def test_a_damaged_head_says_that_nothing_can_be_saved(fakes, tmp_path):
    recorded(lively(fakes), tmp_path)
    path = tmp_path / "samples" / "000001.mqs"
    data = bytearray(path.read_bytes())
    data[40] ^= 1
    path.write_bytes(data)
    with pytest.raises(RecordingError, match="nothing can be saved"):
        read(tmp_path)


def test_a_folder_without_a_recording_is_named(tmp_path):
    with pytest.raises(RecordingError, match="there is no recording in"):
        read(tmp_path)


def test_a_missing_segment_is_named(fakes, tmp_path):
    recorded(lively(fakes, 60), tmp_path, segment_ns=2_000_000_000)
    (tmp_path / "samples" / "000002.mqs").unlink()
    with pytest.raises(RecordingError, match=r"000002\.mqs is missing"):
        read(tmp_path)


def test_the_newest_segments_stay_fine_and_older_ones_become_coarse(fakes, tmp_path):
    run = lively(fakes, 100)
    recorded(run, tmp_path, segment_ns=2_000_000_000)
    names = sorted(path.name for path in (tmp_path / "samples").iterdir())
    assert names == [f"00000{number}.mqs" for number in range(1, 7)]
    counts = []
    for name in names:
        path = tmp_path / "samples" / name
        with path.open("rb") as file:
            segment.read_head(file, path)
            counts.append(sum(not isinstance(record, Mark) for record in segment.frames(file)))
    assert counts[-2] == 20
    # the third has the death, where the reports around it are kept apart
    assert all(count <= 3 for count in (counts[0], counts[1], counts[3]))
    assert counts[2] <= 6


def test_a_coarse_recording_has_the_same_counts_marks_and_losses(fakes, tmp_path):
    run = lively(fakes, 100)
    recorded(run, tmp_path, segment_ns=2_000_000_000)
    store = replay_into_store(tmp_path)
    assert books(store) == books(run.store)
    assert store.marks() == run.store.marks()
    assert store.samples_lost == run.store.samples_lost == 0
    assert np.array_equal(
        store.histogram(LINK, "response").counts, run.store.histogram(LINK, "response").counts
    )
    old, new = run.store.since(0)[0], store.since(0)[0]
    assert set(new.at_ns) < set(old.at_ns)
    for owner, field in ((LINK, "response_p99"), (LINK, "sent"), ("", "backlog")):
        assert np.array_equal(new.column(owner, field)[-20:], old.column(owner, field)[-20:], equal_nan=True)


def test_reports_that_were_lost_are_still_counted_in_a_coarse_recording(fakes, tmp_path):
    run = fakes.push_pull()
    for step in range(100):
        run.send(LINK, 0)
        if step in (13, 14, 55):
            run.make_report()
        else:
            run.report(full=step in (15, 56))
    run.end()
    assert run.store.samples_lost == 3
    recorded(run, tmp_path, segment_ns=1_500_000_000)
    assert replay_into_store(tmp_path).samples_lost == 3


def test_an_agent_that_was_started_anew_loses_nothing_in_a_coarse_recording(fakes, tmp_path):
    run = fakes.push_pull()
    for _ in range(40):
        run.report()
    run.sequence = 0
    for step in range(60):
        run.send(LINK, 0)
        run.report(full=step == 0)
    run.end()
    recorded(run, tmp_path, segment_ns=1_500_000_000)
    store = replay_into_store(tmp_path)
    assert (store.samples_lost, store.foreign) == (0, 0)
    assert books(store) == books(run.store)


words = st.dictionaries(st.integers(0, 9), st.integers(0, 99), min_size=1, max_size=6)


@settings(deadline=None)
@given(st.lists(words, min_size=1, max_size=6))
def test_of_merged_reports_the_last_value_of_each_word_counts(histories):
    reports = []
    for number, history in enumerate(histories):
        places = sorted(history)
        values = [history[place] for place in places]
        one = Sample(3, np.array(places, "<u4").tobytes(), np.array(values, "<u8").tobytes())
        reports.append(Report("a", number, number, number % 4, number, False, False, (), (one,)))
    merged = merge(reports)
    last: dict[int, int] = {}
    for history in histories:
        last.update(history)
    places = np.frombuffer(merged.samples[0].positions, "<u4").tolist()
    values = np.frombuffer(merged.samples[0].values, "<u8").tolist()
    assert places == sorted(last)
    assert dict(zip(places, values, strict=True)) == last
    assert (merged.sequence, merged.span_ns) == (len(reports) - 1, max(r.span_ns for r in reports))


def test_a_full_disk_ends_the_recording_with_a_sentence_and_not_the_run(fakes, tmp_path, monkeypatch):
    run = lively(fakes, 5)
    writer = Recording(tmp_path, run.topology, run.store.anchor)
    writer.append(run.records[0])

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(segment, "write", full)
        writer.append(run.records[1])
    assert writer.failed is not None
    assert writer.failed.endswith("has stopped: No space left on device")
    writer.append(run.records[2])
    writer.close()
    assert list(read(tmp_path)) == run.records[:1]


def test_after_closing_nothing_is_written_and_closing_again_is_nothing(fakes, tmp_path):
    run = lively(fakes, 3)
    writer = Recording(tmp_path, run.topology, run.store.anchor)
    writer.append(run.records[0])
    writer.close()
    writer.append(run.records[1])
    writer.close()
    assert list(read(tmp_path)) == run.records[:1]


def test_a_frame_with_a_right_checksum_and_wrong_content_is_damage(fakes, tmp_path):
    records = recorded(lively(fakes, 3), tmp_path)
    path = tmp_path / "samples" / "000001.mqs"
    head = path.read_bytes()
    nonsense = b"\x92\xa6report\x01"
    frame = segment.FRAME_HEAD.pack(len(nonsense), zlib.crc32(nonsense)) + nonsense
    last = sample.encode(records[-1])
    path.write_bytes(head + frame + segment.FRAME_HEAD.pack(len(last), zlib.crc32(last)) + last)
    with pytest.raises(RecordingError, match="is damaged"):
        list(read(tmp_path))


def test_a_segment_that_cannot_be_opened_is_named(tmp_path):
    (tmp_path / "samples" / "000001.mqs").mkdir(parents=True)
    with pytest.raises(RecordingError, match=r"000001\.mqs cannot be read: Is a directory"):
        read(tmp_path)

from __future__ import annotations

import socket as sockets
import threading

import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from mqviz.errors import CannotRun, EndpointInUse
from mqviz.telemetry import sample
from mqviz.telemetry.collector import Collector
from mqviz.telemetry.recording import Recording, read
from mqviz.telemetry.sample import Mark

LINK = "orders -> pricing"


DEEP = b"\x95\xa4mark\x01\xa5event\xa0\x81\xa1a" + b"\x91" * 100_000 + b"\x01"
NOT_UTF8 = b"\x91\xa1\x80"
UNHASHABLE = b"\x95\xa4mark\x01\xa5event\xa0\x81\xa1a\x81\x81\xa1a\x01\x01"
NO_REPORTS = (
    b"",
    b"hello",
    b"\x92\xa6report\x01",
    b"\x9a\xa6report" + b"\xc0" * 9,
    DEEP,
    NOT_UTF8,
    UNHASHABLE,
)


@pytest.fixture
def endpoint(tmp_path):
    return f"ipc://{tmp_path}/c.ipc"


@pytest.fixture
def push(endpoint):
    """A socket that sends to the endpoint."""
    context = zmq.Context()
    socket = context.socket(zmq.PUSH)
    socket.linger = 2000
    socket.connect(endpoint)
    yield socket
    socket.close()
    context.term()


def test_reports_off_the_wire_are_in_the_store_when_the_final_one_has_come(fakes, endpoint, push):
    run = fakes.push_pull()
    collector = Collector(run.store, endpoint)
    collector.start()
    try:
        for _ in range(5):
            run.send(LINK, 0, 10)
            push.send(sample.encode(run.make_report()))
        push.send(sample.encode(run.make_report(final=True)))
        assert collector.wait_final(5)
    finally:
        collector.stop()
    assert run.store.totals(LINK).sent == 50
    assert len(run.store.since(0)[0]) == 6


def test_the_final_report_is_waited_for_no_longer_than_told(fakes, endpoint):
    collector = Collector(fakes.push_pull().store, endpoint)
    collector.start()
    assert not collector.wait_final(0.01)
    collector.stop()


def test_what_is_no_report_is_foreign_and_changes_nothing(fakes, endpoint, push):
    run = fakes.push_pull()
    collector = Collector(run.store, endpoint)
    collector.start()
    try:
        for data in NO_REPORTS:
            push.send(data)
        push.send(sample.encode(Mark(1, "phase", data={"phase": "ended"})))
        push.send_multipart([b"two", b"parts"])
        push.send(sample.encode(run.make_report(final=True)))
        assert collector.wait_final(5)
    finally:
        collector.stop()
    assert run.store.foreign == len(NO_REPORTS) + 3
    assert not run.store.closed
    assert len(run.store.since(0)[0]) == 1


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_bytes_break_the_thread_whatever_they_are(fakes, data):
    run = fakes.push_pull()
    run.send(LINK, 0, 3)
    run.mark("event", "hello", node="pricing", count=2)
    content = bytearray(sample.encode(data.draw(st.sampled_from([run.make_report(), *run.records]))))
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    collector = Collector(run.store, "unused")
    for piece in (bytes(content), bytes(content[:cut]), data.draw(st.binary(max_size=100))):
        collector._receive(piece)
    run.store.totals(LINK)
    run.store.since(0)


def test_a_message_that_is_too_long_does_not_come_in(fakes, endpoint, push, monkeypatch):
    monkeypatch.setattr(sample, "MAX_BYTES", 10_000)
    run = fakes.push_pull()
    collector = Collector(run.store, endpoint)
    collector.start()
    try:
        push.send(bytes(10_001))
        # its sender is cut off, and what it had in hand is lost with the connection; then it comes again
        for _ in range(100):
            push.send(sample.encode(run.make_report(final=True)))
            if collector.wait_final(0.05):
                break
        assert run.store.final
    finally:
        collector.stop()
    assert run.store.foreign == 0


def test_records_and_marks_are_recorded_in_one_order_and_foreign_ones_are_not(
    fakes, endpoint, push, tmp_path
):
    run = fakes.push_pull()
    recording = Recording(tmp_path, run.topology, run.store.anchor)
    collector = Collector(run.store, endpoint, recording)
    assert collector.mark(Mark(1, "phase", data={"phase": "starting"}))
    assert not collector.mark(Mark(1, "nonsense"))
    collector.start()
    first, last = run.make_report(), run.make_report(final=True)
    push.send(sample.encode(first))
    push.send(b"foreign")
    push.send(sample.encode(last))
    assert collector.wait_final(5)
    collector.stop()
    assert collector.mark(Mark(2, "phase", data={"phase": "ended"}))
    recording.close()
    records = list(read(tmp_path))
    assert records[1:3] == [first, last]
    assert [mark.data["phase"] for mark in (records[0], records[3])] == ["starting", "ended"]


def test_what_has_arrived_when_it_is_stopped_is_taken_in(fakes, endpoint, push):
    run = fakes.push_pull()
    collector = Collector(run.store, endpoint)
    collector.start()
    for _ in range(50):
        run.send(LINK, 0)
        push.send(sample.encode(run.make_report()))
    push.send(sample.encode(run.make_report(final=True)))
    assert collector.wait_final(5)
    collector.stop()
    assert run.store.totals(LINK).sent == 50


def test_a_flood_does_not_keep_it_from_stopping(fakes, endpoint, push):
    collector = Collector(fakes.push_pull().store, endpoint)
    collector.start()
    over = threading.Event()

    def flood() -> None:
        while not over.is_set():
            try:
                push.send(b"x" * 100, zmq.DONTWAIT)
            except zmq.Again:
                over.wait(0.001)

    thread = threading.Thread(target=flood)
    thread.start()
    collector.stop()
    over.set()
    thread.join()
    push.linger = 0


def test_stopping_gives_the_address_back(fakes, endpoint, tmp_path):
    store = fakes.push_pull().store
    for _ in range(2):
        collector = Collector(store, endpoint)
        collector.start()
        collector.stop()
        collector.stop()
        assert list(tmp_path.iterdir()) == []


def test_an_address_in_use_is_named_and_not_taken_away(fakes, endpoint, tmp_path):
    with sockets.socket(sockets.AF_UNIX) as holder:
        holder.bind(f"{tmp_path}/c.ipc")
        with pytest.raises(EndpointInUse, match="is in use"):
            Collector(fakes.push_pull().store, endpoint).start()
    assert (tmp_path / "c.ipc").exists()


def test_a_path_that_is_too_long_is_told_in_a_sentence(fakes, tmp_path):
    with pytest.raises(CannotRun, match="telemetry cannot listen at"):
        Collector(fakes.push_pull().store, f"ipc://{tmp_path}/{'x' * 120}").start()


def test_a_folder_that_there_is_not_is_told_in_a_sentence(fakes, tmp_path):
    with pytest.raises(CannotRun, match="telemetry cannot listen at"):
        Collector(fakes.push_pull().store, f"ipc://{tmp_path}/none/c.ipc").start()

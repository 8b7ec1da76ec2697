"""Both engines do the same: each test runs on each of them, over real sockets."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING

import pytest
import zmq

from mqviz.channels import message
from mqviz.errors import CannotRun
from mqviz.simulation.engine import receiver
from mqviz.simulation.plan import Command
from mqviz.telemetry import clock, probe

if TYPE_CHECKING:
    from tests.simulation.engine.conftest import Rig, Rigs

MS = 1_000_000
RUN_NUMBER = 0xBEEF
RUNNING, STOPPED = probe.STATES.index("running"), probe.STATES.index("stopped")


def frame(
    sequence: int, *, at_ns: int = 1, flags: int = 0, number: int = 0, topic: int = 0, prefix: bytes = b""
) -> bytes:
    """A message as producer `number` writes it, intended and sent at one time."""
    header = message.Header(flags, RUN_NUMBER << 16 | number, topic, sequence, at_ns, at_ns, at_ns)
    return prefix + message.pack(header)


def received(rig: Rig, node: str = "b", index: int = 0) -> int:
    """Of one instance, over all producers and topics."""
    return sum(row[0] for row in rig.rows(node, index).values())


# counts


@pytest.mark.parametrize("bind", ["tcp://127.0.0.1:*", "ipc://*", "inproc://a"], ids=["tcp", "ipc", "inproc"])
def test_every_message_is_counted_at_both_ends(rigs: Rigs, bind: str) -> None:
    rig = rigs(rigs.producers((rigs.outbound(bind=bind),)), rigs.consumers((rigs.inbound(),)))
    rig.run(0.4, measure_after=0.1)
    assert rig.sent() == [400]
    assert rig.send_word(probe.DUE) == 400
    assert rig.send_word(probe.SENT_BYTES) == rig.receive_word(probe.BYTES) == 400 * 64
    assert rig.rows() == {(0, 0): [400, 1, 400, 0, 0]}
    assert rig.receive_word(probe.WORKED_OFF) == 400
    assert rig.receive_word(probe.FOREIGN) == 0
    assert rig.send_word(probe.CENSORED) == 0
    for duration in ("lateness", "blocked", "transit", "response", "end_to_end"):
        assert rig.histogram(duration, "warm-up").count == 100, duration
        assert rig.histogram(duration, "measure").count == 300, duration
    assert rig.histogram("service").count == 0
    assert rig.instance(probe.STATE, "a") == STOPPED
    assert rig.instance(probe.STATE, "b") == RUNNING


def test_response_is_lateness_and_blocked_and_transit(rigs: Rigs) -> None:
    rig = rigs(rigs.producers((rigs.outbound(),)), rigs.consumers((rigs.inbound(),)))
    rig.run(0.2)
    parts = [rig.histogram(duration) for duration in ("lateness", "blocked", "transit")]
    assert all(part.below == part.above == 0 for part in parts)
    assert rig.histogram("response").sum_ns == sum(part.sum_ns for part in parts)
    assert rig.histogram("end_to_end").sum_ns == rig.histogram("response").sum_ns


def test_a_link_that_goes_on_has_no_end_to_end(rigs: Rigs) -> None:
    rig = rigs(rigs.producers((rigs.outbound(),)), rigs.consumers((rigs.inbound(terminal=False),)))
    rig.run(0.1)
    assert rig.histogram("response").count == 100
    assert rig.histogram("end_to_end").count == 0


def test_a_subscriber_gets_its_topics_counted_each_by_itself(rigs: Rigs) -> None:
    topics = ("eur.spot", "usd", "eur")
    shared = {"pattern": "pub-sub", "topics": topics}
    rig = rigs(
        rigs.producers((rigs.outbound(**shared, weights=(1.0, 2.0, 1.0)),), rate=2000.0),
        rigs.consumers((rigs.inbound(**shared, subscribe=("eur",)),), (rigs.inbound(**shared),)),
    )
    rig.say_hello()
    rig.begin(0.4)
    rig.spin_up()
    while not rig.producers.finished:
        threading.Event().wait(0.01)
    sent = rig.sent()
    rig.wait_for(lambda: received(rig, index=0) == sent[0] + sent[2] and received(rig, index=1) == sum(sent))
    rig.join()
    assert sum(sent) == 800
    assert 300 < sent[1] < 500
    assert rig.rows(index=1) == {(0, t): [sent[t], 1, sent[t], 0, 0] for t in range(3)}
    assert rig.rows(index=0) == {(0, t): [sent[t], 1, sent[t], 0, 0] for t in (0, 2)}
    assert rig.receive_word(probe.BYTES, index=1) == 800 * (8 + 64)
    assert rig.send_word(probe.SENT_BYTES) == 800 * (8 + 64)


def test_many_sockets_in_one_loop_all_get_theirs(rigs: Rigs) -> None:
    count = 70  # more than one call of epoll_wait has room for
    pairs = [f"a -> b{n}" for n in range(count)]
    rig = rigs(
        rigs.producers(*[(rigs.outbound(link=link),) for link in pairs], rate=70.0 * 50),
        rigs.consumers(*[(rigs.inbound(link=link, rows=1),) for link in pairs]),
    )
    rig.run(0.3)
    for n, link in enumerate(pairs):
        assert rig.sent(index=n, link=link) == [15]
        assert rig.rows(index=n, link=link) == {(0, 0): [15, 1, 15, 0, 0]}


def test_producers_of_a_mesh_are_counted_apart(rigs: Rigs) -> None:
    rig = rigs(
        rigs.producers(*[(rigs.outbound(number=n),) for n in (3, 9)], rate=1000.0),
        rigs.consumers((rigs.inbound(),), (rigs.inbound(),)),
    )
    rig.run(0.2)
    rows = [rig.rows(index=n) for n in range(2)]
    for at, number in enumerate((3, 9)):
        assert rig.sent(index=at) == [100]
        assert [row[number, 0][0] for row in rows] == [50, 50]


def test_late_and_missing_messages_are_told_apart(rigs: Rigs) -> None:
    rig = rigs(rigs.consumers((rigs.inbound(),)))
    socket = rig.raw(zmq.PUSH, "b")
    for sequence in (4, 5, 9, 7, 10):
        socket.send(frame(sequence))
    rig.receive(lambda: received(rig) == 5)
    assert rig.rows() == {(0, 0): [5, 5, 11, 2, 1]}


def test_foreign_bytes_are_counted_and_stop_nobody(rigs: Rigs) -> None:
    rig = rigs(rigs.consumers((rigs.inbound(),)))
    socket = rig.raw(zmq.PUSH, "b")
    good = frame(0)
    foreign = [
        b"",
        b"hello",
        good[:39],
        b"X" + good[1:],  # magic
        good[:2] + b"\x09" + good[3:],  # version
        good[:3] + b"\x40" + good[4:],  # a flag that nobody has
        good[:6] + b"\0\0" + good[8:],  # another run
        frame(0, number=5),  # a producer that it does not know
    ]
    for bytes_sent in foreign:
        socket.send(bytes_sent)
    socket.send(good + b"payload")
    rig.receive(lambda: received(rig) == 1)
    assert rig.receive_word(probe.FOREIGN) == len(foreign)
    assert rig.rows() == {(0, 0): [1, 1, 1, 0, 0]}
    assert rig.receive_word(probe.BYTES) == 47


@pytest.mark.parametrize("service", ["0s", "1ms"])
def test_a_flood_of_foreign_bytes_does_not_hold_a_loop_beyond_its_time(rigs: Rigs, service: str) -> None:
    rig = rigs(rigs.consumers((rigs.inbound(receive_hwm=0),), service=service))
    socket = rig.raw(zmq.PUSH, "b")
    for _ in range(20_000):
        socket.send(b"hello")
    rig.receivers().slice(clock.now_ns() + MS // 10)
    assert rig.receive_word(probe.FOREIGN) < 5_000
    rig.receive(lambda: rig.receive_word(probe.FOREIGN) == 20_000)


def test_a_topic_that_the_link_does_not_have_is_foreign(rigs: Rigs) -> None:
    rig = rigs(rigs.consumers((rigs.inbound(topics=("x", "y"), subscribe=("x",)),)))
    socket = rig.raw(zmq.PUSH, "b")
    for topic in (1, 2, 0):  # not subscribed, unknown, known
        socket.send(frame(0, topic=topic, prefix=b"x\0\0\0\0\0\0\0"))
    rig.receive(lambda: received(rig) == 1)
    assert rig.receive_word(probe.FOREIGN) == 2
    assert rig.rows() == {(0, 0): [1, 1, 1, 0, 0]}


def test_a_hello_is_heard_and_never_counted(rigs: Rigs) -> None:
    rig = rigs(rigs.consumers((rigs.inbound(),)))
    socket = rig.raw(zmq.PUSH, "b")
    assert rig.receivers().awaits
    socket.send(frame(0, flags=message.FLAG_HELLO))
    rig.receive(lambda: not rig.receivers().awaits)
    assert rig.rows() == {(0, 0): [0, 0, 0, 0, 0]}
    assert rig.receive_word(probe.FOREIGN) == rig.receive_word(probe.BYTES) == 0
    assert rig.histogram("transit").count == 0


# what is sent


def test_a_header_carries_the_intended_time_the_phase_and_the_sequence(rigs: Rigs) -> None:
    rig = rigs(rigs.producers((rigs.outbound(number=7),), size="uniform(40B, 90B)"))
    socket = rig.raw(zmq.PULL)
    at = rig.begin(0.1, measure_after=0.05)
    rig.produce(130)
    frames = [socket.recv() for _ in range(100)]
    headers = [message.unpack(bytes_received) for bytes_received in frames]
    sizes = [len(bytes_received) for bytes_received in frames]
    assert min(sizes) >= 40
    assert max(sizes) <= 90
    assert len(set(sizes)) > 20
    assert rig.send_word(probe.SENT_BYTES) == sum(sizes)
    for n, header in enumerate(headers):
        assert header is not None
        assert header.producer == RUN_NUMBER << 16 | 7
        assert (header.topic, header.sequence) == (0, n)
        assert header.intended_ns == header.origin_ns == at + n * MS
        assert header.sent_ns >= header.intended_ns
        assert header.flags == (message.FLAG_MEASURE if n >= 50 else 0)


def test_a_topic_stands_before_the_header_padded_to_the_longest(rigs: Rigs) -> None:
    shared = {"pattern": "pub-sub", "topics": ("a", "a-longer-topic")}
    rig = rigs(rigs.producers((rigs.outbound(**shared, weights=(1.0, 1.0)),)))
    socket = rig.plain(zmq.SUB)
    socket.setsockopt(zmq.SUBSCRIBE, b"")
    socket.setsockopt(zmq.RCVTIMEO, 10_000)
    socket.connect(rig.producers.members[0].senders[0].endpoint)
    rig.producers.members[0].senders[0].hello()
    while not socket.poll(10):
        rig.producers.members[0].senders[0].hello()
    rig.begin(0.1)
    rig.produce(130)
    sequences = [0, 0]
    while sum(sequences) < 100:
        bytes_received = socket.recv()
        header = message.unpack(bytes_received, 16)
        assert header is not None
        if header.flags & message.FLAG_HELLO:
            continue
        assert bytes_received[:16] == shared["topics"][header.topic].encode().ljust(16, b"\0")
        assert len(bytes_received) == 16 + 64
        assert header.sequence == sequences[header.topic]
        sequences[header.topic] += 1
    assert sequences == rig.sent()


def test_a_message_goes_out_on_every_link(rigs: Rigs) -> None:
    links = ("a -> b", "a -> c")
    rig = rigs(
        rigs.producers(tuple(rigs.outbound(link=link) for link in links)),
        rigs.consumers((rigs.inbound(),)),
        rigs.consumers((rigs.inbound(link="a -> c"),), node="c"),
    )
    rig.run(0.1)
    for link, node in zip(links, "bc", strict=True):
        assert rig.sent(link=link) == [100]
        assert rig.rows(node, link=link) == {(0, 0): [100, 1, 100, 0, 0]}


def test_batches_above_the_rate_of_sleeping_send_everything(rigs: Rigs) -> None:
    rig = rigs(rigs.producers((rigs.outbound(),), rate=30_000.0), rigs.consumers((rigs.inbound(),)))
    rig.run(0.3)
    assert rig.sent() == [9000]
    assert rig.send_word(probe.DUE) == 9000
    assert rig.rows() == {(0, 0): [9000, 1, 9000, 0, 0]}


# no room


def test_a_refused_send_is_not_counted_and_its_wait_is(rigs: Rigs) -> None:
    rig = rigs(rigs.producers((rigs.outbound(),)))
    at = rig.begin(0.05)
    rig.produce(60)
    assert rig.sent() == [0]
    assert rig.send_word(probe.SENT_BYTES) == 0
    assert rig.send_word(probe.DUE) == 50
    since = rig.send_word(probe.BLOCKED_SINCE)
    assert since >= at
    rig.produce(5)
    assert rig.send_word(probe.BLOCKED_SINCE) == since
    rig.producers.finish(at + 50 * MS)
    rig.producers.settle(at + 60 * MS)
    assert rig.send_word(probe.DUE) == 50
    assert rig.send_word(probe.BLOCKED_SINCE) == 0
    assert rig.send_word(probe.CENSORED) == 50
    assert rig.send_word(probe.CENSORED_NS) == 11 * MS
    assert rig.histogram("blocked").count == rig.histogram("lateness").count == 0


def test_a_blocked_spell_is_back_pressure_and_no_lateness(rigs: Rigs) -> None:
    rig = rigs(rigs.producers((rigs.outbound(),)))
    at = rig.begin(0.3)
    rig.produce(100)
    assert rig.sent() == [0]
    socket = rig.raw(zmq.PULL)
    rig.produce(250)
    assert rig.sent() == [300]
    assert [message.unpack(socket.recv()).sequence for _ in range(300)] == list(range(300))  # type: ignore[union-attr]
    assert rig.send_word(probe.SPELLS) == 1
    assert rig.send_word(probe.BLOCKED_SINCE) == 0
    blocked = rig.histogram("blocked")
    assert blocked.count == 300
    assert blocked.sum_ns == blocked.max_ns == rig.send_word(probe.BLOCKED_NS)
    assert 95 * MS < blocked.max_ns < clock.now_ns() - at
    # what fell due meanwhile counts from the spell's end
    assert rig.histogram("lateness").count == 300
    assert rig.histogram("lateness").max_ns < 80 * MS


def test_of_two_links_the_blocked_one_holds_the_message(rigs: Rigs) -> None:
    rig = rigs(
        rigs.producers((rigs.outbound(), rigs.outbound(link="a -> c"))), rigs.consumers((rigs.inbound(),))
    )
    rig.begin(0.05)
    while rig.sent() == [0]:
        rig.produce(10)
    rig.produce(20)
    assert rig.sent() == [1]
    assert rig.sent(link="a -> c") == [0]
    assert rig.send_word(probe.BLOCKED_SINCE, link="a -> c") > 0


def test_one_blocked_instance_does_not_hold_up_another(rigs: Rigs) -> None:
    rig = rigs(
        rigs.producers((rigs.outbound(link="a -> c"),), (rigs.outbound(),), rate=200.0),
        rigs.consumers((rigs.inbound(),)),
    )
    rig.say_hello()
    rig.begin(0.1)
    rig.produce(120)
    assert rig.sent(index=0, link="a -> c") == [0]
    assert rig.sent(index=1) == [10]
    socket = rig.raw(zmq.PULL)
    rig.produce(100)
    assert rig.sent(index=0, link="a -> c") == [10]
    assert len([socket.recv() for _ in range(10)]) == 10


# closed loop


@pytest.mark.parametrize(("size", "instances"), [("64B", 1), ("64B", 3), ("uniform(40B, 2KiB)", 1)], ids=str)
def test_a_closed_loop_is_due_when_it_is_sent(rigs: Rigs, size: str, instances: int) -> None:
    rig = rigs(
        rigs.producers(*[(rigs.outbound(number=n),) for n in range(instances)], rate=None, size=size),
        rigs.consumers((rigs.inbound(),)),
    )
    rig.run(0.2, measure_after=0.1)
    sent = [rig.sent(index=n)[0] for n in range(instances)]
    assert min(sent) > 1000
    assert [rig.send_word(probe.DUE, index=n) for n in range(instances)] == sent
    assert rig.rows() == {(n, 0): [count, 1, count, 0, 0] for n, count in enumerate(sent)}
    for duration in ("lateness", "response", "end_to_end"):
        assert rig.histogram(duration).count == 0, duration
    for duration in ("blocked", "transit"):
        assert rig.histogram(duration).count == sum(sent), duration
        assert rig.histogram(duration, "warm-up").count > 0, duration
        assert rig.histogram(duration, "measure").count > 0, duration


def test_a_closed_loop_publishes_by_weight(rigs: Rigs) -> None:
    shared = {"pattern": "pub-sub", "topics": ("x", "y")}
    rig = rigs(rigs.producers((rigs.outbound(**shared, weights=(3.0, 1.0)),), rate=None))
    rig.begin()
    rig.produce(50)
    sent = rig.sent()
    assert sum(sent) > 1000
    assert 0.7 < sent[0] / sum(sent) < 0.8
    assert rig.send_word(probe.DUE) == sum(sent)


def test_a_closed_loop_message_that_nobody_takes_was_never_due(rigs: Rigs) -> None:
    rig = rigs(rigs.producers((rigs.outbound(),), rate=None))
    rig.begin()
    rig.produce(20)
    assert rig.send_word(probe.DUE) == 1
    rig.producers.finish(clock.now_ns())
    rig.producers.settle(clock.now_ns())
    assert rig.send_word(probe.DUE) == 0
    assert rig.sent() == [0]


# service


def test_service_runs_back_to_back_on_a_virtual_clock(rigs: Rigs) -> None:
    rig = rigs(rigs.consumers((rigs.inbound(),), service="2ms"))
    socket = rig.raw(zmq.PUSH, "b")
    at = clock.now_ns()
    for sequence in range(20):
        socket.send(frame(sequence, at_ns=at))
    rig.receive(lambda: rig.receive_word(probe.WORKED_OFF) == 20)
    service, response = rig.histogram("service"), rig.histogram("response")
    assert service.count == 20
    assert (service.sum_ns, service.max_ns) == (40 * MS, 2 * MS)
    assert rig.instance(probe.BUSY_NS, "b") == 40 * MS
    # whatever each sleep overshot: service n ends 2 ms after service n - 1
    first_start = response.max_ns - 40 * MS
    assert response.sum_ns == 20 * first_start + 2 * MS * sum(range(1, 21))
    assert rig.histogram("transit").count == rig.histogram("end_to_end").count == 20
    rig.receive(lambda: rig.instance(probe.IDLE, "b") == 1)


def test_a_message_that_found_the_consumer_idle_starts_when_received(rigs: Rigs) -> None:
    rig = rigs(rigs.consumers((rigs.inbound(),), service="1ms"))
    socket = rig.raw(zmq.PUSH, "b")
    for sequence in range(3):
        rig.receive(lambda n=sequence: rig.receive_word(probe.WORKED_OFF) == n)
        for _ in range(2):
            rig.receivers().slice(clock.now_ns() + MS)
        socket.send(frame(sequence, at_ns=clock.now_ns()))
    rig.receive(lambda: rig.receive_word(probe.WORKED_OFF) == 3)
    assert rig.histogram("response").sum_ns == rig.histogram("transit").sum_ns + 3 * MS


def test_consumers_that_share_a_loop_serve_at_the_same_time(rigs: Rigs) -> None:
    rig = rigs(rigs.consumers(*[(rigs.inbound(),) for _ in range(4)], service="50ms"))
    sockets = [rig.raw(zmq.PUSH, "b", index) for index in range(4)]
    for socket in sockets:
        socket.send(frame(0, at_ns=clock.now_ns()))
    began = clock.now_ns()
    rig.receive(lambda: all(rig.receive_word(probe.WORKED_OFF, index=n) == 1 for n in range(4)))
    assert [rig.instance(probe.BUSY_NS, "b", n) for n in range(4)] == [50 * MS] * 4
    assert rig.histogram("response").max_ns < 100 * MS
    assert clock.now_ns() - began >= 50 * MS


def test_an_instance_asks_its_links_in_turn(rigs: Rigs) -> None:
    rig = rigs(rigs.consumers((rigs.inbound(), rigs.inbound(link="x -> b")), service="1ms"))
    socket = rig.raw(zmq.PUSH, "b")
    other = rig.plain(zmq.PUSH)
    port = other.bind_to_random_port("tcp://127.0.0.1")
    rig.receivers().members[0].receivers[1].connect(0, f"tcp://127.0.0.1:{port}")
    rig.receivers().rows_changed()
    for sequence in range(30):
        socket.send(frame(sequence, at_ns=clock.now_ns()))
        other.send(frame(sequence, at_ns=clock.now_ns()))
    for end in rig.receivers().members[0].receivers:
        assert end.socket.poll(5000)
    rig.receive(lambda: rig.receive_word(probe.WORKED_OFF) >= 10)
    assert abs(rig.receive_word(probe.WORKED_OFF) - rig.receive_word(probe.WORKED_OFF, link="x -> b")) <= 1


def test_a_worker_sends_on_what_it_has_worked_off(rigs: Rigs) -> None:
    rig = rigs(
        rigs.producers((rigs.outbound(),), rate=200.0),
        rigs.worker(rigs.inbound(terminal=False), rigs.outbound(link="b -> c", number=2), service="1ms"),
        rigs.consumers((rigs.inbound(link="b -> c"),), node="c"),
    )
    rig.run(0.2)
    assert rig.sent() == [40]
    assert rig.receive_word(probe.WORKED_OFF) == 40
    assert rig.send_word(probe.DUE, "b", link="b -> c") == 40
    assert rig.sent("b", link="b -> c") == [40]
    assert rig.send_word(probe.SENT_BYTES, "b", link="b -> c") == 40 * 100
    assert rig.rows("c", link="b -> c") == {(2, 0): [40, 1, 40, 0, 0]}
    assert rig.histogram("service").sum_ns == 40 * MS
    first, last = rig.histogram("response"), rig.histogram("response", link="b -> c")
    assert rig.histogram("end_to_end").count == 0
    # the output is intended when the service ends, and carries the origin's intended time
    assert rig.histogram("end_to_end", link="b -> c").sum_ns == first.sum_ns + last.sum_ns


def test_a_worker_that_cannot_send_takes_nothing_more(rigs: Rigs) -> None:
    rig = rigs(rigs.worker(rigs.inbound(), rigs.outbound(link="b -> c")))
    socket = rig.raw(zmq.PUSH, "b")
    for sequence in range(5):
        socket.send(frame(sequence, at_ns=clock.now_ns()))
    rig.receive(lambda: rig.send_word(probe.BLOCKED_SINCE, "b", link="b -> c") > 0)
    for _ in range(5):
        rig.receivers().slice(clock.now_ns() + 2 * MS)
    assert received(rig) == rig.receive_word(probe.WORKED_OFF) == 1
    assert rig.sent("b", link="b -> c") == [0]
    assert rig.send_word(probe.DUE, "b", link="b -> c") == 1
    tail = rig.raw(zmq.PULL, "b")
    rig.receive(lambda: rig.sent("b", link="b -> c") == [5])
    assert received(rig) == rig.receive_word(probe.WORKED_OFF) == 5
    headers = [message.unpack(tail.recv()) for _ in range(5)]
    spell = rig.send_word(probe.BLOCKED_NS, "b", link="b -> c")
    assert rig.send_word(probe.SPELLS, "b", link="b -> c") == 1
    # nothing is served while the worker is blocked
    assert headers[1] is not None
    assert headers[0] is not None
    assert headers[1].intended_ns - headers[0].intended_ns >= spell


def test_a_message_of_a_closed_loop_has_no_response_further_on(rigs: Rigs) -> None:
    rig = rigs(
        rigs.producers((rigs.outbound(send_hwm=10),), rate=None),
        rigs.worker(rigs.inbound(receive_hwm=10), rigs.outbound(link="b -> c"), service="0"),
        rigs.consumers((rigs.inbound(link="b -> c"),), node="c"),
    )
    rig.run(0.1)
    assert rig.sent() == rig.sent("b", link="b -> c")
    for link in ("a -> b", "b -> c"):
        assert rig.histogram("response", link=link).count == 0
        assert rig.histogram("end_to_end", link=link).count == 0
        assert rig.histogram("transit", link=link).count == rig.sent()[0]
    assert rig.histogram("service").count == rig.sent()[0]


# live changes


def test_a_paused_producer_accrues_nothing(rigs: Rigs) -> None:
    rig = rigs(rigs.producers((rigs.outbound(),)), rigs.consumers((rigs.inbound(),)))
    rig.say_hello()
    rig.begin()
    rig.produce(50)
    rig.producers.pause(clock.now_ns())
    due = rig.send_word(probe.DUE)
    rig.produce(50)
    assert rig.send_word(probe.DUE) - due <= 1  # between the count and the pause
    assert rig.sent() == [rig.send_word(probe.DUE)]
    assert rig.instance(probe.STATE, "a") == probe.STATES.index("paused")
    rig.producers.resume(clock.now_ns())
    rig.produce(50)
    assert rig.send_word(probe.DUE) > due + 20
    assert rig.instance(probe.STATE, "a") == RUNNING


def test_a_paused_closed_loop_is_silent(rigs: Rigs) -> None:
    rig = rigs(rigs.producers((rigs.outbound(pattern="pub-sub"),), rate=None))
    rig.begin()
    rig.produce(10)
    rig.producers.pause(clock.now_ns())
    sent = rig.sent()
    rig.produce(10)
    assert rig.sent() == sent
    rig.producers.resume(clock.now_ns())
    rig.produce(10)
    assert rig.sent() > sent


def test_a_paused_consumer_does_not_catch_up_on_the_time_it_missed(rigs: Rigs) -> None:
    rig = rigs(rigs.consumers((rigs.inbound(),), service="1ms"))
    socket = rig.raw(zmq.PUSH, "b")
    socket.send(frame(0, at_ns=clock.now_ns()))
    rig.receive(lambda: rig.receive_word(probe.WORKED_OFF) == 1)
    before = rig.histogram("response").sum_ns
    rig.receivers().pause(clock.now_ns())
    at = clock.now_ns()
    for sequence in range(1, 4):
        socket.send(frame(sequence, at_ns=at))
    for _ in range(10):
        rig.receivers().slice(clock.now_ns() + 2 * MS)
    assert received(rig) == 1
    resumed = clock.now_ns()
    rig.receivers().resume(resumed)
    rig.receive(lambda: rig.receive_word(probe.WORKED_OFF) == 4)
    waited = rig.histogram("response").sum_ns - before
    assert waited >= 3 * (resumed - at) + (1 + 2 + 3) * MS


def test_a_change_of_service_takes_effect_and_leaves_nothing_behind(rigs: Rigs) -> None:
    rig = rigs(rigs.consumers((rigs.inbound(),), service="1ms"))
    socket = rig.raw(zmq.PUSH, "b")
    for sequence in range(10):
        socket.send(frame(sequence, at_ns=clock.now_ns()))
    rig.receive(lambda: rig.receive_word(probe.WORKED_OFF) >= 3)
    rig.receivers().change(Command(do="set", service="0"), clock.now_ns())
    rig.receive(lambda: rig.receive_word(probe.WORKED_OFF) == 10)
    rig.receivers().change(Command(do="set", service="3ms"), clock.now_ns())
    served = rig.instance(probe.BUSY_NS, "b")
    for sequence in range(10, 12):
        socket.send(frame(sequence, at_ns=clock.now_ns()))
    rig.receive(lambda: rig.receive_word(probe.WORKED_OFF) == 12)
    assert rig.instance(probe.BUSY_NS, "b") == served + 6 * MS
    assert rig.rows() == {(0, 0): [12, 1, 12, 0, 0]}


@pytest.mark.parametrize("rate", [1000.0, None], ids=["open", "closed"])
def test_a_change_of_size_takes_effect_on_the_next_message(rigs: Rigs, rate: float | None) -> None:
    rig = rigs(rigs.producers((rigs.outbound(pattern="pub-sub"),), rate=rate))
    rig.begin()
    rig.produce(20)
    count, sent_bytes = rig.sent()[0], rig.send_word(probe.SENT_BYTES)
    assert sent_bytes == count * 64
    rig.producers.change(Command(do="set", size="3000B"), clock.now_ns())
    rig.produce(20)
    assert rig.sent()[0] > count
    assert rig.send_word(probe.SENT_BYTES) - sent_bytes == (rig.sent()[0] - count) * 3000


def test_a_change_of_rate_keeps_what_is_due(rigs: Rigs) -> None:
    rig = rigs(rigs.producers((rigs.outbound(),), rate=1000.0))
    rig.begin()
    rig.produce(50)  # nobody receives: 50 are due
    rig.producers.change(Command(do="set", rate=10.0), clock.now_ns())
    rig.producers.count_due(clock.now_ns())
    due = rig.send_word(probe.DUE)
    assert due >= 50
    socket = rig.raw(zmq.PULL)
    rig.produce(100)
    assert due <= rig.sent()[0] <= due + 5
    times = [message.unpack(socket.recv()).intended_ns for _ in range(50)]  # type: ignore[union-attr]
    assert [b - a for a, b in itertools.pairwise(times)] == [MS] * 49


def test_a_closed_loop_becomes_an_open_one_and_back(rigs: Rigs) -> None:
    rig = rigs(rigs.producers((rigs.outbound(),), rate=None), rigs.consumers((rigs.inbound(),)))
    rig.say_hello()
    rig.begin()
    rig.produce(10)  # until the pipes are full
    rig.producers.change(Command(do="set", rate=1000.0), clock.now_ns())
    rig.produce(20)
    rig.producers.change(Command(do="set", maximum=True), clock.now_ns())
    rig.spin_up()
    threading.Event().wait(0.05)
    rig.producers.until_ns = clock.now_ns()
    rig.drain()
    assert rig.send_word(probe.DUE) == rig.sent()[0]
    assert rig.rows() == {(0, 0): [rig.sent()[0], 1, rig.sent()[0], 0, 0]}
    assert 15 <= rig.histogram("lateness").count <= 25


def test_a_halted_producer_ends_alone(rigs: Rigs) -> None:
    rig = rigs(
        rigs.producers(*[(rigs.outbound(number=n),) for n in range(2)], rate=1000.0),
        rigs.consumers((rigs.inbound(),)),
    )
    rig.say_hello()
    rig.begin()
    rig.produce(40)
    rig.producers.halt(0, clock.now_ns())
    sent = [rig.sent(index=n)[0] for n in range(2)]
    rig.produce(40)
    assert rig.sent(index=0) == [sent[0]]
    assert rig.sent(index=1)[0] >= sent[1] + 15
    assert [rig.instance(probe.STATE, "a", n) for n in range(2)] == [STOPPED, RUNNING]


def test_a_halted_consumer_ends_alone(rigs: Rigs) -> None:
    rig = rigs(rigs.consumers((rigs.inbound(),), (rigs.inbound(),)))
    sockets = [rig.raw(zmq.PUSH, "b", index) for index in range(2)]
    for socket in sockets:
        socket.send(frame(0))
    rig.receive(lambda: received(rig, index=0) == received(rig, index=1) == 1)
    rig.receivers().halt(0, clock.now_ns())
    sockets[1].send(frame(1))
    rig.receive(lambda: received(rig, index=1) == 2)
    assert received(rig, index=0) == 1
    assert rig.instance(probe.STATE, "b", 0) == STOPPED


def test_a_consumer_learns_of_a_producer_while_it_runs(rigs: Rigs) -> None:
    rig = rigs(rigs.consumers((rigs.inbound(),)))
    socket = rig.raw(zmq.PUSH, "b")
    socket.send(frame(0))
    rig.receive(lambda: received(rig) == 1)
    late = rig.plain(zmq.PUSH)
    port = late.bind_to_random_port("tcp://127.0.0.1")
    rig.receivers().members[0].receivers[0].connect(12, f"tcp://127.0.0.1:{port}")
    rig.receivers().rows_changed()
    late.send(frame(0, number=12, flags=message.FLAG_HELLO))
    late.send(frame(0, number=12))
    rig.receive(lambda: received(rig) == 2)
    assert rig.receivers().members[0].receivers[0].awaited == {0}
    assert rig.rows() == {(0, 0): [1, 1, 1, 0, 0], (12, 0): [1, 1, 1, 0, 0]}


def test_a_loop_ends_with_an_error_when_its_context_ends(rigs: Rigs) -> None:
    rig = rigs(rigs.producers((rigs.outbound(),), rate=None), rigs.consumers((rigs.inbound(),)))
    rig.begin()
    ending = threading.Thread(target=rig.context.term)
    ending.start()
    with pytest.raises((CannotRun, zmq.ContextTerminated)):
        rig.receive(lambda: False)
    with pytest.raises((CannotRun, zmq.ContextTerminated)):
        rig.produce(1000)
    for member in rig.members():
        for end in (*member.senders, *member.receivers):
            end.socket.close(0)
    ending.join()


def test_descriptors_above_what_select_takes_are_waited_for(
    rigs: Rigs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver, "SELECT_LIMIT", 0)
    rig = rigs(rigs.consumers((rigs.inbound(),), (rigs.inbound(),), service="1ms"))
    sockets = [rig.raw(zmq.PUSH, "b", index) for index in range(2)]
    rig.receive(lambda: rig.instance(probe.IDLE, "b", 0) == 1)
    for socket in sockets:
        socket.send(frame(0, at_ns=clock.now_ns()))
    rig.receive(lambda: received(rig, index=0) == received(rig, index=1) == 1)

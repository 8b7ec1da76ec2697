from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mqviz.telemetry.ledger import LinkTotals
from mqviz.telemetry.probe import InstancePlan, ReceivePlan, SendPlan
from mqviz.telemetry.pub_sub import covered, path_holds
from mqviz.telemetry.topology import LinkInfo

LINK = "prices -> ledger"
BOTH = ("eur", "usd")


def losses(totals: LinkTotals) -> dict[str, int]:
    return {cause: count for cause, count in totals.lost.items() if count}


def closes(totals: LinkTotals) -> bool:
    return totals.sent == totals.received + totals.in_flight + sum(totals.lost.values())


def subscribe(run, name: str, *prefixes: str, incarnation: int = 0) -> None:
    node = name.rsplit(".", 1)[0]
    run.mark(
        "birth",
        instance=name,
        node=node,
        incarnation=incarnation,
        runner="r1",
        subscribe={LINK: list(prefixes)},
    )


def test_a_publication_is_owed_once_to_each_subscriber(fakes):
    run = fakes.pub_sub(subscribers=3)
    run.send(LINK, 0, 10)
    for name in ("ledger.0", "ledger.1"):
        for sequence in range(10):
            run.receive(LINK, name, 0, sequence)
    run.report()
    totals = run.store.totals(LINK)
    assert (totals.published, totals.sent, totals.received, totals.in_flight) == (10, 30, 20, 10)
    assert {n: (t.sent, t.received, t.in_flight) for n, t in run.store.subscribers(LINK).items()} == {
        "ledger.0": (10, 10, 0),
        "ledger.1": (10, 10, 0),
        "ledger.2": (10, 0, 10),
    }


def test_head_is_slow_joiner_and_inner_gap_is_hwm_at_once(fakes):
    run = fakes.pub_sub()
    run.send(LINK, 0, 20)
    for sequence in (3, 4, 10):
        run.receive(LINK, "ledger.0", 0, sequence)
    run.report()
    totals = run.store.totals(LINK)
    assert losses(totals) == {"slow-joiner": 3, "hwm": 5}
    assert totals.in_flight == 9
    assert closes(totals)


def test_owed_begins_with_the_join_mark(fakes):
    run = fakes.pub_sub()
    run.mark("join", link=LINK, producer=0, subscriber="ledger.0", start=[100])
    run.send(LINK, 0, 110)
    run.receive(LINK, "ledger.0", 0, 102)
    run.report()
    totals = run.store.totals(LINK)
    assert (totals.sent, losses(totals)) == (110, {"slow-joiner": 2, "no-subscriber": 100})
    assert run.store.subscribers(LINK)["ledger.0"].sent == 10


@pytest.mark.parametrize(
    ("prefixes", "owed"),
    [(("",), 7), (("eur",), 4), (("e", "eu"), 4), (("us", "e"), 7), (("gbp",), 0), ((), 0)],
    ids=["everything", "one topic", "overlapping", "both", "another", "nothing"],
)
def test_topics_match_by_prefix(fakes, prefixes, owed):
    run = fakes.pub_sub(topics=BOTH)
    subscribe(run, "ledger.0", *prefixes)
    run.send(LINK, 0, 4, topic=0)
    run.send(LINK, 0, 3, topic=1)
    run.report()
    assert run.store.subscribers(LINK)["ledger.0"].sent == owed
    totals = run.store.totals(LINK)
    assert losses(totals) == ({"no-subscriber": 7 - owed} if owed < 7 else {})
    assert totals.sent == 7


def test_sequence_numbers_of_one_topic_are_no_gap_in_another(fakes):
    run = fakes.pub_sub(publishers=2, topics=BOTH)
    for number in (0, 1):
        for topic in (0, 1):
            run.send(LINK, number, 3, topic=topic)
            for sequence in range(3):
                run.receive(LINK, "ledger.0", number, sequence, topic)
    run.report()
    totals = run.store.totals(LINK)
    assert (totals.sent, totals.received, losses(totals)) == (12, 12, {})


def test_behind_a_drained_end_the_rest_is_hwm(fakes):
    run = fakes.pub_sub()
    run.send(LINK, 0, 10)
    run.receive(LINK, "ledger.0", 0, 0)
    run.end()
    assert losses(run.store.totals(LINK)) == {"hwm": 9}


def test_who_never_heard_of_a_publisher_was_a_slow_joiner(fakes):
    run = fakes.pub_sub(publishers=2, topics=BOTH)
    for number in (0, 1):
        for topic in (0, 1):
            run.send(LINK, number, 5, topic=topic)
    for sequence in range(5):
        run.receive(LINK, "ledger.0", 1, sequence, topic=0)
    run.end()
    # nothing of publisher 0; of publisher 1 one topic, so the other was dropped
    assert losses(run.store.totals(LINK)) == {"slow-joiner": 10, "hwm": 5}


@pytest.mark.parametrize(("cause", "lost"), [("peer-death", "peer-death"), ("linger", "linger")])
def test_of_the_rest_of_an_undrained_end_the_path_holds_only_so_much(fakes, cause, lost):
    run = fakes.pub_sub(send_hwm=10, receive_hwm=20)
    run.send(LINK, 0, 2_000_000, size=100)
    run.receive(LINK, "ledger.0", 0, 0)
    run.report()
    holds = path_holds(run.topology.links[0], 100)
    live = run.store.totals(LINK)
    assert (live.in_flight, losses(live)) == (holds, {"unresolved": 1_999_999 - holds})
    run.die("ledger.0", cause)
    run.report()
    assert losses(run.store.totals(LINK)) == {lost: holds, "hwm": 1_999_999 - holds}


def test_a_path_without_a_limit_holds_all_of_it(fakes):
    run = fakes.pub_sub(send_hwm=0)
    run.send(LINK, 0, 5_000_000)
    run.receive(LINK, "ledger.0", 0, 0)
    run.report()
    assert run.store.totals(LINK).in_flight == 4_999_999


@pytest.mark.parametrize(
    ("transport", "holds"),
    [("inproc", 30), ("ipc", 30 + (2**20 + 2**14) // 1000), ("tcp", 30 + (36 * 2**20 + 2**14) // 1000)],
)
def test_a_path_holds_both_marks_and_the_kernels_buffers(transport, holds):
    link = LinkInfo("a", "b", "pub-sub", transport, send_hwm=10, receive_hwm=20)
    assert path_holds(link, 1000) == holds


def test_to_the_dead_nothing_more_is_owed_after_the_first_reading(fakes):
    run = fakes.pub_sub(subscribers=2)
    run.send(LINK, 0, 10)
    run.report()
    run.die("ledger.1")
    run.send(LINK, 0, 5)
    run.report()
    run.send(LINK, 0, 85)
    run.report()
    owed = {name: totals.sent for name, totals in run.store.subscribers(LINK).items()}
    assert owed == {"ledger.0": 100, "ledger.1": 15}


def test_between_a_death_and_the_next_reading_the_rest_is_unresolved(fakes):
    run = fakes.pub_sub()
    run.send(LINK, 0, 10)
    run.report()
    run.die("ledger.0")
    assert losses(run.store.totals(LINK)) == {"unresolved": 10}
    run.report()
    assert losses(run.store.totals(LINK)) == {"peer-death": 10}


def test_the_leave_mark_says_exactly_where_owed_ends(fakes):
    run = fakes.pub_sub(subscribers=2)
    run.send(LINK, 0, 10)
    run.report()
    run.die("ledger.1")
    run.mark("leave", link=LINK, producer=0, subscriber="ledger.1", end=[12], cause="peer-death")
    run.send(LINK, 0, 90)
    run.report()
    found = run.store.subscribers(LINK)["ledger.1"]
    assert (found.sent, losses(found)) == (12, {"peer-death": 12})


def test_a_message_that_came_after_the_counter_was_read_at_leave_was_owed(fakes):
    run = fakes.pub_sub()
    run.send(LINK, 0, 10)
    for sequence in range(8):
        run.receive(LINK, "ledger.0", 0, sequence)
    run.mark("leave", link=LINK, producer=0, subscriber="ledger.0", end=[5], cause="linger")
    run.report()
    totals = run.store.totals(LINK)
    assert (totals.received, losses(totals)) == (8, {"no-subscriber": 2})
    assert closes(totals)


def test_publications_while_nobody_was_there_are_no_subscriber(fakes):
    run = fakes.pub_sub()
    run.mark("join", link=LINK, producer=0, subscriber="ledger.0", start=[0])
    run.send(LINK, 0, 100)
    for sequence in range(100):
        run.receive(LINK, "ledger.0", 0, sequence)
    run.report()
    run.die("ledger.0")
    run.mark("leave", link=LINK, producer=0, subscriber="ledger.0", end=[100], cause="peer-death")
    run.send(LINK, 0, 40)
    run.report()
    run.add("r2", [InstancePlan("ledger", 0, 1, (ReceivePlan(LINK, 4, True),))])
    run.mark("join", link=LINK, producer=0, subscriber="ledger.0", incarnation=1, start=[140])
    run.send(LINK, 0, 10)
    for sequence in range(140, 150):
        run.receive(LINK, "ledger.0", 0, sequence, incarnation=1)
    run.end()
    totals = run.store.totals(LINK)
    assert (totals.sent, totals.received, losses(totals)) == (150, 110, {"no-subscriber": 40})
    found = run.store.subscribers(LINK)["ledger.0"]
    assert (found.sent, found.received, losses(found)) == (110, 110, {})


def test_a_publisher_that_came_after_a_subscribers_death_never_owed_it(fakes):
    run = fakes.pub_sub(subscribers=2)
    run.send(LINK, 0, 10)
    run.die("ledger.1")
    run.report()
    run.add("r2", [InstancePlan("prices", 0, 1, (), (SendPlan(LINK, 7, 1),))])
    run.send(LINK, 7, 30)
    run.report()
    owed = {name: totals.sent for name, totals in run.store.subscribers(LINK).items()}
    assert owed == {"ledger.0": 40, "ledger.1": 10}


def test_who_joined_some_publishers_is_owed_nothing_by_the_others(fakes):
    run = fakes.pub_sub(publishers=2, subscribers=2)
    for pair in (0, 1):
        run.mark("join", link=LINK, producer=pair, subscriber=f"ledger.{pair}", start=[0])
    run.send(LINK, 0, 10)
    run.send(LINK, 1, 20)
    run.report()
    owed = {name: totals.sent for name, totals in run.store.subscribers(LINK).items()}
    assert owed == {"ledger.0": 10, "ledger.1": 20}
    assert losses(run.store.totals(LINK)) == {}


def test_a_killed_publishers_rest_is_unresolved_then_peer_death(fakes):
    run = fakes.pub_sub(publishers=2)
    for number in (0, 1):
        run.send(LINK, number, 10)
        run.receive(LINK, "ledger.0", number, 0)
    run.report()
    run.die("prices.0")
    run.report()
    totals = run.store.totals(LINK)
    assert (totals.in_flight, losses(totals)) == (9, {"unresolved": 9})
    run.end()
    assert losses(run.store.totals(LINK)) == {"peer-death": 9, "hwm": 9}


def test_behind_an_end_that_was_not_drained_the_rest_is_linger(fakes):
    run = fakes.pub_sub()
    run.send(LINK, 0, 10)
    run.receive(LINK, "ledger.0", 0, 0)
    run.end(drained=False)
    assert losses(run.store.totals(LINK)) == {"linger": 9}


def test_gaps_of_a_conflating_link_are_by_design(fakes):
    run = fakes.pub_sub(conflate=True)
    run.send(LINK, 0, 10)
    for sequence in (0, 4, 7):
        run.receive(LINK, "ledger.0", 0, sequence)
    run.end()
    assert losses(run.store.totals(LINK)) == {"conflated": 7}


def test_a_publisher_without_any_subscriber_loses_all_to_no_subscriber(fakes):
    run = fakes.pub_sub(subscribers=0)
    run.send(LINK, 0, 10)
    run.report()
    totals = run.store.totals(LINK)
    assert (totals.sent, totals.in_flight, losses(totals)) == (10, 0, {"no-subscriber": 10})


def test_a_row_of_a_publisher_that_is_not_known_yet_changes_no_other_row(fakes):
    run = fakes.pub_sub()
    run.send(LINK, 0, 5)
    for sequence in range(5):
        run.receive(LINK, "ledger.0", 0, sequence)
    run.receive(LINK, "ledger.0", 9, 0)
    run.report()
    assert losses(run.store.totals(LINK)) == {}
    run.add("r2", [InstancePlan("prices", 1, 0, (), (SendPlan(LINK, 9, 1),))])
    run.send(LINK, 9, 1)
    run.report()
    totals = run.store.totals(LINK)
    assert (totals.sent, totals.received, losses(totals)) == (6, 6, {})


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30), st.integers(0, 30)), max_size=8))
def test_the_union_of_what_was_owed_counts_each_publication_once(spans):
    groups, starts, ends = (np.array([span[i] for span in spans], np.int64) for i in range(3))
    expected = [{n for g, a, b in spans if g == group for n in range(a, b)} for group in range(3)]
    assert covered(starts, ends, groups, 3).tolist() == [len(each) for each in expected]


# A model that knows the fate of every message, with two publishers, two topics, three subscribers.

steps = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.integers(0, 1), st.integers(0, 1)),
        st.tuples(st.just("publish"), st.integers(0, 1), st.integers(0, 1)),
        st.tuples(st.just("drop"), st.integers(0, 2), st.integers(0, 1)),
        st.tuples(st.just("deliver"), st.integers(0, 2), st.integers(1, 30)),
        st.tuples(st.just("report"), st.just(0), st.just(0)),
        st.tuples(st.just("leave"), st.integers(0, 2), st.integers(0, 1)),
        st.tuples(st.just("return"), st.integers(0, 2), st.just(0)),
    ),
    max_size=80,
)
PREFIXES = {0: [""], 1: ["eur"], 2: ["usd", "gbp"]}


class Model:
    """Publications, and the queue of each subscriber."""

    def __init__(self, fakes) -> None:
        self.run = fakes.pub_sub(publishers=2, subscribers=3, topics=BOTH)
        self.published = {(p, t): 0 for p in (0, 1) for t in (0, 1)}
        self.queues: dict[int, list[tuple[int, int, int]]] = {}
        self.incarnation = dict.fromkeys(range(3), -1)
        self.heard: dict[int, set[tuple[int, int]]] = {}
        self.received = dict.fromkeys(range(3), 0)
        self.owed = dict.fromkeys(range(3), 0)
        self.nobody = 0
        self.pipe_full: set[tuple[int, int]] = set()
        for which in range(3):
            self.join(which)

    def join(self, which: int) -> None:
        run = self.run
        self.incarnation[which] += 1
        incarnation = self.incarnation[which]
        if incarnation:
            plan = InstancePlan("ledger", which, incarnation, (ReceivePlan(LINK, 8, True),))
            run.add(f"again-{which}-{incarnation}", [plan])
        subscribe(run, f"ledger.{which}", *PREFIXES[which], incarnation=incarnation)
        for number in (0, 1):
            run.mark(
                "join",
                link=LINK,
                producer=number,
                subscriber=f"ledger.{which}",
                incarnation=incarnation,
                start=run.published(LINK, number),
            )
        self.queues[which] = []
        self.heard[which] = set()

    def leave(self, which: int, cause: str) -> None:
        run = self.run
        run.die(f"ledger.{which}", cause, self.incarnation[which])
        for number in (0, 1):
            run.mark(
                "leave",
                link=LINK,
                producer=number,
                subscriber=f"ledger.{which}",
                incarnation=self.incarnation[which],
                end=run.published(LINK, number),
                cause=cause,
            )
        del self.queues[which]

    def publish(self, number: int, topic: int) -> None:
        wanted = False
        for which, queue in self.queues.items():
            if any(BOTH[topic].startswith(prefix) for prefix in PREFIXES[which]):
                wanted = True
                self.owed[which] += 1
                if (which, number) not in self.pipe_full:
                    queue.append((number, topic, self.published[number, topic]))
        self.nobody += not wanted
        self.published[number, topic] += 1
        self.run.send(LINK, number, topic=topic)

    def deliver(self, which: int, count: int) -> None:
        for number, topic, sequence in self.queues[which][:count]:
            self.run.receive(LINK, f"ledger.{which}", number, sequence, topic, self.incarnation[which])
            self.received[which] += 1
        del self.queues[which][:count]

    def step(self, what: str, a: int, b: int) -> None:
        if what == "publish":
            self.publish(a, b)
        elif what == "drop":
            self.pipe_full ^= {(a, b)}
        elif what == "deliver" and a in self.queues:
            self.deliver(a, b)
        elif what == "leave" and a in self.queues:
            self.leave(a, ("peer-death", "linger")[b])
        elif what == "return" and a not in self.queues:
            self.join(a)
        elif what == "report":
            self.run.report()
            self.check()

    def check(self) -> None:
        totals = self.run.store.totals(LINK)
        assert closes(totals)
        assert totals.received == sum(self.received.values())
        assert totals.sent == sum(self.owed.values()) + self.nobody
        assert totals.lost["no-subscriber"] == self.nobody
        # what still lies in a queue is never called lost
        assert totals.in_flight + totals.lost["unresolved"] >= sum(map(len, self.queues.values()))
        for which, found in self.run.store.subscribers(LINK).items():
            place = int(which[-1])
            assert closes(found)
            assert (found.sent, found.received) == (self.owed[place], self.received[place])


@settings(max_examples=120, deadline=None)
@given(steps)
def test_the_books_of_every_subscriber_close_at_every_report(fakes, history):
    model = Model(fakes)
    for what, a, b in history:
        model.step(what, a, b)
    for which in list(model.queues):
        model.deliver(which, 1 << 30)
    model.run.end()
    model.check()
    totals = model.run.store.totals(LINK)
    assert (totals.in_flight, totals.lost["unresolved"]) == (0, 0)
    found = model.run.store.subscribers(LINK).values()
    by_cause = {cause: sum(t.lost[cause] for t in found) for cause in totals.lost}
    assert {**by_cause, "no-subscriber": model.nobody} == totals.lost

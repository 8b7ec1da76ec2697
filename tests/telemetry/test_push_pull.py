from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mqviz.telemetry.columns import CAUSES
from mqviz.telemetry.ledger import LinkTotals
from mqviz.telemetry.push_pull import Floor
from mqviz.telemetry.roll import Gone

LINK = "orders -> pricing"


def losses(totals: LinkTotals) -> dict[str, int]:
    return {cause: count for cause, count in totals.lost.items() if count}


def closes(totals: LinkTotals) -> bool:
    return totals.sent == totals.received + totals.in_flight + sum(totals.lost.values())


def test_what_is_missing_is_in_flight_while_all_live(fakes):
    run = fakes.push_pull()
    run.send(LINK, 0, 10)
    for sequence in range(7):
        run.receive(LINK, "pricing.0", 0, sequence)
    run.report()
    totals = run.store.totals(LINK)
    assert (totals.sent, totals.published, totals.received, totals.in_flight) == (10, 10, 7, 3)
    assert losses(totals) == {}


def test_causes_have_their_fixed_order(fakes):
    assert list(fakes.push_pull().store.totals(LINK).lost) == [*CAUSES, "unresolved"]


def test_a_blocked_producers_step_back_shows_only_in_the_final_report(fakes):
    run = fakes.push_pull()
    run.send(LINK, 0, 10)
    run.report()
    run.send_words(LINK, 0)[-1] -= 1
    run.report()
    assert run.store.totals(LINK).sent == 10
    run.report(final=True)
    assert run.store.totals(LINK).sent == 9


def test_due_and_never_sent_is_unsent(fakes):
    run = fakes.push_pull()
    run.send(LINK, 0, 10)
    run.send_words(LINK, 0)[0] += 4
    run.report()
    totals = run.store.totals(LINK)
    assert (totals.due, totals.sent, totals.unsent) == (14, 10, 4)


def test_after_a_death_what_was_missing_is_unresolved_until_it_arrives(fakes):
    run = fakes.push_pull(consumers=2)
    run.send(LINK, 0, 10)
    run.report()
    run.die("pricing.1")
    run.report()
    assert losses(run.store.totals(LINK)) == {"unresolved": 10}
    for sequence in range(6):
        run.receive(LINK, "pricing.0", 0, sequence)
    run.send(LINK, 0, 5)
    run.report()
    totals = run.store.totals(LINK)
    # 9 are missing: at most 9 of the 10 that were on their way can have died
    assert (totals.in_flight, losses(totals)) == (0, {"unresolved": 9})
    for sequence in range(6, 10):
        run.receive(LINK, "pricing.0", 0, sequence)
    run.report()
    run.send(LINK, 0, 20)
    run.report()
    totals = run.store.totals(LINK)
    assert (totals.in_flight, losses(totals)) == (20, {"unresolved": 5})
    assert closes(totals)


def test_what_a_producer_sent_between_the_last_report_and_its_death_counts_as_at_risk(fakes):
    run = fakes.push_pull(producers=2)
    run.send(LINK, 0, 10)
    run.report()
    run.die("orders.0")
    run.send(LINK, 0, 100)
    run.report()
    assert losses(run.store.totals(LINK)) == {"unresolved": 110}
    run.end()
    assert losses(run.store.totals(LINK)) == {"peer-death": 110}


def test_a_second_death_puts_at_risk_what_was_sent_since_the_first(fakes):
    run = fakes.push_pull(consumers=3)
    run.send(LINK, 0, 4)
    run.report()
    run.die("pricing.1")
    run.report()
    run.send(LINK, 0, 6)
    run.report()
    assert run.store.totals(LINK).in_flight == 6
    run.die("pricing.2")
    run.report()
    assert losses(run.store.totals(LINK)) == {"unresolved": 10}


def test_without_a_death_the_missing_are_linger_at_the_end(fakes):
    run = fakes.push_pull()
    run.send(LINK, 0, 10)
    run.receive(LINK, "pricing.0", 0, 0)
    run.end()
    totals = run.store.totals(LINK)
    assert (totals.in_flight, losses(totals)) == (0, {"linger": 9})
    assert closes(totals)


def test_a_consumers_death_costs_no_more_than_was_missing_since(fakes):
    run = fakes.push_pull(consumers=2)
    run.send(LINK, 0, 3)
    run.report()
    run.die("pricing.1")
    run.report()
    run.send(LINK, 0, 50)
    run.end(drained=False)
    assert losses(run.store.totals(LINK)) == {"peer-death": 3, "linger": 50}


def test_a_halted_producers_own_are_linger_and_a_killed_ones_peer_death(fakes):
    run = fakes.push_pull(producers=3)
    for number, count in enumerate((5, 7, 9)):
        run.send(LINK, number, count)
    run.report()
    run.die("orders.0", "linger")
    run.die("orders.1", "peer-death")
    for sequence in range(9):
        run.receive(LINK, "pricing.0", 2, sequence)
    run.end()
    assert losses(run.store.totals(LINK)) == {"linger": 5, "peer-death": 7}


def test_a_death_elsewhere_leaves_a_link_alone(fakes):
    run = fakes.push_pull()
    run.send(LINK, 0, 3)
    run.report()
    run.die("orders.0", "ended")
    run.report()
    assert losses(run.store.totals(LINK)) == {}


def test_what_a_conflating_link_replaced_is_conflated(fakes):
    run = fakes.push_pull(conflate=True)
    run.send(LINK, 0, 10)
    run.receive(LINK, "pricing.0", 0, 9)
    run.report()
    assert losses(run.store.totals(LINK)) == {"unresolved": 9}
    run.end()
    assert losses(run.store.totals(LINK)) == {"conflated": 9}


def test_blocked_time_grows_while_the_spell_lasts_and_stops_with_its_instance(fakes):
    run = fakes.push_pull(producers=2)
    for number in (0, 1):
        run.send_words(LINK, number)[2:4] = [1_000, run.at_ns + 50_000_000]
    run.report()
    totals = run.store.totals(LINK)
    assert (totals.blocked, totals.blocked_ns) == (2, 2 * (1_000 + 50_000_000))
    run.die("orders.1")  # 50 ms later
    run.report()
    totals = run.store.totals(LINK)
    assert (totals.blocked, totals.blocked_ns) == (1, 2_000 + 150_000_000 + 100_000_000)


def test_messages_that_were_censored_are_told_with_the_shortest_wait(fakes):
    run = fakes.push_pull(producers=3)
    run.send_words(LINK, 0)[5:7] = [3, 900]
    run.send_words(LINK, 2)[5:7] = [1, 700]
    run.report()
    totals = run.store.totals(LINK)
    assert (totals.censored, totals.censored_ns) == (4, 700)


def test_the_floor_waits_for_a_reading_from_after_the_death():
    floor = Floor()
    floor.read(5, 100)
    assert floor.value == 0
    floor.since([Gone("n", 10, "peer-death")])
    values = []
    for read_ns, missing in ((8, 3), (11, 40), (12, 60), (13, 20), (14, 30)):
        floor.read(read_ns, missing)
        values.append(floor.value)
    assert values == [3, 40, 40, 20, 20]


@pytest.mark.parametrize("read_ns", [9, 10], ids=["before", "at the same time"])
def test_a_reading_not_after_the_death_does_not_fix_the_floor(read_ns):
    floor = Floor()
    floor.since([Gone("n", 10, "peer-death")])
    floor.read(read_ns, 1)
    floor.read(11, 7)
    assert floor.value == 7


steps = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(0, 2), st.integers(1, 20)),
        st.tuples(st.just("deliver"), st.integers(0, 2), st.integers(1, 20)),
        st.tuples(st.just("report"), st.just(0), st.just(0)),
        st.tuples(st.sampled_from(["kill producer", "kill consumer"]), st.integers(0, 2), st.just(0)),
    ),
    max_size=60,
)


@settings(max_examples=100, deadline=None)
@given(steps, st.booleans())
def test_the_books_close_at_every_report_and_never_blame_a_death_for_too_much(fakes, history, drained):
    run = fakes.push_pull(producers=3, consumers=3)
    queues = {(p, c): [] for p in range(3) for c in range(3)}
    sent = dict.fromkeys(range(3), 0)
    alive = {"orders": {0, 1, 2}, "pricing": {0, 1, 2}}
    died_with = 0
    for what, which, count in history:
        if what == "send" and which in alive["orders"] and alive["pricing"]:
            for _ in range(count):
                targets = sorted(alive["pricing"])
                queues[which, targets[sent[which] % len(targets)]].append(sent[which])
                sent[which] += 1
            run.send(LINK, which, count)
        elif what == "deliver" and which in alive["pricing"]:
            for (producer, consumer), queue in queues.items():
                if consumer == which:
                    for sequence in queue[:count]:
                        run.receive(LINK, f"pricing.{which}", producer, sequence)
                    del queue[:count]
        elif what.startswith("kill"):
            node = "orders" if what == "kill producer" else "pricing"
            if which in alive[node]:
                alive[node].remove(which)
                run.die(f"{node}.{which}")
                for pair, queue in queues.items():
                    if pair[0 if node == "orders" else 1] == which:
                        died_with += len(queue)
                        queue.clear()
        elif what == "report":
            run.report()
            totals = run.store.totals(LINK)
            assert closes(totals)
            assert totals.in_flight >= 0
            assert losses(totals).keys() <= {"unresolved"}
            # a death is known with the next report; what it took is then unresolved, never in flight
            assert totals.lost["unresolved"] >= died_with
    left = sum(len(queue) for queue in queues.values())
    run.end(drained)
    totals = run.store.totals(LINK)
    assert closes(totals)
    assert (totals.in_flight, totals.lost["unresolved"]) == (0, 0)
    assert totals.lost["peer-death"] + totals.lost["linger"] == died_with + left
    assert totals.lost["peer-death"] >= died_with
    if len(alive["pricing"]) == len(alive["orders"]) == 3:
        assert totals.lost["peer-death"] == 0

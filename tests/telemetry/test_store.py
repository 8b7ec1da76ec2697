from __future__ import annotations

import threading

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mqviz.telemetry import sample
from mqviz.telemetry import store as stores
from mqviz.telemetry.histogram import WORDS, bin_of
from mqviz.telemetry.probe import InstancePlan, SendPlan
from mqviz.telemetry.sample import Announce, Mark, Report, Sample
from mqviz.telemetry.store import Store
from mqviz.telemetry.topology import LinkInfo, NodeInfo, Topology

LINK = "orders -> pricing"


def test_each_report_is_a_row(fakes):
    run = fakes.push_pull()
    for _ in range(5):
        run.send(LINK, 0, 10)
        run.report()
    rows, cursor = run.store.since(0)
    assert (len(rows), cursor) == (5, 5)
    assert rows.sequence.tolist() == [0, 1, 2, 3, 4]
    assert np.diff(rows.at_ns).tolist() == [100_000_000] * 4
    assert rows.column(LINK, "sent").tolist() == [10, 20, 30, 40, 50]
    assert rows.rate(LINK, "sent").tolist()[1:] == [100.0] * 4
    assert np.isnan(rows.rate(LINK, "sent")[0])


def test_a_reader_goes_on_where_it_stopped_and_its_first_rate_is_known(fakes):
    run = fakes.push_pull()
    run.send(LINK, 0, 10)
    run.report()
    _, cursor = run.store.since(0)
    run.send(LINK, 0, 30)
    run.report()
    rows, cursor = run.store.since(cursor)
    assert rows.sequence.tolist() == [1]
    assert rows.rate(LINK, "sent").tolist() == [300.0]
    rows, after = run.store.since(cursor)
    assert (len(rows), after) == (0, cursor)
    assert rows.rate(LINK, "sent").tolist() == []
    assert rows.bins(LINK, "response") == []


def test_a_cursor_from_the_future_gets_nothing(fakes):
    run = fakes.push_pull()
    run.report()
    rows, cursor = run.store.since(99)
    assert (len(rows), cursor) == (0, 1)


def test_only_the_newest_rows_are_kept(fakes):
    run = fakes.push_pull()
    for _ in range(1220):
        run.send(LINK, 0)
        run.report()
    rows, cursor = run.store.since(0)
    assert (len(rows), cursor) == (1200, 1220)
    assert rows.sequence[0] == 20
    assert rows.column(LINK, "sent")[[0, -1]].tolist() == [21, 1220]
    assert np.isnan(rows.rate(LINK, "sent")[0])
    coarse, _ = run.store.since(0, 2)
    assert coarse.column(LINK, "sent")[-1] == 1200


def test_counters_are_the_last_of_a_second_and_gauges_have_low_high_and_mean(fakes):
    run = fakes.push_pull()
    for backlog in range(1, 21):
        run.send(LINK, 0)
        run.report()
        assert run.store.totals(LINK).in_flight == backlog
    run.end()
    rows, _ = run.store.since(0, 1)
    assert rows.column(LINK, "sent").tolist() == [10, 20, 20]
    assert rows.column(LINK, "backlog").tolist()[:2] == [10, 20]
    assert rows.low(LINK, "backlog").tolist()[:2] == [1, 11]
    assert rows.high(LINK, "backlog").tolist()[:2] == [10, 20]
    assert rows.mean(LINK, "backlog").tolist()[:2] == [5.5, 15.5]
    assert rows.rate(LINK, "sent")[1] == 10.0


def test_in_the_finest_tier_low_high_and_mean_are_the_reading(fakes):
    run = fakes.push_pull()
    run.send(LINK, 0, 4)
    run.report()
    rows, _ = run.store.since(0)
    found = rows.low(LINK, "backlog"), rows.high(LINK, "backlog"), rows.mean(LINK, "backlog")
    assert [column.tolist() for column in found] == [[4], [4], [4]]


def test_percentiles_of_a_second_come_from_its_merged_bins(fakes):
    run = fakes.push_pull()
    for value, count in ((100, 90), (200, 9), (250, 1)):
        run.record(LINK, "response", value, count)
        run.record(LINK, "end_to_end", value, count)
        run.report()
    for _ in range(8):
        run.report()
    fine, _ = run.store.since(0)
    assert fine.column(LINK, "response_p50")[:3].tolist() == [100, 200, 250]
    assert np.isnan(fine.column(LINK, "response_p50")[3:]).all()
    rows, _ = run.store.since(0, 1)
    percentiles = [rows.column(LINK, f"response_{p}")[0] for p in ("p50", "p90", "p99", "p999")]
    assert percentiles == [100, 100, 200, 250]
    assert rows.column("", "end_to_end_p99")[0] == 200
    assert (rows.low(LINK, "response_p50")[0], rows.high(LINK, "response_p50")[0]) == (100, 250)
    assert rows.mean(LINK, "response_p50")[0] == 100


def test_bins_of_a_bucket_are_what_came_in_it(fakes):
    run = fakes.push_pull()
    run.record(LINK, "transit", 1_000, 5, phase="warm-up")
    run.record(LINK, "transit", 1_000, 1)
    run.report()
    run.record(LINK, "transit", 1_000, 2)
    run.record(LINK, "transit", 9_000, 3)
    run.report()
    rows, _ = run.store.since(0)
    found = [(p.tolist(), c.tolist()) for p, c in rows.bins(LINK, "transit")]
    assert found == [([bin_of(1_000)], [6]), ([bin_of(1_000), bin_of(9_000)], [2, 3])]
    assert rows.bins(LINK, "transit")[0][0].dtype == np.uint16
    assert rows.bins(LINK, "transit")[0][1].dtype == np.uint32


def test_histograms_are_kept_by_phase_and_told_together(fakes):
    run = fakes.push_pull()
    run.record(LINK, "response", 1_000, 5, phase="warm-up")
    run.record(LINK, "response", 2_000, 3)
    run.report()
    store = run.store
    assert store.histogram(LINK, "response").count == 8
    assert store.histogram(LINK, "response", "warm-up").sum_ns == 5_000
    measured = store.histogram(LINK, "response", "measure")
    assert (measured.count, measured.max_ns, measured.mean_ns) == (3, 2_000, 2_000.0)
    assert store.histogram(None, "response").count == 8


def test_the_whole_has_end_to_end_of_all_terminal_links():
    nodes = tuple(NodeInfo(name, "worker", 1) for name in "abc")
    links = (
        LinkInfo("a", "b", "push-pull", "tcp", terminal=True),
        LinkInfo("a", "c", "push-pull", "tcp", terminal=True),
    )
    store = Store(Topology("two ends", nodes, links))
    cells = [store._spectrum.cell(name, "end_to_end", "measure") for name in ("a -> b", "a -> c")]
    store._spectrum.add(
        np.array(cells), np.array([4 + 10, 4 + 10]), np.array([3, 4], np.uint64), np.array([3, 4], np.uint64)
    )
    store.append(Report("agent", 0, 1_000_000_000, 0, 0, False, False))
    rows, _ = store.since(0)
    positions, counts = rows.bins("", "end_to_end")[0]
    assert (positions.tolist(), counts.tolist()) == ([10], [7])
    assert rows.column("", "end_to_end_p50").tolist() == [10]
    assert store.histogram(None, "end_to_end").count == 7


def test_old_bins_go_first_and_their_percentiles_stay(fakes):
    run = fakes.push_pull()
    run.store = Store(run.topology, bins_bytes=3_000)
    for value in range(20):
        run.record(LINK, "response", value, 1)
        run.report()
    rows, _ = run.store.since(0)
    kept = rows.bins_kept.tolist()
    assert kept == sorted(kept)
    assert 0 < sum(kept) < 20
    assert rows.column(LINK, "response_p50").tolist() == list(range(20))
    assert rows.bins(LINK, "response")[0][0].tolist() == []
    assert rows.bins(LINK, "response")[-1][0].tolist() == [19]


def test_memory_is_bounded_by_the_formula_of_the_module(fakes):
    run = fakes.push_pull(producers=2, consumers=2)
    rng = np.random.default_rng(3)
    for _ in range(1500):
        for value in rng.integers(0, 1 << 30, 20).tolist():
            run.record(LINK, "response", value)
            run.record(LINK, "transit", value)
        run.report()
    links, nodes = 1, 2
    columns, gauges, keys = 29 * links + 4 * nodes + 10, 11 * links + 3 * nodes + 6, 6 * links + 1
    bound = 7_320 * 8 * (columns + 1) + 6_120 * 24 * gauges + 3 * (24 << 20) + 159_000 * keys
    bound += 2 * run.words[0].nbytes
    assert run.store.memory_bytes() < bound


def test_owners_and_fields_that_there_are_not_are_named(fakes):
    rows, _ = fakes.push_pull().store.since(0)
    with pytest.raises(KeyError, match="no column 'rate' of 'orders -> pricing'"):
        rows.column(LINK, "rate")
    with pytest.raises(KeyError, match="not a gauge"):
        rows.low(LINK, "sent")
    with pytest.raises(KeyError, match="no histogram 'sent'"):
        rows.bins(LINK, "sent")


@pytest.mark.parametrize("tier", [-1, 3])
def test_there_are_three_tiers(fakes, tier):
    with pytest.raises(ValueError, match="0 to 2"):
        fakes.push_pull().store.since(0, tier)


def test_a_lost_report_costs_a_row_and_no_count(fakes):
    run = fakes.push_pull()
    run.send(LINK, 0, 5)
    run.report()
    run.send(LINK, 0, 5)
    run.receive(LINK, "pricing.0", 0, 0)
    run.make_report()
    run.send(LINK, 0, 5)
    run.report()
    assert run.store.totals(LINK).received == 0
    run.report(full=True)
    rows, _ = run.store.since(0)
    assert rows.column("", "samples_lost").tolist() == [0, 1, 1]
    assert run.store.samples_lost == 1
    totals = run.store.totals(LINK)
    assert (totals.sent, totals.received) == (15, 1)


def test_a_reader_that_comes_late_recovers_with_a_full_report(fakes):
    run = fakes.push_pull()
    run.send(LINK, 0, 5)
    run.make_report()
    run.send(LINK, 0, 5)
    run.report()
    assert run.store.totals(LINK).sent == 0
    assert run.store.foreign == 1
    run.report(full=True)
    assert run.store.totals(LINK).sent == 10


def test_a_new_agent_takes_over_the_probes_of_one_that_died(fakes):
    run = fakes.push_pull()
    run.send(LINK, 0, 5)
    run.report()
    run.agent, run.sequence = "agent-2", 0
    run.report(full=True)
    run.send(LINK, 0, 5)
    run.report()
    rows, _ = run.store.since(0)
    assert rows.column(LINK, "sent").tolist() == [5, 5, 10]
    assert run.store.samples_lost == 0
    assert not run.store.final
    run.report(final=True)
    assert run.store.final


def two_agents(fakes):
    """A run with a second agent, and a maker of its reports."""
    run = fakes.push_pull()
    other = fakes.run(run.topology, [InstancePlan("orders", 1, 0, (), (SendPlan(LINK, 1, 1),))], "r9")
    other.agent = "agent-b"
    return run, other


def test_with_two_agents_a_row_waits_for_both(fakes):
    run, other = two_agents(fakes)
    run.report()
    for _ in range(3):
        other.at_ns = run.at_ns - 90_000_000
        run.store.append(other.make_report())
        run.report()
    rows, _ = run.store.since(0)
    assert len(rows) == 4
    assert np.diff(rows.at_ns).tolist() == [100_000_000] * 3


def test_a_row_waits_300_ms_for_an_agent_and_then_no_more(fakes):
    run, other = two_agents(fakes)
    run.report()
    other.at_ns = run.at_ns - 99_000_000
    run.store.append(other.make_report())
    run.report()
    before = run.store.since(0)[1]
    for _ in range(3):
        run.report()
    assert run.store.since(0)[1] == before
    run.report()
    assert run.store.since(0)[1] == before + 1
    for _ in range(10):
        run.report()
    before = run.store.since(0)[1]
    # a second without a word: it is no longer waited for
    run.report()
    assert run.store.since(0)[1] == before + 1


def test_nodes_have_busy_time_and_who_is_alive_and_paused(fakes):
    run = fakes.push_pull(consumers=3)
    for index in range(3):
        run.mark("birth", instance=f"pricing.{index}", node="pricing", incarnation=0, runner="r1")
        words, block = run.instance(f"pricing.{index}")
        words[block.offset : block.offset + 2] = [1_000, 2 if index else 1]
    run.report()
    run.die("pricing.2")
    run.mark("event", "count", node="pricing", count=5)
    run.report()
    rows, _ = run.store.since(0)
    assert rows.column("pricing", "alive").tolist() == [3, 2]
    assert rows.column("pricing", "paused").tolist() == [2, 1]
    assert rows.column("pricing", "count").tolist() == [3, 5]
    assert rows.column("pricing", "busy_ns").tolist() == [3_000, 3_000]
    run.end()
    assert run.store.since(0)[0].column("pricing", "alive")[-1] == 0


def test_the_whole_adds_up_the_links_and_tells_what_watching_costs(fakes):
    run = fakes.push_pull()
    run.send(LINK, 0, 10)
    run.receive(LINK, "pricing.0", 0, 0)
    run.report(span_ns=77_000)
    run.end()
    rows, _ = run.store.since(0)
    assert rows.column("", "received")[-1] == 1
    assert rows.column("", "backlog").tolist() == [9, 9, 0]
    assert rows.column("", "lost").tolist() == [0, 0, 9]
    assert rows.column("", "span_ns")[0] == 77_000
    assert rows.column("", "agent_cpu_ns")[0] == 1_000


def test_the_end_closes_a_last_row_in_every_tier(fakes):
    run = fakes.push_pull()
    run.send(LINK, 0, 3)
    run.report()
    assert not run.store.closed
    run.end()
    assert run.store.closed
    for tier in (0, 1, 2):
        rows, _ = run.store.since(0, tier)
        assert rows.column(LINK, "lost_linger")[-1] == 3
        assert rows.column(LINK, "backlog")[-1] == 0


def test_marks_are_read_by_cursor(fakes):
    run = fakes.push_pull()
    run.mark("event", "rate 2000/s")
    run.mark("phase", phase="measure")
    marks, cursor = run.store.marks()
    assert [mark.text or mark.data["phase"] for mark in marks] == ["rate 2000/s", "measure"]
    run.mark("event", "kill")
    marks, cursor = run.store.marks(cursor)
    assert [mark.text for mark in marks] == ["kill"]
    assert run.store.marks(cursor) == ([], 3)


def test_of_too_many_marks_those_for_the_books_go_first(fakes, monkeypatch):
    monkeypatch.setattr(stores, "MOST_MARKS", 10)
    run = fakes.push_pull()
    run.mark("phase", phase="measure")
    run.mark("event", "first")
    for _ in range(30):
        run.mark("birth", instance="pricing.0", node="pricing")
    for number in range(30):
        run.mark("event", str(number))
    marks, cursor = run.store.marks()
    assert cursor == 62
    assert len(marks) <= 10
    assert marks[0].kind == "phase"
    assert marks[-1].text == "29"
    assert [mark.text for mark in run.store.marks(61)[0]] == ["29"]


@pytest.mark.parametrize(
    "mark",
    [
        Mark(1, "nonsense"),
        Mark(-1, "event"),
        Mark(1 << 63, "event"),
        Mark(1, "birth", data={"instance": 5, "node": "orders"}),
        Mark(1, "birth", data={"instance": "x.0", "node": "x"}),
        Mark(1, "death", data={"instance": "orders.0", "node": "orders", "cause": "boredom"}),
        Mark(1, "join", data={"link": "x -> y", "producer": 0, "subscriber": "y.0", "start": []}),
        Mark(1, "leave", data={"link": LINK, "producer": 0, "subscriber": "y.0", "end": [-1]}),
    ],
    ids=lambda mark: f"{mark.kind} {mark.at_ns}",
)
def test_marks_that_cannot_be_change_nothing(fakes, mark):
    run = fakes.push_pull()
    assert run.store.append(mark) is False
    assert run.store.foreign == 1
    assert run.store.marks() == ([], 0)


def altered(run, **fields) -> Report:
    return msgspec.structs.replace(run.make_report(), **fields)


def u4(*numbers: int) -> bytes:
    return np.array(numbers, "<u4").tobytes()


def u8(*numbers: int) -> bytes:
    return np.array(numbers, "<u8").tobytes()


@pytest.mark.parametrize(
    "wrong",
    [
        Sample(0, b"abc", u8(1)),
        Sample(0, u4(1), u8(1, 2)),
        Sample(0, u4(3, 2), u8(1, 1)),
        Sample(0, u4(2, 2), u8(1, 1)),
        Sample(0, u4(4_000_000), u8(1)),
        Sample(0, u4(2), u8(1 << 62)),
    ],
    ids=["odd bytes", "lengths", "descending", "twice", "out of range", "too high"],
)
def test_a_malformed_sample_is_refused_with_its_whole_report(fakes, wrong):
    run = fakes.push_pull()
    run.send(LINK, 0, 5)
    run.report()
    right = Sample(0, u4(run.schemas[0].receive_words), u8(99))
    assert run.store.append(altered(run, samples=(wrong,))) is False
    assert run.store.append(altered(run, samples=(right, right))) is False
    assert run.store.foreign == 2
    run.report(full=True)
    assert run.store.totals(LINK).sent == 5
    assert len(run.store.since(0)[0]) == 2


def test_a_histogram_that_loses_counts_is_refused(fakes):
    run = fakes.push_pull()
    run.record(LINK, "response", 100, 5)
    run.report()
    place = next(b.offset for b in run.schemas[0].histograms if b.duration == "response")
    place += WORDS if run.schemas[0].histograms[0].phase == "warm-up" else 0
    wrong = Sample(0, u4(place + 4 + 100), u8(4))
    assert run.store.append(altered(run, samples=(wrong,))) is False
    assert run.store.histogram(LINK, "response").count == 5


def test_schemas_that_do_not_fit_the_scenario_are_refused(fakes):
    run = fakes.push_pull()
    schema = msgspec.to_builtins(run.schemas[0])

    def refused(**fields: object) -> bool:
        text = msgspec.json.encode({**schema, **fields})
        return not run.store.append(Report("agent", 0, 1, 0, 0, True, False, (Announce(0, text),), ()))

    instance = schema["instances"][0]
    assert refused(receive_words=-1)
    assert refused(receive_words=1 << 40)
    assert refused(histogram_words=7)
    assert refused(histograms=schema["histograms"][:1] * len(schema["histograms"]))
    assert refused(instances=[{**instance, "node": "elsewhere"}])
    assert refused(instances=[{**instance, "offset": 1 << 30}])
    assert refused(instances=[{**instance, "sends": [{**instance["sends"][0], "offset": 0}]}])
    assert refused(instances=[{**instance, "sends": [{**instance["sends"][0], "topics": 9}]}])
    assert refused(instances=[{**instance, "sends": [{**instance["sends"][0], "number": 1 << 16}]}])
    assert refused(instances=[instance, instance])
    assert not refused(instances=[instance])


def test_a_producer_number_belongs_to_one_probe(fakes):
    run = fakes.push_pull()
    run.report()
    run.add("r2", [InstancePlan("orders", 5, 0, (), (SendPlan(LINK, 0, 1),))])
    assert run.store.append(run.make_report()) is False


@pytest.mark.parametrize("field", ["sequence", "at_ns", "span_ns", "cpu_ns"])
@pytest.mark.parametrize("value", [-1, 1 << 62, (1 << 64) - 1])
def test_numbers_that_cannot_be_are_refused(fakes, field, value):
    run = fakes.push_pull()
    assert run.store.append(altered(run, **{field: value})) is False
    assert len(run.store.since(0)[0]) == 0


small = st.integers(-2, 12)
words = st.one_of(small, st.integers(0, (1 << 64) - 1))
positions = st.lists(st.integers(0, 60_000) | st.integers(0, 40), max_size=12)
garbage_samples = st.builds(
    Sample,
    st.integers(-1, 3),
    st.one_of(st.binary(max_size=24), positions.map(lambda p: u4(*sorted(set(p))))),
    st.one_of(
        st.binary(max_size=48),
        st.lists(st.integers(0, (1 << 64) - 1), max_size=12).map(lambda v: u8(*v)),
        st.integers(0, 12)
        .flatmap(lambda n: st.lists(st.integers(0, 99), min_size=n, max_size=n))
        .map(lambda v: u8(*v)),
    ),
)
garbage_marks = st.builds(
    Mark,
    words,
    st.sampled_from(["phase", "event", "birth", "death", "join", "leave", "x"]),
    st.text(max_size=3),
    st.dictionaries(
        st.sampled_from(
            [
                "phase",
                "instance",
                "node",
                "incarnation",
                "cause",
                "link",
                "producer",
                "subscriber",
                "start",
                "end",
            ]
        ),
        st.one_of(
            small,
            st.none(),
            st.lists(words, max_size=3),
            st.sampled_from(["ended", "pricing.0", "orders.0", "orders", "pricing", "peer-death", LINK]),
        ),
    ),
)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_no_garbage_breaks_the_store_or_its_readers(fakes, data):
    run = data.draw(st.sampled_from([fakes.push_pull(), fakes.pub_sub(topics=("a", "b"))]))
    link = run.topology.links[0].name
    run.report()
    for _ in range(data.draw(st.integers(1, 8))):
        if data.draw(st.booleans()):
            run.store.append(data.draw(garbage_marks))
        else:
            run.store.append(
                altered(
                    run,
                    samples=tuple(data.draw(st.lists(garbage_samples, max_size=2))),
                    sequence=data.draw(st.integers(0, 5)),
                )
            )
        run.store.totals(link)
        run.store.subscribers(link)
        rows, _ = run.store.since(0)
        assert np.all(np.diff(rows.at_ns) > 0)
        rows.bins(link, "response")
        run.store.histogram(link, "response").percentile(99)
    for tier in (1, 2):
        run.store.since(0, tier)


def test_readers_in_other_threads_see_whole_rows(fakes):
    run = fakes.push_pull()
    stop = threading.Event()
    wrong: list[str] = []

    def read() -> None:
        cursor = 0
        while not stop.is_set():
            rows, cursor = run.store.since(cursor)
            backlog = rows.column(LINK, "sent") - rows.column(LINK, "received")
            if not np.array_equal(backlog, rows.column(LINK, "backlog")):
                wrong.append(f"{backlog} at {rows.sequence}")
            run.store.totals(LINK)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for sequence in range(300):
        run.send(LINK, 0, 3)
        run.receive(LINK, "pricing.0", 0, sequence)
        run.report()
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_record_survives_the_wire(fakes):
    run = fakes.push_pull()
    run.send(LINK, 0, 7)
    assert run.store.append(sample.decode(sample.encode(run.make_report())))
    assert run.store.totals(LINK).sent == 7

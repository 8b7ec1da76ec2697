from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mqviz.telemetry import sample
from mqviz.telemetry.roll import UNREADABLE
from mqviz.telemetry.sample import Announce, Mark, Report, Sample

numbers = st.integers(0, 1 << 62)
reports = st.builds(
    Report,
    st.text(max_size=20),
    numbers,
    numbers,
    numbers,
    numbers,
    st.booleans(),
    st.booleans(),
    st.lists(st.builds(Announce, numbers, st.binary(max_size=50)), max_size=3).map(tuple),
    st.lists(st.builds(Sample, numbers, st.binary(max_size=50), st.binary(max_size=50)), max_size=3).map(
        tuple
    ),
)
marks = st.builds(
    Mark, numbers, st.text(max_size=9), st.text(max_size=20), st.dictionaries(st.text(max_size=5), numbers)
)


@settings(deadline=None)
@given(reports | marks)
def test_a_record_comes_back_as_it_was(record):
    assert sample.decode(sample.encode(record)) == record


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_bytes_that_are_no_record_raise_only_what_its_readers_catch(data):
    try:
        record = sample.decode(data)
    except UNREADABLE:
        return
    assert isinstance(record, Report | Mark)


@pytest.mark.parametrize("data", [b"", b"\xc0", b"\x91\xa6report", b"\x92\xa5other\x01"])
def test_near_misses_are_refused(data):
    with pytest.raises(msgspec.DecodeError):
        sample.decode(data)

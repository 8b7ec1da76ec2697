from __future__ import annotations

import json
import struct

import msgspec
import numpy as np
import pytest

from mqviz.dashboard import encode


def read(data: bytes) -> tuple[dict[str, object], np.ndarray, dict[str, np.ndarray]]:
    (length,) = struct.unpack_from("<I", data)
    head = msgspec.json.decode(data[4 : 4 + length])
    offset, rows = 4 + length, head["rows"]
    times = np.frombuffer(data, "<f8", rows, offset)
    offset += 8 * rows
    columns = {}
    for name in head["columns"]:
        columns[name] = np.frombuffer(data, "<f4", rows, offset)
        offset += 4 * rows
    assert offset == len(data)
    return head, times, columns


@pytest.mark.parametrize("note", ["", "a", "ab", "abc", "abcd", "abcde", "abcdef", "abcdefg"])
def test_a_snapshot_is_what_it_was_made_of_and_aligned_to_8_bytes(note: str) -> None:
    times = np.array([0.1, 0.2, 0.3])
    table = {"a": np.array([1.0, np.nan, 3.0]), "b": np.array([4.0, 5.0, 6.0])}
    data = encode.snapshot({"tier": 0, "sequence": 9, "note": note}, times, table)
    (length,) = struct.unpack_from("<I", data)
    assert (4 + length) % 8 == 0
    head, found, columns = read(data)
    assert head["sequence"] == 9
    np.testing.assert_array_equal(found, times)
    np.testing.assert_array_equal(columns["a"], table["a"].astype("f4"))
    np.testing.assert_array_equal(columns["b"], [4, 5, 6])


def test_a_row_has_five_significant_digits_and_null_for_what_is_not_known() -> None:
    text = encode.row(1, 42, 12.3456, [0.0, float("nan"), 123456.0, 0.00012345678])
    assert text == "[1,42,12.346,0,null,1.2346e+05,0.00012346]"
    assert json.loads(text)[4] is None


def test_a_message_says_its_kind_and_keeps_foreign_words_as_text() -> None:
    told = encode.message("run", name='<b>"x"</b>')
    assert json.loads(told) == {"kind": "run", "name": '<b>"x"</b>'}

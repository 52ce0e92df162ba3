"""Lines cut where they lie: however the octets come, and however long the lines are."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overflowd_tools import blocks
from overflowd_tools.blocks import OVERLONG, LineCutter

LIMIT = 20
DATA = st.lists(
    st.sampled_from([b"a", b"bc", b"\n", b"\n\n", b"\0", b"d" * 19, b"e" * 21, b"f" * 90]), max_size=30
).map(b"".join)


@pytest.fixture(autouse=True)
def _short_lines(monkeypatch):
    monkeypatch.setattr(blocks, "LINE_LIMIT", LIMIT)


def cut(data, size, places):
    """Return the blocks of data that come in pieces, cut at these places and after so many octets."""
    cutter = LineCutter(size)
    found = []
    for start, end in pairwise(sorted({0, len(data), *(place % (len(data) + 1) for place in places)})):
        for count in cutter.copy(data[start:end]):
            found += ("overlong" if block is OVERLONG else bytes(block) for block in cutter.cut(count))
    return found + ["overlong" if block is OVERLONG else bytes(block) for block in cutter.rest()]


def lines(found):
    """Return the lines of blocks."""
    return [line for block in found for line in ([block] if block == "overlong" else block.splitlines(keepends=True))]


@given(DATA, st.integers(1, 10 * LIMIT), st.lists(st.integers(0, 1000)))
def test_every_line_comes_once_and_in_its_place(data, size, places):
    found = cut(data, size, places)
    wanted = ["overlong" if len(line.rstrip(b"\n")) > LIMIT else line for line in data.splitlines(keepends=True)]
    assert lines(found) == wanted
    assert all(found)
    assert all(block == "overlong" or block.endswith(b"\n") for block in found[:-1])


def test_lines_are_cut_where_they_were_written():
    cutter = LineCutter(16)
    room = cutter.room()
    for text, wanted in ((b"a\nb\ncde", b"a\nb\n"), (b"f\n", b"cdef\n")):
        cutter.room()[: len(text)] = text
        (found,) = ((bytes(block), block.octets) for block in cutter.cut(len(text)))
        assert found[0] == wanted
        assert found[1] is room.obj
        assert len(cutter.room()) == 16
    assert list(cutter.rest()) == []


@pytest.mark.parametrize("size", [1, 7, LIMIT, LIMIT + 1, 1000])
def test_a_line_may_be_as_long_as_the_limit(size):
    assert cut(b"x" * LIMIT + b"\ny", size, []) == [b"x" * LIMIT + b"\n", b"y"]
    assert cut(b"x" * (LIMIT + 1) + b"\ny", size, []) == ["overlong", b"y"]
    assert cut(b"x" * LIMIT, size, []) == [b"x" * LIMIT]
    assert cut(b"x" * 10 * LIMIT, size, []) == ["overlong"]
    for long in (LIMIT, LIMIT + 1, 3 * LIMIT):
        data = b"".join(b"x" * length + b"\n" for length in (3, long, 1, long, long, 0))
        wanted = [line if len(line) <= LIMIT + 1 else "overlong" for line in data.splitlines(keepends=True)]
        assert lines(cut(data, size, [])) == wanted


def test_room_does_not_grow():
    cutter = LineCutter(16)
    size = len(cutter.room().obj)
    for _ in range(100):
        cutter.room()[:] = b"x" * 16
        assert list(cutter.cut(16)) == []
    assert len(cutter.room().obj) == size
    assert len(cutter.room()) == 16

"""Reassembly: any order, copies, overlaps, and floods of pieces that never become whole."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overflowd_tools.capture.fragments import Fragment, Fragments

SECOND = 10**9


def piece(offset: int, data: bytes, more=True, key="one", complete=True, **fields) -> Fragment:
    fields = {"protocol": 17, "tos": 0, "header_length": 20} | fields
    return Fragment(key, offset, more, data, complete, **fields)


def cut(body: bytes, size: int, key="one") -> list[Fragment]:
    return [
        piece(at, body[at : at + size], at + size < len(body), key, tos=at % 251) for at in range(0, len(body), size)
    ]


def add(fragments: Fragments, pieces, now=0) -> list[bytes]:
    wholes = [fragments.add(one, now) for one in pieces]
    return [whole.data for whole in wholes if whole]


BODY = bytes(range(250)) * 4


@given(st.permutations(range(8)), st.lists(st.integers(0, 7), max_size=5))
def test_any_order_and_copies_give_the_datagram_once(order, again):
    pieces = cut(BODY, 128)
    assert len(pieces) == 8
    fragments = Fragments()
    assert add(fragments, [pieces[at] for at in order + again]) == [BODY]
    fragments.close()
    assert fragments.lost == 0
    assert fragments.held_bytes == 0


@given(st.permutations(range(8)), st.integers(0, 7), st.integers(0, 7))
def test_a_copy_anywhere_changes_nothing(order, copied, place):
    pieces = [cut(BODY, 128)[at] for at in order]
    pieces.insert(place, pieces[copied])
    fragments = Fragments()
    assert add(fragments, pieces) == [BODY]
    assert (fragments.lost, fragments.held_bytes) == (0, 0)


def test_the_header_is_that_of_the_first_piece():
    fragments = Fragments()
    fragments.add(piece(8, b"z", more=False, protocol=60, tos=2, header_length=60), 0)
    whole = fragments.add(piece(0, bytes(8), protocol=17, tos=1, header_length=24), 0)
    assert whole == piece(0, bytes(8) + b"z", more=False, protocol=17, tos=1, header_length=24)


def test_datagrams_are_told_apart_by_their_key():
    fragments = Fragments()
    mixed = [one for pair in zip(cut(BODY, 504, "a"), cut(BODY[::-1], 504, "b"), strict=True) for one in pair]
    assert add(fragments, mixed) == [BODY, BODY[::-1]]


def test_the_same_key_again_is_another_datagram():
    fragments = Fragments()
    assert add(fragments, cut(BODY, 504) + cut(BODY[::-1], 504)) == [BODY, BODY[::-1]]


@pytest.mark.parametrize(
    "pieces",
    [
        [piece(0, bytes(16)), piece(8, bytes(16))],
        [piece(8, bytes(16)), piece(0, bytes(16))],
        [piece(0, bytes(16)), piece(0, bytes(8))],
        [piece(0, bytes(8)), piece(0, b"\1" * 8)],
        [piece(0, bytes(24)), piece(8, bytes(8))],
        [piece(0, bytes(8)), piece(0, bytes(8), more=False)],
        [piece(8, b"end", more=False), piece(8, b"END", more=False)],
        [piece(8, b"end", more=False), piece(16, b"end", more=False)],
        [piece(16, b"end", more=False), piece(8, b"end", more=False)],
        [piece(8, b"end", more=False), piece(64, bytes(8))],
        [piece(64, bytes(8)), piece(8, b"end", more=False)],
        [piece(8, b"")],
        [piece(8, b"", more=False)],
        [piece(0, bytes(7))],
        [piece(65_528, bytes(8))],
        [piece(65_528, bytes(8), more=False)],
        [piece(0, bytes(8), complete=False)],
        [piece(8, bytes(8), more=False), piece(0, bytes(8), complete=False)],
    ],
)
def test_contradictions_discard_the_datagram_and_the_rest_of_it(pieces):
    fragments = Fragments()
    assert add(fragments, pieces) == []
    assert fragments.lost == 1
    assert fragments.held_bytes == 0
    assert add(fragments, cut(BODY, 504)) == []
    assert add(fragments, cut(BODY, 504, "another")) == [BODY]
    fragments.close()
    assert fragments.lost == 1


def test_the_longest_datagram():
    body = bytes(65_535)
    assert add(Fragments(), cut(body, 1480)) == [body]


def test_pieces_wait_thirty_seconds():
    first, second = cut(BODY, 504)
    for wait, expected in ((30 * SECOND, [BODY]), (30 * SECOND + 1, [])):
        fragments = Fragments()
        fragments.add(first, SECOND)
        assert add(fragments, [second], SECOND + wait) == expected
        assert fragments.lost == (0 if expected else 1)


def test_a_clock_that_goes_back_expires_nothing():
    first, second = cut(BODY, 504)
    fragments = Fragments()
    fragments.add(first, 100 * SECOND)
    assert add(fragments, [second], 0) == [BODY]


def test_the_end_of_the_input_loses_what_is_incomplete():
    fragments = Fragments()
    add(fragments, [cut(BODY, 504, key)[0] for key in "abc"])
    assert fragments.lost == 0
    fragments.close()
    assert (fragments.lost, fragments.held_bytes) == (3, 0)
    fragments.close()
    assert fragments.lost == 3


def test_the_oldest_datagram_makes_room_for_a_new_one():
    fragments = Fragments(max_datagrams=2)
    add(fragments, [cut(BODY, 504, key)[0] for key in "abc"])
    assert fragments.lost == 1
    assert add(fragments, [cut(BODY, 504, key)[1] for key in "bc"]) == [BODY, BODY]


def test_a_datagram_over_the_limit_of_bytes_is_lost():
    fragments = Fragments(max_bytes=5000)
    assert add(fragments, cut(bytes(8000), 800)) == []
    fragments.close()
    assert fragments.lost >= 1


@pytest.mark.parametrize("size", [8, 1480])
def test_a_flood_of_pieces_stays_within_the_bounds(size):
    fragments = Fragments(max_bytes=1 << 18)
    most = 0
    for number in range(3000):
        fragments.add(piece(8 + number % 40 * size, bytes(size), key=number // 40), number)
        most = max(most, fragments.held_bytes)
    assert (1 << 18) - 2000 < most <= 1 << 18
    assert fragments.lost > 0
    fragments.close()
    assert fragments.held_bytes == 0


def test_the_cost_of_a_piece_covers_what_python_takes_for_it():
    one = piece(800, b"", key=(b"a" * 16, b"b" * 16, 70_000))
    taken = sys.getsizeof(one) + sys.getsizeof(one.data) + 28 + sys.getsizeof(one.key) + 28
    taken += sum(map(sys.getsizeof, one.key)) + 2 * 8
    fragments = Fragments()
    fragments.add(piece(800, bytes(8)), 0)
    assert taken + 8 <= fragments.held_bytes


def test_what_is_remembered_of_finished_datagrams_is_bounded():
    fragments = Fragments()
    first = cut(BODY, 504, -1)
    assert add(fragments, first) == [BODY]
    for key in range(3000):
        assert add(fragments, cut(BODY, 504, key)) == [BODY]
    assert add(fragments, first) == [BODY]
    assert add(fragments, cut(BODY, 504, 2999)) == []


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(0, 17), st.booleans(), st.integers(0, 60))))
def test_hostile_pieces_never_give_more_than_they_are(pieces):
    fragments = Fragments(max_bytes=8000, max_datagrams=2)
    for key, slot, size, more, second in pieces:
        one = piece(slot * 8, bytes([slot]) * size, more, key)
        whole = fragments.add(one, second * SECOND)
        if whole:
            assert len(whole.data) >= 1
            assert not whole.more
        assert 0 <= fragments.held_bytes <= 8000
    fragments.close()
    assert fragments.held_bytes == 0

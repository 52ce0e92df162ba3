"""Numbers and totals: never given twice, never going back, and the same after they were written down."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overflowd_tools.errors import KeyFileError
from overflowd_tools.reports.serials import Serials

MOST = 2**53 - 1
KEY = "RW of a key"


@given(st.lists(st.tuples(st.integers(1, 7), st.booleans()), max_size=60), st.integers(1, 4))
def test_no_epoch_and_number_comes_twice_to_one_recipient(steps, limit):
    """Neither in one run nor when another goes on with what was written down."""
    serials, given_out, last = Serials(limit), [], {}
    for recipient, ends in steps:
        epoch, number, packets, octets = serials.next(b"::%d" % recipient, 3, 100)
        assert number == last.get((recipient, epoch), 0) + 1
        assert (packets, octets) == (3 * number, 100 * number)
        last[recipient, epoch] = number
        given_out.append((recipient, epoch, number))
        if ends:
            written = serials.dump(KEY)
            serials = Serials(limit)
            assert serials.load(written, KEY)
            assert serials.dump(KEY) == written
    assert len(set(given_out)) == len(given_out)


def test_a_full_table_begins_a_new_epoch():
    serials = Serials(2)
    first, *rest = serials.next(b"a", 5)
    assert rest == [1, 5, 0]
    assert (serials.next(b"b"), serials.next(b"a", 5)) == ((first, 1, 1, 0), (first, 2, 10, 0))
    second, *rest = serials.next(b"c")
    assert second != first
    assert rest == [1, 1, 0]
    assert serials.next(b"a") == (second, 1, 1, 0)
    assert Serials().next(b"a")[0] not in (first, second)


def test_the_last_number_ends_the_epoch():
    serials = Serials()
    serials.load(
        b'{"epoch":7,"key":"%s"}\n{"octets":0,"packets":1,"seq":%d,"to":"::1"}\n' % (KEY.encode(), MOST - 1), KEY
    )
    assert serials.next(b"::1") == (7, MOST, 2, 0)
    epoch, *rest = serials.next(b"::1")
    assert epoch != 7
    assert rest == [1, 1, 0]


def test_totals_stop_at_the_most():
    serials = Serials()
    assert serials.next(b"a", MOST, MOST - 1)[2:] == (MOST, MOST - 1)
    assert serials.next(b"a", 5, 1)[2:] == (MOST, MOST)
    assert serials.next(b"a", 0, 2**200)[2:] == (MOST, MOST)


def test_another_key_begins_anew():
    serials, fresh = Serials(), Serials()
    serials.next(b"::1")
    before = fresh.dump(KEY)
    assert not fresh.load(serials.dump("another"), KEY)
    assert fresh.dump(KEY) == before


GOOD = {"octets": 0, "packets": 1, "seq": 1, "to": "::1"}


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"x",
        b"[]",
        b"{}",
        b'{"epoch":-1}',
        b'{"epoch":"x"}',
        *(json.dumps({**GOOD, **change}).encode() for change in ({"seq": 0}, {"seq": MOST + 1}, {"packets": 1.5})),
        *(json.dumps({**GOOD, **change}).encode() for change in ({"to": 7}, {"to": "x" * 46}, {"octets": None})),
        *(json.dumps({**GOOD, **change}).encode() for change in ({"to": "\x01"}, {"to": "::0001"}, {"to": None})),
        json.dumps(GOOD).encode() + b"\n" + json.dumps(GOOD).encode(),
        b'{"to":"::1"}',
        b"[" * 100_000,
    ],
)
def test_lines_that_it_did_not_write(line):
    serials = Serials()
    before = serials.dump(KEY)
    for data in (b'{"epoch":1,"key":"%s"}\n%s\n' % (KEY.encode(), line or b"{"), line):
        with pytest.raises(KeyFileError):
            serials.load(data, KEY)
    assert serials.dump(KEY) == before


def test_more_recipients_than_there_is_room_for():
    serials = Serials(3)
    for number in range(3):
        serials.next(b"192.0.2.%d" % number)
    written = serials.dump(KEY)
    assert Serials(3).load(written, KEY)
    with pytest.raises(KeyFileError, match="more than 2"):
        Serials(2).load(written, KEY)

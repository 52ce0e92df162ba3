"""The cheap questions: shape, recipient, duplicates."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overflowd_tools.delivery.addresses import parse_prefix
from overflowd_tools.delivery.admission import (
    BRACKETS,
    FRESH_MS,
    LARGEST,
    LONGEST_COMMENT,
    SMALLEST,
    RefusedError,
    Seen,
    check_recipient,
    check_shape,
)

COMMENT = b"untrusted comment: overflowd report"
SIGNATURE = b"A" * 100
MESSAGE = b'{"$schema":"overflowd-report/2",'
NOW = 1_800_000_000_000
HOUR = 3_600_000


def datagram(size=300, comment=COMMENT, signature=SIGNATURE, message=MESSAGE):
    return b"\n".join((comment, signature, message)).ljust(size, b"x")


def refusal(check, *arguments):
    """The kind of the refusal, or None."""
    try:
        check(*arguments)
    except RefusedError as error:
        return error.kind
    return None


@pytest.mark.parametrize("size", [SMALLEST, 300, LARGEST])
def test_good_sizes(size):
    smallest = datagram(0, comment=b"untrusted comment: ")
    assert check_shape(datagram(size) if size > SMALLEST else smallest.ljust(size, b"x")) is None


@pytest.mark.parametrize("size", [0, 1, SMALLEST - 1, LARGEST + 1, 65_507])
def test_bad_sizes(size):
    assert refusal(check_shape, datagram(0, comment=COMMENT).ljust(size, b"x")[:size]) == "wrong_size"


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        (bytes(300), "wrong_start"),
        (b"\xff" * 300, "wrong_start"),
        (b"\n" * 300, "wrong_start"),
        (b'{"$schema":"overflowd-report/2",'.ljust(300, b"x"), "wrong_start"),
        (datagram(comment=b"Untrusted comment: overflowd"), "wrong_start"),
        (datagram(message=b'{"$schema":"ofd2.root"'), "wrong_start"),
        (datagram(message=b' {"$schema":"overflowd-report/2"'), "wrong_start"),
        (datagram(message=MESSAGE + b"[" * BRACKETS), "too_many_brackets"),
        (datagram(message=MESSAGE + b"{[" * 400, size=0), "too_many_brackets"),
        (b"untrusted comment: ".ljust(300, b"x"), "wrong_lines"),
        (datagram(comment=COMMENT.ljust(LONGEST_COMMENT + 1, b"x")), "wrong_lines"),
        (datagram(signature=SIGNATURE[1:]), "wrong_lines"),
        (datagram(signature=SIGNATURE + b"A"), "wrong_lines"),
        (datagram(signature=b""), "wrong_lines"),
        (b"\n".join((COMMENT, b"A" * 300)), "wrong_lines"),
    ],
)
def test_bad_shapes(bad, kind):
    assert refusal(check_shape, bad) == kind


def test_the_longest_comment_and_the_most_brackets():
    assert check_shape(datagram(comment=COMMENT.ljust(LONGEST_COMMENT, b"x"))) is None
    assert check_shape(datagram(message=MESSAGE + b"[" * (BRACKETS - 1))) is None


@given(st.binary(max_size=1400) | st.binary(max_size=1000).map(lambda tail: datagram(0) + tail))
def test_any_bytes_are_let_in_or_refused(data):
    kind = refusal(check_shape, data)
    assert kind in {None, "wrong_size", "wrong_start", "too_many_brackets", "wrong_lines"}
    if kind is None:
        assert data.startswith(b"untrusted comment: ")
        assert SMALLEST <= len(data) <= LARGEST
        assert data.split(b"\n", 2)[2].startswith(b'{"$schema":"overflowd-report/')


LOCAL = bytes([192, 0, 2, 7])
LOCAL6 = bytes.fromhex("20010db8000000000000000000000007")


@pytest.mark.parametrize(
    ("to", "local", "own"),
    [
        ("192.0.2.7", LOCAL, []),
        ("2001:db8::7", LOCAL6, []),
        ("::ffff:192.0.2.7", LOCAL, []),
        ("198.51.100.200", LOCAL, ["198.51.100.0/24"]),
        ("198.51.100.200", LOCAL, ["2001:db8::/32", "192.0.2.0/24", "198.51.100.200"]),
        ("198.51.100.200", LOCAL, ["0.0.0.0/0"]),
        ("2001:db8::ffff", LOCAL, ["2001:db8::/32"]),
    ],
)
def test_to_us(to, local, own):
    assert check_recipient(to, local, [parse_prefix(text) for text in own]) is None


@pytest.mark.parametrize(
    ("to", "local", "own"),
    [
        (None, LOCAL, []),
        (None, LOCAL, ["0.0.0.0/0", "::/0"]),
        ("192.0.2.8", LOCAL, []),
        ("2001:db8::7", LOCAL, []),
        ("192.0.2.7", LOCAL, ["198.51.100.0/24"]),
        ("198.51.101.0", LOCAL, ["198.51.100.0/24"]),
        ("198.51.99.255", LOCAL, ["198.51.100.0/24"]),
        ("192.0.2.7", LOCAL, ["::/0"]),
        ("2001:db8::7", LOCAL6, ["0.0.0.0/0"]),
        ("", LOCAL, []),
        ("192.0.2.07", LOCAL, []),
        ("example.net", LOCAL, ["0.0.0.0/0"]),
    ],
)
def test_not_to_us(to, local, own):
    assert refusal(check_recipient, to, local, [parse_prefix(text) for text in own]) == "not_to_us"


def test_a_duplicate_is_refused_until_it_expires():
    seen = Seen()
    assert seen.check(b"one", NOW, NOW + HOUR, NOW) is None
    assert seen.check(b"two", NOW, NOW + HOUR, NOW) is None
    for later in (0, 1, HOUR):
        assert refusal(seen.check, b"one", NOW, NOW + HOUR, NOW + later) == "duplicate"
        assert refusal(seen.check, b"two", NOW, NOW + HOUR, NOW + later) == "duplicate"


def test_a_full_memory_lets_fresh_reports_in_and_forgotten_ones_only_while_they_are_fresh():
    seen = Seen(remembered=2)
    seen.check(b"victim", NOW, NOW + HOUR, NOW)
    for number in range(5):
        seen.check(b"%d" % number, NOW, NOW + HOUR, NOW)  # pushes the first one out
    assert seen.check(b"victim", NOW, NOW + HOUR, NOW + FRESH_MS) is None
    for number in range(5):
        seen.check(b"again %d" % number, NOW + FRESH_MS, NOW + HOUR, NOW + FRESH_MS)
    assert refusal(seen.check, b"victim", NOW, NOW + HOUR, NOW + FRESH_MS + 1) == "too_old_to_tell"
    assert refusal(seen.check, b"victim", NOW, NOW + 999 * HOUR, NOW + 998 * HOUR) == "too_old_to_tell"


def test_who_fills_the_memory_does_not_lock_out_what_is_new():
    seen = Seen(remembered=2)
    for number in range(100):  # dated as far ahead as the clocks' difference allows, valid for a year
        seen.check(b"%d" % number, NOW + 120_000, NOW + 8760 * HOUR, NOW)
    assert seen.check(b"fresh", NOW - FRESH_MS, NOW + HOUR, NOW) is None
    assert refusal(seen.check, b"delayed", NOW - FRESH_MS - 1, NOW + HOUR, NOW) == "too_old_to_tell"
    # Made after the flood, it may be delayed again.
    assert seen.check(b"later", NOW + 120_001, NOW + 9 * HOUR, NOW + 8 * HOUR) is None


def test_forgetting_what_has_expired_costs_nothing():
    seen = Seen(remembered=1)
    seen.check(b"old", NOW, NOW + 10, NOW)
    seen.check(b"new", NOW + 20, NOW + HOUR, NOW + 20)
    assert seen.check(b"delayed", NOW - HOUR, NOW + HOUR, NOW + 20) is None


@given(
    st.lists(st.integers(0, 400_000), min_size=12, max_size=12),
    st.lists(st.tuples(st.integers(0, 11), st.integers(0, 60_000)), max_size=120),
)
def test_nothing_comes_in_again_once_it_is_no_longer_fresh(ages, arrivals):
    seen = Seen(remembered=4)
    now = NOW
    admitted = set()
    for number, wait in arrivals:
        now += wait
        made = NOW - ages[number]
        fresh = made >= now - FRESH_MS
        kind = refusal(seen.check, b"%d" % number, made, NOW + 1000 * HOUR, now)
        if kind is None:
            assert number not in admitted or fresh
            admitted.add(number)
        else:
            assert number in admitted if kind == "duplicate" else not fresh

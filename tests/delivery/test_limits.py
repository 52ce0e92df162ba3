"""How much may be sent, and to whom."""

import random
import tracemalloc
from collections import Counter
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overflowd_tools.delivery import limits
from overflowd_tools.delivery.limits import SECOND, Limits, Recent, Settings

DEFAULTS = Settings(prefix_interval_s=3, prefix_burst=5, network_rate=5, rate=100, bitrate=1e6)
NONE = Settings(prefix_interval_s=0, prefix_burst=1, network_rate=inf, rate=inf, bitrate=inf)
OCTETS = 750


def attempt(bounds, address, now, octets=OCTETS):
    """Send if the limits let it; return the reason if not."""
    reason = bounds.refusal(address, now)
    if reason is None:
        bounds.take(address, octets, now)
    return reason


def v4(number):
    return number.to_bytes(4, "big")


def only(**changes):
    return Limits(NONE._replace(**changes))


def test_a_prefix_gets_its_burst_then_one_for_each_interval():
    bounds = only(prefix_interval_s=3, prefix_burst=5)
    sent = [
        tenth
        for tenth in range(10 * 60)
        if attempt(bounds, bytes([8, 8, 8, tenth % 256]), tenth * SECOND // 10) is None
    ]
    # Five at once, and one more whenever three seconds have passed.
    assert sent == [0, 1, 2, 3, 4, *range(30, 600, 30)]


def test_a_prefix_that_was_silent_has_its_whole_burst_again():
    bounds = only(prefix_interval_s=3, prefix_burst=5)
    for start in (0, 15 * SECOND):
        assert [attempt(bounds, b"\x08\x08\x08\x08", start) for _ in range(6)] == [None] * 5 + ["prefix limit"]
    for start in (29 * SECOND, 10**6 * SECOND):  # four came back; never more than five
        sent = [attempt(bounds, b"\x08\x08\x08\x08", start) for _ in range(10)].count(None)
        assert sent == (4 if start == 29 * SECOND else 5)


@pytest.mark.parametrize(
    ("first", "same", "other"),
    [
        ("08080808", "080808ff", "08080908"),
        (
            "2a001450400100000000000000000001",
            "2a0014504001ffffffffffffffffffff",
            "2a001450400200000000000000000001",
        ),
    ],
    ids=["IPv4 /24", "IPv6 /48"],
)
def test_the_size_of_a_prefix(first, same, other):
    bounds = only(prefix_interval_s=3, prefix_burst=1)
    assert attempt(bounds, bytes.fromhex(first), 0) is None
    assert attempt(bounds, bytes.fromhex(same), 0) == "prefix limit"
    assert attempt(bounds, bytes.fromhex(other), 0) is None


@pytest.mark.parametrize(
    ("first", "same", "other"),
    [
        ("08080808", "0808ffff", "08090808"),
        (
            "2a001450400100000000000000000001",
            "2a001450ffffffffffffffffffffffff",
            "2a001451400100000000000000000001",
        ),
    ],
    ids=["IPv4 /16", "IPv6 /32"],
)
def test_the_size_of_a_network(first, same, other):
    bounds = only(network_rate=1)
    assert attempt(bounds, bytes.fromhex(first), 0) is None
    assert attempt(bounds, bytes.fromhex(same), 0) == "network limit"
    assert attempt(bounds, bytes.fromhex(other), 0) is None


def test_ipv4_and_ipv6_prefixes_are_not_mixed_up():
    bounds = only(prefix_interval_s=3, prefix_burst=1, network_rate=1)
    assert attempt(bounds, bytes.fromhex("08080808"), 0) is None
    assert attempt(bounds, bytes.fromhex("08080808080808080808080808080808"), 0) is None


@pytest.mark.parametrize(
    ("settings", "sent", "reason"),
    [
        (NONE._replace(network_rate=5), 5 + 49, "network limit"),
        (NONE._replace(rate=100), 100 + 999, "rate limit"),
        (NONE._replace(bitrate=8 * OCTETS * 20), 20 + 1 + 199, "bit rate limit"),  # 1 overdraws
    ],
)
def test_a_rate_is_one_second_at_once_and_then_its_rate(settings, sent, reason):
    bounds = Limits(settings)
    reasons = Counter(attempt(bounds, v4(0x08080000 + step % 65536), step * SECOND // 1000) for step in range(10_000))
    assert reasons == {None: sent, reason: 10_000 - sent}


def test_a_rate_below_one_a_second_lets_one_go_at_a_time():
    bounds = only(rate=0.5)
    sent = [tenth for tenth in range(100) if attempt(bounds, v4(tenth), tenth * SECOND // 10) is None]
    assert sent == [0, 20, 40, 60, 80]


def test_a_long_datagram_goes_even_where_the_bit_rate_is_low():
    bounds = only(bitrate=1000)  # a second's worth are 125 octets
    sent = [second for second in range(60) if attempt(bounds, v4(second), second * SECOND) is None]
    assert sent == [0, 5, 11, 17, 23, 29, 35, 41, 47, 53, 59]


def test_no_limit():
    bounds = Limits(NONE)
    assert {attempt(bounds, b"\x08\x08\x08\x08", 0) for _ in range(10_000)} == {None}
    assert bounds.wait_total(0) == 0


def test_the_total_tells_how_long_to_wait():
    bounds = only(rate=10)
    now, sent = 0, []
    for _ in range(30):
        now += bounds.wait_total(now)
        bounds.take_total(OCTETS, now)
        sent.append(now)
    assert sent == [0] * 10 + [tenth * SECOND // 10 for tenth in range(1, 21)]
    bounds = only(bitrate=8000)
    assert bounds.wait_total(0) == 0
    bounds.take_total(3000, 0)
    assert bounds.wait_total(0) == 2 * SECOND


def test_what_is_refused_takes_no_tokens():
    bounds = only(prefix_interval_s=3, prefix_burst=1, network_rate=2)
    assert attempt(bounds, v4(0x08080808), 0) is None
    for _ in range(1000):
        assert attempt(bounds, v4(0x08080808), 0) == "prefix limit"
    assert attempt(bounds, v4(0x08080908), 0) is None
    assert attempt(bounds, v4(0x08080A08), 0) == "network limit"
    assert attempt(bounds, v4(0x08080808), 3 * SECOND) is None


@given(
    st.lists(
        st.tuples(st.integers(0, SECOND), st.integers(0, 40), st.integers(100, 1248)),
        min_size=1,
        max_size=300,
    )
)
def test_no_stream_exceeds_any_limit(stream):
    settings = Settings(prefix_interval_s=2, prefix_burst=2, network_rate=3, rate=5, bitrate=20_000)
    bounds = Limits(settings)
    now, sent = 0, []
    for gap, host, octets in stream:
        now += gap
        address = v4(0x08000000 + (host % 4 << 16) + (host // 4 << 8) + 1)
        if attempt(bounds, address, now, octets) is None:
            sent.append((now, address, octets))
    for index, (start, _, _) in enumerate(sent):
        window = [item for item in sent[index:] if item[0] < start + 10 * SECOND]
        assert len(window) <= 5 + 50
        assert 8 * sum(octets for _, _, octets in window[:-1]) <= 20_000 * 11 + 8 * 1248
        assert max(Counter(address[:2] for _, address, _ in window).values()) <= 3 + 30
        assert max(Counter(address[:3] for _, address, _ in window).values()) <= 2 + 5


def test_forged_recipients_get_no_more_than_the_whole_rate():
    draw = random.Random(7)
    bounds = Limits(DEFAULTS)
    reports, seconds = 200_000, 100
    reasons, octets = Counter(), 0
    for number in range(reports):
        now = number * seconds * SECOND // reports
        reason = attempt(bounds, draw.randbytes(4 if number % 2 else 16), now)
        reasons[reason] += 1
        octets += OCTETS * (reason is None)
    assert 100 * seconds - 1 <= reasons[None] <= 100 * (seconds + 1)
    assert octets * 8 <= 1e6 * (seconds + 1) + 8 * OCTETS
    assert reasons.total() == reports


def test_nobody_is_forgotten_at_the_default_rate():
    """At 100 datagrams a second in all, forged prefixes push nobody who is short of tokens off the table."""
    draw = random.Random(7)
    bounds = Limits(DEFAULTS)
    victim = b"\x08\x08\x08\x08"
    sent = 0
    for step in range(60_000):  # 60 s
        now = step * SECOND // 1000
        sent += attempt(bounds, victim, now) is None
        attempt(bounds, draw.randbytes(16), now)
    assert sent <= 5 + 60 / 3


def test_more_prefixes_than_the_table_holds_buy_no_tokens():
    """With no limit on the whole, a flood of prefixes pushes the victim out of the table again and again."""
    table = limits._PrefixBuckets(3 * SECOND, slack=4 * 3 * SECOND, size=100)
    victim, sent, others = b"\x08\x08\x08", 0, 0
    for step in range(60_000):  # 60 s; each millisecond one try for the victim, one for somebody new
        now = step * SECOND // 1000
        for prefix in (victim, step.to_bytes(6, "big")):
            if not table.wait(prefix, now):
                table.take(prefix, now)
                sent += prefix == victim
                others += prefix != victim
        assert len(table) <= 100
    assert sent <= 5 + 60 / 3
    # Nor does the flood shut out everybody: about a table full of new prefixes goes each interval.
    assert 100 * 60 / 3 / 2 <= others <= 100 * 60 / 3 * 2


def test_nobody_is_shut_out_after_the_flood():
    table = limits._PrefixBuckets(3 * SECOND, slack=4 * 3 * SECOND, size=100)
    for step in range(100_000):
        prefix = step.to_bytes(6, "big")
        if not table.wait(prefix, 0):
            table.take(prefix, 0)
    newcomer = b"\x08\x08\x08"
    assert table.wait(newcomer, 0) <= 3 * SECOND
    assert table.wait(newcomer, 3 * SECOND) == 0


@given(st.lists(st.tuples(st.integers(0, 4 * SECOND), st.integers(0, 30)), max_size=400))
def test_a_small_table_is_never_more_generous_than_an_endless_one(stream):
    small = limits._PrefixBuckets(3 * SECOND, slack=2 * 3 * SECOND, size=4)
    endless = limits._PrefixBuckets(3 * SECOND, slack=2 * 3 * SECOND, size=10**6)
    now = 0
    for gap, number in stream:
        now += gap
        prefix = bytes([number, 0, 0])
        assert small.wait(prefix, now) >= endless.wait(prefix, now)
        if not small.wait(prefix, now):
            small.take(prefix, now)
            endless.take(prefix, now)
        assert len(small) <= 4


def test_full_buckets_leave_the_table():
    table = limits._PrefixBuckets(3 * SECOND, slack=0)
    for number in range(1000):
        table.take(number.to_bytes(3, "big"), 0)
    assert len(table) == 1000
    table.take(b"\x08\x08\x08", 3 * SECOND)
    assert len(table) == 1


def test_memory_is_bounded():
    bounds = Limits(NONE._replace(prefix_interval_s=1e6, network_rate=1e-6))
    recent = Recent(1e6)
    tracemalloc.start()
    try:
        for number in range(100_000):
            address = (number << 80).to_bytes(16, "big")
            bounds.take(address, OCTETS, number)
            recent.add(f"2a00:1450:4001:4001:4001:4001:4001:{number:x} 2a00:1450:4001::1 443 65535 17", number)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(recent) == limits.DATAGRAMS
    assert held < 16 << 20


def test_recent_knows_what_was_sent_within_the_window():
    recent = Recent(300)
    recent.add("a", 0)
    recent.add("b", 100 * SECOND)
    assert recent.has("a", 300 * SECOND - 1)
    assert not recent.has("a", 300 * SECOND)
    assert recent.has("b", 300 * SECOND)
    assert not recent.has("c", 300 * SECOND)
    recent.add("a", 310 * SECOND)
    assert recent.has("a", 400 * SECOND)
    assert recent.has("b", 399 * SECOND)
    assert len(recent) == 2
    recent.add("c", 400 * SECOND)
    assert not recent.has("b", 400 * SECOND)
    assert len(recent) == 2


def test_recent_forgets_the_oldest_first():
    recent = Recent(300, size=3)
    for now, thing in enumerate("abcad"):
        recent.add(thing, now)
    assert [recent.has(thing, 5) for thing in "abcd"] == [True, False, True, True]
    assert len(recent) == 3


def test_recent_with_no_window_remembers_nothing():
    recent = Recent(0)
    for now in range(10):
        recent.add("a", now)
        assert not recent.has("a", now)
    assert len(recent) == 1

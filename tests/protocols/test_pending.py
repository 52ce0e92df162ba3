"""Data sets that wait for their template: kept in order, within bounds of room and time."""

from hypothesis import given
from hypothesis import strategies as some

from overflowd_tools.protocols import pending
from overflowd_tools.protocols.pending import AGE_NS, OCTETS, SESSION_OCTETS, TEMPLATES, Pending, Place


def held(place: Place) -> list[tuple[int, int]]:
    return list(place.counts())


def test_what_waits_comes_in_its_order():
    all_of_them, place = Pending(), Place()
    for number, context in ((256, "a"), (257, "b"), (256, "c")):
        all_of_them.hold(place, number, context, context.encode() * 3, 0)
    assert held(place) == [(256, 2), (257, 1)]
    assert all_of_them.take(place, 256) == [("a", b"aaa"), ("c", b"ccc")]
    assert all_of_them.take(place, 256) == []
    assert held(place) == [(257, 1)]
    assert all_of_them.dropped == 0
    assert all_of_them.octets == place.octets > 0


def test_sessions_are_apart():
    all_of_them, one, other = Pending(), Place(), Place()
    all_of_them.hold(one, 256, "one", b"1", 0)
    all_of_them.hold(other, 256, "other", b"2", 0)
    assert all_of_them.take(one, 256) == [("one", b"1")]
    assert held(other) == [(256, 1)]


def test_what_is_given_up_is_counted():
    all_of_them, place = Pending(), Place()
    for number in (256, 256, 257, 258):
        all_of_them.hold(place, number, None, b"x", 0)
    all_of_them.drop(place, 256)
    assert all_of_them.dropped == 2
    all_of_them.drop_all(place)
    assert (all_of_them.dropped, all_of_them.octets, place.octets, held(place)) == (4, 0, 0, [])


def test_a_session_has_its_share():
    all_of_them, greedy, other = Pending(), Place(), Place()
    all_of_them.hold(other, 256, None, b"x" * 50, 0)
    for _ in range(100):
        all_of_them.hold(greedy, 256, None, bytes(60_000), 0)
    assert greedy.octets <= SESSION_OCTETS
    [(_, kept)] = held(greedy)
    assert all_of_them.dropped == 100 - kept
    assert held(other) == [(256, 1)]


def test_templates_that_a_session_waits_for():
    all_of_them, place = Pending(), Place()
    for number in range(300):
        all_of_them.hold(place, 256 + number, None, b"", 0)
    assert len(held(place)) == TEMPLATES
    assert all_of_them.dropped == 300 - TEMPLATES
    all_of_them.hold(place, 256, None, b"", 0)
    assert held(place)[0] == (256, 2)


def test_the_oldest_of_all_goes_when_there_is_too_much():
    all_of_them, places = Pending(), [Place() for _ in range(20)]
    for place in places:
        for _ in range(17):
            all_of_them.hold(place, 256, None, bytes(60_000), 0)
    assert all_of_them.octets <= OCTETS
    assert held(places[0]) == []
    assert held(places[-1]) == [(256, 17)]
    assert all_of_them.dropped == 20 * 17 - sum(count for place in places for _, count in held(place))


def test_age():
    all_of_them, place = Pending(), Place()
    all_of_them.hold(place, 256, "old", b"", 5)
    all_of_them.hold(place, 257, "young", b"", 9)
    all_of_them.hold(place, 258, "now", b"", AGE_NS + 6)
    assert held(place) == [(257, 1), (258, 1)]
    assert all_of_them.dropped == 1


def test_what_came_at_an_unknown_time_does_not_age():
    all_of_them, place = Pending(), Place()
    all_of_them.hold(place, 256, "a file's", b"", 0)
    all_of_them.hold(place, 257, "now", b"", 10 * AGE_NS)
    assert len(held(place)) == 2


@given(
    some.lists(
        some.tuples(
            some.sampled_from(["hold", "hold", "hold", "take", "drop", "drop_all"]),
            some.integers(0, 3),
            some.integers(0, 5),
            some.integers(0, 900),
            some.integers(0, 20),
        ),
        max_size=80,
    )
)
def test_accounts_always_balance(steps):
    """Whatever happens: what was held is taken, dropped or there, and no bound is passed."""
    bounds = {"OCTETS": 20_000, "SESSION_OCTETS": 9000, "TEMPLATES": 3, "AGE_NS": 10}
    kept = {name: getattr(pending, name) for name in bounds}
    vars(pending).update(bounds)
    try:
        all_of_them, places = Pending(), [Place() for _ in range(4)]
        offered, taken, now = 0, 0, 1
        for what, which, number, size, later in steps:
            place, now = places[which], now + later
            if what == "hold":
                all_of_them.hold(place, number, None, bytes(size), now)
                offered += 1
            elif what == "take":
                taken += len(all_of_them.take(place, number))
            elif what == "drop":
                all_of_them.drop(place, number)
            else:
                all_of_them.drop_all(place)
            there = sum(count for each in places for _, count in each.counts())
            assert offered == taken + all_of_them.dropped + there
            assert all_of_them.octets == sum(each.octets for each in places) <= bounds["OCTETS"]
            assert all(each.octets <= bounds["SESSION_OCTETS"] for each in places)
            assert all(len(each.by_number) <= bounds["TEMPLATES"] for each in places)
            assert (all_of_them.octets == 0) == (there == 0)
    finally:
        vars(pending).update(kept)

"""The states of keys: what raises one, what lowers it, and what numbers alone never do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overflowd_tools.trust.reputation import CONFIRMED_FLOWS, FIELDS, MOST, RANK, STATES, Numbers, Record

DAY = 86_400_000
START = 20_000 * DAY


def record(**values) -> Record:
    made = Record()
    made.text = "RW"
    for name, value in values.items():
        setattr(made, name, value)
    return made


def flow(number: int) -> bytes:
    return number.to_bytes(8, "big")


def after(*sightings) -> Record:
    """Return the record of a key after reports on these days, each confirmed by this flow of ours or by none."""
    made = record()
    for day, own in sightings:
        made.saw(START + day * DAY, "A <a@b>", flow(own) if own else b"")
    return made


def test_a_new_key_is_unknown_and_its_fields_have_their_types():
    assert record().state == "unknown"
    assert [type(value) for value in Record().values()] == [type(value) for value in FIELDS.values()]
    assert Record(Record().values()).values() == Record().values()


def test_volume_alone_never_raises_a_state():
    made = after(*[(0, 0)] * 10_000)
    assert (made.reports, made.days, made.state) == (10_000, 1, "unknown")
    assert after(*((day, 0) for day in range(1000))).state == "seen"


def test_one_flow_of_ours_confirms_one_report():
    made = after(*[(day, 1) for day in range(30)])
    assert (made.days, made.corroborated, made.state) == (30, 1, "seen")
    many = after(*((0, number % CONFIRMED_FLOWS + 1) for number in range(10 * CONFIRMED_FLOWS)))
    assert (many.corroborated, len(many.confirmed)) == (CONFIRMED_FLOWS, 8 * CONFIRMED_FLOWS)


@pytest.mark.parametrize(
    ("days", "flows", "state"), [(7, 20, "known"), (6, 20, "seen"), (7, 19, "seen"), (1, 20, "seen"), (1, 0, "unknown")]
)
def test_known_takes_days_and_confirmed_reports(days, flows, state):
    sightings = [(number % days, number + 1) for number in range(flows)] + [(day, 0) for day in range(days)]
    assert after(*sorted(sightings)).state == state


def test_an_equivocation_ends_trust_until_the_operator_says_otherwise():
    made = after(*((number // 4, number + 1) for number in range(40)))
    assert made.state == "known"
    made.equivocated()
    assert made.state == "distrusted"
    made.decision = ""
    assert made.state == "seen"
    made.decide("pinned", "Example Net")
    assert (made.state, made.name, made.kept) == ("pinned", "Example Net", 1)
    made.decide("distrusted", "")
    assert (made.state, made.name) == ("distrusted", "Example Net")


def test_a_revoked_key_stays_revoked():
    made = record(revoked_ms=5)
    made.decide("pinned", "x")
    assert made.state == "revoked"
    assert [made.why_void(time_ms) for time_ms in (4, 5)] == [None, "revoked key"]


def test_times_after_which_a_key_says_nothing():
    assert record(expires_ms=9).why_void(8) is None
    assert record(expires_ms=9).why_void(9) == "expired key"
    assert record(until_ms=9, successor="RWx").why_void(9) == "replaced key: RWx is the new one"


def test_days_of_clocks_that_differ_or_jump():
    """Two processes around midnight count two days; a clock that was years ahead does not stop the count."""
    made = after((1, 0), (2, 0), (1, 0), (2, 0))
    assert made.days == 2
    made.saw(START + 9000 * DAY, "", b"")
    made.saw(START + 3 * DAY, "", b"")
    made.saw(START + 4 * DAY, "", b"")
    assert made.days == 5


def test_contacts_are_counted():
    made = record()
    for contact in ("a", "a", "b", "a"):
        made.saw(START, contact, b"")
    assert (made.contact, made.contacts) == ("a", 3)


def test_a_successor_stands_where_its_predecessor_stood():
    old, new = after(*((number // 4, number + 1) for number in range(40))), record()
    old.name, new.text = "Example Net", "RWnew"
    new.inherit(old, 5, 9)
    assert (new.state, new.name, new.predecessor) == ("known", "Example Net", "RW")
    assert (old.successor, old.rotated_ms, old.until_ms) == ("RWnew", 5, 9)
    bad = record()
    bad.equivocated()
    another = record()
    another.inherit(bad, 1, 2)
    assert another.state == "distrusted"


def test_summary():
    shown = record(name="x", until_ms=3).summary()
    assert shown["state"] == "unknown"
    assert shown["name"] == "x"
    assert shown["until_ms"] == 3
    assert "note" not in shown
    assert [RANK[state] for state in STATES] == sorted(RANK.values())


@given(st.lists(st.integers(1, 60), unique=True, min_size=1))
def test_missing_numbers_are_those_between(order):
    numbers, missing = Numbers(), 0
    for number in order:
        missing += numbers.arrived(number)
    assert missing == numbers.missing == max(order) - min(order) + 1 - len(order)


def test_lost_reports_stay_in_bounds():
    made = record()
    made.lost(-5)
    assert made.missing == 0
    made.lost(MOST)
    made.lost(MOST)
    assert made.missing == MOST

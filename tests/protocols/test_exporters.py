"""What is remembered of exporters: who knows what, and that all of it is bounded, whoever sends it."""

import random

import pytest

from overflowd_tools.protocols import exporters as module
from overflowd_tools.protocols import survey
from overflowd_tools.protocols.announced import Announced, Specifier
from overflowd_tools.protocols.exporters import Exporters
from overflowd_tools.protocols.sessions import Export, Session
from tests.protocols.bounds import SMALL, assert_bounded, layouts

ADDRESS = b"\xc0\0\2\1"


def export(address: int | bytes = ADDRESS, port: int = 2055, domain: int = 0, source: str = "ipfix") -> Export:
    exporter = address if isinstance(address, bytes) else address.to_bytes(4)
    return Export(source, exporter, port, domain, 0, None, 0, {})


def announced(number: int = 256, fields: int = 1, *, first: int = 1) -> Announced:
    """A template of so many fields; those with another first element are others."""
    return Announced(number, tuple(Specifier(0, first + place, 4) for place in range(fields)))


def learn(exporters: Exporters, heard: Export, *templates: Announced) -> Session:
    session = exporters.session(heard)
    for template in templates:
        exporters.learn(session, template, netflow9=False)
    return session


@pytest.fixture
def bounds(monkeypatch) -> dict[str, int]:
    """Bounds so small that tests reach them fast."""
    small = dict(SMALL)
    for name, value in small.items():
        monkeypatch.setattr(module, name, value)
    return small


# Who knows what


def test_sessions_are_by_protocol_address_port_and_domain():
    exporters = Exporters()
    keys = [export(), export(source="netflow9"), export(2), export(port=2), export(domain=2)]
    sessions = [exporters.session(key) for key in keys]
    assert len(set(map(id, sessions))) == 5
    assert [exporters.session(key) for key in keys] == sessions
    assert {key for key, _ in exporters.sessions()} == {
        (one.source, one.exporter, one.port, one.domain) for one in keys
    }


def test_options_are_by_address_and_domain():
    """An exporter that restarts sends from another port."""
    exporters = Exporters()
    exporters.learn_options(exporters.session(export()), {34: 10}, frozenset())
    for other, known in (
        (export(port=9), True),
        (export(source="netflow9"), True),
        (export(domain=2), False),
        (export(2), False),
    ):
        assert (exporters.session(other).options.rate({}, 0) == 10) is known


def test_exporters_of_one_make_share_their_layouts():
    exporters = Exporters()
    one, other = (learn(exporters, export(number), announced(fields=30)) for number in (1, 2))
    assert one.layouts[256] is other.layouts[256]
    assert exporters._fields == 30
    assert exporters.session(export(1)).fields == 30
    exporters.withdraw(one, [256])
    assert exporters._fields == 30
    exporters.withdraw(other, [256])
    assert exporters._fields == 0


def test_the_same_template_again_is_kept():
    exporters = Exporters()
    session = learn(exporters, export(), announced(), announced(257))
    layout = session.layouts[256]
    session.restored[256] = 5
    learn(exporters, export(), announced())
    assert session.layouts[256] is layout
    assert [*session.layouts] == [257, 256]
    assert session.restored == {}
    learn(exporters, export(), announced(first=7))
    assert session.layouts[256] is not layout
    assert session.fields == 2


def test_a_template_of_netflow_9_is_another():
    exporters = Exporters()
    exporters.learn(exporters.session(export()), Announced(256, (Specifier(0, 33002, 2),)), netflow9=False)
    exporters.learn(exporters.session(export(2)), Announced(256, (Specifier(0, 33002, 2),)), netflow9=True)
    assert sorted(layout.members[0].key for layout in layouts(exporters)) == ["0/33002", "v9:firewallEventExtended"]


def test_withdrawals():
    exporters = Exporters()
    session = learn(exporters, export(), announced(), announced(257, 3))
    session.restored[257] = 5
    gone = exporters.withdraw(session, [257, 999])
    assert [layout.number for layout in gone] == [257]
    assert (session.fields, session.restored) == (1, {})


def test_what_waits():
    exporters = Exporters()
    session = exporters.session(export())
    assert exporters.hold(session, 256, export(), b"one")
    assert exporters.hold(session, 256, export(), b"two")
    assert exporters.hold(session, 257, export(), b"three")
    assert list(exporters.waiting()) == [(("ipfix", ADDRESS, 2055, 0), 256, 2), (("ipfix", ADDRESS, 2055, 0), 257, 1)]
    sets = exporters.learn(session, announced(), netflow9=False)
    assert [(data.content, data.layout.number) for data in sets] == [(b"one", 256), (b"two", 256)]
    exporters.withdraw(session, [257])
    assert list(exporters.waiting()) == []
    assert not exporters.hold(session, 256, export(), bytes(2 << 20))


def test_a_template_is_missed_once(bounds):
    exporters = Exporters()
    assert exporters.is_missed(export(), 256)
    assert not exporters.is_missed(export(), 256)
    for other in (export(2), export(port=1), export(domain=1), export(source="netflow9")):
        assert exporters.is_missed(other, 256)
    assert exporters.is_missed(export(), 257)
    for number in range(bounds["_MISSED"]):
        exporters.is_missed(export(9), number)
    assert len(exporters._missed) <= bounds["_MISSED"]
    assert exporters.is_missed(export(), 256)


def test_what_is_known_from_elsewhere():
    exporters = Exporters()
    session = exporters.session(export(), trusted=True)
    exporters.learn_options(session, {34: 10}, frozenset())
    exporters.complete_options(session, [("domain", 0, 99), ("interface", 3, 5)], 77)
    assert session.options.rate({}, 0) == 10
    assert session.options.rate({10: 3}, 0) == 5
    assert session.options.boot_ms == 77
    assert exporters._rates == session.address.rates == 2


def test_the_table_is_read_when_it_is_needed():
    exporters = Exporters()
    assert exporters._table is None
    assert exporters.elements() is exporters.elements()


# Bounds


def test_a_session_forgets_its_oldest_templates(bounds):
    exporters = Exporters()
    session = learn(exporters, export(), *(announced(256 + number) for number in range(bounds["TEMPLATES"])))
    learn(exporters, export(), announced(256))  # announced again, so no longer the oldest
    learn(exporters, export(), announced(500))
    assert {256, 500} <= session.layouts.keys()
    assert 257 not in session.layouts
    assert exporters.forgotten == 3
    assert_bounded(exporters, bounds)


def test_an_address_forgets_its_own_sessions_first(bounds):
    exporters = Exporters()
    kept = learn(exporters, export(2), announced())
    for domain in range(100):
        learn(exporters, export(1, domain=domain), announced())
    assert_bounded(exporters, bounds)
    assert exporters.session(export(2)) is kept
    assert 256 in kept.layouts
    assert exporters.forgotten == 100 - bounds["ADDRESS_SESSIONS"]


def test_an_address_that_announces_too_many_fields(bounds):
    exporters = Exporters()
    old, new = export(domain=1), export(domain=2)
    learn(exporters, old, announced(256, 30), announced(257, 20))
    session = learn(exporters, new, announced(256, 30))
    assert [key[3] for key, _ in exporters.sessions()] == [2]
    learn(exporters, new, announced(257, 31, first=2))
    assert [*session.layouts] == [257]
    # One template may be larger than the bound, alone.
    learn(exporters, new, announced(258, bounds["ADDRESS_FIELDS"] + 5))
    assert [*session.layouts] == [258]
    assert_bounded(exporters, bounds)


def test_a_session_that_is_forgotten_gives_up_what_waits(bounds):
    exporters = Exporters()
    first = export(domain=0)
    exporters.hold(exporters.session(first), 256, first, b"x" * 500)
    for domain in range(1, 1 + bounds["ADDRESS_SESSIONS"]):
        exporters.session(export(domain=domain))
    assert list(exporters.waiting()) == []
    assert (exporters._pending.octets, exporters._pending.dropped) == (0, 1)


def test_a_flood_of_forged_exporters_does_not_reach_who_was_there_before(bounds):
    """Those that were heard once go first (flow.md finding on spoofed UDP; RFC 7011 section 11.3)."""
    exporters = Exporters()
    honest = [export(number) for number in range(10)]
    for one in honest:
        learn(exporters, one, announced())
        exporters.session(one)
    for number in range(1000, 3000):
        learn(exporters, export(number), announced(first=number))
    assert_bounded(exporters, bounds)
    for one in honest:
        assert 256 in exporters.session(one).layouts
    assert exporters.forgotten > 1900


def test_newcomers_have_a_place_of_their_own(bounds):
    """Where many old ones are heard again and again, a new one is not forgotten at once."""
    exporters = Exporters()
    for _ in range(2):
        for number in range(bounds["SESSIONS"]):
            exporters.session(export(number))
    for number in range(100, 103):
        learn(exporters, export(number), announced())
    assert_bounded(exporters, bounds)
    assert 256 in exporters.session(export(102)).layouts
    assert len(exporters._newcomers) == 2


def test_a_trusted_one_is_no_newcomer(bounds):
    exporters = Exporters()
    trusted = exporters.session(export(1), trusted=True)
    assert exporters._addresses.keys() == {b"\0\0\0\1"}
    for number in range(100, 200):
        exporters.session(export(number))
    assert exporters.session(export(1)) is trusted


def test_memory_is_that_of_newcomers_first(bounds):
    exporters = Exporters()
    honest = export(1)
    kept = learn(exporters, honest, announced(256, 50, first=1))
    exporters.session(honest)
    for number in range(2, 30):
        learn(exporters, export(number), announced(256, 20, first=1000 * number))
    assert 256 in kept.layouts
    assert_bounded(exporters, bounds)


def test_memory_of_old_ones_is_that_of_the_heaviest_first(bounds):
    exporters = Exporters()
    light = learn(exporters, export(1), announced(256, 5))
    exporters.session(export(1))
    for number in range(2, 30):
        exporters.session(export(number))
        learn(exporters, export(number), announced(256, 40, first=1000 * number))
    assert 256 in light.layouts
    assert exporters.session(export(1)) is light
    assert_bounded(exporters, bounds)


def test_the_heaviest_that_goes_on_forgets_its_own(bounds, monkeypatch):
    monkeypatch.setitem(bounds, "ADDRESS_FIELDS", 10_000)
    monkeypatch.setattr(module, "ADDRESS_FIELDS", 10_000)
    exporters = Exporters()
    light = learn(exporters, export(1), announced(256, 5))
    exporters.session(export(1))
    heavy = exporters.session(export(2))
    for number in range(20):
        learn(exporters, export(2), announced(300 + number, 30, first=100 * number))
    assert 256 in light.layouts
    assert 319 in heavy.layouts
    assert_bounded(exporters, bounds)


def test_rates_are_counted_like_templates(bounds):
    exporters = Exporters()
    for domain in range(5):
        session = exporters.session(export(domain=domain))
        for sampler in range(10):
            exporters.learn_options(session, {302: sampler, 34: 10 + sampler}, frozenset({302}))
    assert session.options.rate({302: 9}, 0) == 19
    assert session.address.rates <= bounds["ADDRESS_RATES"]
    # The domain that told first has been forgotten, and what it tells now counts again.
    oldest = exporters.session(export(domain=0))
    assert oldest.options.rate({302: 9}, 0) is None
    exporters.learn_options(oldest, {302: 9, 34: 5}, frozenset({302}))
    assert exporters.session(export(domain=0)).options.rate({302: 9}, 0) == 5
    assert_bounded(exporters, bounds)


@pytest.mark.parametrize("seed", range(6))
def test_any_order_of_events_keeps_the_bounds(bounds, seed):
    source = random.Random(seed)
    exporters = Exporters()
    for step in range(1000):
        heard = export(
            source.choice((1, 2, source.randrange(100))), source.randrange(3), source.randrange(4 + 10 * (seed % 2))
        )
        session = exporters.session(heard, trusted=source.random() < 0.05)
        number = 256 + source.randrange(30)
        match source.choice("lllwohh"):
            case "l":
                first = source.choice((1, source.randrange(5000)))
                exporters.learn(session, announced(number, source.randrange(1, 25), first=first), netflow9=False)
            case "w":
                exporters.withdraw(session, [number, number + 1])
            case "o":
                values = {source.choice((302, 10, 149)): source.randrange(20), 34: source.randrange(100), 160: 7}
                exporters.learn_options(session, values, frozenset({10, 302, 149}))
            case "h":
                exporters.hold(session, number, heard, bytes(source.randrange(2000)))
        if step % 50 == 0:
            del session
            assert_bounded(exporters, bounds)
    waiting = sum(session.pending.octets for _, session in exporters.sessions())
    assert exporters._pending.octets == waiting


def test_a_survey_keeps_the_bounds_too(bounds, monkeypatch):
    """It keeps aside what was told first, of templates that come, change and go without end as well."""
    monkeypatch.setattr(survey, "ADDRESS_FIELDS", bounds["ADDRESS_FIELDS"])
    exporters = survey.Survey()
    for number in range(200):
        session = exporters.session(export())
        exporters.learn(session, announced(256 + number, 10, first=10 * number), netflow9=False)
        exporters.learn(session, announced(256 + number, 10, first=10 * number + 5), netflow9=False)
        exporters.withdraw(session, [256 + number])
    assert exporters._fields <= bounds["ADDRESS_FIELDS"]
    told = Exporters()
    exporters.tell(told)
    assert [layout.announced.fields[0].element for layout in layouts(told)][-1] == 1990


# Who goes when memory is full: the addresses of about one size that take most together, the least recent first


def known_of(exporters: Exporters) -> set[int]:
    return {int.from_bytes(key[1]) for key, session in exporters.sessions() if session.layouts}


def settled(exporters: Exporters, number: int, *templates: Announced) -> None:
    """Let an exporter be heard twice."""
    learn(exporters, export(number), *templates)
    exporters.session(export(number))


def test_few_that_take_much_do_not_push_out_those_that_take_little(bounds):
    exporters = Exporters()
    for number in range(10):
        settled(exporters, number, announced(fields=2, first=10 * number))
    for round_ in range(40):
        settled(exporters, 1000 + round_ % 4, announced(fields=50, first=1000 + 100 * round_))
        assert_bounded(exporters, bounds)
    assert known_of(exporters) >= {*range(10)}


def test_many_that_take_little_do_not_push_out_who_takes_more(bounds):
    exporters = Exporters()
    settled(exporters, 1, announced(fields=30, first=5000))
    for number in range(100, 139):
        settled(exporters, number, *(announced(256 + each, 2, first=10 * number + 2 * each) for each in range(3)))
        assert_bounded(exporters, bounds)
    assert 1 in known_of(exporters)
    assert exporters.forgotten


def test_what_many_know_costs_each_of_them_little(bounds):
    """Those of one make do not go because of what one other announces."""
    exporters = Exporters()
    shared = announced(fields=50)
    for number in range(30):
        settled(exporters, number, shared)
    for round_ in range(20):
        settled(exporters, 1000 + round_ % 5, announced(fields=50, first=1000 + 100 * round_))
        assert_bounded(exporters, bounds)
    assert known_of(exporters) >= {*range(30)}


def test_places_of_templates_that_are_the_same_are_bounded(bounds, monkeypatch):
    monkeypatch.setattr(module, "SESSIONS", 10_000)
    exporters = Exporters()
    same = [announced(256 + each) for each in range(10)]
    for number in range(200):
        settled(exporters, number, *same)
    assert exporters._octets <= bounds["MEMORY"]
    assert exporters._places.number < 400
    assert any("octets of templates" in reason for reason in exporters.reached())
    assert exporters.reached() == []


def test_a_newcomer_pushes_out_none_of_those_that_were_there_before(bounds):
    exporters = Exporters()
    for number in range(3):
        settled(exporters, number, announced(fields=50, first=100 * number))
    for number in range(1000, 1040):
        learn(exporters, export(number), announced(256, 30, first=7000), announced(257, 30, first=10 * number))
        assert_bounded(exporters, bounds)
    assert known_of(exporters) >= {*range(3)}

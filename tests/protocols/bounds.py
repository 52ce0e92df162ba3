"""The bounds of what is remembered of exporters, held against what is remembered."""

from collections import Counter
from collections.abc import Iterator

from overflowd_tools.protocols.exporters import Exporters
from overflowd_tools.protocols.layouts import Layout
from overflowd_tools.protocols.sessions import Session

SMALL = {"SESSIONS": 40, "ADDRESS_SESSIONS": 8, "TEMPLATES": 16, "ADDRESS_FIELDS": 60, "ADDRESS_RATES": 30}
SMALL |= {"MEMORY": 200 * 400, "_MEMORY_LEFT": 190 * 400, "_NEWCOMERS": 5, "_MISSED": 20}
"""Bounds of the module exporters so small that tests reach them fast."""


def assert_bounded(exporters: Exporters, bounds: dict[str, int]) -> None:
    """No bound is passed, and the sums that are kept are those of the parts."""
    sessions = dict(exporters.sessions())
    assert len(sessions) == exporters._count <= bounds["SESSIONS"]
    by_address: dict[bytes, list[Session]] = {}
    for (_, address, _, _), session in sessions.items():
        by_address.setdefault(address, []).append(session)
        assert session.fields == sum(len(layout.members) for layout in session.layouts.values())
        assert len(session.layouts) <= bounds["TEMPLATES"]
    known = {**exporters._addresses, **exporters._newcomers}
    assert not exporters._addresses.keys() & exporters._newcomers.keys()
    for address, its in by_address.items():
        assert len(its) == len(known[address].sessions) <= bounds["ADDRESS_SESSIONS"]
        assert known[address].fields == sum(session.fields for session in its)
        assert known[address].fields <= bounds["ADDRESS_FIELDS"] or sum(len(one.layouts) for one in its) == 1
        assert len(known[address].options) <= bounds["ADDRESS_SESSIONS"]
        for (_, _, domain), session in known[address].sessions.items():
            assert session.options is known[address].options[domain]
    for address in known.values():
        assert address.rates == sum(map(len, address.options.values()))
        assert address.rates <= bounds["ADDRESS_RATES"] or len(address.options) == 1
    assert exporters._rates == sum(address.rates for address in known.values())
    assert exporters._fields == sum(len(each.members) for each in set(layouts(exporters)))
    assert exporters._places.number == sum(len(each.layouts) for each in sessions.values())
    users = Counter(id(each) for each in layouts(exporters))
    assert all(each.users == users[id(each)] for each in layouts(exporters))
    assert exporters._octets <= bounds["MEMORY"]


def layouts(exporters: Exporters) -> Iterator[Layout]:
    for _, session in exporters.sessions():
        yield from session.layouts.values()

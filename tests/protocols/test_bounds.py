"""The limits that a user chooses: each at its value, one below what comes, and what is told when it is reached."""

import struct

import pytest

from overflowd_tools.protocols.bounds import Limits
from overflowd_tools.protocols.exporters import Exporters
from tests.protocols.set_builders import TABLE, data, send, template

FIELDS = [(8, 4), (1, 4)]
RECORD = struct.pack("!II", 1, 2)
FEW = Limits(sessions=3, templates=2)


def heard_from(exporters: Exporters, host: int, domain: int = 1, *, number: int = 256) -> list[str]:
    return send(exporters, template(number, FIELDS), source=(bytes((192, 0, 2, host)), 9, 0), domain=domain).problems


def known(exporters: Exporters) -> list[tuple[int, int]]:
    """Host and domain of the sessions."""
    return sorted((key[1][3], key[3]) for key, _ in exporters.sessions())


def test_sessions_of_many():
    exporters = Exporters(TABLE, FEW)
    told = [heard_from(exporters, host) for host in (1, 1, 2, 2, 3, 3)]
    assert (told, exporters.forgotten) == ([[]] * 6, 0)
    [problem] = heard_from(exporters, 4)
    assert problem == "templates or sessions are forgotten: there are more than 3 sessions of all exporters"
    assert known(exporters) == [(2, 1), (3, 1), (4, 1)]
    assert [heard_from(exporters, host) for host in (5, 6)] == [[], []]
    assert exporters.forgotten == 3
    assert len(known(exporters)) == 3


@pytest.mark.parametrize("times", [1, 2])
def test_sessions_of_one(times):
    """It pushes out its own, whether it is a newcomer or not, and is never pushed out itself."""
    exporters = Exporters(TABLE, FEW)
    for _ in range(times):
        heard_from(exporters, 1)
    told = [problem for domain in range(2, 9) for problem in heard_from(exporters, 1, domain)]
    assert told == ["templates or sessions are forgotten: there are more than 3 sessions of an address"]
    assert known(exporters) == [(1, 6), (1, 7), (1, 8)]


def test_the_only_one_that_was_heard_before_stays():
    exporters = Exporters(TABLE, FEW)
    for host, domain in ((2, 1), (1, 1), (1, 1), (1, 2), (1, 3)):
        heard_from(exporters, host, domain)
    assert known(exporters) == [(1, 1), (1, 2), (1, 3)]


def test_templates():
    exporters = Exporters(TABLE, FEW)
    told = [problem for number in range(256, 266) for problem in heard_from(exporters, 1, number=number)]
    assert told == ["templates or sessions are forgotten: there are more than 2 templates of a session"]
    [(_, session)] = exporters.sessions()
    assert list(session.layouts) == [264, 265]


def rows_after(limits: Limits, seconds: int) -> int:
    """How many records there are when their template comes so much later."""
    exporters = Exporters(TABLE, limits)
    host = bytes((192, 0, 2, 1))
    send(exporters, data(256, RECORD), source=(host, 9, 10**9))
    send(exporters, data(257, RECORD), source=(host, 9, (1 + seconds) * 10**9))
    return len(send(exporters, template(256, FIELDS), source=(host, 9, (1 + seconds) * 10**9)).rows)


@pytest.mark.parametrize(("hold_s", "rows"), [(None, 1), (10.0, 1), (9.5, 0), (0.0, 0)])
def test_time_that_data_wait(hold_s, rows):
    assert rows_after(Limits(hold_s=hold_s), 10) == rows


@pytest.mark.parametrize(("octets", "rows"), [(None, 1), (1 << 20, 1), (1500, 0), (1, 0), (0, 0)])
def test_octets_that_wait(octets, rows):
    """Each data set counts a thousand octets more; the second pushes out the first."""
    assert rows_after(Limits(hold_octets=octets), 10) == rows


def test_what_cannot_wait_is_told():
    problems = send(Exporters(TABLE, Limits(hold_s=0.0)), data(256, RECORD)).problems
    assert problems == ["no room, or no more time, to keep data sets until their templates come"]

"""Templates and sets as they are announced: good ones, and everything that cannot be one."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as some

from overflowd_tools.errors import DecodeError
from overflowd_tools.protocols.announced import (
    MAX_EMPTY_FIELDS,
    MAX_FIELDS,
    SCOPE_ENTERPRISE,
    VARIABLE,
    Announced,
    InvalidTemplateError,
    Specifier,
    ipfix_templates,
    netflow9_options_templates,
    netflow9_templates,
    sets,
)
from tests.protocols.set_builders import data, options9, record


def ipfix(content: bytes, *, options: bool = False) -> list[Announced]:
    return list(ipfix_templates(content, options=options))


def upto_error(iterator) -> tuple[list, str]:
    """What comes before the error, and the error."""
    found = []
    try:
        for item in iterator:
            found.append(item)
    except DecodeError as error:
        return found, str(error)
    return found, ""


def parted(iterator) -> tuple[list[Announced], list[str]]:
    """The templates, and what was wrong with the others."""
    told = list(iterator)
    wrong = [str(one) for one in told if isinstance(one, InvalidTemplateError)]
    return [one for one in told if isinstance(one, Announced)], wrong


@pytest.mark.parametrize(
    ("body", "expected", "error"),
    [
        (b"", [], ""),
        (data(256, b"ab"), [(256, b"ab")], ""),
        (data(256, b""), [(256, b"")], ""),
        (data(256, b"a") + data(2, b"bc"), [(256, b"a"), (2, b"bc")], ""),
        (data(256, b"a") + bytes(9), [(256, b"a")], ""),
        (data(256, b"a") + b"xyz", [(256, b"a")], ""),
        (data(256, b"a") + bytes(8) + b"x", [(256, b"a")], "set of impossible length 0"),
        (data(256, b"a") + b"\1\0\0\3abc", [(256, b"a")], "set of impossible length 3"),
        (b"\1\0\0\0" * 2, [], "set of impossible length 0"),
        (b"\1\0\0\x10abcd", [(256, b"abcd")], "set of 16 octets where 8 are left"),
    ],
)
def test_sets(body, expected, error):
    assert upto_error(sets(body)) == (expected, error)


def test_templates():
    content = record(256, [(8, 4), (1, 8)]) + record(999, [(5000, VARIABLE, 9), (2, 4)]) + bytes(3)
    [first, second] = ipfix(content)
    assert first == Announced(256, (Specifier(0, 8, 4), Specifier(0, 1, 8)))
    assert second.fields == (Specifier(9, 5000, VARIABLE), Specifier(0, 2, 4))
    assert (first.length, second.length) == (12, None)


def test_options_templates():
    [told] = ipfix(record(300, [(302, 4), (34, 4), (5, 1)], scopes=2), options=True)
    assert (told.scopes, told.options, told.length) == (2, True, 9)


def test_zeroes_after_templates_are_padding():
    assert len(ipfix(record(256, [(8, 4)]) + bytes(8))) == 1
    assert len(ipfix(record(256, [(8, 4)], scopes=1) + bytes(8), options=True)) == 1


@pytest.mark.parametrize("options", [False, True])
def test_withdrawals(options):
    found = ipfix(struct.pack("!HHHH", 256, 0, 3, 0), options=options)
    assert [(one.number, one.fields) for one in found] == [(256, ()), (3, ())]


GOOD = record(300, [(8, 4)])
GOOD_OPTIONS = record(300, [(8, 4)], scopes=1)


@pytest.mark.parametrize(
    ("bad", "number", "reason"),
    [
        (record(256, [(8, 4)], count=2), 256, "larger than its set"),
        (record(256, [], count=65535), 256, "larger than its set"),
        (record(256, [(8, 4, 9)])[:-2], 256, "cut short"),
        (record(256, [(8, 4, 9), (9, 4)])[:-4] + b"", 256, "cut short"),
        (record(255, [(8, 4)]), 255, "below 256"),
        (record(256, [(8, 0), (12, 0)]), 256, "records of 0 octets"),
        (record(256, [(8, 40000), (12, 40000)]), 256, "records of 80000 octets"),
        (record(256, [(8, 1), *[(9, 0)] * 30]), 256, "30 fields of no octets"),
    ],
)
def test_templates_that_cannot_be(bad, number, reason):
    good, wrong = ipfix_templates(GOOD + bad, options=False)
    assert isinstance(good, Announced)
    assert isinstance(wrong, InvalidTemplateError)
    assert (good.number, wrong.number) == (300, number)
    assert reason in str(wrong)


@pytest.mark.parametrize(
    "bad",
    [record(255, [(8, 4)]), record(256, [(8, 0)]), record(256, [(8, 40000), (12, 40000)])],
)
def test_what_is_behind_one_that_cannot_be(bad):
    """Where it ends is known, so what follows can be read."""
    for told in (ipfix_templates(bad * 2 + GOOD, options=False), netflow9_templates(bad * 2 + GOOD)):
        found, wrong = parted(told)
        assert ([one.number for one in found], len(wrong)) == ([300], 2)
    scopes = struct.pack("!HHH", 256, 1, 0) + struct.pack("!HH", 8, 4)
    found, wrong = parted(ipfix_templates(scopes + GOOD_OPTIONS, options=True))
    assert ([one.number for one in found], len(wrong)) == ([300], 1)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (record(256, [(8, 4)], scopes=2), "1 fields, of them 2 scopes"),
        (struct.pack("!HHH", 256, 1, 0) + struct.pack("!HH", 8, 4), "of them 0 scopes"),
        (struct.pack("!HH", 256, 1), "cut short"),
    ],
)
def test_options_templates_that_cannot_be(bad, reason):
    found, [wrong] = parted(ipfix_templates(GOOD_OPTIONS + bad, options=True))
    assert [one.number for one in found] == [300]
    assert reason in wrong


def test_some_fields_of_no_octets_may_be():
    assert ipfix(record(256, [(8, 4), *[(9, 0)] * MAX_EMPTY_FIELDS]))
    assert ipfix(record(256, [(8, 1)] * 100 + [(9, 0)] * 100))


def test_too_many_fields():
    assert ipfix(record(256, [(8, 1)] * MAX_FIELDS))
    assert "larger" in parted(ipfix_templates(record(256, [(8, 1)] * (MAX_FIELDS + 1)), options=False))[1][0]


def test_netflow9():
    [one, two] = netflow9_templates(record(256, [(8, 4), (33002, 2)]) + record(257, [(82, VARIABLE)]) + bytes(4))
    assert one.fields == (Specifier(0, 8, 4), Specifier(0, 33002, 2))
    assert two.length is None


@pytest.mark.parametrize("bad", [record(256, [(8, 4)], count=2), record(256, [(8, 1)] * (MAX_FIELDS + 1))])
def test_netflow9_templates_that_cannot_be(bad):
    found, [wrong] = parted(netflow9_templates(GOOD + bad))
    assert [one.number for one in found] == [300]
    assert "larger than its set" in wrong


def test_netflow9_options():
    content = options9(260, [(1, 4), (2, 0)], [(48, 1), (34, 4)])[4:]
    [told] = netflow9_options_templates(content + bytes(6))
    assert told.fields[:2] == (Specifier(SCOPE_ENTERPRISE, 1, 4), Specifier(SCOPE_ENTERPRISE, 2, 0))
    assert (told.scopes, told.options, told.length) == (2, True, 9)


def test_netflow9_options_without_scopes_are_options():
    [told] = netflow9_options_templates(options9(260, [], [(34, 4)])[4:])
    assert (told.scopes, told.options) == (0, True)


@pytest.mark.parametrize("lengths", [(3, 4), (4, 5), (4, 65532), (65535, 65535), (8, 0)])
def test_netflow9_options_that_cannot_be(lengths):
    bad = struct.pack("!HHH", 260, *lengths) + struct.pack("!HH", 1, 4)
    found, [wrong] = parted(netflow9_options_templates(options9(300, [(1, 4)], [(34, 4)])[4:] + bad))
    assert [one.number for one in found] == [300]
    assert "does not fit its set" in wrong


@given(some.binary(max_size=200))
def test_any_octets(octets):
    """Nothing but templates and our errors come out, and no template of records without octets."""
    for found, _ in (
        parted(ipfix_templates(octets, options=False)),
        parted(ipfix_templates(octets, options=True)),
        parted(netflow9_templates(octets)),
        parted(netflow9_options_templates(octets)),
    ):
        for one in found:
            assert one.length is None or not one.fields or 0 < one.length <= 65535
            assert not one.fields or one.number >= 256
    for number, content in upto_error(sets(octets))[0]:
        assert 0 <= number <= 65535
        assert len(content) <= len(octets) - 4

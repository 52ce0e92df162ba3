"""Values of information elements, by type and length; no octets at all may stop the decoder."""

import math
import struct
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some

from overflowd_tools.protocols.lines import Kind
from overflowd_tools.protocols.values import NTP_EPOCH, TYPES, decoder, kind_of

PYTHON = {
    Kind.INTEGER: int,
    Kind.FLOAT: float,
    Kind.ADDRESS: bytes,
    Kind.MAC: bytes,
    Kind.TEXT: str,
    Kind.HEX: bytes,
    Kind.JSON: (bool, int, type(None)),
}
MOMENT = (1_700_000_000 + NTP_EPOCH) << 32


def value(element_type: str, octets: bytes):
    form = decoder(element_type, len(octets))
    return form.kind, form.decode(octets)


@pytest.mark.parametrize(
    ("element_type", "octets", "kind", "expected"),
    [
        ("unsigned8", b"\xff", Kind.INTEGER, 255),
        ("unsigned16", b"\x07", Kind.INTEGER, 7),
        ("unsigned32", b"\1\2\3", Kind.INTEGER, 0x010203),
        ("unsigned64", b"\1\2\3\4\5", Kind.INTEGER, 0x0102030405),
        ("unsigned64", b"\1\2\3\4\5\6\7", Kind.INTEGER, 0x01020304050607),
        ("unsigned64", b"\xff" * 8, Kind.INTEGER, 2**64 - 1),
        ("unsigned8", b"\0\0\0\x40", Kind.INTEGER, 64),  # forwardingStatus of four octets, from many exporters
        ("unsigned64", b"\xff" * 9, Kind.HEX, b"\xff" * 9),
        ("unsigned32", b"", Kind.JSON, None),
        ("signed8", b"\x80", Kind.INTEGER, -128),
        ("signed64", b"\xff\xff\xfe", Kind.INTEGER, -2),
        ("signed32", b"\x7f\xff\xff\xff", Kind.INTEGER, 2**31 - 1),
        ("signed32", b"\0" * 9, Kind.HEX, b"\0" * 9),
        ("float64", struct.pack("!d", 0.1), Kind.FLOAT, 0.1),
        ("float64", struct.pack("!f", 0.5), Kind.FLOAT, 0.5),
        ("float32", struct.pack("!f", -2.25), Kind.FLOAT, -2.25),
        ("float32", struct.pack("!d", math.inf), Kind.FLOAT, math.inf),
        ("float32", b"\0\0", Kind.HEX, b"\0\0"),
        ("float64", b"", Kind.JSON, None),
        ("boolean", b"\1", Kind.JSON, True),
        ("boolean", b"\2", Kind.JSON, False),
        ("boolean", b"\0", Kind.JSON, 0),
        ("boolean", b"\3", Kind.JSON, 3),
        ("boolean", b"\0\1", Kind.HEX, b"\0\1"),
        ("boolean", b"", Kind.JSON, None),
        ("macAddress", b"\0\1\2\3\4\5", Kind.MAC, b"\0\1\2\3\4\5"),
        ("macAddress", b"\0\1\2\3\4\5\6\7", Kind.HEX, b"\0\1\2\3\4\5\6\7"),
        ("ipv4Address", b"\xc0\0\2\1", Kind.ADDRESS, b"\xc0\0\2\1"),
        ("ipv4Address", b"\xc0\0\2", Kind.HEX, b"\xc0\0\2"),
        ("ipv4Address", b"", Kind.JSON, None),
        ("ipv6Address", b"\x20\1" + bytes(14), Kind.ADDRESS, b"\x20\1" + bytes(14)),
        ("ipv6Address", b"\xc0\0\2\1", Kind.HEX, b"\xc0\0\2\1"),
        ("octetArray", b"\0\xff", Kind.HEX, b"\0\xff"),
        ("octetArray", b"", Kind.HEX, b""),
        ("basicList", b"\xff\0\1", Kind.HEX, b"\xff\0\1"),
        ("", b"\1", Kind.HEX, b"\1"),
        ("unsigned128", b"\1", Kind.HEX, b"\1"),
        ("unsigned256", b"\xff" * 32, Kind.TEXT, str(2**256 - 1)),
        ("unsigned256", b"\1\0", Kind.TEXT, "256"),
        ("unsigned256", b"\1" * 33, Kind.HEX, b"\1" * 33),
        ("unsigned256", b"", Kind.JSON, None),
        ("dateTimeSeconds", b"\xff\xff\xff\xff", Kind.INTEGER, 2**32 - 1),
        ("dateTimeSeconds", b"\0\0\0\0\x65\0\0\0", Kind.INTEGER, 0x65000000),
        ("dateTimeMilliseconds", (1_700_000_000_123).to_bytes(8, "big"), Kind.INTEGER, 1_700_000_000_123),
        ("dateTimeNanoseconds", MOMENT.to_bytes(8, "big"), Kind.INTEGER, 1_700_000_000_000_000_000),
        ("dateTimeNanoseconds", (MOMENT + 2**31).to_bytes(8, "big"), Kind.INTEGER, 1_700_000_000_500_000_000),
        ("dateTimeMicroseconds", (MOMENT + 0x7FF).to_bytes(8, "big"), Kind.INTEGER, 1_700_000_000_000_000_000),
        ("dateTimeMicroseconds", bytes(4), Kind.HEX, bytes(4)),
        ("dateTimeNanoseconds", bytes(8), Kind.INTEGER, -NTP_EPOCH * 10**9),
    ],
)
def test_values(element_type, octets, kind, expected):
    assert value(element_type, octets) == (kind, expected)
    assert type(value(element_type, octets)[1]) is type(expected)


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b"", ""),
        (b"eth0\0\0\0\0", "eth0"),
        (b"\0\0\0", ""),
        (b"a\0b\0", "a\0b"),
        (b" eth0 ", " eth0 "),
        ("Zürich €".encode(), "Zürich €"),
        (b"\x1b[31m\n\xe2\x80\xa8", "\x1b[31m\n\u2028"),
        (b"Z\xfcrich\0", "0x5afc7269636800"),
        (b"\xed\xa0\x80", "0xeda080"),
        (b"\xc0\x80", "0xc080"),
        (b"\xe2\x82", "0xe282"),
    ],
)
def test_strings(octets, expected):
    assert value("string", octets) == (Kind.TEXT, expected)


def test_not_a_number():
    assert math.isnan(value("float64", struct.pack("!d", math.nan))[1])


def test_kinds_of_types():
    assert kind_of("ipv6Address") is Kind.ADDRESS
    assert kind_of("unsigned8") is kind_of("dateTimeNanoseconds") is Kind.INTEGER
    assert kind_of("subTemplateList") is kind_of("unheardOf") is Kind.HEX


@given(some.sampled_from([*sorted(TYPES), "unheardOf"]), some.binary(max_size=40))
def test_no_octets_stop_a_decoder(element_type, octets):
    kind, decoded = value(element_type, octets)
    assert isinstance(decoded, PYTHON[kind])
    if kind is Kind.HEX:
        assert decoded == octets
    if kind is Kind.ADDRESS:
        assert len(decoded) in (4, 16)
    if kind is Kind.MAC:
        assert len(decoded) == 6


@given(some.sampled_from(sorted(TYPES)), some.integers(41, 65535))
def test_no_length_stops_a_decoder(element_type, length):
    assert value(element_type, b"\xff" * length)[0] in (Kind.HEX, Kind.TEXT)


@given(some.datetimes(datetime(1970, 1, 1), datetime(2036, 2, 7)))
def test_microseconds_survive_the_format_of_ntp(moment):
    """However the exporter cut off: at 2^-32 s, and at the 11 bits that do not count."""
    microseconds = (moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    seconds, rest = divmod(microseconds, 1_000_000)
    ntp = (seconds + NTP_EPOCH << 32) + (rest << 32) // 1_000_000
    for octets in (ntp.to_bytes(8, "big"), (ntp & ~0x7FF).to_bytes(8, "big")):
        assert value("dateTimeMicroseconds", octets) == (Kind.INTEGER, microseconds * 1000)


@given(some.integers(0, 2_000_000_000), some.integers(0, 999_999_999))
def test_nanoseconds_survive_the_format_of_ntp(seconds, rest):
    ntp = (seconds + NTP_EPOCH << 32) + (rest << 32) // 1_000_000_000
    assert value("dateTimeNanoseconds", ntp.to_bytes(8, "big")) == (Kind.INTEGER, seconds * 1_000_000_000 + rest)

"""Sealed reports: line and datagram, there and back, and what is neither."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overflowd_tools.errors import RecordError
from overflowd_tools.reports import canonical, reader, sealed
from overflowd_tools.reports.report import canonical_address
from overflowd_tools.reports.sealed import Sealed

BOX = bytes(range(112))
GOOD = {
    "$schema": "overflowd-sealed/1",
    "expires_ms": 1795222800000,
    "flow": "7288ff70d4e195b6",
    "hint": "46745e87",
    "sealed": base64.b64encode(BOX).decode(),
    "to": "192.0.2.7",
}


def read(**changed):
    members = {name: value for name, value in {**GOOD, **changed}.items() if value is not ...}
    return sealed.read_line(json.dumps(members).encode())


def test_every_member():
    found = read()
    assert found == Sealed(bytes.fromhex("46745e87"), BOX, "192.0.2.7", 1795222800000, b"7288ff70d4e195b6")
    assert found.line() == json.dumps(GOOD, separators=(",", ":")).encode()


def test_members_that_may_be_missing_and_members_that_are_not_known():
    found = read(to=..., flow=..., expires_ms=..., new={"a": 1.5})
    assert found == Sealed(bytes.fromhex("46745e87"), BOX)
    assert sealed.read_line(found.line()) == found
    found.check_time(1 << 60)


def test_programs_that_know_nothing_of_it_pass_it_on():
    assert reader.read_line(read().line()) is None


@pytest.mark.parametrize("line", [b"{}", b'{"$schema":1}', b'{"$schema":"overflowd-report/2"}', b'{"type":"flow"}'])
def test_lines_of_other_types(line):
    assert sealed.read_line(line) is None


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"$schema": "overflowd-sealed/2"}, '"\\$schema" is not "overflowd-sealed/1"'),
        ({"hint": ...}, "hint is not 8 hexadecimal digits"),
        ({"hint": 1}, "hint is not 8 hexadecimal digits"),
        ({"hint": "46745E87"}, "hint is not 8 hexadecimal digits"),
        ({"hint": "46745e87\n"}, "hint is not 8 hexadecimal digits"),
        ({"sealed": ...}, "sealed is not base64"),
        ({"sealed": 1}, "sealed is not base64"),
        ({"sealed": "A"}, "sealed is not base64"),
        ({"sealed": "ÄÄÄÄ"}, "sealed is not base64"),
        ({"sealed": GOOD["sealed"] + "\n"}, "sealed is not base64"),
        ({"sealed": GOOD["sealed"] + "===="}, "sealed is not base64"),
        ({"sealed": ""}, "cut: its box has 0 octets"),
        ({"sealed": base64.b64encode(BOX[:-1]).decode()}, "cut: its box has 111 octets"),
        ({"to": "192.0.2.007"}, "to is not an address"),
        ({"to": "2001:DB8::1"}, "to is not in the canonical form"),
        ({"to": 7}, "to is not an address"),
        ({"to": "x\0"}, "to is not an address"),
        ({"expires_ms": -1}, "expires_ms is not an integer"),
        ({"expires_ms": 1.5}, "expires_ms is not an integer"),
        ({"expires_ms": 1 << 53}, "expires_ms is beyond 2\\^53-1"),
        ({"flow": 1}, "flow is not a text"),
        ({"flow": ""}, "flow is not a text"),
        ({"flow": "\x1b[2J"}, "flow is not a text"),
        ({"flow": "x" * 65}, "flow is not a text"),
        ({"flow": 'a"b'}, "flow is not a text"),
        ({"flow": "a\n"}, "flow is not a text"),
    ],
)
def test_what_is_no_sealed_report(changed, reason):
    with pytest.raises(RecordError, match=f"not a sealed report: {reason}"):
        read(**changed)


def test_not_json():
    with pytest.raises(RecordError, match="not JSON"):
        sealed.read_line(b"{")


def test_time():
    read().check_time(1795222800000)
    with pytest.raises(RecordError, match="expired"):
        read().check_time(1795222800001)


# --- datagram form


HINTS, BOXES = st.binary(min_size=4, max_size=4), st.binary(min_size=sealed.SMALLEST_BOX, max_size=1192)


@given(HINTS, BOXES)
def test_datagram_there_and_back(hint, box):
    assert sealed.unpack(Sealed(hint, box).datagram()) == Sealed(hint, box)


@given(
    HINTS,
    BOXES,
    st.none() | (st.ip_addresses() | st.just("::ffff:192.0.2.1")).map(lambda address: canonical_address(str(address))),
    st.none() | st.integers(0, (1 << 53) - 1),
    st.from_regex("[0-9A-Za-z_-]{0,64}", fullmatch=True).map(str.encode),
)
def test_line_there_and_back(hint, box, to, expires_ms, flow):
    made = Sealed(hint, box, to, expires_ms, flow)
    assert sealed.read_line(made.line()) == made
    assert canonical.encode(canonical.loads(made.line())) == made.line()


def test_the_largest_datagram():
    assert len(Sealed(bytes(4), bytes(1192)).datagram()) == 1200
    with pytest.raises(RecordError, match="over the 1200 bytes"):
        Sealed(bytes(4), bytes(1193)).datagram()


@pytest.mark.parametrize(
    "datagram", [b"", b"OFX1", b"OFX1" + bytes(115), b"OFX2" + bytes(200), b"OFX1" + bytes(1197), b"ofx1" + bytes(200)]
)
def test_other_datagrams(datagram):
    with pytest.raises(RecordError, match="not a sealed datagram"):
        sealed.unpack(datagram)


TEXTS = st.text('0123456789abcdefgABC+/=_-.:"\\ é\n', max_size=12)


@given(
    st.fixed_dictionaries(
        {
            "$schema": st.just("overflowd-sealed/1"),
            "hint": TEXTS | st.just("46745e87"),
            "sealed": TEXTS | st.just(GOOD["sealed"]),
        },
        optional={
            "expires_ms": st.integers(-1, 1 << 54) | TEXTS,
            "flow": TEXTS,
            "to": TEXTS | st.sampled_from(["192.0.2.7", "2001:db8::7", "::FFFF:1.2.3.4", "192.0.2.07"]),
            "more": st.none(),
        },
    ),
    st.booleans(),
)
def test_plain_lines_are_read_as_others_are(members, sort):
    """A space after the first brace changes nothing but that the line is parsed."""
    text = json.dumps(members, separators=(",", ":"), sort_keys=sort)
    found = []
    for line in (text, "{ " + text[1:]):
        try:
            found.append(sealed.read_line(line.encode()))
        except RecordError as error:
            found.append(str(error))
    assert found[0] == found[1]

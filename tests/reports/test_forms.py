"""Flow lines read without parsing: whatever the line, it says what parsing says, or leaves it to that."""

import json
import subprocess

import pytest
from harness import BIN, DATA, SECONDS
from hypothesis import given, settings
from hypothesis import strategies as st

from overflowd_tools.errors import RecordError
from overflowd_tools.reports import flows, forms
from overflowd_tools.reports.report import canonical_address

V5 = (
    b'{"type":"flow","pcount":55,"source":"netflow5","exporter":"122.166.4.242","domain":5,"export_ms":1185554956121,'
    b'"saddr":"122.166.30.253","daddr":"18.19.253.30","bcount":4243,"stime":1325835298,"etime":1325838690,"sport":1793,'
    b'"dport":80,"flags":0,"protocol":6,"tos":0,"start_ms":1185554952371,"end_ms":1185554955763,"nexthop":"99.145.4.143",'
    b'"in_if":110,"src_as":0,"dst_mask":0}'
)
SFLOW = (
    b'{"type":"flow","pcount":1,"source":"sflow5","exporter":"192.168.1.1","start_ms":1302306318468,"time_src":"recv",'
    b'"bcount":52,"saddr":"2001:db8::3","daddr":"2001:db8:0:1::2","sport":36875,"dport":60565,"tos":0,"protocol":6,'
    b'"flags":16,"sampling_rate":300,"smac":"00:1f:29:7a:d1:32","time_suspect":true,"p_ppt":300000000}'
)
LEAST = b'{"type":"flow","saddr":"192.0.2.7","daddr":"198.51.100.1"}'
LINES = (V5, SFLOW, LEAST)
WORDS = (
    b"0 00 01 -0 -1 1.0 1e3 1E400 007 65535 65536 255 256 65540 66000 9007199254740991 9007199254740992 "
    b"999999999999999 1000000000000000 1000000000000 1000000000001 18446744073709551616 "
    b'NaN null true [] {} [1] "" "a\\u0041" "\xc3\xa4" '
    b'"\xff" "\x7f" 1.2.3.4 01.2.3.4 256.1.1.1 1.2.3 ::1 ::ffff:1.2.3.4 ::FFFF 1:: 0:0:0:0:0:0:0:1 ::1.2.3.4 :: g::1 '
    b'netflow8 netflow5 ipfix flow Flow " , : { } \\ \\" \r \t \0 ,"why":["a"] ,"why":"a" ,"saddr":"1.2.3.4" ,"x":1 '
    b',"tos":1 ,"type":"flow" ,"source":"netflow8" ,"$schema":"x" ,"p_ppt":0 ,"p_ppt":5 ,"sampling_rate":0 %s %d'
).split(b" ")


def plainly(line):
    """Return what parsing tells; None for what is no flow that could be reported."""
    try:
        flow = flows.parse(line)
        return None if flow is None else flows.facts(flow)
    except RecordError:
        return None


def learned(*lines):
    known = forms.Forms()
    for line in lines:
        known.read(line)
    return known


@pytest.mark.parametrize("line", LINES)
def test_lines_that_need_no_parsing(line):
    assert learned().read(line) == learned(*LINES).read(line) == plainly(line) is not None


ADDRESSES = st.ip_addresses().map(str).map(canonical_address)
NUMBERS = st.sampled_from([0, 1, 9, 10, 99, 255, 256, 9999, 10**4, 65535, 65536, 10**15 - 1, 10**15, 2**53 - 1, 2**53])
VALUES = (
    NUMBERS
    | st.integers(-(2**70), 2**70)
    | (st.ip_addresses(v=4) | st.ip_addresses(v=6)).map(str)
    | st.ip_addresses(v=6).map(lambda address: address.exploded)
    | st.sampled_from(
        [None, True, False, 1.5, "", "netflow5", "netflow8", "ipfix", "packet", [1], {"a": 1}, ["frag"], "ä"]
    )
    | st.text(max_size=5)
)
NAMES = st.sampled_from(
    [
        *forms.FLOW_FIELDS,
        "saddr",
        "daddr",
        "p_ppt",
        "sampling_rate",
        "source",
        "why",
        "type",
        "x",
        "x_1",
        "$schema",
        "ä",
    ]
)
RECORDS = st.builds(
    lambda ends, members: {"type": "flow", **ends, **dict(members)},
    st.fixed_dictionaries({"saddr": VALUES, "daddr": VALUES}) | st.just({"saddr": "1.2.3.4", "daddr": "::1"}),
    st.lists(st.tuples(NAMES, VALUES), max_size=12),
)


@given(st.lists(RECORDS, min_size=1, max_size=4))
def test_any_record(records):
    lines = [json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode() for record in records]
    known = learned(*LINES)
    for line in [*lines, *lines]:
        assert known.read(line) in (None, plainly(line))


@given(st.data())
def test_any_numbers_within_their_ranges_need_no_parsing(data):
    fields = {
        name: data.draw(
            st.integers(max(least, 0), min(most, 10**15 - 1)) | NUMBERS.filter(lambda n, m=most: n <= m and n < 10**15)
        )
        for name, (least, most) in forms.FLOW_FIELDS.items()
        if data.draw(st.booleans())
    }
    members = data.draw(st.permutations([*fields.items(), ("saddr", "1.2.3.4"), ("daddr", data.draw(ADDRESSES))]))
    line = json.dumps({"type": "flow", **dict(members)}, separators=(",", ":")).encode()
    assert learned().read(line) == plainly(line) is not None


@settings(max_examples=500)
@given(st.sampled_from(LINES), st.data())
def test_any_replaced_piece(line, data):
    """Also where the form that it had is known, and where the form that it has now was learned."""
    at = data.draw(st.integers(0, len(line)))
    end = data.draw(st.integers(at, min(at + 12, len(line))))
    other = line[:at] + data.draw(st.sampled_from(WORDS) | st.binary(max_size=4)) + line[end:]
    for known in (learned(), learned(*LINES), learned(other)):
        assert known.read(other) in (None, plainly(other))


def test_any_octet_of_a_line():
    for line in LINES:
        known = learned(*LINES)
        for at in range(len(line)):
            for octet in b'0 1 9 a : . , " } \\ - \n \xff'.split(b" "):
                for other in (line[:at] + octet + line[at + 1 :], line[:at] + octet + line[at:]):
                    assert known.read(other) in (None, plainly(other)), other


@pytest.mark.parametrize(
    "change",
    [
        (b'"pcount":55', b'"pcount":055'),
        (b'"pcount":55', b'"pcount":-5'),
        (b'"pcount":55', b'"pcount":9007199254740992'),
        (b'"sport":1793', b'"sport":65536'),
        (b'"tos":0', b'"tos":256'),
        (b'"tos":0', b'"tos":null'),
        (b'"in_if":110', b'"in_if":0110'),
        (b'"in_if":110', b'"in_if":' + b"9" * 400),
        (b'"in_if":110', b'"in_if":[110]'),
        (b'"in_if":110', b'"in_if":"\\u0041"'),
        (b'"in_if":110', b'"in_if":"\xff"'),
        (b'"in_if":110', b'"in_if":110,"why":["frag"]'),
        (b'"in_if":110', b'"in_if":110,"tos":7'),
        (b'"in_if":110', b'"in_if":110,"type":"option"'),
        (b'"in_if":110', b'"in_if":110,"in_if":110'),
        (b"netflow5", b"netflow8"),
        (b'"netflow5"', b"true"),
        (b'"netflow5"', b'"a b"'),
        (b"18.19.253.30", b"18.19.253.256"),
        (b"18.19.253.30", b"18.19.253.030"),
        (b"18.19.253.30", b"2001:DB8::1"),
        (b"18.19.253.30", b"2001:db8:0::1"),
        (b"18.19.253.30", b"1:2:3:4:5:6:7:8:9"),
        (b'"daddr"', b'"x"'),
    ],
)
def test_what_is_left_to_parsing(change):
    other = V5.replace(*change)
    assert other != V5
    for known in (learned(), learned(V5), learned(V5, other)):
        assert known.read(other) is None


def test_forms_are_bounded():
    """What is known stays known, whatever follows; and a form is not learned from a long line."""
    known = learned(V5)
    for number in range(2000):
        other = b'%s,"x%d":1}' % (LEAST[:-1], number)
        assert known.read(other) in (None, plainly(other))
        assert known.read(b'%s,"y%d":%s}' % (LEAST[:-1], number, b"1" * 1000)) is None
    assert len(known._readers) <= forms.MOST
    assert known.read(V5) == plainly(V5)
    assert known.read(b"%s}" % b",".join([LEAST[:-1], *(b'"m%d":1' % number for number in range(100_000))])) is None


def test_lines_of_exporters():
    """Most lines of these captures are read so; all come out as by parsing."""
    captures = sorted(DATA.glob("*.pcap*"))
    done = subprocess.run([BIN / "of-decode", "-q", *captures], capture_output=True, timeout=SECONDS, check=False)
    lines = done.stdout.splitlines()
    known, read = learned(), 0
    for line in lines:
        facts = known.read(line)
        assert facts in (None, plainly(line)), line
        read += facts is not None
    assert len(lines) > 100
    assert read > len(lines) / 2

"""Headers, counts and lengths of NetFlow 1, 5, 6 and 7: good, lying, cut, and of other protocols altogether."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overflowd_tools.errors import DecodeError
from overflowd_tools.protocols.detect import decode
from overflowd_tools.protocols.netflow import NETFLOW1, NETFLOW1_LONG, NETFLOW5, NETFLOW6, NETFLOW7
from overflowd_tools.protocols.templates import Field, FlowBatch, Kind, Template
from tests.protocols import netflow_builders as build

TEMPLATES = {
    "netflow1": NETFLOW1,
    "netflow1 long": NETFLOW1_LONG,
    "netflow5": NETFLOW5,
    "netflow6": NETFLOW6,
    "netflow7": NETFLOW7,
}
COUNTED = ("netflow5", "netflow6", "netflow7")
every_kind = pytest.mark.parametrize("kind", build.KINDS)
counted_kind = pytest.mark.parametrize("kind", COUNTED)


def test_a_template_knows_its_length_and_is_itself_alone():
    fields = (Field("a", 4, Kind.IPV4), Field("b", 2), Field("", 3, Kind.PADDING))
    assert Template(fields).length == 9
    assert Template(fields) != Template(fields)
    assert {kind: template.length for kind, template in TEMPLATES.items()} == build.RECORD_LENGTHS


@every_kind
@pytest.mark.parametrize("count", [1, 2, 30, 31, 64, 500])
def test_whole_datagrams(kind, count):
    data = build.random_datagram(1, kind, count)
    batch = decode(data)
    assert batch.source == kind[:8]
    assert batch.template is TEMPLATES[kind]
    assert batch.records == data[build.HEADER_LENGTHS[kind] :]
    assert batch.announced == count
    assert batch.uptime_ms == build.UPTIME
    assert batch.export_ms == build.SECOND * 1000


def test_the_rest_of_the_header():
    data = build.datagram(build.record(), sequence=0xFFFFFFFE, engine=(3, 200), nanoseconds=999_999_999)
    batch = decode(data)
    assert batch.domain == 3 << 8 | 200
    assert batch.envelope == {"seq": 0xFFFFFFFE, "engine_type": 3, "engine_id": 200}
    assert batch.export_ms == build.SECOND * 1000 + 999
    sixth = decode(build.datagram(build.record("netflow6"), kind="netflow6", sequence=7, engine=(1, 2), sampling=9))
    assert (sixth.domain, sixth.envelope) == (1 << 8 | 2, {"seq": 7, "engine_type": 1, "engine_id": 2})
    assert sixth.sampling_rate == 1
    seventh = decode(build.datagram(build.record("netflow7"), kind="netflow7", sequence=77))
    assert (seventh.domain, seventh.envelope) == (0, {"seq": 77})
    first = decode(build.datagram(build.record("netflow1"), kind="netflow1"))
    assert (first.domain, first.envelope) == (0, {})


@pytest.mark.parametrize(
    ("sampling", "rate"),
    [(0, 1), (1, 1), (0x4000, 1), (0x4001, 1), (0x4064, 100), (0x8064, 100), (0xFFFF, 0x3FFF), (2, 2)],
)
def test_sampling_interval_without_its_mode_bits(sampling, rate):
    assert decode(build.datagram(build.record(), sampling=sampling)).sampling_rate == rate


@every_kind
@pytest.mark.parametrize("nanoseconds", [10**9, 0xFFFFFFFF])
def test_garbage_in_the_nanoseconds_is_ignored(kind, nanoseconds):
    data = build.datagram(build.record(kind), kind=kind, nanoseconds=nanoseconds)
    assert decode(data).export_ms == build.SECOND * 1000


@every_kind
@pytest.mark.parametrize("seconds", [0, 1, 0xFFFFFFFF])
def test_clocks_that_were_never_set(kind, seconds):
    data = build.datagram(build.record(kind), kind=kind, seconds=seconds)
    assert decode(data).export_ms == seconds * 1000


@counted_kind
@pytest.mark.parametrize(("count", "there", "given"), [(5, 3, 3), (3, 5, 3), (1, 0, 0), (1259, 2, 2), (31, 30, 30)])
def test_a_count_that_lies(kind, count, there, given):
    data = build.random_datagram(2, kind, there)
    data = data[:2] + count.to_bytes(2) + data[4:]
    batch = decode(data)
    assert batch.announced == count
    assert batch.records == data[24 : 24 + given * build.RECORD_LENGTHS[kind]]


@pytest.mark.parametrize("kind", ["netflow5", "netflow7"])
def test_a_count_beyond_any_datagram(kind):
    assert decode(build.datagram(build.record(kind), kind=kind, count=65535)).announced == 65535
    assert decode(build.datagram(build.record("netflow6"), kind="netflow6", count=1260)) is None


@counted_kind
def test_padding_after_the_records_is_no_record(kind):
    data = build.random_datagram(3, kind, 2) + bytes(1500)
    assert len(decode(data).records) == 2 * build.RECORD_LENGTHS[kind]


@counted_kind
def test_records_that_nobody_announced(kind):
    version = kind[7]
    length = build.RECORD_LENGTHS[kind]
    with pytest.raises(DecodeError, match=f"NetFlow {version} header announces no flows; {length} octets follow it"):
        decode(build.datagram(build.record(kind), kind=kind, count=0))
    nothing = decode(build.datagram(kind=kind) + bytes(length - 1))
    assert (nothing.records, nothing.announced) == (b"", 0)


@counted_kind
def test_a_lying_count_needs_a_credible_clock(kind):
    records = [build.record(kind)] * 2
    for fields in ({"seconds": 631_151_999}, {"seconds": 4_102_444_800}, {"nanoseconds": 10**9}):
        assert decode(build.datagram(*records, kind=kind, count=3, **fields)) is None
        assert decode(build.datagram(kind=kind, **fields)) is None
        assert len(decode(build.datagram(*records, kind=kind, **fields)).records) == 2 * build.RECORD_LENGTHS[kind]
    for seconds in (631_152_000, 4_102_444_799):
        assert decode(build.datagram(*records, kind=kind, count=3, seconds=seconds)).announced == 3


@pytest.mark.parametrize("kind", ["netflow1", "netflow1 long"])
@pytest.mark.parametrize("count", [0, 1, 3, 65535])
def test_netflow1_is_known_by_its_count_alone(kind, count):
    assert decode(build.datagram(*[build.record(kind)] * 2, kind=kind, count=count)) is None


@every_kind
def test_a_capture_that_cuts_the_datagram(kind):
    """Wherever the cut is: the whole records before it, or a complaint, or nothing that could be known."""
    whole = build.random_datagram(4, kind, 3)
    header_length, record_length = build.HEADER_LENGTHS[kind], build.RECORD_LENGTHS[kind]
    for kept in range(len(whole) + 1):
        cut, missing = whole[:kept], len(whole) - kept
        if kept < 4:
            assert decode(cut, missing) is None
        elif kept < header_length:
            with pytest.raises(DecodeError) as caught:
                decode(cut, missing)
            assert str(caught.value) == f"NetFlow {kind[7]} header cut short: {kept} of {header_length} octets"
        else:
            batch = decode(cut, missing)
            fitting = (kept - header_length) // record_length
            assert batch.announced == 3
            assert batch.records == whole[header_length : header_length + fitting * record_length]


@every_kind
def test_a_short_datagram_that_nothing_cut_is_no_export(kind):
    whole = build.random_datagram(5, kind, 1)
    for length in range(build.HEADER_LENGTHS[kind]):
        assert decode(whole[:length]) is None


STUN = struct.pack(">HHI", 1, 0, 0x2112A442) + bytes(range(12))
LOOKALIKES = {
    "STUN binding request": STUN,
    "STUN with attributes": struct.pack(">HHI", 1, 8, 0x2112A442) + bytes(range(20)),
    "classic STUN": struct.pack(">HH", 1, 8) + bytes(range(16)) + struct.pack(">HHI", 3, 4, 0),
    "TFTP read": b"\0\1pxelinux.0\0octet\0tsize\x000\0blksize\x001468\0",
    "TFTP options": b"\0\6blksize\x001468\0tsize\x00123456\0",
    "TFTP options as a clock": b"\0\6tsize\x001\0e\x001\x000\x00blksize\x001468\0windowsize\x0016\0",
    "TFTP error": b"\0\5\0\1File not found\0",
    "TFTP error of 24 octets": b"\0\5\0\0Timed out at block\0\0",
    "TFTP error as a clock": b"\0\5\0\1Transfer was aborted\0",
    "TFTP error as a record": b"\0\5\0\1" + b"/var/lib/tftpboot/".ljust(67, b"x") + b"\0",
    "TFTP error without its end": b"\0\5\0\1Transfer was aborted by an administrator",
    "DNS query": bytes.fromhex("01000001000000000000") + b"\2of\7example\0\0\1\0\1",
    "short DNS query": bytes.fromhex("01000001000000000000") + b"\1t\2co\0\0\1\0\1",
    "DNS answer": bytes.fromhex("81800001000100000000") + b"\2of\7example\0\0\1\0\1\xc0\x0c\0\1\0\1" + bytes(10),
    "zeros": bytes(100),
    "ones": b"\xff" * 100,
    "text": b"hello",
    "nothing": b"",
}


@pytest.mark.parametrize("name", LOOKALIKES)
@pytest.mark.parametrize("version", [1, 5, 6, 7, 8])
def test_other_protocols_do_not_become_flows(name, version):
    data = LOOKALIKES[name]
    if "DNS" in name:
        data = version.to_bytes(2) + data
    assert decode(data) is None


@pytest.mark.parametrize("version", [0, 2, 3, 4, 8, 9, 10, 256, 0x0105])
def test_versions_not_read_here(version):
    whole = build.random_datagram(6, "netflow5", 2)
    assert decode(version.to_bytes(2) + whole[2:]) is None


counted_octets = st.builds(
    lambda count, records, rest: count.to_bytes(2) + bytes(20) + bytes(48 * records) + rest,
    *(st.integers(0, 6), st.integers(0, 6), st.binary(max_size=2)),
)


@given(st.sampled_from([1, 5, 6, 7, 8]), st.binary(max_size=200) | counted_octets, st.integers(0, 300))
def test_any_octets_give_a_batch_none_or_our_error(version, rest, missing):
    data = version.to_bytes(2) + rest
    try:
        batch = decode(data, missing)
    except DecodeError:
        return
    if batch is not None:
        assert isinstance(batch, FlowBatch)
        count, left_over = divmod(len(batch.records), batch.template.length)
        assert left_over == 0
        assert count <= batch.announced
        assert batch.records in data

"""Messages alike are counted together only where each of them might be counted by itself."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overflowd_tools.protocols.counters import AT_ONCE
from overflowd_tools.protocols.netflow import NETFLOW5
from overflowd_tools.protocols.series import FORM5, WITH_SETS, Form, Series, series
from overflowd_tools.protocols.templates import Field, Template
from tests.protocols import set_builders as sets

PLAIN = Template((Field("x", 1), Field("pcount", 4), Field("bcount", 8)))
ODD = Template((Field("pcount", 3), Field("x", 2)))


def message5(number, packets):
    records = b"".join(bytes(16) + struct.pack("!I", count) + bytes(28) for count in packets)
    return struct.pack("!HHIIIIHH", 5, len(packets), number, 1, number & 255, number, 3, 10) + records


def message9(number, packets):
    records = b"".join(struct.pack("!BIQ", 9, count, 8) for count in packets)
    return sets.netflow9(sets.data(256, records), count=7, sequence=number)


def message10(number, packets):
    records = b"".join(count.to_bytes(3) + b"ab" for count in packets)
    return sets.ipfix(sets.data(256, records), sequence=number, seconds=sets.SECOND + number)


FORMS = {b"\0\5": FORM5, **WITH_SETS}
KINDS = {b"\0\5": (message5, NETFLOW5), b"\0\x09": (message9, PLAIN), b"\0\x0a": (message10, ODD)}


def laid_out(version, numbers, packets, gap=b"between"):
    """Return messages at a distance, the distance, and what the first header says."""
    made = [KINDS[version][0](*one) for one in zip(numbers, packets, strict=True)]
    form = FORMS[version]
    assert all(one.startswith(version) for one in made)
    return gap.join(made), len(made[0]) + len(gap), form.read(made[0], 0)


@given(
    st.sampled_from(list(KINDS)),
    st.integers(0, 2**31),
    st.integers(1, 30),
    st.integers(1, 8).flatmap(
        lambda records: st.lists(
            st.lists(st.integers(0, 2**24 - 1), min_size=records, max_size=records), min_size=1, max_size=6
        )
    ),
    st.binary(max_size=5),
)
def test_counts(version, first, step, packets, gap):
    numbers = range(first, first + len(packets) * step, step)
    data, distance, header = laid_out(version, numbers, packets, gap)
    found = Series(FORMS[version], KINDS[version][1], len(packets[0]), distance, len(packets))
    assert found.packets(b"xy" + data, 2, header, step) == sum(map(sum, packets))
    for other in (step + 1, step - 1):
        assert len(packets) == 1 or other == 0 or found.packets(data, 0, header, other) is None


@pytest.mark.parametrize("version", KINDS)
def test_any_other_octet_in_a_header(version):
    """Clocks may differ, nothing else."""
    packets = [[1, 2]] * 4
    data, distance, header = laid_out(version, range(4), packets)
    found = Series(FORMS[version], KINDS[version][1], 2, distance, 4)
    clocks = {b"\0\5": range(4, 16), b"\0\x09": range(4, 12), b"\0\x0a": range(4, 8)}[version]
    for message in range(4):
        for at in range(FORMS[version].length):
            damaged = bytearray(data)
            damaged[message * distance + at] ^= 0x40
            wanted = 12 if at in clocks else None
            assert found.packets(bytes(damaged), 0, header, 1) == wanted, (message, at)


def test_numbers_that_begin_anew_are_not_together():
    data, distance, header = laid_out(b"\0\5", [2**32 - 1, 0], [[1], [1]])
    assert Series(FORM5, NETFLOW5, 1, distance, 2).packets(data, 0, header, 1) is None


def test_no_packets_in_the_records():
    template = Template((Field("bcount", 48),))
    data, distance, header = laid_out(b"\0\5", [0, 1], [[1], [1]])
    assert Series(FORM5, template, 1, distance, 2).packets(data, 0, header, 1) is None


def test_the_most_records():
    data, distance, header = laid_out(b"\0\5", range(12), [[3] * AT_ONCE] * 12)
    assert series(FORM5, NETFLOW5, AT_ONCE, distance, 12).packets(data, 0, header, 1) == 3 * 12 * AT_ONCE
    assert series(FORM5, NETFLOW5, AT_ONCE, distance, 12) is series(FORM5, NETFLOW5, AT_ONCE, distance, 12)


def test_what_a_form_reads():
    form = Form("2s4xI1s")
    assert (form.length, form.read(b"ab....\0\0\0\x05z", 0)) == (11, (b"ab", 5, b"z"))

"""Counters of many records by few calls, against the records one by one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overflowd_tools.protocols.counters import AT_ONCE, counters, new_counter_reader
from overflowd_tools.protocols.netflow import NETFLOW5, NETFLOW7
from overflowd_tools.protocols.templates import Field, Kind, Template


@given(
    st.integers(0, 20),
    st.integers(1, 12),
    st.integers(0, 20),
    st.sampled_from([0, 1, 29, AT_ONCE, AT_ONCE + 1, 300]),
    st.randoms(use_true_random=False),
)
def test_as_one_by_one(before, length, after, count, rng):
    fields = (Field("x", before), Field("pcount", length), Field("y", after))
    template = Template(tuple(field for field in fields if field.length))
    records = rng.randbytes(count * template.length)
    starts = range(before, len(records), template.length)
    wanted = [int.from_bytes(records[start : start + length]) for start in starts]
    assert counters(template, "pcount", records) == wanted


@given(
    st.integers(1, 9),
    st.integers(1, 5),
    st.integers(1, 5),
    st.integers(0, 30),
    st.integers(0, 9),
    st.randoms(use_true_random=False),
)
def test_in_several_messages(length, count, messages, between, start, rng):
    template = Template((Field("x", 3), Field("pcount", length), Field("y", 2)))
    parts = [rng.randbytes(count * template.length) for _ in range(messages)]
    read = new_counter_reader(template, "pcount", count, messages, between)
    assert read is not None
    octets = bytes(start) + rng.randbytes(between).join(parts)
    assert list(read(octets, start)) == [value for part in parts for value in counters(template, "pcount", part) or []]


@pytest.mark.parametrize("template", [NETFLOW5, NETFLOW7])
def test_netflow(template):
    records = bytes(range(256)) * template.length
    for name, at in (("pcount", 16), ("bcount", 20)):
        wanted = [
            int.from_bytes(records[start + at : start + at + 4]) for start in range(0, len(records), template.length)
        ]
        assert counters(template, name, records) == wanted


@pytest.mark.parametrize("field", [Field("pcount", 4, extra=True), Field("pcount", 4, Kind.PADDING), Field("other", 4)])
def test_no_such_counter(field):
    assert counters(Template((Field("bcount", 8), field)), "pcount", bytes(24)) is None

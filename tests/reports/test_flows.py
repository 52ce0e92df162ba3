"""What a report takes from a flow record: which lines are flows, and for how much one stands."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overflowd_tools.errors import RecordError
from overflowd_tools.reports import flows
from overflowd_tools.reports.report import FLOW_FIELDS

MOST = 2**53 - 1
ENDS = {"saddr": "192.0.2.7", "daddr": "2001:DB8::1"}


@pytest.mark.parametrize("line", [b'{"type":"flow"}', b"{}", b'{"saddr":"::1","metadata":{}}', b'{"type":null}'])
def test_flows(line):
    assert flows.parse(line) is not None


@pytest.mark.parametrize(
    "line",
    [b'{"type":"option"}', b'{"$schema":"x"}', b'{"flowdata":{}}', b'{"type":5}', b'{"type":"flow ","$schema":1}'],
)
def test_lines_of_other_types(line):
    assert flows.parse(line) is None


@pytest.mark.parametrize("line", [b"", b"[]", b"1", b'{"type":"flow"', b"\xff"])
def test_what_is_no_record(line):
    with pytest.raises(RecordError, match=r"^not (JSON|a JSON object)"):
        flows.parse(line)


def test_what_is_told():
    flow = {**ENDS, "source": "ipfix", "tos": 0, "dst_as": 64500, "sampling_rate": 10, "p_ppt": 10**11, "why": ["frag"]}
    assert flows.facts(flow) == (
        b'{"data":{"daddr":"2001:db8::1","saddr":"192.0.2.7","tos":0},"sourcetype":{"type":"IPFIX","version":10}}',
        (b"192.0.2.7", b"2001:db8::1"),
        100,
        0,
        b',"p_ppt":100000000000',
        b',"sampling_rate":10',
        b',"why":["frag"]',
    )


def test_an_aggregate_of_flows_has_nobody_to_report_to():
    with pytest.raises(RecordError, match="an aggregate of flows has no ends to report to"):
        flows.flow_data({**ENDS, "source": "netflow8", "pcount": 9}, FLOW_FIELDS)


@given(st.integers(0, MOST), st.integers(0, MOST), st.integers(1, MOST), st.integers(1, 10**12) | st.just(10**12))
def test_estimates_are_rounded_to_the_nearest(packets, octets, rate, p_ppt):
    estimates = flows.stands_for(packets, octets, rate, p_ppt)
    for counted, estimate in zip((packets or 1, octets), estimates, strict=True):
        exact = Fraction(counted * rate * 10**12, p_ppt)
        assert -Fraction(1, 2) < estimate - exact <= Fraction(1, 2)


@pytest.mark.parametrize(
    ("counted", "p_ppt", "value"), [(1, 10**12, 1), (1, 4 * 10**11, 3), (1, 667 * 10**9, 1), (7, 10**12, 7)]
)
def test_estimates(counted, p_ppt, value):
    """2.5 is 3."""
    assert flows.stands_for(counted, counted, 1, p_ppt) == (value, value)

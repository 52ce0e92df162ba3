"""Our own records of flows: what they confirm, what they deny, and how much of them is kept."""

import pytest

from overflowd_tools.errors import RecordError
from overflowd_tools.trust.corroboration import SLACK_MS, SPANS, UNDATED_MS, OwnFlows

NOW = 1_795_219_200_000
FLOW = {"saddr": "192.0.2.7", "daddr": "198.51.100.1", "sport": 53, "dport": 4000, "protocol": 17}


def flow(start=0, end=1000, **more):
    return {**FLOW, "start_ms": NOW + start, "end_ms": NOW + end, **more}


def own(*flows, **limits) -> OwnFlows:
    made = OwnFlows(**limits)
    for one in flows:
        made.add(one)
    return made


def test_a_flow_of_ours_is_found_whatever_else_the_record_says():
    found = own(flow(pcount=1)).find(flow(pcount=9, start=10, end=20), NOW)
    assert found.verdict == "found"
    assert len(found.digest) == 8


@pytest.mark.parametrize("changed", [{name: 1} for name in FLOW])
def test_every_end_counts(changed):
    assert own(flow()).find(flow(**changed), NOW).verdict == "unknown"


def test_the_digest_is_of_our_own_flow():
    """A forger cannot make two flows of one by other times."""
    ours = own(flow(), flow(start=10_000_000, end=10_000_001))
    digests = {ours.find(flow(start=start, end=start + 5), NOW).digest for start in (-5, 0, 500, 9_999_999)}
    assert len(digests) == 2


@pytest.mark.parametrize(("shift", "verdict"), [(SLACK_MS, "found"), (SLACK_MS + 1, "unknown"), (-SLACK_MS, "found")])
def test_clocks_may_differ(shift, verdict):
    assert own(flow(start=0, end=0)).find(flow(start=shift, end=shift), NOW).verdict == verdict


def test_flows_without_times():
    ours = own(flow(start=0, end=0))
    assert ours.find(FLOW, NOW + UNDATED_MS).verdict == "found"
    assert ours.find(FLOW, NOW + UNDATED_MS + SLACK_MS + 1).verdict == "unknown"
    assert own({**flow(), "sport": None}).find({**flow(), "sport": 0}, NOW).verdict == "found"


def test_absence_takes_older_and_newer_flows():
    around = [flow(start=-SLACK_MS, end=-SLACK_MS, sport=1), flow(start=SLACK_MS, end=SLACK_MS + 1, sport=1)]
    assert own(*around).find(flow(start=0, end=0), NOW).verdict == "absent"
    assert own(around[0]).find(flow(start=0, end=0), NOW).verdict == "unknown"
    assert own(around[1]).find(flow(start=0, end=0), NOW).verdict == "unknown"
    assert OwnFlows().find(flow(), NOW).verdict == "unknown"
    assert own(*around, most=0).find(flow(start=0, end=0), NOW).verdict == "unknown"


def test_records_are_bounded():
    ours = own(*(flow(sport=port) for port in range(10)), most=4)
    assert ours.forgotten == 6
    assert [ours.find(flow(sport=port), NOW).verdict == "found" for port in (5, 6, 9)] == [False, True, True]
    many = own(*(flow(start=number * 10**7, end=number * 10**7) for number in range(3 * SPANS)))
    assert many.find(flow(start=0, end=0), NOW).verdict == "found"
    assert many.find(flow(start=10**7 * (3 * SPANS - 1), end=10**7 * (3 * SPANS - 1)), NOW).verdict == "found"


@pytest.mark.parametrize(
    "bad", [{}, FLOW, {**flow(), "saddr": 1}, {**flow(), "end_ms": "x"}, {**flow(), "start_ms": 1.5}]
)
def test_records_that_confirm_nothing(bad):
    with pytest.raises(RecordError, match="confirms nothing"):
        OwnFlows().add(bad)

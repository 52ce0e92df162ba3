"""Records of both directions, taken apart."""

import pytest

from overflowd_tools.protocols.biflow import split, split_rows
from overflowd_tools.protocols.detect import Decoder
from overflowd_tools.protocols.elements import ElementTable
from overflowd_tools.protocols.exporters import Batch, Row
from tests.protocols import set_builders as build

TABLE = ElementTable.standard()
KEYS = {"saddr": "192.0.2.1", "daddr": "192.0.2.2", "sport": 1, "dport": 2, "protocol": 6}
TURNED = {"saddr": "192.0.2.2", "daddr": "192.0.2.1", "sport": 2, "dport": 1, "protocol": 6}
TIMES = {"start_ms": 5, "end_ms": 6}


def test_a_flow_of_one_direction_stays_as_it_is():
    members = {**KEYS, "pcount": 3, "ie": {"flowId": 9}}
    assert split(members, TABLE) == [members]


def test_counters_flags_and_times_change_places():
    forward = {**KEYS, "pcount": 3, "bcount": 30, "flags": 2, **TIMES}
    back = {"pcount": 4, "bcount": 40, "flags": 18, "start_ms": 7, "end_ms": 8}
    members = forward | {f"r_{name}": value for name, value in back.items()}
    assert split(members, TABLE) == [forward, {**TURNED, **back}]


def test_what_is_told_of_the_forward_direction_is_not_told_of_the_other():
    forward = {**KEYS, "pcount": 3, "flags": 2, "tos": 8, "ttl": 60, "nexthop": "192.0.2.9", "seq_lost": 4, **TIMES}
    assert split({**forward, "r_pcount": 1}, TABLE) == [forward, {**TURNED, "pcount": 1, **TIMES}]


def test_all_that_has_two_ends_is_swapped():
    pairs = [("src_mask", "dst_mask"), ("src_as", "dst_as"), ("prev_as", "next_as"), ("in_if", "out_if")]
    pairs += [("vrf_in", "vrf_out"), ("vlan", "post_vlan"), ("cvlan", "post_cvlan"), ("smac", "dmac")]
    forward = {name: number for number, name in enumerate(name for pair in pairs for name in pair)}
    _, back = split({**forward, "r_pcount": 1}, TABLE)
    assert back == {"pcount": 1} | {a: forward[b] for pair in pairs for a, b in (pair, pair[::-1])}


@pytest.mark.parametrize(
    ("forward", "back"),
    [
        ({"vlan": 7}, {"vlan": 7}),
        ({"in_if": 7}, {"out_if": 7}),
        ({"smac": "a", "post_dmac": "d"}, {"smac": "d", "post_dmac": "a"}),
        (
            {"smac": "a", "dmac": "b", "post_smac": "c", "post_dmac": "d"},
            {"smac": "d", "dmac": "c", "post_smac": "b", "post_dmac": "a"},
        ),
        (
            {"nat": {"saddr": "a", "daddr": "b", "sport": 1, "event": 4}},
            {"nat": {"daddr": "a", "saddr": "b", "dport": 1}},
        ),
        ({"biflow_dir": 1}, {"biflow_dir": 2}),
        ({"biflow_dir": 2}, {"biflow_dir": 1}),
        ({"biflow_dir": 3}, {"biflow_dir": 3}),
        ({"sampling_rate": 10, "end_reason": 1}, {"sampling_rate": 10, "end_reason": 1}),
    ],
)
def test_the_other_direction(forward, back):
    assert split({**forward, "r_pcount": 1}, TABLE) == [forward, {**back, "pcount": 1}]


@pytest.mark.parametrize(
    "nothing",
    [
        {"r_pcount": 0, "r_bcount": 0},
        {"r_pcount": 0, "r_flags": 16, "r_start_ms": 5},
        {"r_flags": 0, "r_start_ms": 5},
        {"ie": {"29305/95": 0}},
    ],
)
def test_nothing_came_back(nothing):
    assert split({**KEYS, "pcount": 1, **nothing}, TABLE) == [{**KEYS, "pcount": 1}]


def test_flags_alone_tell_of_packets_where_no_counter_does():
    assert len(split({**KEYS, "r_flags": 16}, TABLE)) == 2


def test_elements_without_a_field_get_their_forward_names():
    extra = {"flowId": 1, "29305/148": 2, "6871/16398": 3, "9/12345": 4}
    forward, back = split({**KEYS, "ie": extra}, TABLE)
    assert forward == {**KEYS, "ie": {"flowId": 1, "9/12345": 4}}
    assert back == {**TURNED, "ie": {"flowId": 2, "6871:initialTCPFlags": 3}}


def test_repeated_elements_stay_pairs():
    pairs = [["29305/95", "1:1"], ["29305/95", "1:2"], ["flowId", 3]]
    forward, back = split({"ie": pairs}, TABLE)
    assert forward == {"ie": {"flowId": 3}}
    assert back == {"ie": [["applicationId", "1:1"], ["applicationId", "1:2"]]}


def test_rows_of_a_message():
    reverse = [*build.KEYS, (2, 4), (2, 4, 29305)]
    record = build.flow()[:13] + bytes((0, 0, 0, 5, 0, 0, 0, 6))
    message = build.ipfix(
        build.template(256, build.FLOW),
        build.template(257, reverse),
        build.data(256, build.flow()),
        build.data(257, record),
    )
    decoder = Decoder(templates=True)
    [decoded] = decoder.messages(message, (b"\xc0\0\2\1", 4739, 0))
    rows = split_rows(decoded.rows, decoder.known().elements())
    assert [row.type for row in rows] == ["template", "template", "flow", "flow", "flow"]
    assert isinstance(rows[2], Batch)
    assert all(isinstance(row, Row) for row in rows[3:])
    assert [row.members["pcount"] for row in rows[3:]] == [5, 6]
    assert [row.members["saddr"] for row in rows[3:]] == ["198.51.100.1", "203.0.113.1"]

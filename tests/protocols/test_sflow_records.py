"""The flow records of sFlow, one by one: whole, cut, grown, unknown, twice."""

import pytest

from overflowd_tools.protocols.lines import Kind
from overflowd_tools.protocols.sflow import decode_sflow
from overflowd_tools.protocols.sflow_records import RECORDS
from tests.protocols import sflow_builders as build
from tests.protocols.sflow_builders import (
    GATEWAY,
    IP4,
    IP4_FIELDS,
    IP6,
    IP6_FIELDS,
    PACKET,
    PACKET_MEMBERS,
    SWITCH,
    V6,
    address,
    datagram5,
    extended,
    flow,
    hyper,
    members,
    opaque,
    raw,
    record,
    unpacked,
    words,
)

L2 = words(64) + build.SMAC + bytes(2) + build.DMAC + bytes(2) + words(0x0806)
L2_FIELDS = {"frame_len": 64, "smac": "02:00:00:00:00:01", "dmac": "02:00:00:00:00:02", "ethertype": 0x0806}
CONTEXT = {"application": "app", "operation": "op", "attributes": "a=b"}
CONTEXT_OCTETS = opaque(b"app") + opaque(b"op") + opaque(b"a=b")
LABEL = {"exp": 1, "ttl": 9}
STACK = words(2, 100 << 12 | 1 << 9 | 9, 200 << 12 | 1 << 9 | 1 << 8 | 9)
STACK_FIELDS = [{"label": 100, "s": 0} | LABEL, {"label": 200, "s": 1} | LABEL]
SOCKET = {"protocol": 6, "local_port": 80, "remote_port": 4000}
SOCKET4 = words(6) + build.packed("192.0.2.1") + build.packed("192.0.2.2") + words(80, 4000)
SOCKET4_FIELDS = SOCKET | {"local_addr": "192.0.2.1", "remote_addr": "192.0.2.2"}
SOCKET6 = words(6) + build.packed("2001:db8::1") + build.packed("2001:db8::2") + words(80, 4000)
SOCKET6_FIELDS = SOCKET | {"local_addr": "2001:db8::1", "remote_addr": "2001:db8::2"}
BSSID = bytes.fromhex("020000000003")
WIFI = {"ssid": "net", "bssid": "02:00:00:00:00:03", "version": 4}
WIFI_OCTETS = opaque(b"net") + BSSID + bytes(2) + words(4)
HTTP = {"method": 2, "protocol": 1001, "uri": "/", "host": "h", "referer": "r", "useragent": "u", "authuser": "a"}
HTTP_OCTETS = words(2, 1001) + opaque(b"/") + opaque(b"h") + opaque(b"r") + opaque(b"u")
TCP_INFO = "direction snd_mss rcv_mss unacked lost retrans pmtu rtt rttvar snd_cwnd reordering min_rtt"

EXTENDED = {
    2: (L2, L2_FIELDS | {"bcount": 64}),
    3: (IP4, IP4_FIELDS),
    4: (IP6, IP6_FIELDS),
    1001: (words(10, 1, 20, 2), SWITCH),
    1002: (address("2001:db8::9") + words(48, 32), {"nexthop": "2001:db8::9", "src_mask": 48, "dst_mask": 32}),
    1003: (
        GATEWAY,
        {
            "bgp_nexthop": "203.0.113.1",
            "router_as": 1,
            "src_as": 2,
            "prev_as": 3,
            "communities": [7, 8],
            "local_pref": 100,
            "as_path": [65001, 65002, 65003],
            "next_as": 65001,
            "dst_as": 65003,
        },
    ),
    1004: (
        words(106) + opaque("zoë".encode()) + words(0) + opaque(b"\xff"),
        {"src_user_charset": 106, "src_user": "zoë", "dst_user_charset": 0, "dst_user": "0xff"},
    ),
    1005: (words(2) + opaque(b"/x") + opaque(b"h"), {"url_direction": 2, "url": "/x", "url_host": "h"}),
    1006: (
        address("192.0.2.7") + STACK + words(0),
        {"mpls_nexthop": "192.0.2.7", "mpls_in": STACK_FIELDS, "mpls_out": []},
    ),
    1007: (address("192.0.2.1") + address(None), {"nat": {"saddr": "192.0.2.1"}}),
    1008: (opaque(b"lsp") + words(5, 6), {"mpls_tunnel": {"name": "lsp", "id": 5, "cos": 6}}),
    1009: (opaque(b"vc") + words(5, 6), {"mpls_vc": {"name": "vc", "id": 5, "cos": 6}}),
    1010: (opaque(b"ftn") + words(5), {"mpls_ftn": {"description": "ftn", "mask": 5}}),
    1011: (words(24), {"mpls_fec_prefix_len": 24}),
    1012: (
        words(1, 0x88A8B064),
        {"vlan_tunnel": [{"tpid": 0x88A8, "vlan_prio": 5, "dei": 1, "vlan": 100}]},
    ),
    1013: (words(0x000FAC04) + b"data", {"wifi_payload": {"cipher_suite": 0x000FAC04, "data": b"data".hex()}}),
    1014: (
        WIFI_OCTETS + words(11) + hyper(54_000_000) + words(1, 2, 3),
        {"wifi_rx": WIFI | {"channel": 11, "speed": 54_000_000, "rsni": 1, "rcpi": 2, "duration_us": 3}},
    ),
    1015: (
        WIFI_OCTETS + words(1, 2, 3, 11) + hyper(54_000_000) + words(100),
        {
            "wifi_tx": WIFI
            | {"transmissions": 1, "duration_us": 2, "retrans_duration_us": 3, "channel": 11}
            | {"speed": 54_000_000, "power_mw": 100}
        },
    ),
    1017: (hyper(1 << 63) + words(2, 3), {"openflow": {"cookie": 1 << 63, "match": 2, "actions": 3}}),
    1020: (words(1, 2), {"nat": {"sport": 1, "dport": 2}}),
    1021: (L2, {"l2_tunnel_egress": L2_FIELDS}),
    1022: (L2, {"l2_tunnel_ingress": L2_FIELDS}),
    1023: (IP4, {"ip_tunnel_egress": IP4_FIELDS}),
    1024: (IP4, {"ip_tunnel_ingress": IP4_FIELDS}),
    1025: (IP6, {"ip_tunnel_egress": IP6_FIELDS}),
    1026: (IP6, {"ip_tunnel_ingress": IP6_FIELDS}),
    1027: (words(50), {"decap_egress_offset": 50}),
    1028: (words(50), {"decap_ingress_offset": 50}),
    1029: (words(5), {"vni_egress": 5}),
    1030: (words(5), {"vni_ingress": 5}),
    1036: (words(5), {"egress_queue": 5}),
    1037: (words(5) + opaque(b"acl") + words(1), {"acl": {"number": 5, "name": "acl", "direction": 1}}),
    1038: (opaque(b"ip_rcv"), {"function": "ip_rcv"}),
    1039: (words(0xFFFFFFFF), {"transit_delay_ns": 0xFFFFFFFF}),
    1040: (words(5), {"queue_depth": 5}),
    1041: (opaque(b"l3_drops") + opaque(b"ttl"), {"hw_trap": {"group": "l3_drops", "trap": "ttl"}}),
    1042: (opaque(b"NO_SOCKET\0"), {"linux_drop_reason": "NO_SOCKET"}),
    1043: (hyper(1 << 60), {"timestamp_ns": 1 << 60}),
    2100: (SOCKET4, {"socket": SOCKET4_FIELDS}),
    2101: (SOCKET6, {"socket": SOCKET6_FIELDS}),
    2102: (SOCKET4, {"proxy_socket": SOCKET4_FIELDS}),
    2103: (SOCKET6, {"proxy_socket": SOCKET6_FIELDS}),
    2200: (
        words(1, 2) + opaque(b"key") + words(1, 100, 9, 1),
        {
            "memcache_operation": {"protocol": 1, "command": 2, "key": "key"}
            | {"nkeys": 1, "value_bytes": 100, "duration_us": 9, "status": 1}
        },
    ),
    2201: (
        HTTP_OCTETS + opaque(b"a") + opaque(b"m") + hyper(6) + words(7, 200),
        {"http_request": HTTP | {"mime_type": "m", "resp_bytes": 6, "duration_us": 7, "status": 200}},
    ),
    2202: (
        CONTEXT_OCTETS + opaque(b"fine") + hyper(5) + hyper(6) + words(7, 0),
        {
            "app_operation": CONTEXT
            | {"status_descr": "fine", "req_bytes": 5, "resp_bytes": 6, "duration_us": 7, "status": 0}
        },
    ),
    2203: (CONTEXT_OCTETS, {"app_parent_context": CONTEXT}),
    2204: (opaque(b"me"), {"app_initiator": "me"}),
    2205: (opaque(b"you"), {"app_target": "you"}),
    2206: (
        HTTP_OCTETS + opaque(b"x") + opaque(b"a") + opaque(b"m") + hyper(5) + hyper(6) + words(7, 0xFFFFFFFF),
        {
            "http_request": HTTP
            | {"xff": "x", "mime_type": "m", "req_bytes": 5, "resp_bytes": 6, "duration_us": 7, "status": -1}
        },
    ),
    2207: (opaque(b"/") + opaque(b"h"), {"proxy_request": {"uri": "/", "host": "h"}}),
    2209: (words(*range(12)), {"tcp_info": dict(zip(TCP_INFO.split(), range(12), strict=True))}),
    2210: (words(0, 1, 0, 2), {"entities": {"src_class": 0, "src_id": 1, "dst_class": 0, "dst_id": 2}}),
}


def test_every_record_is_tested():
    assert EXTENDED.keys() == RECORDS.keys()


@pytest.mark.parametrize(("number", "octets", "expected"), [(key, *value) for key, value in EXTENDED.items()])
def test_records(number, octets, expected):
    assert extended(record(number, octets)) == expected


@pytest.mark.parametrize(("number", "octets", "expected"), [(key, *value) for key, value in EXTENDED.items()])
def test_cut_records_are_kept_as_they_came(number, octets, expected):
    for length in range(0, len(octets), 4):
        decoded = decode_sflow(datagram5(flow(record(number, octets[:length]), raw(PACKET))))
        (shown,) = unpacked(decoded.lines)
        assert shown.items() >= PACKET_MEMBERS.items()
        if "records" in shown or decoded.problems:  # the data of 1013 may be of any length
            assert shown["records"] == [[f"0/{number}", octets[:length].hex()]]
            assert decoded.problems[0].startswith(f"sample 1 of 1: record 0/{number}: ")
        else:
            assert number == 1013


def test_records_may_grow_at_their_end():
    longer = words(10, 1, 20, 2, 5)
    assert extended(record(1001, longer)) == SWITCH | {"records": [["0/1001", longer.hex()]]}
    assert "records" not in extended(raw(PACKET), build.switch())


def test_unknown_records_and_samples():
    number = 0xFFFFF << 12 | 0xFFF
    assert extended(record(number, b"abcd")) == {"records": [["1048575/4095", b"abcd".hex()]]}
    assert extended(record(1016, b"")) == {"records": [["0/1016", ""]]}
    decoded = decode_sflow(datagram5(build.sample(4300 << 12 | 1002, b"abcd"), flow(raw(PACKET))))
    assert [line.type for line in decoded.lines] == ["counter", "flow"]
    assert members(decoded.lines[0]) == {"sample_format": "4300/1002", "records": [["4300/1002", b"abcd".hex()]]}


def test_records_do_not_hide_each_other():
    assert extended(record(1007, address("192.0.2.1") + address("192.0.2.2")), record(1020, words(1, 2)))["nat"] == {
        "saddr": "192.0.2.1",
        "daddr": "192.0.2.2",
        "sport": 1,
        "dport": 2,
    }
    assert extended(build.switch(), build.switch(5, 6, 7, 8)) == SWITCH | {
        "records": [["0/1001", words(5, 6, 7, 8).hex()]]
    }
    both = extended(record(3, IP4), raw(PACKET))
    assert both["saddr"] == PACKET_MEMBERS["saddr"]
    assert both["records"] == [["0/3", IP4.hex()]]
    second = raw(V6)
    assert extended(raw(PACKET), second)["records"] == [["0/1", second[8:].hex()]]


PATHS = {
    "none": (words(0), {"as_path": []}),
    "a set at the end": (
        words(2, 2, 1, 65001, 1, 2, 65002, 65003),
        {"as_path": [65001, [65002, 65003]], "next_as": 65001},
    ),
    "a set first": (words(2, 1, 1, 65001, 2, 1, 65002), {"as_path": [[65001], 65002], "dst_as": 65002}),
    "a confederation": (words(1, 3, 1, 65001), {"as_path": [{"type": 3, "as": [65001]}]}),
}


@pytest.mark.parametrize(("path", "expected"), PATHS.values(), ids=PATHS)
def test_paths(path, expected):
    shown = extended(record(1003, address("192.0.2.1") + words(1, 2, 3) + path + words(0, 100)))
    assert {name: shown[name] for name in shown.keys() & {"as_path", "next_as", "dst_as"}} == expected


def test_kinds():
    (line,) = decode_sflow(
        datagram5(flow(raw(PACKET), build.router(), *(record(n, o) for n, (o, _) in EXTENDED.items())))
    ).lines
    kinds = dict(zip(line.shape.names, line.shape.kinds, strict=True))
    for name, value in zip(line.shape.names, line.values, strict=True):
        match kinds[name]:
            case Kind.INTEGER:
                assert type(value) is int
            case Kind.ADDRESS:
                assert len(value) in {4, 16}
            case Kind.MAC:
                assert len(value) == 6
            case Kind.HEX:
                assert type(value) is bytes
            case Kind.TEXT:
                assert type(value) is str
            case Kind.JSON:
                assert isinstance(value, dict | list)
            case _:
                raise AssertionError(name)
    assert {kinds[name] for name in ("nexthop", "smac", "header", "url", "nat")} == set(Kind) - {
        Kind.FLOAT,
        Kind.INTEGER,
    }

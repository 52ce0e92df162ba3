"""The flow records of sFlow, by enterprise and format, to members of a line.

Sources, all at sflow.org: sflow_version_5.txt (RFC 3176 has the first of them), sflow_80211.txt, sflow_openflow.txt,
sflow_tunnels.txt, sflow_drops.txt, sflow_transit.txt, sflow_host.txt, sflow_memcache.txt, sflow_http.txt,
sflow_application.txt, and the structure numbers of sflow.org; 1041 to 1043, 2209 and 2210 as InMon's host-sflow
sends them.
"""

from __future__ import annotations

from overflowd_tools.named import NamedTuple
from overflowd_tools.protocols.dissection import Members
from overflowd_tools.protocols.headers import label_entry
from overflowd_tools.protocols.sflow_numbers import EXTENDED_ROUTER, EXTENDED_SWITCH
from overflowd_tools.protocols.xdr import Read, Reader, Structure, structure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final


class Record(NamedTuple):
    """A structure whose fields are members of the line, or which is one member (its name) if `nested`."""

    structure: Structure
    nested: bool = True

    def read(self, reader: Reader) -> Members:
        """Return the members of a record. Raises DecodeError for a cut one."""
        fields = self.structure.read(reader)
        return {self.structure.name: fields} if self.nested else fields | fields.pop(_PATH, {})


_PATH: Final = "path"
_SEGMENT_SET, _SEGMENT_SEQUENCE = 1, 2


def _path(reader: Reader) -> Members:
    """Read the segments of an AS path; those of a set stand in an array of their own."""
    path: list[Any] = []
    for _ in range(min(reader.unsigned(), reader.left // 8 + 1)):
        kind = reader.unsigned()
        numbers = reader.numbers()
        if kind == _SEGMENT_SEQUENCE:
            path += numbers
        else:
            path.append(numbers if kind == _SEGMENT_SET else {"type": kind, "as": numbers})
    return _path_members(path)


def _flat_path(reader: Reader) -> Members:
    return _path_members(reader.numbers())


def _path_members(path: list[Any]) -> Members:
    members: Members = {"as_path": path}
    if path and isinstance(path[0], int):
        members["next_as"] = path[0]
    if path and isinstance(path[-1], int):
        members["dst_as"] = path[-1]
    return members


def _labels(reader: Reader) -> list[dict[str, int]]:
    return [label_entry(entry) for entry in reader.numbers()]


def _tags(reader: Reader) -> list[dict[str, int]]:
    return [
        {"tpid": layer >> 16, "vlan_prio": layer >> 13 & 7, "dei": layer >> 12 & 1, "vlan": layer & 0xFFF}
        for layer in reader.numbers()
    ]


def _ipv4(reader: Reader) -> bytes:
    return reader.fixed(4)


def _ipv6(reader: Reader) -> bytes:
    return reader.fixed(16)


def _mac(reader: Reader) -> bytes:
    return reader.fixed(6)


_FLAT_TYPES: Final[dict[str, Read]] = {
    "address": Reader.address,
    "ipv4": _ipv4,
    "ipv6": _ipv6,
    "mac": _mac,
    "path": _path,
    "flat_path": _flat_path,
    "numbers": Reader.numbers,
    "labels": _labels,
    "tags": _tags,
}


def _flat(fields: str) -> Record:
    return Record(structure("", fields, _FLAT_TYPES), nested=False)


def _nested(name: str, fields: str) -> Record:
    return Record(structure(name, fields))


_ETHERNET: Final = "frame_len smac:mac dmac:mac ethertype"
_IPV4: Final = "bcount protocol saddr:ipv4 daddr:ipv4 sport dport flags tos"
_IPV6: Final = "bcount protocol saddr:ipv6 daddr:ipv6 sport dport flags tos"
_SWITCH: Final = _flat("vlan vlan_prio post_vlan post_vlan_prio")
_ROUTER: Final = _flat("nexthop:address src_mask dst_mask")
_SOCKET4: Final = "protocol local_addr:ipv4 remote_addr:ipv4 local_port remote_port"
_SOCKET6: Final = "protocol local_addr:ipv6 remote_addr:ipv6 local_port remote_port"
_CONTEXT: Final = "application:string operation:string attributes:string"

RECORDS: Final[dict[int, Record]] = {
    2: _flat(_ETHERNET),
    3: _flat(_IPV4),
    4: _flat(_IPV6),
    EXTENDED_SWITCH: _SWITCH,
    EXTENDED_ROUTER: _ROUTER,
    1003: _flat("bgp_nexthop:address router_as src_as prev_as path:path communities:numbers local_pref"),
    1004: _flat("src_user_charset src_user:string dst_user_charset dst_user:string"),
    1005: _flat("url_direction url:string url_host:string"),
    1006: _flat("mpls_nexthop:address mpls_in:labels mpls_out:labels"),
    1007: _nested("nat", "saddr:address daddr:address"),
    1008: _nested("mpls_tunnel", "name:string id cos"),
    1009: _nested("mpls_vc", "name:string id cos"),
    1010: _nested("mpls_ftn", "description:string mask"),
    1011: _flat("mpls_fec_prefix_len"),
    1012: _flat("vlan_tunnel:tags"),
    1013: _nested("wifi_payload", "cipher_suite data:rest"),
    1014: _nested("wifi_rx", "ssid:string bssid:mac version channel speed:hyper rsni rcpi duration_us"),
    1015: _nested(
        "wifi_tx",
        "ssid:string bssid:mac version transmissions duration_us retrans_duration_us channel speed:hyper power_mw",
    ),
    1017: _nested("openflow", "cookie:hyper match actions"),
    1020: _nested("nat", "sport dport"),
    1021: _nested("l2_tunnel_egress", _ETHERNET),
    1022: _nested("l2_tunnel_ingress", _ETHERNET),
    1023: _nested("ip_tunnel_egress", _IPV4),
    1024: _nested("ip_tunnel_ingress", _IPV4),
    1025: _nested("ip_tunnel_egress", _IPV6),
    1026: _nested("ip_tunnel_ingress", _IPV6),
    1027: _flat("decap_egress_offset"),
    1028: _flat("decap_ingress_offset"),
    1029: _flat("vni_egress"),
    1030: _flat("vni_ingress"),
    1036: _flat("egress_queue"),
    1037: _nested("acl", "number name:string direction"),
    1038: _flat("function:string"),
    1039: _flat("transit_delay_ns"),
    1040: _flat("queue_depth"),
    1041: _nested("hw_trap", "group:string trap:string"),
    1042: _flat("linux_drop_reason:string"),
    1043: _flat("timestamp_ns:hyper"),
    2100: _nested("socket", _SOCKET4),
    2101: _nested("socket", _SOCKET6),
    2102: _nested("proxy_socket", _SOCKET4),
    2103: _nested("proxy_socket", _SOCKET6),
    2200: _nested("memcache_operation", "protocol command key:string nkeys value_bytes duration_us status"),
    2201: _nested(
        "http_request",
        "method protocol uri:string host:string referer:string useragent:string authuser:string mime_type:string"
        " resp_bytes:hyper duration_us status:int",
    ),
    2202: _nested(
        "app_operation", f"{_CONTEXT} status_descr:string req_bytes:hyper resp_bytes:hyper duration_us status"
    ),
    2203: _nested("app_parent_context", _CONTEXT),
    2204: _flat("app_initiator:string"),
    2205: _flat("app_target:string"),
    2206: _nested(
        "http_request",
        "method protocol uri:string host:string referer:string useragent:string xff:string authuser:string"
        " mime_type:string req_bytes:hyper resp_bytes:hyper duration_us status:int",
    ),
    2207: _nested("proxy_request", "uri:string host:string"),
    2209: _nested(
        "tcp_info",
        "direction snd_mss rcv_mss unacked lost retrans pmtu rtt rttvar snd_cwnd reordering min_rtt",
    ),
    2210: _nested("entities", "src_class src_id dst_class dst_id"),
}
"""Data format (enterprise << 12 | format) -> record."""

_EXTENDED_4: Final = {
    1: _SWITCH,
    2: _ROUTER,
    3: _flat("router_as src_as prev_as path:path communities:numbers local_pref"),
    4: _flat("src_user:string dst_user:string"),
    5: _flat("url_direction url:string"),
}
EXTENDED_BEFORE_5: Final[dict[int, dict[int, Record]]] = {
    2: {**_EXTENDED_4, 3: _flat("router_as src_as prev_as path:flat_path")},
    4: _EXTENDED_4,
}
"""Version -> extended_information_type (RFC 3176 section 5) -> record."""

SAMPLED_BEFORE_5: Final[dict[int, Record]] = {2: RECORDS[3], 3: RECORDS[4]}
"""packet_information_type of versions 2 and 4 -> record; 1, the header, is read apart."""

_FIRST_REASONS: Final = """
net_unreachable host_unreachable protocol_unreachable port_unreachable frag_needed src_route_failed
dst_net_unknown dst_host_unknown src_host_isolated dst_net_prohibited dst_host_prohibited
dst_net_tos_unreachable dst_host_tos_unreacheable comm_admin_prohibited host_precedence_violation
precedence_cutoff
"""
_MORE_REASONS: Final = """
unknown ttl_exceeded acl no_buffer_space red traffic_shaping pkt_too_big src_mac_is_multicast vlan_tag_mismatch
ingress_vlan_filter ingress_spanning_tree_filter port_list_is_empty port_loopback_filter blackhole_route non_ip
uc_dip_over_mc_dmac dip_is_loopback_address sip_is_mc sip_is_loopback_address ip_header_corrupted
ipv4_sip_is_limited_bc ipv6_mc_dip_reserved_scope ipv6_mc_dip_interface_local_scope unresolved_neigh
mc_reverse_path_forwarding non_routable_packet decap_error overlay_smac_is_mc unknown_l2 unknown_l3
unknown_l3_exception unknown_buffer unknown_tunnel unknown_l4 sip_is_unspecified mlag_port_isolation
blackhole_arp_neigh src_mac_is_dmac dmac_is_reserved sip_is_class_e mc_dmac_mismatch sip_is_dip
dip_is_local_network dip_is_link_local overlay_smac_is_dmac egress_vlan_filter uc_reverse_path_forwarding
split_horizon locked_port dmac_filter blackhole_nexthop vxlan_parsing llc_snap_parsing vlan_parsing
pppoe_ppp_parsing mpls_parsing arp_parsing ip_1_parsing ip_n_parsing gre_parsing udp_parsing tcp_parsing
ipsec_parsing sctp_parsing dccp_parsing gtp_parsing esp_parsing unknown_parsing pkt_too_small unhandled_proto
ipv6disabled invalid_proto ip_noproto skb_csum skb_ucopy_fault dev_ready dev_hdr dup_frag skb_gso_seg
reverse_path_forwarding icmp_parsing tcp_md5notfound tcp_md5unexpected tcp_md5failure tcp_flags tcp_zerowindow
tcp_old_data tcp_overwindow tcp_ofomerge tcp_rfc7323_paws tcp_invalid_sequence tcp_reset tcp_invalid_syn
tcp_close tcp_fastopen tcp_old_ack tcp_too_old_ack tcp_ack_unsent_data tcp_ofo_queue_prune tcp_ofo_drop
tcp_minttl ipv6_bad_exthdr ipv6_ndisc_frag ipv6_ndisc_hop_limit ipv6_ndisc_bad_code ipv6_ndisc_bad_options
ipv6_ndisc_ns_otherhost tap_filter tap_txfilter tc_ingress tc_egress xdp cpu_backlog bpf_cgroup_egress
xfrm_policy socket_filter bgp_flowspec
"""
DROP_REASONS: Final = dict(enumerate(_FIRST_REASONS.split())) | dict(enumerate(_MORE_REASONS.split(), 256))
"""drop_reason (sflow_drops.txt, and the list that sflow.org keeps) -> its name there, spelling included."""

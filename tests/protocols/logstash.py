"""What logstash-codec-netflow reads in datagrams, in our words: fields of the line, keys of `ie` and of options."""

import math
import struct
from datetime import datetime
from typing import Any

from tests.protocols.netgauze import BY_NAME

HEADER = {"version", "flowset_id", "flow_seq_num"}
NETFLOW9 = {
    "in_bytes": 1,
    "in_pkts": 2,
    "protocol": 4,
    "src_tos": 5,
    "tcp_flags": 6,
    "l4_src_port": 7,
    "ipv4_src_addr": 8,
    "src_mask": 9,
    "input_snmp": 10,
    "l4_dst_port": 11,
    "ipv4_dst_addr": 12,
    "dst_mask": 13,
    "output_snmp": 14,
    "ipv4_next_hop": 15,
    "src_as": 16,
    "dst_as": 17,
    "last_switched": 21,
    "first_switched": 22,
    "out_bytes": 23,
    "out_pkts": 24,
    "sampling_interval": 34,
    "sampling_algorithm": 35,
    "flow_active_timeout": 36,
    "flow_inactive_timeout": 37,
    "engine_id": 39,
    "total_bytes_exp": 40,
    "total_pkts_exp": 41,
    "total_flows_exp": 42,
    "ipv4_src_prefix": 44,
    "flow_sampler_id": 48,
    "ipv4_ident": 54,
    "in_src_mac": 56,
    "src_vlan": 58,
    "ip_protocol_version": 60,
    "direction": 61,
    "in_dst_mac": 80,
    "if_desc": 83,
    "in_permanent_bytes": 85,
    "forwarding_status": 89,
    "src_traffic_index": 92,
    "dst_traffic_index": 93,
    "application_description": 94,
    "application_id": 95,
    "application_name": 96,
    "conn_id": 148,
    "flow_start_msec": 152,
    "icmp_type": 176,
    "icmp_code": 177,
    "tcp_src_port": 182,
    "udp_dst_port": 181,
    "ip_dscp": 195,
    "xlate_src_addr_ipv4": 225,
    "xlate_dst_addr_ipv4": 226,
    "xlate_src_port": 227,
    "xlate_dst_port": 228,
    "fw_event": 233,
    "event_time_msec": 323,
    "username": 371,
    "samplingInterval": 34,
}
OWN = {
    "fw_ext_event": ("ext_event", ""),
    "ingress_acl_id": ("", "v9:ingressAclId"),
    "egress_acl_id": ("", "v9:egressAclId"),
}
BY_ID = {element.id: element for element in BY_NAME.values()}
ZERO_NTP = -2_208_988_800_000_000_000
"""What 0 means as an NTP timestamp, in Unix nanoseconds: 1900."""
LATE_MS = 1000
"""The codec adds a second to what it works out from sysUptime, for it borrows one where nothing has to be borrowed."""


def place(name: str) -> tuple[str, str] | None:
    """Return our field and our key of an element, None for those that we have no name for."""
    if name in OWN:
        return OWN[name]
    element = BY_ID.get(NETFLOW9.get(name, -1)) or BY_NAME.get(name)
    if element is None:
        return None
    return element.field, element.name


def told(name: str, value: Any) -> Any:
    """Return a value of the codec's as we show it."""
    if name in ("first_switched", "last_switched"):
        return round(datetime.fromisoformat(value).timestamp() * 1000) - LATE_MS
    if isinstance(value, str) and value.endswith("Z") and value[10:11] == "T":
        return round(datetime.fromisoformat(value).timestamp() * 1000)
    if name == "forwarding_status":
        return value["status"] << 6 | value["reason"]
    if name == "application_id":
        return value.replace("..", ":")
    if name.endswith("acl_id"):
        return value.replace("-", "")
    if name in ("flowStartSeconds", "flowEndSeconds"):
        return value * 1000
    return value


def is_shown_as(value: Any, shown: Any) -> bool:
    """Tell whether the hexadecimal digits of an element that we do not know hold a value."""
    if shown == ZERO_NTP:
        return value == 0
    if not isinstance(shown, str) or len(shown) % 2 or set(shown) - set("0123456789abcdef"):
        return value == shown
    octets = bytes.fromhex(shown)
    if isinstance(value, float):
        form = {4: "!f", 8: "!d"}.get(len(octets))
        return form is not None and math.isclose(struct.unpack(form, octets)[0], value)
    if isinstance(value, int):
        return octets != b"" and int.from_bytes(octets) == value
    if value.count(".") == 3 and len(octets) == 4:
        return ".".join(map(str, octets)) == value
    if value.count(":") == 5 and len(octets) == 6:
        return octets.hex(":") == value
    return octets.rstrip(b"\0").decode(errors="replace") == value or shown == value

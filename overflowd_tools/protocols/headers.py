"""The first octets of a packet, as samplers and data-link frame sections carry them, to the members of a line.

Sources: IEEE 802.3 and 802.1Q, RFC 791, 8200, 9293, 768, 792, 4443, 3032 and 4385 (MPLS, pseudowires), 2516 and 1661
(PPPoE, PPP), 2784 and 2890 (GRE), 7348 (VXLAN), 8926 (Geneve), 2661 (L2TP) and 3GPP TS 29.281 (GTP-U).
"""

from __future__ import annotations

import struct

from overflowd_tools.protocols.dissection import MAX_TUNNELS, Dissection, Members, Next, Step, address_text, as_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

__all__ = [
    "ETHERNET",
    "MAX_TUNNELS",
    "TUNNEL_PORTS",
    "Members",
    "address_text",
    "as_json",
    "decode_header",
    "decode_payload",
    "label_entry",
]

ETHERNET: Final = 1
TUNNEL_PORTS: Final = frozenset((1701, 2152, 4789, 6081, 8472))
"""UDP ports behind which another packet may lie."""

_MAX_TAGS: Final = 8
_MAX_LABELS: Final = 16
_MAX_EXTENSIONS: Final = 16

_TAG_TYPES: Final = frozenset((0x8100, 0x88A8, 0x9100, 0x9200, 0x9300))
_BRIDGED: Final = 0x6558
_WITH_PORTS: Final = frozenset((6, 17, 33, 132, 136))
_EXTENSIONS: Final = frozenset((0, 43, 44, 51, 60, 135, 139, 140))
_ICMP_ERRORS: Final = {1: frozenset((3, 4, 5, 11, 12)), 58: frozenset((1, 2, 3, 4))}
_SNAP: Final = b"\xaa\xaa\x03\x00\x00\x00"

_MACS: Final = struct.Struct("!6s6sH")
_IPV4: Final = struct.Struct("!BBHHHBB2x4s4s")
_IPV6: Final = struct.Struct("!IHBB16s16s")
_PORTS: Final = struct.Struct("!HH")
_SHORT: Final = struct.Struct("!H")
_LONG: Final = struct.Struct("!I")
_FRAGMENT6: Final = struct.Struct("!BxHI")


def decode_header(protocol: int, octets: bytes) -> Members:
    """Return what the beginning of a packet says; nothing of it if it begins with no protocol known here.

    protocol: one of sFlow's header_protocol: 1 Ethernet, 7 PPP, 10, 11 and 12 IP, 13 MPLS, 14 PPP over SONET.

    The members are those of the innermost IP packet: smac dmac ethertype vlan vlan_prio vlans mpls pppoe_session
    saddr daddr bcount (octets of the IP packet) sport dport flags protocol tos ttl ip_id frag_off frag_flags
    flow_label icmp_type icmp_code, and quoted (the packet an ICMP error is about). A packet that travelled in
    another one has tunnel (its type, and vni, key, teid or session) and outer, which has the members of the carrying
    packet and, of one that was carried itself, again tunnel and outer. A packet of which only the carrier could be
    read gives the members of that, and carries.
    """
    start = _PROTOCOLS.get(protocol)
    if start is None:
        return {}
    dissection = Dissection(octets)
    dissection.run(start)
    return dissection.members()


def decode_payload(protocol: int, octets: bytes) -> Members:
    """Return what the beginning of the payload of an IP packet says, as decode_header. protocol: that of IP."""
    dissection = Dissection(octets)
    dissection.run(lambda packet, position: _transport(packet, protocol, position))
    return dissection.members()


def label_entry(entry: int) -> dict[str, int]:
    """Return the fields of an MPLS label stack entry (RFC 3032)."""
    return {"label": entry >> 12, "exp": entry >> 9 & 7, "s": entry >> 8 & 1, "ttl": entry & 0xFF}


def _ethernet(packet: Dissection, position: int) -> Next:
    if not packet.has(position, 14):
        return None
    packet.level["dmac"], packet.level["smac"], ethertype = _MACS.unpack_from(packet.data, position)
    position += 14
    tags: list[int] = []
    while ethertype in _TAG_TYPES and packet.has(position, 4) and len(tags) < _MAX_TAGS:
        tag, ethertype = _PORTS.unpack_from(packet.data, position)
        tags.append(tag)
        position += 4
    if tags:
        packet.level["vlan"] = tags[0] & 0xFFF
        packet.level["vlan_prio"] = tags[0] >> 13
    if len(tags) > 1:
        packet.level["vlans"] = [tag & 0xFFF for tag in tags]
    if ethertype < 0x600:  # a length (802.3), so LLC follows
        if not packet.has(position, 8) or packet.data[position : position + 6] != _SNAP:
            return None
        (ethertype,) = _SHORT.unpack_from(packet.data, position + 6)
        position += 8
    packet.level["ethertype"] = ethertype
    return _payload(ethertype, position)


def _payload(ethertype: int, position: int) -> Next:
    step = _ETHERTYPES.get(ethertype)
    return None if step is None else (step, position)


def _ipv4(packet: Dissection, position: int) -> Next:
    if not packet.has(position, 20):
        return None
    version, tos, total, identification, fragment, ttl, protocol, source, destination = _IPV4.unpack_from(
        packet.data, position
    )
    length = (version & 15) * 4
    if version >> 4 != 4 or length < 20:
        return None
    packet.level |= {"saddr": source, "daddr": destination}
    if total >= length:
        packet.level["bcount"] = total
        packet.end = min(packet.end, position + total)
    offset = fragment & 0x1FFF
    packet.level |= {"protocol": protocol, "tos": tos, "ttl": ttl, "ip_id": identification}
    packet.level |= {"frag_off": offset, "frag_flags": fragment >> 8 & 0xE0}
    return None if offset else _transport(packet, protocol, position + length)


def _ipv6(packet: Dissection, position: int) -> Next:
    if not packet.has(position, 40):
        return None
    first, length, protocol, ttl, source, destination = _IPV6.unpack_from(packet.data, position)
    if first >> 28 != 6:
        return None
    packet.level |= {"saddr": source, "daddr": destination}
    if length or protocol == 59:  # else a jumbogram, or not yet cut into segments
        packet.level["bcount"] = 40 + length
        packet.end = min(packet.end, position + 40 + length)
    packet.level |= {"tos": first >> 20 & 0xFF, "ttl": ttl, "flow_label": first & 0xFFFFF}
    position += 40
    for _ in range(_MAX_EXTENSIONS):
        packet.level["protocol"] = protocol
        if protocol not in _EXTENSIONS:
            return _transport(packet, protocol, position)
        if not packet.has(position, 8):
            return None
        size = (packet.data[position + 1] + 1) * 8
        if protocol == 51:  # AH (RFC 4302) counts otherwise
            size = (packet.data[position + 1] + 2) * 4
        elif protocol == 44:
            size = 8
            _, fragment, packet.level["ip_id"] = _FRAGMENT6.unpack_from(packet.data, position)
            packet.level |= {"frag_off": fragment >> 3, "frag_flags": (fragment & 1) << 5}
            if fragment >> 3:
                packet.level["protocol"] = packet.data[position]
                return None
        protocol = packet.data[position]
        position += size
    return None


def _ip(packet: Dissection, position: int) -> Next:
    if not packet.has(position, 1):
        return None
    return (_ipv6 if packet.data[position] >> 4 == 6 else _ipv4), position


def _transport(packet: Dissection, protocol: int, position: int) -> Next:
    if protocol in _WITH_PORTS:
        return _ports(packet, protocol, position)
    if protocol in _ICMP_ERRORS:
        return _icmp(packet, protocol, position)
    if protocol == 47:
        return _gre, position
    if protocol in {4, 41} and packet.enter({"type": "ipip"}):
        return (_ipv4 if protocol == 4 else _ipv6), position
    if protocol == 137 and packet.enter({"type": "mpls"}):
        return _mpls, position
    return None


def _ports(packet: Dissection, protocol: int, position: int) -> Next:
    if not packet.has(position, 4):
        return None
    sport, dport = _PORTS.unpack_from(packet.data, position)
    packet.level |= {"sport": sport, "dport": dport}
    if protocol == 6 and packet.has(position, 14):
        packet.level["flags"] = _SHORT.unpack_from(packet.data, position + 12)[0] & 0xFFF
    if protocol != 17:
        return None
    step = _UDP_TUNNELS.get(dport) or (_l2tp if sport == 1701 else None)
    return None if step is None else (step, position + 8)


def _icmp(packet: Dissection, protocol: int, position: int) -> Next:
    if not packet.has(position, 2):
        return None
    kind, code = packet.data[position], packet.data[position + 1]
    packet.level |= {"icmp_type": kind, "icmp_code": code}
    if kind in _ICMP_ERRORS[protocol] and packet.has(position, 9) and not packet.quoted:
        inner = Dissection(packet.data[position + 8 : packet.end], quoted=True)
        inner.run(_ip)
        if quoted := inner.members():
            packet.level["quoted"] = as_json(quoted)
    return None


def _mpls(packet: Dissection, position: int) -> Next:
    stack: list[dict[str, int]] = []
    while packet.has(position, 4) and len(stack) < _MAX_LABELS and not (stack and stack[-1]["s"]):
        stack.append(label_entry(_LONG.unpack_from(packet.data, position)[0]))
        position += 4
    if not stack:
        return None
    packet.level["mpls"] = stack
    if not stack[-1]["s"] or not packet.has(position, 1):
        return None
    if packet.data[position] >> 4 in {4, 6}:
        return _ip, position
    # A pseudowire with or without a control word (RFC 4385 section 3): nothing says which, but an EtherType does.
    words = (4, 0) if packet.data[position] >> 4 == 0 else (0,)
    for word in words:
        if packet.has(position, word + 14):
            (ethertype,) = _SHORT.unpack_from(packet.data, position + word + 12)
            if (ethertype in _ETHERTYPES or ethertype in _TAG_TYPES) and packet.enter({"type": "mpls"}):
                return _ethernet, position + word
    return None


def _pppoe(packet: Dissection, position: int) -> Next:
    if not packet.has(position, 6) or packet.data[position : position + 2] != b"\x11\x00":
        return None
    (packet.level["pppoe_session"],) = _SHORT.unpack_from(packet.data, position + 2)
    return _ppp, position + 6


def _ppp(packet: Dissection, position: int) -> Next:
    if packet.data[position : position + 2] == b"\xff\x03":
        position += 2
    if not packet.has(position, 2):
        return None
    if packet.data[position] & 1:  # a protocol field compressed to one octet (RFC 1661 section 6.5)
        step = _PPP_PROTOCOLS.get(packet.data[position])
        position += 1
    else:
        step = _PPP_PROTOCOLS.get(_SHORT.unpack_from(packet.data, position)[0])
        position += 2
    return None if step is None else (step, position)


def _sonet(packet: Dissection, position: int) -> Next:
    """Read PPP, or Cisco's HDLC with an EtherType."""
    if packet.has(position, 4) and packet.data[position : position + 2] in {b"\x0f\x00", b"\x8f\x00"}:
        return _payload(_SHORT.unpack_from(packet.data, position + 2)[0], position + 4)
    return _ppp, position


def _gre(packet: Dissection, position: int) -> Next:
    if not packet.has(position, 4):
        return None
    flags, ethertype = _PORTS.unpack_from(packet.data, position)
    if flags & 0x4007:  # source routes (RFC 1701), or another version
        return None
    position += 8 if flags & 0x8000 else 4
    tunnel: Members = {"type": "gre"}
    if flags & 0x2000:
        if not packet.has(position, 4):
            return None
        (tunnel["key"],) = _LONG.unpack_from(packet.data, position)
        position += 4
    if flags & 0x1000:
        position += 4
    return _payload(ethertype, position) if packet.enter(tunnel) else None


def _vxlan(packet: Dissection, position: int) -> Next:
    if not packet.has(position, 8) or not packet.data[position] & 0x08:
        return None
    vni = _LONG.unpack_from(packet.data, position + 4)[0] >> 8
    return (_ethernet, position + 8) if packet.enter({"type": "vxlan", "vni": vni}) else None


def _geneve(packet: Dissection, position: int) -> Next:
    if not packet.has(position, 8) or packet.data[position] >> 6:
        return None
    options = (packet.data[position] & 0x3F) * 4
    ethertype, vni = _SHORT.unpack_from(packet.data, position + 2)[0], _LONG.unpack_from(packet.data, position + 4)[0]
    if not packet.enter({"type": "geneve", "vni": vni >> 8}):
        return None
    return _payload(ethertype, position + 8 + options)


def _gtp_u(packet: Dissection, position: int) -> Next:
    """Read a G-PDU of version 1 (TS 29.281 section 5.1)."""
    if not packet.has(position, 8) or packet.data[position] & 0xF0 != 0x30 or packet.data[position + 1] != 255:
        return None
    (teid,) = _LONG.unpack_from(packet.data, position + 4)
    optional = packet.data[position] & 7
    has_extensions = packet.data[position] & 4
    position += 8
    if optional:
        position += 4
    while has_extensions and packet.has(position - 1, 2) and packet.data[position - 1]:
        size = packet.data[position] * 4
        if not size:
            return None
        position += size
    return (_ip, position) if packet.enter({"type": "gtp-u", "teid": teid}) else None


def _l2tp(packet: Dissection, position: int) -> Next:
    """Read a data message of version 2 (RFC 2661 section 3.1)."""
    if not packet.has(position, 2):
        return None
    (flags,) = _SHORT.unpack_from(packet.data, position)
    if flags & 0x800F != 2:
        return None
    position += 4 if flags & 0x4000 else 2
    if not packet.has(position, 8):
        return None
    tunnel, session = _PORTS.unpack_from(packet.data, position)
    position += 8 if flags & 0x0800 else 4
    if flags & 0x0200:
        if not packet.has(position, 2):
            return None
        position += 2 + _SHORT.unpack_from(packet.data, position)[0]
    return (_ppp, position) if packet.enter({"type": "l2tp", "tunnel_id": tunnel, "session_id": session}) else None


_ETHERTYPES: Final[dict[int, Step]] = {
    0x0800: _ipv4,
    0x86DD: _ipv6,
    0x8847: _mpls,
    0x8848: _mpls,
    0x8864: _pppoe,
    _BRIDGED: _ethernet,
}
_PPP_PROTOCOLS: Final[dict[int, Step]] = {0x21: _ipv4, 0x57: _ipv6, 0x0281: _mpls}
_UDP_TUNNELS: Final[dict[int, Step]] = {1701: _l2tp, 2152: _gtp_u, 4789: _vxlan, 6081: _geneve, 8472: _vxlan}
_PROTOCOLS: Final[dict[int, Step]] = {
    ETHERNET: _ethernet,
    7: _ppp,
    10: _ip,
    11: _ipv4,
    12: _ipv6,
    13: _mpls,
    14: _sonet,
}

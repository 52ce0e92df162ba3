"""From a captured frame to its IP packet and datagram, and back to a frame.

Each layer is read in place, bounds first. dpkt is not used here: it hands a cut packet over as a whole one,
sees no more than two VLAN tags and no IPv6 fragment behind another extension header, and importing it takes
three times as long as starting Python.
"""

from __future__ import annotations

import struct

from overflowd_tools.capture.fragments import Fragment, Fragments
from overflowd_tools.capture.packet import IPPacket, Packet
from overflowd_tools.errors import DecodeError
from overflowd_tools.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

ETHERNET: Final = 1

_TYPE_IPV4: Final = 0x0800
_TYPE_IPV6: Final = 0x86DD
_ETHERTYPE_VERSIONS: Final = {_TYPE_IPV4: 4, _TYPE_IPV6: 6}
_TYPES_VLAN: Final = (0x8100, 0x88A8, 0x9100)
_PPP_VERSIONS: Final = {0x0021: 4, 0x0057: 6}
# AF_INET is 2 everywhere; AF_INET6 differs between the BSDs.
_FAMILY_VERSIONS: Final = {2: 4, 24: 6, 28: 6, 30: 6}

_ICMP: Final = 1
_TCP: Final = 6
_UDP: Final = 17
_FRAGMENT: Final = 44
_AUTHENTICATION: Final = 51
_ICMPV6: Final = 58
_NO_NEXT_HEADER: Final = 59
_WITH_PORTS: Final = (_TCP, _UDP, 33, 132, 136)  # the last three: DCCP, SCTP, UDP-Lite
_EXTENSIONS: Final = (0, 43, 60, 135, 139, 140)  # all count octets as (length + 1) * 8
_MAX_EXTENSIONS: Final = 16
_MAC_PREFIX: Final = b"\x02\x00"  # locally administered

_ETHERNET_IPV4_UDP: Final = struct.Struct(">12xHBBH2xHxB2x4s4sHHH")
_IPV4: Final = struct.Struct(">BBHHHxB2x4s4s")
_IPV6: Final = struct.Struct(">IHBx16s16s")
_PORTS: Final = struct.Struct(">HH")
_UDP_HEADER: Final = struct.Struct(">HHHH")
_IPV4_HEADER: Final = struct.Struct(">BBHHHBBH4s4s")
_IPV6_HEADER: Final = struct.Struct(">IHBB16s16s")
_FRAGMENT_HEADER: Final = struct.Struct(">BxHI")


def dissect(packet: Packet, fragments: Fragments) -> IPPacket | DecodeError | None:
    """Return what the IP packet in a frame holds, None if there is none or it waits for other fragments.

    A malformed packet gives a DecodeError with the reason; an unknown link type always the same text. What
    a snapshot length cut off counts in `missing`.
    """
    _, _, link_type, data, _, _ = packet
    if link_type == ETHERNET and len(data) >= 42:
        ethertype, version, tos, length, flags, protocol, source, destination, sport, dport, udp_length = (
            _ETHERNET_IPV4_UDP.unpack_from(data)
        )
        if (
            ethertype == _TYPE_IPV4
            and version == 0x45
            and protocol == _UDP
            and not flags & 0x3FFF
            and 8 <= udp_length <= length - 20 <= len(data) - 34
        ):
            payload = data[42 : 34 + udp_length]
            # What IPPacket() does, in a third of the time: nearly every packet of a collector comes by here.
            return tuple.__new__(
                IPPacket, (source, destination, _UDP, tos, length, sport, dport, None, None, payload, 0, None)
            )
    try:
        return _dissect(packet, fragments)
    except DecodeError as error:
        return error.with_traceback(None)


def _dissect(packet: Packet, fragments: Fragments) -> IPPacket | None:
    locate = _LINK_LAYERS.get(packet.link_type)
    if locate is None:
        raise DecodeError(f"link type {packet.link_type} is not supported")
    network = locate(packet.data)
    if network is None:
        return None
    version, start = network
    if len(packet.data) <= start:
        raise DecodeError("no IP header")
    if packet.data[start] >> 4 != version:
        raise DecodeError(f"IP version {packet.data[start] >> 4} where {version} belongs")
    return (_ipv4 if version == 4 else _ipv6)(packet, start, fragments)


# Link layers: each returns the version of the IP packet in a frame and its start, None if there is none.


def _by_ethertype(data: bytes, type_at: int, start: int) -> tuple[int, int] | None:
    """Follow an EtherType, and the VLAN tags of which any number may begin at `start`."""
    while (kind := _number(data, type_at, 2)) in _TYPES_VLAN:
        type_at, start = start + 2, start + 4
    version = _ETHERTYPE_VERSIONS.get(kind)
    return (version, start) if version else None


def _ethernet(data: bytes) -> tuple[int, int] | None:
    return _by_ethertype(data, 12, 14)


def _linux_cooked(data: bytes) -> tuple[int, int] | None:
    return _by_ethertype(data, 14, 16)


def _linux_cooked_2(data: bytes) -> tuple[int, int] | None:
    return _by_ethertype(data, 0, 20)


def _cisco_hdlc(data: bytes) -> tuple[int, int] | None:
    return _by_ethertype(data, 2, 4)


def _ppp(data: bytes) -> tuple[int, int] | None:
    """Read PPP with or without HDLC framing (RFC 1662), or Cisco HDLC, which its first octet betrays."""
    first = _number(data, 0, 1)
    if first in {0x0F, 0x8F}:
        return _cisco_hdlc(data)
    start = 2 if first == 0xFF else 0
    size = 1 if _number(data, start, 1) & 1 else 2  # an odd octet ends the number: it may be compressed
    version = _PPP_VERSIONS.get(_number(data, start, size))
    return (version, start + size) if version else None


def _loopback(data: bytes) -> tuple[int, int] | None:
    """Read the address family, which is in the byte order of the capturing host."""
    family = _number(data, 0, 4)
    if family > 0xFFFF:
        family = int.from_bytes(data[:4], "little")
    version = _FAMILY_VERSIONS.get(family)
    return (version, 4) if version else None


def _raw(data: bytes) -> tuple[int, int]:
    return (6 if _number(data, 0, 1) >> 4 == 6 else 4), 0


def _raw_ipv4(_: bytes) -> tuple[int, int]:
    return 4, 0


def _raw_ipv6(_: bytes) -> tuple[int, int]:
    return 6, 0


def _number(data: bytes, at: int, size: int) -> int:
    if len(data) < at + size:
        raise DecodeError("the link-layer header is cut short")
    return int.from_bytes(data[at : at + size])


_LINK_LAYERS: Final[dict[int, Callable[[bytes], tuple[int, int] | None]]] = {
    0: _loopback,  # NULL
    ETHERNET: _ethernet,
    9: _ppp,
    12: _raw,  # RAW is 101; these two are what some systems wrote for it
    14: _raw,
    50: _ppp,  # PPP_HDLC
    101: _raw,
    104: _cisco_hdlc,
    108: _loopback,  # LOOP
    113: _linux_cooked,
    228: _raw_ipv4,
    229: _raw_ipv6,
    276: _linux_cooked_2,
}


class _Network(NamedTuple):
    """The fields of an IP header, in the order of IPPacket."""

    source: bytes
    destination: bytes
    protocol: int
    tos: int
    length: int


def _ipv4(packet: Packet, start: int, fragments: Fragments) -> IPPacket | None:
    """Read an IPv4 packet (RFC 791)."""
    data = packet.data
    if len(data) < start + 20:
        raise DecodeError("the IPv4 header is cut short")
    first, tos, length, identification, flags, protocol, source, destination = _IPV4.unpack_from(data, start)
    header_length = (first & 15) * 4
    if header_length < 20:
        raise DecodeError(f"an IPv4 header cannot be {header_length} bytes long")
    if length == 0:  # left to the network card (segmentation offload)
        length = max(packet.original_length, len(data)) - start
    if length < header_length:
        raise DecodeError(f"an IPv4 packet of {length} bytes has a header of {header_length}")
    if len(data) < start + header_length:
        raise DecodeError("the IPv4 header is cut short")
    body = data[start + header_length : start + length]
    missing = length - header_length - len(body)
    if flags & 0x3FFF:
        whole = fragments.add(
            Fragment(
                key=(source, destination, protocol, identification),
                offset=(flags & 0x1FFF) * 8,
                more=bool(flags & 0x2000),
                data=body,
                complete=missing == 0,
                protocol=protocol,
                tos=tos,
                header_length=header_length,
            ),
            packet.timestamp_ns,
        )
        if whole is None:
            return None
        tos, body = whole.tos, whole.data
        length = whole.header_length + len(body)
    return _transport(_Network(source, destination, protocol, tos, length), body, missing)


def _ipv6(packet: Packet, start: int, fragments: Fragments) -> IPPacket | None:
    """Read an IPv6 packet and its extension headers (RFC 8200)."""
    data = packet.data
    if len(data) < start + 40:
        raise DecodeError("the IPv6 header is cut short")
    word, payload_length, protocol, source, destination = _IPV6.unpack_from(data, start)
    tos = word >> 20 & 0xFF
    length = 40 + payload_length
    if payload_length == 0 and protocol != _NO_NEXT_HEADER:  # a jumbogram (RFC 2675), or segmentation offload
        length = max(packet.original_length, len(data)) - start
    body = data[start + 40 : start + length]
    missing = length - 40 - len(body)
    protocol, at = _skip_extensions(protocol, body)
    if protocol == _FRAGMENT:
        if len(body) < at + 8:
            raise DecodeError("an IPv6 fragment header is cut short")
        protocol, position, identification = _FRAGMENT_HEADER.unpack_from(body, at)
        piece = Fragment(
            key=(source, destination, identification),
            offset=position & 0xFFF8,
            more=bool(position & 1),
            data=body[at + 8 :],
            complete=missing == 0,
            protocol=protocol,
            tos=tos,
            header_length=40 + at,
        )
        if piece.offset or piece.more:  # else it is atomic and stands alone (RFC 6946)
            whole = fragments.add(piece, packet.timestamp_ns)
            if whole is None:
                return None
            piece = whole
            length = whole.header_length + len(whole.data)
        body, tos = piece.data, piece.tos
        protocol, at = _skip_extensions(piece.protocol, body)
        if protocol == _FRAGMENT:
            raise DecodeError("an IPv6 fragment within a fragment")
    return _transport(_Network(source, destination, protocol, tos, length), body[at:], missing)


def _skip_extensions(protocol: int, body: bytes) -> tuple[int, int]:
    """Return the first protocol that is no skippable extension header, and where in `body` it starts."""
    at = 0
    for _ in range(_MAX_EXTENSIONS + 1):
        if protocol in _EXTENSIONS:
            unit, extra = 8, 1
        elif protocol == _AUTHENTICATION:  # RFC 4302: counts in units of its own
            unit, extra = 4, 2
        else:
            return protocol, at
        if len(body) < at + 2 or len(body) < at + (body[at + 1] + extra) * unit:
            raise DecodeError("an IPv6 extension header is cut short")
        protocol, at = body[at], at + (body[at + 1] + extra) * unit
    raise DecodeError(f"more than {_MAX_EXTENSIONS} IPv6 extension headers")


def _transport(network: _Network, body: bytes, missing: int) -> IPPacket:
    """Read the header after IP; `body` lacks `missing` octets at its end."""
    source_port = destination_port = flags = icmp = sequence = None
    payload = b""
    protocol = network.protocol
    if protocol == _UDP:
        payload, missing = _udp(body, missing)
    elif protocol == _TCP:
        sequence = int.from_bytes(body[4:8]) if len(body) >= 8 else None
        flags = body[13] if len(body) > 13 else None
        payload, missing = _tcp(body, missing)
    elif protocol in {_ICMP, _ICMPV6} and len(body) >= 2:
        icmp = body[0], body[1]
    if protocol in _WITH_PORTS and len(body) >= 4:
        source_port, destination_port = _PORTS.unpack_from(body)
    return IPPacket(*network, source_port, destination_port, flags, icmp, payload, missing, sequence)


def _udp(body: bytes, missing: int) -> tuple[bytes, int]:
    """Return the payload of a UDP datagram and the octets missing of it."""
    if len(body) < 8:
        if not missing:
            raise DecodeError(f"{len(body)} bytes are too few for a UDP header")
        return b"", max(len(body) + missing - 8, 0)
    length = int.from_bytes(body[4:6]) or len(body) + missing  # 0: a jumbogram, or segmentation offload
    if length < 8:
        raise DecodeError(f"a UDP datagram cannot be {length} bytes long")
    payload = body[8:length]
    return payload, length - 8 - len(payload)


def _tcp(body: bytes, missing: int) -> tuple[bytes, int]:
    """Return the payload of a TCP segment and the octets missing of it."""
    header_length = (body[12] >> 4) * 4 if len(body) > 12 else 20
    promised = len(body) + missing - header_length
    if header_length < 20 or (promised < 0 and not missing):
        raise DecodeError(f"a TCP header cannot be {header_length} bytes long in a segment of {len(body)}")
    payload = body[header_length:]
    return payload, max(promised, 0) - len(payload)


def udp_frame(source: bytes, source_port: int, destination: bytes, destination_port: int, payload: bytes) -> bytes:
    """Return an Ethernet frame with a UDP datagram in it, checksums and all.

    Both addresses are IPv4 (4 octets) or both IPv6 (16); the MAC addresses are locally administered ones
    made from them. The payload may have 65,507 octets over IPv4 and 65,527 over IPv6.
    """
    length = 8 + len(payload)
    # RFC 768, RFC 8200 section 8.1: the sum covers both addresses, the protocol and the UDP length, and 0 is
    # sent as 0xFFFF, because 0 says that there is none.
    total = _words(source) + _words(destination) + _UDP + length  # the pseudo-header
    total += source_port + destination_port + length + _words(payload)
    datagram = _UDP_HEADER.pack(source_port, destination_port, length, -total % 0xFFFF or 0xFFFF) + payload
    if len(source) == 4:
        header = _IPV4_HEADER.pack(0x45, 0, 20 + length, 0, 0x4000, 64, _UDP, 0, source, destination)
        header = header[:10] + (-_words(header) % 0xFFFF).to_bytes(2) + header[12:]
        ethertype = _TYPE_IPV4
    else:
        header = _IPV6_HEADER.pack(6 << 28, length, _UDP, 64, source, destination)
        ethertype = _TYPE_IPV6
    macs = _MAC_PREFIX + destination[-4:] + _MAC_PREFIX + source[-4:]
    return b"".join((macs, ethertype.to_bytes(2), header, datagram))


def _words(data: bytes) -> int:
    """Return the sum of the 16-bit words of `data`, modulo 0xFFFF: the sum of RFC 1071.

    2^16 is 1 modulo 0xFFFF, so the whole as one number has the same remainder as the sum of its words.
    """
    return int.from_bytes(data if len(data) % 2 == 0 else data + b"\0") % 0xFFFF

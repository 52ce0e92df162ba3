"""Texts of the runs of octets in common sFlow samples, made and checked once and then looked up by the octets.

Octets that no common sample has there give an OddError instead.
"""

from __future__ import annotations

import struct

from overflowd_tools.protocols.dissection import address_text
from overflowd_tools.protocols.headers import ETHERNET, TUNNEL_PORTS
from overflowd_tools.protocols.sflow_numbers import EXTENDED_ROUTER, EXTENDED_SWITCH, INTERNAL, SAMPLED_HEADER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

_KEPT: Final = 4096
_WHOLE: Final = (0, 0x4000)
"""Flags and offset of an IPv4 packet that is no fragment."""
_NEXT_HOP_IPV4: Final = 1
_LEAST_HEADER: Final = {4: 14 + 4 + 20 + 14, 6: 14 + 4 + 40 + 14}
"""Version of IP -> octets up to the flags of TCP, with a tag."""
STARTS: Final = {4: b"\x08\x00\x45", 6: b"\x86\xdd"}
"""Version of IP -> EtherType and, of IPv4, the first octet: there are no options."""

TAG: Final = b"\x81\x00"
BESIDE_STARTS: Final = tuple(struct.pack("!II", number, 16) for number in (EXTENDED_SWITCH, EXTENDED_ROUTER))
"""How the records begin that may be beside the sampled_header."""
BESIDE_SIZE: Final = 24

_SOURCE: Final = struct.Struct("!II")
_EXPANDED_SOURCE: Final = struct.Struct("!III")
_SAMPLING: Final = struct.Struct("!IIIIIII")
_EXPANDED_SAMPLING: Final = struct.Struct("!IIIIIIIII")
_ETHERNET: Final = struct.Struct("!II6s6s")
_FRAGMENT: Final = struct.Struct("!HBB")
_SWITCH: Final = struct.Struct("!8xIIII")
_ROUTER: Final = struct.Struct("!8xI4sII")
ETHERNET_SIZE: Final = _ETHERNET.size


class OddError(KeyError):
    """These octets are not those of a common sample."""


class _Table(dict[bytes, "Any"]):
    """Octets -> what a function makes of them; emptied when it has grown too large. Raises OddError as that does."""

    def __init__(self, read: Callable[..., Any], *arguments: Any) -> None:
        super().__init__()
        self._read = read
        self._arguments = arguments

    def __missing__(self, octets: bytes) -> Any:
        value = self._read(octets, *self._arguments)
        if len(self) >= _KEPT:
            self.clear()
        self[octets] = value
        return value


_halves: Final = [b""] * 65536
"""The text of two octets of an IPv4 address, at their number, once it was needed."""


def _half(number: int) -> bytes:
    text = _halves[number] = b"%d.%d" % (number >> 8, number & 0xFF)
    return text


def _source(octets: bytes) -> bytes:
    source, rate = _SOURCE.unpack(octets)
    if source >= 0x1000000:  # of another class than interfaces
        raise OddError
    return b',"source_id":%d,"sampling_rate":%d' % (source, rate)


def _expanded_source(octets: bytes) -> bytes:
    source_class, source, rate = _EXPANDED_SOURCE.unpack(octets)
    if source_class:
        raise OddError
    return b',"source_id":%d,"sampling_rate":%d' % (source, rate)


def _sampling(octets: bytes) -> tuple[bytes, int, int]:
    """Return the text of drops and interfaces, the number of records, and the octets of that of the header."""
    drops, in_if, out_if, records, number, size, protocol = _SAMPLING.unpack(octets)
    if in_if >= INTERNAL or out_if >= INTERNAL or not 1 <= records <= 1 + len(BESIDE_STARTS):
        raise OddError
    if number != SAMPLED_HEADER or protocol != ETHERNET:
        raise OddError
    return b',"drops":%d,"in_if":%d,"out_if":%d,"hdr_proto":%d' % (drops, in_if, out_if, protocol), records, size


def _expanded_sampling(octets: bytes) -> tuple[bytes, int, int]:
    drops, in_form, in_if, out_form, out_if, *others = _EXPANDED_SAMPLING.unpack(octets)
    if in_form or out_form:
        raise OddError
    return _sampling(_SAMPLING.pack(drops, in_if, out_if, *others))


def _ethernet(octets: bytes, rest: bytes, least: int) -> tuple[bytes, int, int]:
    """Return the text of the Ethernet addresses, the octets of a record of the sampled header, and of the header.

    rest: the octets behind the addresses.
    """
    stripped, length, dmac, smac = _ETHERNET.unpack_from(octets)
    if octets[_ETHERNET.size :] != rest or length < least:
        raise OddError
    addresses = dmac.hex(":").encode(), smac.hex(":").encode()
    return b',"stripped":%d,"dmac":"%s","smac":"%s"' % (stripped, *addresses), length + 19 & ~3, length


def _fragment(octets: bytes) -> tuple[bytes, int]:
    """Return the text of flags and time to live of an IPv4 packet, and its protocol."""
    fragment, ttl, protocol = _FRAGMENT.unpack(octets)
    if fragment not in _WHOLE:
        raise OddError
    return b',"frag_flags":%d,"frag_off":0,"ttl":%d' % (fragment >> 8, ttl), protocol


def _beside(octets: bytes, tagged: bool, records: int) -> bytes:
    """Return the text of the VLAN tag, if the octets begin with one, and of the records beside the header."""
    start = 2 if tagged else 0
    tag = int.from_bytes(octets[:start])
    vlans = b',"vlan":%d,"vlan_prio":%d' % (tag & 0xFFF, tag >> 13) if tagged else b""
    beside = {octets[at : at + 8]: octets[at : at + BESIDE_SIZE] for at in range(start, len(octets), BESIDE_SIZE)}
    switch, router = (beside.pop(begin, b"") for begin in BESIDE_STARTS)
    if beside or not len(octets) - start == len(switch + router) == (records - 1) * BESIDE_SIZE:
        raise OddError
    if switch:
        numbers = _SWITCH.unpack(switch)
        if tagged and numbers[0] != tag & 0xFFF:
            raise OddError
        vlans = b',"vlan":%d,"vlan_prio":%d,"post_vlan":%d,"post_vlan_prio":%d' % numbers
    if not router:
        return vlans
    kind, nexthop, *masks = _ROUTER.unpack(router)
    if kind != _NEXT_HOP_IPV4:
        raise OddError
    return vlans + b',"nexthop":"%s","src_mask":%d,"dst_mask":%d' % (_address(nexthop), *masks)


def _address(address: bytes) -> bytes:
    return address_text(address).encode()


_OCTETS: Final = [b"%d" % octet for octet in range(256)]
SHARED: Final[dict[str, Any]] = {
    "ODD": OddError,
    "OCTETS": _OCTETS,
    "FLAGS": [b',"flags":%s' % octet for octet in _OCTETS],
    "TUNNELS": TUNNEL_PORTS,
    "HALVES": _halves,
    "HALF": _half,
    "ADDRESSES": _Table(_address),
    "FRAGMENTS": _Table(_fragment),
}
SOURCES: Final = {False: _Table(_source), True: _Table(_expanded_source)}
SAMPLINGS: Final = {False: _Table(_sampling), True: _Table(_expanded_sampling)}
ETHERNETS: Final = {
    (tagged, version): _Table(_ethernet, (TAG if tagged else b"") + starts, _LEAST_HEADER[version])
    for tagged in (False, True)
    for version, starts in STARTS.items()
}
BESIDES: Final = {
    tagged: {records: _Table(_beside, tagged, records) for records in range(1, 2 + len(BESIDE_STARTS))}
    for tagged in (False, True)
}

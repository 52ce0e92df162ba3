"""The commonest sFlow samples, written as text while they are read: a line costs one unpacking and one formatting.

They are flow samples of TCP or UDP over IP over Ethernet, with at most one VLAN tag, one extended_switch and one
extended_router. All that must be checked of those has its place, and one function is generated for each make of them.
Runs of fields that take few different values are looked up by their octets, in tables of texts that were checked when
they were made; octets that do not belong there have no text. Their sample, and any other, is for the careful way.
"""

import struct
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from overflowd_tools.protocols.dissection import address_text
from overflowd_tools.protocols.headers import ETHERNET, TUNNEL_PORTS
from overflowd_tools.protocols.sflow_numbers import (
    EXPANDED_FLOW_SAMPLE,
    EXTENDED_ROUTER,
    EXTENDED_SWITCH,
    FLOW_SAMPLE,
    INTERNAL,
    SAMPLED_HEADER,
)

Run = Callable[[bytes, int, int, list[bytes]], tuple[int, int]]
"""(datagram, position, samples left, texts) -> where the first sample begins that is not of this make, samples left.

The texts of those before it have been added: what follows the members of the datagram in a line, from a comma on.
"""

_KEPT: Final = 4096
_WHOLE: Final = (0, 0x4000)
"""Flags and offset of an IPv4 packet that is no fragment."""
_NEXT_HOP_IPV4: Final = 1
_LEAST_HEADER: Final = {4: 14 + 4 + 20 + 14, 6: 14 + 4 + 40 + 14}
"""Version of IP -> octets up to the flags of TCP, with a tag."""
_STARTS: Final = {4: b"\x08\x00\x45", 6: b"\x86\xdd"}
"""Version of IP -> EtherType and, of IPv4, the first octet: there are no options."""

_TAG: Final = b"\x81\x00"
_VERSIONS: Final = {starts[:2]: version for version, starts in _STARTS.items()}
_BESIDE_SIZE: Final = 24
"""Octets of a record that may be beside the sampled_header; and how each begins."""
_BESIDE_STARTS: Final = tuple(struct.pack("!II", number, 16) for number in (EXTENDED_SWITCH, EXTENDED_ROUTER))

_PLAIN: Final = struct.Struct("!4s36x4s32x2s")
_SOURCE: Final = struct.Struct("!II")
_EXPANDED_SOURCE: Final = struct.Struct("!III")
_SAMPLING: Final = struct.Struct("!IIIIIII")
_EXPANDED_SAMPLING: Final = struct.Struct("!IIIIIIIII")
_ETHERNET: Final = struct.Struct("!II6s6s")
_FRAGMENT: Final = struct.Struct("!HBB")
_SWITCH: Final = struct.Struct("!8xIIII")
_ROUTER: Final = struct.Struct("!8xI4sII")


class _Make(NamedTuple):
    """What decides where everything is in a sample, and how it is shown.

    lead: octets of records before the sampled_header. version: of IP. header: the octets of the header are shown.
    """

    expanded: bool
    lead: int
    tagged: bool
    version: int
    header: bool


_runs: Final[dict[_Make, Run]] = {}
_plain_runs: Final[dict[bool, dict[tuple[Any, ...], Run]]] = {False: {}, True: {}}
"""Header -> type of sample, number of its first record, EtherType -> what writes samples without lead and tag."""


def common_samples(data: bytes, position: int, *, header: bool) -> Run | None:
    """Return what writes flow samples of the make that the one there seems to be of; None if it is not a common one.

    header: with the octets of the sampled header.
    """
    if position + _PLAIN.size > len(data):
        return None
    plain = _PLAIN.unpack_from(data, position)
    run = _plain_runs[header].get(plain)
    if run is not None:
        return run
    make = _make(data, position, header=header)
    if make is None:
        return None
    run = _runs.get(make)
    if run is None:
        run = _runs[make] = _generate(make)
    if not (make.expanded or make.lead or make.tagged):
        _plain_runs[header][plain] = run
    return run


def _make(data: bytes, position: int, *, header: bool) -> _Make | None:
    expanded = data[position + 3] == EXPANDED_FLOW_SAMPLE
    first = start = position + (52 if expanded else 40)
    while data[start : start + 8] in _BESIDE_STARTS and start < first + 2 * _BESIDE_SIZE:
        start += _BESIDE_SIZE
    ethertype = data[start + 36 : start + 38]
    tagged = ethertype == _TAG
    version = _VERSIONS.get(data[start + 40 : start + 42] if tagged else ethertype)
    return None if version is None else _Make(expanded, start - first, tagged, version, header)


class _OddError(KeyError):
    """These octets are not those of a common sample."""


class _Table(dict[bytes, Any]):
    """Octets -> what a function makes of them; emptied when it has grown too large. Raises _OddError as that does."""

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
        raise _OddError
    return b',"source_id":%d,"sampling_rate":%d' % (source, rate)


def _expanded_source(octets: bytes) -> bytes:
    source_class, source, rate = _EXPANDED_SOURCE.unpack(octets)
    if source_class:
        raise _OddError
    return b',"source_id":%d,"sampling_rate":%d' % (source, rate)


def _sampling(octets: bytes) -> tuple[bytes, int, int]:
    """Return the text of drops and interfaces, the number of records, and the octets of that of the header."""
    drops, in_if, out_if, records, number, size, protocol = _SAMPLING.unpack(octets)
    if in_if >= INTERNAL or out_if >= INTERNAL or not 1 <= records <= 1 + len(_BESIDE_STARTS):
        raise _OddError
    if number != SAMPLED_HEADER or protocol != ETHERNET:
        raise _OddError
    return b',"drops":%d,"in_if":%d,"out_if":%d,"hdr_proto":%d' % (drops, in_if, out_if, protocol), records, size


def _expanded_sampling(octets: bytes) -> tuple[bytes, int, int]:
    drops, in_form, in_if, out_form, out_if, *others = _EXPANDED_SAMPLING.unpack(octets)
    if in_form or out_form:
        raise _OddError
    return _sampling(_SAMPLING.pack(drops, in_if, out_if, *others))


def _ethernet(octets: bytes, rest: bytes, least: int) -> tuple[bytes, int, int]:
    """Return the text of the Ethernet addresses, the octets of a record of the sampled header, and of the header.

    rest: the octets behind the addresses.
    """
    stripped, length, dmac, smac = _ETHERNET.unpack_from(octets)
    if octets[_ETHERNET.size :] != rest or length < least:
        raise _OddError
    addresses = dmac.hex(":").encode(), smac.hex(":").encode()
    return b',"stripped":%d,"dmac":"%s","smac":"%s"' % (stripped, *addresses), length + 19 & ~3, length


def _fragment(octets: bytes) -> tuple[bytes, int]:
    """Return the text of flags and time to live of an IPv4 packet, and its protocol."""
    fragment, ttl, protocol = _FRAGMENT.unpack(octets)
    if fragment not in _WHOLE:
        raise _OddError
    return b',"frag_flags":%d,"frag_off":0,"ttl":%d' % (fragment >> 8, ttl), protocol


def _beside(octets: bytes, tagged: bool, records: int) -> bytes:
    """Return the text of the VLAN tag, if the octets begin with one, and of the records beside the header."""
    start = 2 if tagged else 0
    tag = int.from_bytes(octets[:start])
    vlans = b',"vlan":%d,"vlan_prio":%d' % (tag & 0xFFF, tag >> 13) if tagged else b""
    beside = {octets[at : at + 8]: octets[at : at + _BESIDE_SIZE] for at in range(start, len(octets), _BESIDE_SIZE)}
    switch, router = (beside.pop(begin, b"") for begin in _BESIDE_STARTS)
    if beside or not len(octets) - start == len(switch + router) == (records - 1) * _BESIDE_SIZE:
        raise _OddError
    if switch:
        numbers = _SWITCH.unpack(switch)
        if tagged and numbers[0] != tag & 0xFFF:
            raise _OddError
        vlans = b',"vlan":%d,"vlan_prio":%d,"post_vlan":%d,"post_vlan_prio":%d' % numbers
    if not router:
        return vlans
    kind, nexthop, *masks = _ROUTER.unpack(router)
    if kind != _NEXT_HOP_IPV4:
        raise _OddError
    return vlans + b',"nexthop":"%s","src_mask":%d,"dst_mask":%d' % (_address(nexthop), *masks)


def _address(address: bytes) -> bytes:
    return address_text(address).encode()


_OCTETS: Final = [b"%d" % octet for octet in range(256)]
_SHARED: Final[dict[str, Any]] = {
    "ODD": _OddError,
    "OCTETS": _OCTETS,
    "FLAGS": [b',"flags":%s' % octet for octet in _OCTETS],
    "TUNNELS": TUNNEL_PORTS,
    "HALVES": _halves,
    "HALF": _half,
    "ADDRESSES": _Table(_address),
    "FRAGMENTS": _Table(_fragment),
}
_SOURCES: Final = {False: _Table(_source), True: _Table(_expanded_source)}
_SAMPLINGS: Final = {False: _Table(_sampling), True: _Table(_expanded_sampling)}
_ETHERNETS: Final = {
    (tagged, version): _Table(_ethernet, (_TAG if tagged else b"") + starts, _LEAST_HEADER[version])
    for tagged in (False, True)
    for version, starts in _STARTS.items()
}
_BESIDES: Final = {
    tagged: {records: _Table(_beside, tagged, records) for records in range(1, 2 + len(_BESIDE_STARTS))}
    for tagged in (False, True)
}


class _Piece(NamedTuple):
    """A piece of a line: where it stands, its format, and the source of its values."""

    place: int
    form: bytes
    values: str


class _Network(NamedTuple):
    """How a version of IP is read, from behind `_STARTS` to the ports.

    layout, names: see the struct module. also: further statements. length: source of the octets of the packet, of
    which `header` are not those of the transport protocol.
    """

    layout: str
    names: str
    also: str
    length: str
    header: int
    pieces: tuple[_Piece, ...]


_CHANGING, _CORE, _REST = range(3)
"""The order of a line. One with the octets of the header has the order of the sample."""

_NETWORKS: Final = {
    4: _Network(
        layout="BHH4s2xHHHH",
        names="tos, total, ip_id, fragment, source1, source2, target1, target2",
        also="fragment, protocol = FRAGMENTS[fragment]",
        length="total",
        header=20,
        pieces=(
            _Piece(_REST, b',"ethertype":2048', ""),
            _Piece(_CORE, b',"tos":%s', "OCTETS[tos]"),
            _Piece(_CHANGING, b',"bcount":%d,"ip_id":%d', "total, ip_id"),
            _Piece(_REST, b"%s", "fragment"),
            _Piece(_CORE, b',"protocol":%s', "OCTETS[protocol]"),
            _Piece(
                _CHANGING, b',"saddr":"%s.%s"', "HALVES[source1] or HALF(source1), HALVES[source2] or HALF(source2)"
            ),
            _Piece(
                _CHANGING, b',"daddr":"%s.%s"', "HALVES[target1] or HALF(target1), HALVES[target2] or HALF(target2)"
            ),
        ),
    ),
    6: _Network(
        layout="IHBB16s16s",
        names="word, payload, protocol, ttl, saddr, daddr",
        also="if word >> 28 != 6: break",
        length="payload",
        header=0,
        pieces=(
            _Piece(_REST, b',"ethertype":34525', ""),
            _Piece(_CORE, b',"tos":%s', "OCTETS[word >> 20 & 0xFF]"),
            _Piece(_REST, b',"flow_label":%d', "word & 0xFFFFF"),
            _Piece(_CHANGING, b',"bcount":%d', "payload + 40"),
            _Piece(_CORE, b',"protocol":%s', "OCTETS[protocol]"),
            _Piece(_REST, b',"ttl":%s', "OCTETS[ttl]"),
            _Piece(_CHANGING, b',"saddr":"%s","daddr":"%s"', "ADDRESSES[saddr], ADDRESSES[daddr]"),
        ),
    ),
}
_SAMPLE: Final = (
    _Piece(_CHANGING, b',"sample_seq":%d', "sequence"),
    _Piece(_REST, b"%s", "SOURCES[source]"),
    _Piece(_CHANGING, b',"sample_pool":%d', "pool"),
    _Piece(_REST, b"%s", "sampling"),
    _Piece(_REST, b',"frame_len":%d', "frame"),
    _Piece(_REST, b"%s", "ethernet"),
)
_TRANSPORT: Final = (
    _Piece(_CHANGING, b',"sport":%d,"dport":%d', "sport, dport"),
    _Piece(_CORE, b"%s", "flags"),
)
_RUN: Final = """
def run(data, position, left, texts):
    end = len(data)
    last = end - {size}
    try:
        while left and position <= last:
            {names} = unpack(data, position)
            after = position + 8 + length
            sampling, records, size = SAMPLINGS[{sampling}]
            ethernet, common_size, header = ETHERNETS[{ethernet}]
            {also}
            tail = position + {start} + size
            if kind != {kind} or size != common_size or not tail <= after <= end:
                break
            if protocol == 6:
                if {length} < {header} + 20 or offset & 15:
                    break
                flags = FLAGS[flags]
            elif protocol != 17 or {length} < {header} + 8 or sport in TUNNELS or dport in TUNNELS:
                break
            else:
                flags = b""
            texts.append(FORM % ({values}))
            position = after
            left -= 1
    except ODD:
        pass
    return position, left
"""


def _generate(make: _Make) -> Run:
    """Generate the function that writes samples of a make."""
    network = _NETWORKS[make.version]
    parts = _parts(make)
    unpack = struct.Struct("!" + "".join(layout for layout, _ in parts))
    record = (52 if make.expanded else 40) + make.lead
    pieces = [*_SAMPLE, *network.pieces, *_TRANSPORT, _Piece(_REST, b"%s", f"BESIDES[records][{_beside_source(make)}]")]
    if make.header:
        pieces.append(_Piece(_REST, b',"header":"%s"', f"data[position + {record + 24} :][:header].hex().encode()"))
    else:
        pieces.sort(key=lambda piece: piece.place)
    source = _RUN.format(
        size=unpack.size,
        names=", ".join(names for _, names in parts if names),
        kind=EXPANDED_FLOW_SAMPLE if make.expanded else FLOW_SAMPLE,
        sampling="sampling + record" if make.lead else "sampling",
        ethernet="ethernet + starts" if make.tagged else "ethernet",
        also=network.also,
        start=record + 8,
        length=network.length,
        header=network.header,
        values=", ".join(piece.values for piece in pieces if piece.values),
    )
    names = {
        **_SHARED,
        "SOURCES": _SOURCES[make.expanded],
        "SAMPLINGS": _SAMPLINGS[make.expanded],
        "ETHERNETS": _ETHERNETS[make.tagged, make.version],
        "BESIDES": _BESIDES[make.tagged],
        "FORM": b"".join(piece.form for piece in pieces) + b"}\n",
        "unpack": unpack.unpack_from,
    }
    exec(source, names)  # noqa: S102 - made of the tables above alone
    run: Run = names["run"]
    return run


def _parts(make: _Make) -> list[tuple[str, str]]:
    """Return the parts of a sample up to the flags of TCP: their layout for the struct module, and their names."""
    source, sampling, record = (12, 24, 12) if make.expanded else (8, 16, 12)
    ethernet, starts = _ETHERNET.size, len(_STARTS[make.version])
    network = _NETWORKS[make.version]
    parts = [("III", "kind, length, sequence"), (f"{source}sI", "source, pool")]
    if make.lead:
        parts.append((f"{sampling}s{make.lead}s{record}s", "sampling, lead, record"))
    else:
        parts.append((f"{sampling + record}s", "sampling"))
    parts.append(("I", "frame"))
    if make.tagged:
        parts.append((f"{ethernet + 2}s2s{starts}s", "ethernet, tag, starts"))
    else:
        parts.append((f"{ethernet + starts}s", "ethernet"))
    return [*parts, (network.layout, network.names), ("HH8xBB", "sport, dport, offset, flags")]


def _beside_source(make: _Make) -> str:
    """Return the source of the octets of the tag and of all records but the sampled_header."""
    return ("tag + " if make.tagged else "") + ("lead + " if make.lead else "") + "data[tail:after]"

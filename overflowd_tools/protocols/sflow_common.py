"""The commonest sFlow samples, written as text while they are read: a line costs one unpacking and one formatting.

They are flow samples of TCP or UDP over IP over Ethernet, with at most one VLAN tag, one extended_switch and one
extended_router. All that must be checked of those has its place, and one function is generated for each make of them.
Runs of fields that take few different values are looked up by their octets, in tables of texts that were checked when
they were made; octets that do not belong there have no text. Their sample, and any other, is for the careful way.
"""

from __future__ import annotations

import struct

from overflowd_tools.named import NamedTuple
from overflowd_tools.protocols.sflow_numbers import EXPANDED_FLOW_SAMPLE, FLOW_SAMPLE, SAMPLED_HEADER
from overflowd_tools.protocols.sflow_texts import (
    BESIDE_SIZE,
    BESIDE_STARTS,
    BESIDES,
    ETHERNET_SIZE,
    ETHERNETS,
    SAMPLINGS,
    SHARED,
    SOURCES,
    STARTS,
    TAG,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final, TypeAlias

Run: TypeAlias = "Callable[[bytes, int, int, int, bytes, list[bytes]], tuple[int, int]]"
"""(octets, position, end of the datagram, samples left, start, texts) -> where the first sample begins that is not of
this make, samples left.

The texts of those before it have been added: what follows the members of the datagram in a line, from a comma on,
behind `start`.
"""

_VERSIONS: Final = {starts[:2]: version for version, starts in STARTS.items()}
_HEADER_RECORD: Final = SAMPLED_HEADER.to_bytes(4)
_PLAIN: Final = struct.Struct("!4s36x4s32x2s")
"""Type of sample, number of its first record, EtherType, if that record is the sampled_header and there is no tag."""


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
"""header -> what _PLAIN finds -> what writes samples that are not expanded, and have no lead and no tag."""


def common_samples(data: bytes, position: int, end: int, *, header: bool) -> Run | None:
    """Return what writes flow samples of the make that the one there seems to be of; None if it is not a common one.

    end: of the datagram. header: with the octets of the sampled header.
    """
    if position + _PLAIN.size > end:
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
    while data[start : start + 8] in BESIDE_STARTS and start < first + 2 * BESIDE_SIZE:
        start += BESIDE_SIZE
    if data[start : start + 4] != _HEADER_RECORD:
        return None
    ethertype = data[start + 36 : start + 38]
    tagged = ethertype == TAG
    version = _VERSIONS.get(data[start + 40 : start + 42] if tagged else ethertype)
    return None if version is None else _Make(expanded, start - first, tagged, version, header)


class _Piece(NamedTuple):
    """A piece of a line: where it stands, its format, and the source of its values."""

    place: int
    form: bytes
    values: str


class _Network(NamedTuple):
    """How a version of IP is read, from behind `STARTS` to the ports.

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
def run(data, position, end, left, start, texts):
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
            texts.append(FORM % (start, {values}))
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
        pieces.append(
            _Piece(
                _REST,
                b',"header":"%s"',
                f"data[position + {record + 24} : position + {record + 24} + header].hex().encode()",
            )
        )
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
        **SHARED,
        "SOURCES": SOURCES[make.expanded],
        "SAMPLINGS": SAMPLINGS[make.expanded],
        "ETHERNETS": ETHERNETS[make.tagged, make.version],
        "BESIDES": BESIDES[make.tagged],
        "FORM": b"%s" + b"".join(piece.form for piece in pieces) + b"}\n",
        "unpack": unpack.unpack_from,
    }
    exec(source, names)  # noqa: S102 - made of the tables above alone
    run: Run = names["run"]
    return run


def _parts(make: _Make) -> list[tuple[str, str]]:
    """Return the parts of a sample up to the flags of TCP: their layout for the struct module, and their names."""
    source, sampling, record = (12, 24, 12) if make.expanded else (8, 16, 12)
    ethernet, starts = ETHERNET_SIZE, len(STARTS[make.version])
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

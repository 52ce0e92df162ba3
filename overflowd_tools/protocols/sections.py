"""Sections of sampled packets in records: frames, IP packets, MPLS packets (RFC 5476 section 6.4.1, RFC 7133).

What a section means may hang on others of its record: from where in the packet it is, how much of it is no padding,
what its frame is of, and the header before a payload.
"""

from __future__ import annotations

from itertools import zip_longest

from overflowd_tools.named import NamedTuple
from overflowd_tools.protocols.headers import ETHERNET, Members, as_json, decode_header, decode_payload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_FRAME, _IP, _IP_PAYLOAD, _LABELS, _LABELS_PAYLOAD = 315, 313, 314, 316, 317
_SECTIONS = {element: element for element in (_FRAME, _IP, _IP_PAYLOAD, _LABELS, _LABELS_PAYLOAD)} | {104: _FRAME}
_OFFSETS = frozenset({409, 102})
_EXPORTED = 410
_FRAME_TYPE = 408
_FRAME_SIZES = (312, 103)
_HDR_IP, _HDR_MPLS = 10, 13
"""As decode_header calls these."""


class _Section(NamedTuple):
    """A section: its kind, and the places of its octets, of its offset and of its size in the record."""

    kind: int
    place: int
    offset: int | None
    exported: int | None

    def content(self, octets: Sequence[bytes]) -> bytes:
        """Return the octets of the section, if it is from the beginning."""
        if _number(octets, self.offset):
            return b""
        return octets[self.place][: _number(octets, self.exported)]


class Sections:
    """Which elements of a template are sections of packets, and which tell of these."""

    def __init__(self, elements: Sequence[int]) -> None:
        """elements: the numbers of IANA's elements, 0 for others."""
        places = range(len(elements))
        sections = [place for place in places if elements[place] in _SECTIONS]
        # The first sectionOffset is that of the first section, and so on, wherever they stand (IANA, element 409).
        offsets = [place for place in places if elements[place] in _OFFSETS][: len(sections)]
        exported = [place for place in places if elements[place] == _EXPORTED][: len(sections)]
        self._sections = [
            _Section(_SECTIONS[elements[place]], place, offset, size)
            for place, offset, size in zip_longest(sections, offsets, exported)
        ]
        self._frame_type = next((place for place in places if elements[place] == _FRAME_TYPE), None)
        self._frame_size = next((place for place in places if elements[place] in _FRAME_SIZES), None)

    def packet(self, octets: Sequence[bytes], protocol: int | None) -> Members:
        """Return what the sections of a record say, as decode_header but for addresses, which are text.

        octets: of the fields of the record. protocol: of IP, where the record says it. bcount is that of the IP packet,
        or else that of the frame. There are no members if nothing can be read.
        """
        found: dict[int, bytes] = {}
        for section in self._sections:
            found.setdefault(section.kind, section.content(octets))
        packet: Members = {}
        if self._is_ethernet(octets):
            packet = decode_header(ETHERNET, found.get(_FRAME, b""))
        for kind, content in _packets(found):
            if "saddr" not in packet:
                packet |= decode_header(kind, content)
        if "sport" not in packet and _IP_PAYLOAD in found and _IP not in found and protocol is not None:
            packet |= decode_payload(protocol, found[_IP_PAYLOAD])
        size = _number(octets, self._frame_size)
        if packet and size:
            packet.setdefault("bcount", size)
        return as_json(packet)

    def _is_ethernet(self, octets: Sequence[bytes]) -> bool:
        """Tell if the frame is of Ethernet (1 of dataLinkFrameType), which goes without saying."""
        return _number(octets, self._frame_type) in (None, 0, 1)


def _number(octets: Sequence[bytes], place: int | None) -> int | None:
    """Return the integer at a place of a record, or None if there is none."""
    return int.from_bytes(octets[place]) if place is not None and 0 < len(octets[place]) <= 8 else None


def sections_of(elements: Sequence[int]) -> Sections | None:
    """Return the sections among the elements of a template, None if there are none. elements: as in Sections."""
    return None if _SECTIONS.keys().isdisjoint(elements) else Sections(elements)


def _packets(found: dict[int, bytes]) -> list[tuple[int, bytes]]:
    """Return the beginnings of packets, and what decode_header calls them: headers with the payload that follows."""
    labels, header = found.get(_LABELS, b""), found.get(_IP, b"")
    if labels and not len(labels) % 4 and labels[-2] & 1:
        labels += found.get(_LABELS_PAYLOAD, b"")
    if header and len(header) == ((header[0] & 15) * 4 if header[0] >> 4 == 4 else 40):
        header += found.get(_IP_PAYLOAD, b"")
    packets = [(_HDR_MPLS, labels), (_HDR_IP, header), (_HDR_IP, found.get(_LABELS_PAYLOAD, b""))]
    return [(kind, content) for kind, content in packets if content]

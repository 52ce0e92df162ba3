"""The text of lines that decoders give as values of a shape (protocols/lines.py): one format a shape."""

from __future__ import annotations

from functools import lru_cache

from overflowd_tools.json_lines import FLOW_PREFIX, json_text
from overflowd_tools.protocols.lines import WRITTEN, Decoded, Kind, Line, Shape
from overflowd_tools.rendering import FRAGMENTS_KEPT, address_text, member

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final, TypeAlias

Text: TypeAlias = "Callable[[Any], bytes]"


ONE_PACKET: Final = FLOW_PREFIX + b"1"
"""How the line of a flow of one packet begins, before the head."""


class ShapeWriter:
    """Renders the lines of datagrams whose protocol has no clock, and keeps the formats of their shapes."""

    def __init__(self, *, envelope: bool = False) -> None:
        """Show with the envelope also what the header of the datagram said, and where and when it arrived."""
        self._envelope = envelope
        self._formats: dict[tuple[Shape, str], tuple[bytes, list[tuple[int, Text]], int]] = {}

    def texts(
        self, decoded: Decoded, lines: list[Line], exporter: bytes, exporter_port: int, received_ns: int
    ) -> list[bytes]:
        """Return the text of these lines of a datagram: what they tell was when it came.

        exporter (4 or 16 octets), exporter_port: where the datagram came from. received_ns: when, Unix time, or 0.
        """
        head = origin(decoded.source, exporter, decoded.domain, decoded.head.get("agent", ""))
        head = with_arrival(head, received_ns)
        if self._envelope:
            head += b',"exporter_port":%d' % exporter_port
            head += b"".join(member(name) % value for name, value in decoded.envelope.items())
        start = ONE_PACKET + head
        texts: list[bytes] = []
        for line in lines:
            if line.shape is WRITTEN:
                texts += [start + rest for rest in line.values[0]]
            else:
                texts.append(self._text(line, head))
        return texts

    def _text(self, line: Line, head: bytes) -> bytes:
        """Return the text of a line. head: the members that stand after type and pcount, each after a comma."""
        known = self._formats.get((line.shape, line.type))
        if known is None:
            if len(self._formats) >= FRAGMENTS_KEPT:
                self._formats.clear()
            known = self._formats[line.shape, line.type] = _shape_format(line.shape, line.type)
        form, texts, packets = known
        values = [*line.values]
        for index, text in texts:
            values[index] = text(values[index])
        if packets < 0:
            return form % (head, *values)
        return form % (values.pop(packets), head, *values)


def with_arrival(head: bytes, received_ns: int) -> bytes:
    """Return a head with the time of flows that were when their datagram came: Unix time, 0 if it is not known."""
    if not received_ns:
        return head
    moment = received_ns // 1_000_000
    return b'%s,"start_ms":%d,"end_ms":%d,"time_src":"recv"' % (head, moment, moment)


@lru_cache(maxsize=FRAGMENTS_KEPT)
def origin(source: str, exporter: bytes, domain: int, agent: str) -> bytes:
    """Return the members that stay the same from one datagram of an exporter to the next."""
    told = member("agent", b'"%s"') % agent.encode() if agent else b""
    return b',"source":"%s","exporter":"%s","domain":%d%s' % (source.encode(), address_text(exporter), domain, told)


def _shape_format(shape: Shape, line_type: str) -> tuple[bytes, list[tuple[int, Text]], int]:
    """Return the format of a shape, which values need a function to become text, and where its pcount is."""
    texts = [(index, _TEXTS[kind]) for index, kind in enumerate(shape.kinds) if kind in _TEXTS]
    packets = shape.names.index("pcount") if "pcount" in shape.names else -1
    form = b'{"type":"%s"' % line_type.encode() + (b',"pcount":%d%s' if packets >= 0 else b"%s")
    for index, (name, kind) in enumerate(zip(shape.names, shape.kinds, strict=True)):
        if index != packets:
            form += member(name, b"%d" if kind is Kind.INTEGER else b'"%s"' if kind in _QUOTED else b"%s")
    return form + b"}\n", texts, packets


def _mac(octets: bytes) -> bytes:
    return octets.hex(":").encode()


def _hexadecimal(octets: bytes) -> bytes:
    return octets.hex().encode()


_TEXTS: Final[dict[Kind, Text]] = {
    Kind.ADDRESS: address_text,
    Kind.MAC: _mac,
    Kind.HEX: _hexadecimal,
    Kind.TEXT: json_text,
    Kind.FLOAT: json_text,
    Kind.JSON: json_text,
}
_QUOTED: Final = (Kind.ADDRESS, Kind.MAC, Kind.HEX)

"""The text of lines that decoders give as values of a shape (protocols/lines.py): one format a shape."""

from collections.abc import Callable
from typing import Any, Final

from overflowd_tools.protocols.lines import WRITTEN, Kind, Line, Shape
from overflowd_tools.rendering import FLOW_PREFIX, FRAGMENTS_KEPT, address_text, member

Text = Callable[[Any], bytes]


class ShapeWriter:
    """Renders lines, and keeps the formats of their shapes."""

    def __init__(self) -> None:
        self._formats: dict[tuple[Shape, str], tuple[bytes, list[tuple[int, Text]], int]] = {}

    def texts(self, lines: list[Line], head: bytes) -> list[bytes]:
        """Return the text of lines. head: the members that stand after type and pcount, each after a comma."""
        texts: list[bytes] = []
        start = b"%s1%s" % (FLOW_PREFIX, head)
        for line in lines:
            if line.shape is WRITTEN:
                texts += [start + rest for rest in line.values[0]]
            else:
                texts.append(self._text(line, head))
        return texts

    def _text(self, line: Line, head: bytes) -> bytes:
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


def _json(value: Any) -> bytes:
    import orjson

    return orjson.dumps(value)


_TEXTS: Final[dict[Kind, Text]] = {
    Kind.ADDRESS: address_text,
    Kind.MAC: _mac,
    Kind.HEX: _hexadecimal,
    Kind.TEXT: _json,
    Kind.FLOAT: _json,
    Kind.JSON: _json,
}
_QUOTED: Final = (Kind.ADDRESS, Kind.MAC, Kind.HEX)

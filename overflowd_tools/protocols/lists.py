"""Structured data of IPFIX: basicList, subTemplateList and subTemplateMultiList (RFC 6313 section 4.5), bounded."""

from __future__ import annotations

from overflowd_tools.errors import DecodeError
from overflowd_tools.protocols.announced import Announced, Specifier
from overflowd_tools.protocols.elements import ElementTable
from overflowd_tools.protocols.layouts import Layout, Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, TypeAlias

Templates: TypeAlias = "Callable[[int], Layout | None]"
"""The layouts of the session that a list stands in, by number of template."""

MAX_DEPTH = 4
MAX_ELEMENTS = 4096
_SEMANTICS = {0: "noneOf", 1: "exactlyOneOf", 2: "oneOrMoreOf", 3: "allOf", 4: "ordered", 255: "undefined"}


class ListDecoder:
    """Decodes lists in the records of one session."""

    def __init__(self, table: ElementTable, templates: Templates) -> None:
        self._table = table
        self._templates = templates
        self._depth = 0
        self._elements = 0

    def __call__(self, kind: str, octets: bytes) -> Any:
        """Return a list as {"semantic": .., what it is of, "values": [..]}; as hexadecimal what cannot be read.

        Too deep or too many elements cannot be read either.
        """
        if self._depth == 0:
            self._elements = 0
        self._depth += 1
        try:
            if self._depth > MAX_DEPTH:
                raise DecodeError("lists nested too deep")
            if kind == "basicList":
                return self._basic(octets)
            if kind == "subTemplateList":
                return {"semantic": _semantic(octets), **self._sub_template(octets[1:])}
            return {"semantic": _semantic(octets), "lists": self._multi(octets[1:])}
        except (DecodeError, IndexError):
            return octets.hex()
        finally:
            self._depth -= 1

    def _basic(self, octets: bytes) -> dict[str, Any]:
        number, length = _uint16(octets, 1), _uint16(octets, 3)
        enterprise, offset = 0, 5
        if number & 0x8000:
            enterprise, number, offset = _uint16(octets, 5) << 16 | _uint16(octets, 7), number & 0x7FFF, 9
        announced = Announced(0, (Specifier(enterprise, number, length),))
        layout = Layout(announced, self._table, netflow9=False)
        values = [layout.shown(0, value[0], self) for value in self._records(layout, octets[offset:])]
        return {"semantic": _semantic(octets), "element": layout.members[0].key, "values": values}

    def _sub_template(self, octets: bytes) -> dict[str, Any]:
        number = _uint16(octets, 0)
        layout = self._templates(number)
        if layout is None:
            raise DecodeError(f"template {number} is unknown")
        values = [Record(layout, v, self, nested=True).members() for v in self._records(layout, octets[2:])]
        return {"template": number, "values": values}

    def _multi(self, octets: bytes) -> list[dict[str, Any]]:
        found = []
        while octets:
            length = _uint16(octets, 2)
            if not 4 <= length <= len(octets):
                raise DecodeError("a subTemplateMultiList of impossible length")
            self._count()
            found.append(self._sub_template(octets[:2] + octets[4:length]))
            octets = octets[length:]
        return found

    def _records(self, layout: Layout, content: bytes) -> Iterator[list[bytes]]:
        if content and layout.length == 0:
            raise DecodeError("a list of elements of no octets")
        for value in layout.records(content, padded=False) if content else ():
            self._count()
            yield value

    def _count(self) -> None:
        self._elements += 1
        if self._elements > MAX_ELEMENTS:
            raise DecodeError("a list of too many elements")


def _semantic(octets: bytes) -> str | int:
    return _SEMANTICS.get(octets[0], octets[0])


def _uint16(octets: bytes, at: int) -> int:
    return octets[at] << 8 | octets[at + 1]

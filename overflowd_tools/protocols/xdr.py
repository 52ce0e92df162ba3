"""External data representation (RFC 4506), read by tables of names and types."""

from __future__ import annotations

import struct
from math import isfinite

from overflowd_tools.errors import DecodeError
from overflowd_tools.named import NamedTuple
from overflowd_tools.protocols.dissection import address_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final, TypeAlias

_INT: Final = struct.Struct("!i")
_HYPER: Final = struct.Struct("!Q")
_FLOAT: Final = struct.Struct("!f")
_ADDRESS_SIZES: Final = {1: 4, 2: 16}


class Reader:
    """Octets read from `position` up to `end`. Every method raises DecodeError where they end too early."""

    __slots__ = ("data", "end", "position")

    def __init__(self, data: bytes, position: int, end: int) -> None:
        self.data = data
        self.position = position
        self.end = end

    @property
    def left(self) -> int:
        """How many octets have not been read."""
        return self.end - self.position

    def fixed(self, size: int) -> bytes:
        """Return so many octets and skip the padding after them."""
        if size > self.left:
            raise DecodeError(f"{size} octets promised, {self.left} there")
        octets = self.data[self.position : self.position + size]
        self.position = min(self.position + (size + 3 & ~3), self.end)
        return octets

    def unsigned(self) -> int:
        """Return an unsigned int."""
        start = self.position
        self.position = start + 4
        if self.position > self.end:
            raise DecodeError(f"4 octets promised, {self.end - start} there")
        return int.from_bytes(self.data[start : start + 4], "big")

    def integers(self, count: int) -> tuple[int, ...]:
        """Return so many unsigned ints."""
        start = self.position
        if start + 4 * count > self.end:
            raise DecodeError(f"{4 * count} octets promised, {self.left} there")
        self.position = start + 4 * count
        return struct.unpack_from(f"!{count}I", self.data, start)

    def signed(self) -> int:
        """Return an int."""
        value: int = _INT.unpack(self.fixed(4))[0]
        return value

    def hyper(self) -> int:
        """Return an unsigned hyper."""
        value: int = _HYPER.unpack(self.fixed(8))[0]
        return value

    def number(self) -> float | None:
        """Return a float; None for what JSON cannot say."""
        value: float = _FLOAT.unpack(self.fixed(4))[0]
        return value if isfinite(value) else None

    def opaque(self) -> bytes:
        """Return octets of variable length."""
        return self.fixed(self.unsigned())

    def text(self) -> str:
        """Return a string; one that is not UTF-8 as 0x and its octets in hexadecimal."""
        octets = self.opaque()
        try:
            return octets.rstrip(b"\0").decode()
        except UnicodeDecodeError:
            return "0x" + octets.hex()

    def numbers(self) -> list[int]:
        """Return an array of unsigned ints."""
        return list(self.integers(self.unsigned()))

    def address(self) -> bytes | None:
        """Return an address of sFlow, in 4 or 16 octets; None for one of the type unknown."""
        kind = self.unsigned()
        if not kind:
            return None
        size = _ADDRESS_SIZES.get(kind)
        if size is None:
            raise DecodeError(f"address of type {kind}")
        return self.fixed(size)

    def address_text(self) -> str | None:
        """Return an address of sFlow as text; None for one of the type unknown."""
        address = self.address()
        return None if address is None else address_text(address)

    def ipv4_text(self) -> str:
        """Return an IPv4 address as text."""
        return address_text(self.fixed(4))

    def ipv6_text(self) -> str:
        """Return an IPv6 address as text."""
        return address_text(self.fixed(16))

    def mac_text(self) -> str:
        """Return a MAC address as text."""
        return self.fixed(6).hex(":")

    def uuid(self) -> str:
        """Return 16 octets in hexadecimal."""
        return self.fixed(16).hex()

    def rest(self) -> str:
        """Return all that is left in hexadecimal."""
        return self.fixed(self.left).hex()


Read: TypeAlias = "Callable[[Reader], Any]"

_TYPES: Final[dict[str, Read]] = {
    "": Reader.unsigned,
    "int": Reader.signed,
    "hyper": Reader.hyper,
    "float": Reader.number,
    "string": Reader.text,
    "address": Reader.address_text,
    "ipv4": Reader.ipv4_text,
    "ipv6": Reader.ipv6_text,
    "mac": Reader.mac_text,
    "uuid": Reader.uuid,
    "rest": Reader.rest,
}


class Structure(NamedTuple):
    """A structure: its name, its fields, how many of them even its oldest form has.

    numbers: its form for the struct module if all its fields are integers.
    """

    name: str
    fields: tuple[tuple[str, Read], ...]
    least: int
    numbers: struct.Struct | None

    def read(self, reader: Reader) -> dict[str, Any]:
        """Return the fields by name, without those whose value is unknown. Raises DecodeError for a cut structure."""
        if self.numbers is not None and reader.left >= self.numbers.size:
            numbers = self.numbers.unpack_from(reader.data, reader.position)
            reader.position += self.numbers.size
            return {name: number for (name, _), number in zip(self.fields, numbers, strict=True)}
        values = {}
        for number, (name, read) in enumerate(self.fields):
            if number >= self.least and not reader.left:
                break
            if (value := read(reader)) is not None:
                values[name] = value
        return values


_CODES: Final = {"": "I", "int": "i", "hyper": "Q"}


def structure(name: str, fields: str, types: dict[str, Read] | None = None, *, least: int | None = None) -> Structure:
    """Make a structure of fields given as "name name:type ...".

    A type is one of types or of _TYPES; a field without one is an unsigned int.
    """
    known = _TYPES | (types or {})
    parts = [field.partition(":") for field in fields.split()]
    table = tuple((field, known[kind]) for field, _, kind in parts)
    kinds = {kind for _, _, kind in parts}
    numbers = struct.Struct("!" + "".join(_CODES[kind] for _, _, kind in parts)) if kinds <= _CODES.keys() else None
    return Structure(name, table, len(table) if least is None else least, numbers)

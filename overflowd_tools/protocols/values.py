"""The values of information elements, by abstract data type and length (RFC 7011 section 6, RFC 6313 section 4.5).

Exporters send what they like: a length that a type cannot have makes its octets be shown as they are.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct

from overflowd_tools.named import NamedTuple
from overflowd_tools.protocols.lines import Kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container
    from typing import Any


class Decoder(NamedTuple):
    """What kind of value an element has at some length, and the function that gets it from so many octets."""

    kind: Kind
    decode: Callable[[bytes], Any]


NTP_EPOCH = 2_208_988_800
"""Seconds from 1900 to 1970 (RFC 5905 section 6)."""
_BILLION = 1_000_000_000

_FLOATS = {4: Struct("!f"), 8: Struct("!d")}


def _unsigned(octets: bytes) -> int:
    return int.from_bytes(octets, "big")


def _signed(octets: bytes) -> int:
    return int.from_bytes(octets, "big", signed=True)


def _decimal(octets: bytes) -> str:
    return str(int.from_bytes(octets, "big"))


def _float(octets: bytes) -> float:
    value: float = _FLOATS[len(octets)].unpack(octets)[0]
    return value


def _boolean(octets: bytes) -> bool | int:
    """1 is true and 2 is false (RFC 7011 section 6.1.5); any other number is shown."""
    return {1: True, 2: False}.get(octets[0], octets[0])


def _text(octets: bytes) -> str:
    """Return text without the NULs that pad it; octets that are not UTF-8 as 0x and all of them in hexadecimal."""
    try:
        return octets.rstrip(b"\0").decode()
    except UnicodeDecodeError:
        return "0x" + octets.hex()


def _same(octets: bytes) -> bytes:
    return octets


def _none(_octets: bytes) -> None:
    return None


def ntp_nanoseconds(octets: bytes) -> int:
    """Return the Unix nanoseconds nearest to a dateTimeNanoseconds (RFC 7011 section 6.1.10)."""
    value = int.from_bytes(octets, "big")
    return ((value >> 32) - NTP_EPOCH) * _BILLION + ((value & 0xFFFFFFFF) * _BILLION + (1 << 31) >> 32)


def ntp_microseconds(octets: bytes) -> int:
    """Return the Unix nanoseconds of a dateTimeMicroseconds (RFC 7011 section 6.1.9), whole microseconds.

    The lowest 11 bits are to be ignored. What is left lies less than half a microsecond below what was meant.
    """
    value = int.from_bytes(octets, "big") & ~0x7FF
    microseconds = (value & 0xFFFFFFFF) * 1_000_000 + (1 << 31) >> 32
    return ((value >> 32) - NTP_EPOCH) * _BILLION + microseconds * 1000


class _Form(NamedTuple):
    """How the values of a type are got from octets, at the lengths where that can be."""

    kind: Kind
    decode: Callable[[bytes], Any]
    lengths: Container[int]


# Integers may be shorter than their type (RFC 7011 section 6.2) and are longer at some exporters.
_COUNTED = _Form(Kind.INTEGER, _unsigned, range(1, 9))
_SIGNED = _Form(Kind.INTEGER, _signed, range(1, 9))
_FLOAT = _Form(Kind.FLOAT, _float, _FLOATS)
_OCTETS = _Form(Kind.HEX, _same, range(65536))

_FORMS = {
    **dict.fromkeys(("unsigned8", "unsigned16", "unsigned32", "unsigned64"), _COUNTED),
    **dict.fromkeys(("dateTimeSeconds", "dateTimeMilliseconds"), _COUNTED),
    **dict.fromkeys(("signed8", "signed16", "signed32", "signed64"), _SIGNED),
    **dict.fromkeys(("float32", "float64"), _FLOAT),
    **dict.fromkeys(("octetArray", "basicList", "subTemplateList", "subTemplateMultiList"), _OCTETS),
    "unsigned256": _Form(Kind.TEXT, _decimal, range(1, 33)),
    "boolean": _Form(Kind.JSON, _boolean, (1,)),
    "macAddress": _Form(Kind.MAC, _same, (6,)),
    "ipv4Address": _Form(Kind.ADDRESS, _same, (4,)),
    "ipv6Address": _Form(Kind.ADDRESS, _same, (16,)),
    "string": _Form(Kind.TEXT, _text, range(65536)),
    "dateTimeMicroseconds": _Form(Kind.INTEGER, ntp_microseconds, (8,)),
    "dateTimeNanoseconds": _Form(Kind.INTEGER, ntp_nanoseconds, (8,)),
}

TYPES = frozenset(_FORMS)
"""The abstract data types that there are (RFC 7012 section 3.1, RFC 6313 section 4.1, and IANA's unsigned256)."""


def kind_of(element_type: str) -> Kind:
    """Return the kind of the values of a type, where they have a length that it can have."""
    return _FORMS.get(element_type, _OCTETS).kind


@lru_cache(maxsize=1024)
def decoder(element_type: str, length: int) -> Decoder:
    """Return how the values of a type are got from so many octets. It raises nothing for so many octets.

    INTEGER: integers, dateTimeSeconds and dateTimeMilliseconds of 1 to 8 octets as they are; dateTimeMicroseconds and
    dateTimeNanoseconds as Unix nanoseconds. TEXT: strings, and unsigned256 in decimal. JSON: booleans (others than 1
    and 2 are int), and None for a value of no octets that is neither string nor octets. HEX: octetArray, the lists of
    RFC 6313, unknown types, and every type at a length that it cannot have.
    """
    form = _FORMS.get(element_type, _OCTETS)
    if length in form.lengths:
        return Decoder(form.kind, form.decode)
    return Decoder(Kind.HEX, _same) if length else Decoder(Kind.JSON, _none)

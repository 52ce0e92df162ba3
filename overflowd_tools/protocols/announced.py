"""Templates that exporters announce, NetFlow 9 (RFC 3954 section 5.2) and IPFIX (RFC 7011 section 3.4), and their sets.

A template is a list of information elements with lengths. Nothing here knows what an element means.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from overflowd_tools.errors import DecodeError

VARIABLE = 65535
"""Length of a field whose length each record tells (RFC 7011 section 7)."""
MAX_FIELDS = 10_000
MAX_RECORD = 65_535
FIRST_DATA_SET = 256

_SHORT_PAIR = struct.Struct("!HH")
_SHORT_TRIPLE = struct.Struct("!HHH")
_ENTERPRISE = struct.Struct("!HHI")
_ENTERPRISE_BIT = 0x8000
SCOPE_ENTERPRISE = -1
"""Stands for the enterprise of NetFlow 9's scope fields, whose numbers are types of their own."""


class Specifier(NamedTuple):
    """One field of a template: whose element, which element, how many octets (or VARIABLE)."""

    enterprise: int
    element: int
    length: int


class Announced(NamedTuple):
    """A template as announced. scopes: how many of its fields, the first ones, are scopes; 0 for a data template.

    A template without fields withdraws the one of that number (RFC 7011 section 8.1).
    """

    number: int
    fields: tuple[Specifier, ...]
    scopes: int

    @property
    def length(self) -> int | None:
        """Octets of a record, or None if records differ in length."""
        lengths = [field.length for field in self.fields]
        return None if VARIABLE in lengths else sum(lengths)


def sets(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (set number, content) of the sets of a message; zeroes after the last one are padding.

    Raises DecodeError at a length that cannot be one, after everything before it.
    """
    offset = 0
    while len(body) - offset >= 4:
        number, length = _SHORT_PAIR.unpack_from(body, offset)
        if number == 0 and length == 0 and not any(body[offset:]):
            return
        if length < 4:
            raise DecodeError(f"set of impossible length {length}")
        if length > len(body) - offset:
            raise DecodeError(f"set of {length} octets where {len(body) - offset} are left")
        yield number, body[offset + 4 : offset + length]
        offset += length


def ipfix_templates(content: bytes, *, options: bool) -> Iterator[Announced]:
    """Yield the templates of an IPFIX template set or options template set.

    Raises DecodeError at what cannot be a template, after those before it.
    """
    offset = 0
    while len(content) - offset >= 4:
        number, count = _SHORT_PAIR.unpack_from(content, offset)
        offset += 4
        if number == 0:
            return
        scopes = 0
        if options and count:
            if len(content) - offset < 2:
                raise DecodeError(f"options template {number} is cut short")
            (scopes,) = struct.unpack_from("!H", content, offset)
            offset += 2
        fields, offset = _ipfix_fields(content, offset, number, count)
        if scopes > count or (options and count and not scopes):
            raise DecodeError(f"options template {number} has {count} fields, of them {scopes} scopes")
        yield _checked(Announced(number, fields, scopes))


def _ipfix_fields(content: bytes, offset: int, number: int, count: int) -> tuple[tuple[Specifier, ...], int]:
    if count > min(MAX_FIELDS, (len(content) - offset) // 4):
        raise DecodeError(f"template {number} of {count} fields is larger than its set")
    fields = []
    for _ in range(count):
        if len(content) - offset < 4:
            raise DecodeError(f"template {number} is cut short")
        element, length = _SHORT_PAIR.unpack_from(content, offset)
        enterprise = 0
        offset += 4
        if element & _ENTERPRISE_BIT:
            if len(content) - offset < 4:
                raise DecodeError(f"template {number} is cut short")
            (enterprise,) = struct.unpack_from("!I", content, offset)
            offset += 4
            element &= ~_ENTERPRISE_BIT
        fields.append(Specifier(enterprise, element, length))
    return tuple(fields), offset


def netflow9_templates(content: bytes) -> Iterator[Announced]:
    """Yield the templates of a NetFlow 9 template FlowSet. Raises DecodeError as ipfix_templates."""
    offset = 0
    while len(content) - offset >= 4:
        number, count = _SHORT_PAIR.unpack_from(content, offset)
        if number == 0:  # padding
            return
        end = offset + 4 + 4 * count
        if end > len(content) or count > MAX_FIELDS:
            raise DecodeError(f"template {number} of {count} fields is larger than its set")
        yield _checked(Announced(number, _pairs(content[offset + 4 : end], 0), 0))
        offset = end


def netflow9_options_templates(content: bytes) -> Iterator[Announced]:
    """Yield the templates of a NetFlow 9 options template FlowSet. Raises DecodeError as ipfix_templates."""
    offset = 0
    while len(content) - offset >= 6:
        number, scope_octets, option_octets = _SHORT_TRIPLE.unpack_from(content, offset)
        if number == 0:
            return
        middle = offset + 6 + scope_octets
        end = middle + option_octets
        if end > len(content) or scope_octets % 4 or option_octets % 4:
            raise DecodeError(f"options template {number} does not fit its set")
        scopes = _pairs(content[offset + 6 : middle], SCOPE_ENTERPRISE)
        yield _checked(Announced(number, scopes + _pairs(content[middle:end], 0), len(scopes)))
        offset = end


def _pairs(content: bytes, enterprise: int) -> tuple[Specifier, ...]:
    return tuple(Specifier(enterprise, element, length) for element, length in _SHORT_PAIR.iter_unpack(content))


def _checked(template: Announced) -> Announced:
    """Refuse a template whose records would have no octets, or more than a message holds."""
    if template.number < FIRST_DATA_SET and template.fields:
        raise DecodeError(f"template number {template.number} is below {FIRST_DATA_SET}")
    length = template.length
    if template.fields and length is not None and not 0 < length <= MAX_RECORD:
        raise DecodeError(f"template {template.number} is of records of {length} octets")
    return template

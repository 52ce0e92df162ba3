"""Templates that exporters announce, NetFlow 9 (RFC 3954 section 5.2) and IPFIX (RFC 7011 section 3.4), and their sets.

A template is a list of information elements with lengths. Nothing here knows what an element means.
"""

from __future__ import annotations

import struct

from overflowd_tools.errors import DecodeError
from overflowd_tools.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

VARIABLE = 65535
"""Length of a field whose length each record tells (RFC 7011 section 7)."""
MAX_FIELDS = 10_000
MAX_RECORD = 65_535
FIRST_DATA_SET = 256
MAX_EMPTY_FIELDS = 8
"""Fields of no octets cost time and no traffic; beyond these there must be at least as many that have octets."""

_SHORT_PAIR = struct.Struct("!HH")
_SHORT_TRIPLE = struct.Struct("!HHH")
_ENTERPRISE_BIT = 0x8000
SCOPE_ENTERPRISE = -1
"""Stands for the enterprise of NetFlow 9's scope fields, whose numbers are types of their own."""


class InvalidTemplateError(DecodeError):
    """A template that cannot be. number: whose it is; what was known under that number does not hold any more."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(reason)
        self.number = number


class Specifier(NamedTuple):
    """One field of a template: whose element, which element, how many octets (or VARIABLE)."""

    enterprise: int
    element: int
    length: int


class Announced(NamedTuple):
    """A template as announced. options: of option records; scopes: how many of its fields, the first ones, are scopes.

    A template without fields withdraws the one of that number (RFC 7011 section 8.1).
    """

    number: int
    fields: tuple[Specifier, ...]
    scopes: int = 0
    options: bool = False

    @property
    def length(self) -> int | None:
        """Octets of a record, or None if records differ in length."""
        lengths = [field.length for field in self.fields]
        return None if VARIABLE in lengths else sum(lengths)


def sets(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (set number, content) of the sets of a message; zeroes after the last one are padding.

    Raises DecodeError at a length that cannot be one, after everything before it; of a set that reaches beyond the
    message, after what is there of it.
    """
    offset = 0
    while len(body) - offset >= 4:
        number, length = _SHORT_PAIR.unpack_from(body, offset)
        if number == 0 and length == 0 and not any(body[offset:]):
            return
        if length < 4:
            raise DecodeError(f"set of impossible length {length}")
        yield number, body[offset + 4 : offset + length]
        if length > len(body) - offset:
            raise DecodeError(f"set of {length} octets where {len(body) - offset} are left")
        offset += length


Told = Announced | InvalidTemplateError
"""A template, or in its place why it cannot be one."""


def ipfix_templates(content: bytes, *, options: bool) -> Iterator[Told]:
    """Yield the templates of an IPFIX template set or options template set, with those that cannot be.

    Nothing can be read after one that reaches beyond its set.
    """
    offset = 0
    while len(content) - offset >= 4:
        number, count = _SHORT_PAIR.unpack_from(content, offset)
        offset += 4
        if number == 0:
            return
        scopes = 0
        try:
            if options and count:
                if len(content) - offset < 2:
                    raise InvalidTemplateError(number, f"options template {number} is cut short")
                (scopes,) = struct.unpack_from("!H", content, offset)
                offset += 2
            fields, offset = _ipfix_fields(content, offset, number, count)
        except InvalidTemplateError as error:
            yield error
            return
        if scopes > count or (options and count and not scopes):
            wrong = f"options template {number} has {count} fields, of them {scopes} scopes"
            yield InvalidTemplateError(number, wrong)
        else:
            yield _judged(Announced(number, fields, scopes, options))


def _ipfix_fields(content: bytes, offset: int, number: int, count: int) -> tuple[tuple[Specifier, ...], int]:
    if count > min(MAX_FIELDS, (len(content) - offset) // 4):
        raise InvalidTemplateError(number, f"template {number} of {count} fields is larger than its set")
    fields = []
    for _ in range(count):
        if len(content) - offset < 4:
            raise InvalidTemplateError(number, f"template {number} is cut short")
        element, length = _SHORT_PAIR.unpack_from(content, offset)
        enterprise = 0
        offset += 4
        if element & _ENTERPRISE_BIT:
            if len(content) - offset < 4:
                raise InvalidTemplateError(number, f"template {number} is cut short")
            (enterprise,) = struct.unpack_from("!I", content, offset)
            offset += 4
            element &= ~_ENTERPRISE_BIT
        fields.append(Specifier(enterprise, element, length))
    return tuple(fields), offset


def netflow9_templates(content: bytes) -> Iterator[Told]:
    """Yield the templates of a NetFlow 9 template FlowSet, with those that cannot be, as ipfix_templates."""
    offset = 0
    while len(content) - offset >= 4:
        number, count = _SHORT_PAIR.unpack_from(content, offset)
        if number == 0:  # padding
            return
        end = offset + 4 + 4 * count
        if end > len(content) or count > MAX_FIELDS:
            yield InvalidTemplateError(number, f"template {number} of {count} fields is larger than its set")
            return
        yield _judged(Announced(number, _pairs(content[offset + 4 : end], 0)))
        offset = end


def netflow9_options_templates(content: bytes) -> Iterator[Told]:
    """Yield the templates of a NetFlow 9 options template FlowSet, with those that cannot be, as ipfix_templates."""
    offset = 0
    while len(content) - offset >= 6:
        number, scope_octets, option_octets = _SHORT_TRIPLE.unpack_from(content, offset)
        if number == 0:
            return
        middle = offset + 6 + scope_octets
        end = middle + option_octets
        if end > len(content) or scope_octets % 4 or option_octets % 4 or end - offset > 4 * MAX_FIELDS:
            yield InvalidTemplateError(number, f"options template {number} does not fit its set")
            return
        scopes = _pairs(content[offset + 6 : middle], SCOPE_ENTERPRISE)
        fields = scopes + _pairs(content[middle:end], 0)
        yield _judged(Announced(number, fields, len(scopes), options=True))
        offset = end


def _pairs(content: bytes, enterprise: int) -> tuple[Specifier, ...]:
    return tuple(Specifier(enterprise, element, length) for element, length in _SHORT_PAIR.iter_unpack(content))


def _judged(template: Announced) -> Told:
    try:
        return checked(template)
    except InvalidTemplateError as error:
        return error


def checked(template: Announced) -> Announced:
    """Refuse a template whose records have no octets, more than a message holds, or next to none for its fields.

    Raises InvalidTemplateError.
    """
    number, length = template.number, template.length
    if not template.fields:
        return template
    if number < FIRST_DATA_SET:
        raise InvalidTemplateError(number, f"template number {number} is below {FIRST_DATA_SET}")
    if length is not None and not 0 < length <= MAX_RECORD:
        raise InvalidTemplateError(number, f"template {number} is of records of {length} octets")
    empty = sum(field.length == 0 for field in template.fields)
    if empty > MAX_EMPTY_FIELDS + len(template.fields) // 2:
        raise InvalidTemplateError(number, f"template {number} has {empty} fields of no octets")
    return template

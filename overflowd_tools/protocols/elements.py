"""What information elements are called, what type they have, and which field of a flow line they fill.

elements.tsv holds IANA's elements, those of some enterprises and the types that NetFlow 9 alone has;
tests/make_elements.py makes it from the registries.
"""

from __future__ import annotations

from overflowd_tools.errors import UsageError
from overflowd_tools.named import NamedTuple
from overflowd_tools.protocols.announced import SCOPE_ENTERPRISE
from overflowd_tools.protocols.values import TYPES, kind_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Iterable, Iterator
    from typing import Any

IANA = 0
NETFLOW9 = -2
"""Stands for the enterprise of types that NetFlow 9 alone has."""
REVERSE = 29305
"""IANA's elements of the reverse direction (RFC 5103 section 6.1)."""
CERT = 6871
CERT_REVERSE_BIT = 0x4000
_NETFLOW9_OWN = 0x8000
"""From here on a type of NetFlow 9 is never an element of IANA's: the bit would say that an enterprise follows."""

_STAND_INS = {"v9": NETFLOW9, "scope": SCOPE_ENTERPRISE}
_PREFIXES = {number: text for text, number in _STAND_INS.items()}
_COLUMNS = 7
_NUMBER = r"[0-9]{1,10}"
_NAME = r"[A-Za-z_][A-Za-z0-9_.-]{0,127}"
_IESPEC = r"([^\s(<\[]+)\((?:([^\s/)]+)/)?([^\s/)]+)\)<([^\s>]+)>(?:\[(?:[0-9]+|v)\])?"
"""name(enterprise/id)<type>[length], as python-ipfix and others write elements."""


class Element(NamedTuple):
    """An information element.

    enterprise: its private enterprise number, IANA, NETFLOW9 or SCOPE_ENTERPRISE. type: the abstract data type of
    RFC 7012 section 3.1. units, semantics: as registered, or empty. field: the field of a flow line that it may fill
    (a.b is the member b of the object a), or empty. Of several elements for one field, IANA's come before others and
    lower numbers before higher.
    """

    enterprise: int
    id: int
    name: str
    type: str
    units: str = ""
    semantics: str = ""
    field: str = ""


class Resolved(NamedTuple):
    """An element, or None if it is unknown, and whether it tells of the reverse direction."""

    element: Element | None
    reverse: bool


class ElementTable:
    """Elements by enterprise and number."""

    def __init__(self, elements: Iterable[Element]) -> None:
        self._elements = {element[:2]: element for element in elements}

    @classmethod
    def standard(cls) -> ElementTable:
        """Read the table that comes with the program; it takes some milliseconds."""
        loader: Any = __spec__.loader  # which pkgutil would ask too, but that takes as long to import as all else here
        text = loader.get_data(f"{__file__.removesuffix('.py')}.tsv").decode("ascii")
        rows = [line.split("\t") for line in text.splitlines() if line[0] != "#"]
        stand_ins = _STAND_INS
        return cls(
            Element(stand_ins[row[0]] if row[0] in stand_ins else int(row[0]), int(row[1]), *row[2:]) for row in rows
        )

    def __iter__(self) -> Iterator[Element]:
        return iter(self._elements.values())

    def lookup(self, enterprise: int, number: int, *, netflow9: bool = False) -> Element | None:
        """Return the element of this number. netflow9: it stood in a template of NetFlow 9, with types of its own."""
        if netflow9 and enterprise == IANA:
            own = self._elements.get((NETFLOW9, number))
            if own or number >= _NETFLOW9_OWN:
                return own
        return self._elements.get((enterprise, number))

    def resolve(self, enterprise: int, number: int, *, netflow9: bool = False) -> Resolved:
        """Return the element of this number; for one of the reverse direction, the element of the forward direction.

        Those are IANA's elements under REVERSE (RFC 5103), and CERT's with bit 0x4000, which yaf(1) sets.
        """
        element = self.lookup(enterprise, number, netflow9=netflow9)
        if enterprise == REVERSE:
            return Resolved(self.lookup(IANA, number) or element, True)
        if enterprise == CERT and number & CERT_REVERSE_BIT:
            return Resolved(self.lookup(CERT, number & ~CERT_REVERSE_BIT) or element, True)
        return Resolved(element, False)

    def key(self, enterprise: int, number: int, *, netflow9: bool = False) -> str:
        """Return the name of a member of `ie`, different for every element.

        IANA's elements go by their name, others by enterprise:name; those without a name of their own, as in the
        reverse direction, by enterprise/number.
        """
        element = self.lookup(enterprise, number, netflow9=netflow9)
        if element is None:
            own = netflow9 and enterprise == IANA and number >= _NETFLOW9_OWN
            return f"{'v9' if own else _PREFIXES.get(enterprise, enterprise)}/{number}"
        if element.enterprise == IANA:
            return element.name
        return f"{_PREFIXES.get(element.enterprise, element.enterprise)}:{element.name}"

    def add(self, lines: Iterable[str], name: str) -> None:
        """Add the user's own elements, from the lines of a file of this name.

        A line has the columns of elements.tsv, parted by tabs, of which the last three may be missing; or it is
        name(enterprise/id)<type>[length]. Empty lines and lines that begin with # are skipped. A known element may be
        named or typed anew; what its line leaves out stays as it was.

        Raises UsageError, naming the line, for what is neither; for an enterprise, number, name, type or field that
        there cannot be; for a name that another element of the enterprise has; for a field that holds other values.
        """
        names = {(element.enterprise, element.name): element.id for element in self}
        kinds = {(element.field, kind_of(element.type)) for element in self if element.field}
        for number, line in enumerate(lines, 1):
            text = line.strip("\r\n ")
            if not text or text.startswith("#"):
                continue
            try:
                element = _checked(self._completed(_split(text)))
                if names.setdefault((element.enterprise, element.name), element.id) != element.id:
                    raise ValueError(f"the name {element.name} is taken by another element of that enterprise")
                if element.field and (element.field, kind_of(element.type)) not in kinds:
                    raise ValueError(f"{element.field} is not a field that an element of type {element.type} can fill")
            except ValueError as error:
                raise UsageError(f"{name}: line {number}: {error}") from None
            old = self._elements.get(element[:2])
            if old is not None and old.name != element.name:
                del names[old.enterprise, old.name]
            self._elements[element[:2]] = element

    def _completed(self, cells: list[str]) -> Element:
        """Return the element that the cells of a line tell of, with what they leave out as it was."""
        enterprise = _STAND_INS.get(cells[0])
        if enterprise is None:
            enterprise = _integer("enterprise", cells[0], 0xFFFFFFFF)
        number = _integer("element", cells[1], 0xFFFF if enterprise < 0 else 0x7FFF)
        old = self._elements.get((enterprise, number))
        kept: tuple[str, ...] = ("", "", "")
        if old is not None:
            kept = (old.units, old.semantics, old.field if kind_of(old.type) is kind_of(cells[3]) else "")
        return Element(enterprise, number, *cells[2:], *kept[len(cells) - 4 :])


def _match(pattern: str, text: str) -> re.Match[str] | None:
    import re  # only the elements of users are checked

    return re.fullmatch(pattern, text)


def _split(text: str) -> list[str]:
    """Return enterprise, number, name and type of a line, and the further columns that it has."""
    if "\t" in text:
        cells = [cell.strip() for cell in text.split("\t")]
        if not 4 <= len(cells) <= _COLUMNS:
            raise ValueError(f"{len(cells)} columns, where 4 to {_COLUMNS} are expected")
        return cells
    match = _match(_IESPEC, text)
    if not match:
        raise ValueError("neither columns parted by tabs nor name(enterprise/id)<type>")
    name, enterprise, number, kind = match.groups()
    return [enterprise or "0", number, name, kind]


def _checked(element: Element) -> Element:
    """Refuse an element whose name or type cannot be. Names go into lines as they are."""
    if not _match(_NAME, element.name):
        raise ValueError(f"{element.name!r} is no name: letters, digits, _ . and -, no digit first")
    if element.type not in TYPES:
        raise ValueError(f"{element.type!r} is no type; types are {', '.join(sorted(TYPES))}")
    return element


def _integer(what: str, text: str, most: int) -> int:
    if not _match(_NUMBER, text) or int(text) > most:
        raise ValueError(f"{what} {text!r} is no number from 0 to {most}")
    return int(text)

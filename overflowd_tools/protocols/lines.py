"""What the decoders of protocols with records of many forms give: lines to be, flat and of few shapes.

A shape is made once for a form of record and kept, so that the line's text can be prepared once for all of its kind.
"""

from __future__ import annotations

from enum import Enum

from overflowd_tools.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final


class Kind(Enum):
    """What a value of a line is, and so how JSON shows it."""

    INTEGER = "int"
    FLOAT = "float; not a number and the infinities are shown as null"
    ADDRESS = "4 or 16 octets, shown as the text of an IP address"
    MAC = "6 octets, shown as aa:bb:cc:dd:ee:ff"
    TEXT = "str"
    HEX = "octets, shown as lower-case hexadecimal digits"
    JSON = "dict, list or anything else that JSON has"


class Shape:
    """The names of the members of a line, in their order, and the kind of each; compared by identity."""

    __slots__ = ("kinds", "names")

    def __init__(self, *members: tuple[str, Kind]) -> None:
        self.names = tuple(name for name, _ in members)
        self.kinds = tuple(kind for _, kind in members)


class Line(NamedTuple):
    """One line to be: its type ("flow", "counter", ...), its shape, and a value for each member of the shape."""

    type: str
    shape: Shape
    values: tuple[Any, ...]


WRITTEN: Final = Shape(("texts", Kind.JSON))
"""The shape of a line of type flow that stands for many, each of one packet. Its one value is a list of their texts:
what follows the members of the datagram in each, from a comma to the newline."""


class Decoded(NamedTuple):
    """One export datagram, decoded.

    head: agent, the address that the exporter gives itself, if it does; every line shows it. envelope: members for
    --envelope. problems: what was wrong with parts of it, each a line for a person; the rest is there.
    """

    source: str
    domain: int
    head: dict[str, str]
    envelope: dict[str, Any]
    lines: list[Line]
    problems: list[str]

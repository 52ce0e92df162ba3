"""A packet being taken apart: the packets in packets that layers find, and the members of a line that they make."""

from __future__ import annotations

from functools import lru_cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final, TypeAlias

Members: TypeAlias = "dict[str, Any]"
"""Member of a line -> value: numbers, addresses of 4 or 16 octets, MAC addresses of 6, and JSON values."""

MAX_TUNNELS: Final = 8


class Dissection:
    """A packet being taken apart, layer by layer: `levels` of packets in packets, each carried by one of `tunnels`."""

    def __init__(self, octets: bytes, *, quoted: bool = False) -> None:
        self.data = octets
        self.end = len(octets)
        self.quoted = quoted
        self.level: Members = {}
        self.levels = [self.level]
        self.tunnels: list[Members] = []

    def run(self, step: Step) -> None:
        """Read layer after layer from the given one on, until there is no more to understand."""
        here: tuple[Step, int] | None = (step, 0)
        while here is not None:
            step, position = here
            here = step(self, position)

    def members(self) -> Members:
        """Return the members of the innermost packet with addresses, or else of the outermost."""
        shown = max((number for number, level in enumerate(self.levels) if "saddr" in level), default=0)
        members = self.levels[shown]
        if shown:
            members["tunnel"] = self.tunnels[shown - 1]
            members["outer"] = self._outer(shown - 1)
        if shown < len(self.tunnels):
            members["carries"] = self._carried(shown)
        return members

    def _outer(self, number: int) -> Members:
        outer = as_json(self.levels[number])
        if number:
            outer["tunnel"] = self.tunnels[number - 1]
            outer["outer"] = self._outer(number - 1)
        return outer

    def _carried(self, number: int) -> Members:
        carried = self.tunnels[number] | as_json(self.levels[number + 1])
        if number + 1 < len(self.tunnels):
            carried["carries"] = self._carried(number + 1)
        return carried

    def has(self, position: int, octets: int) -> bool:
        """Tell whether so many octets are left."""
        return position + octets <= self.end

    def enter(self, tunnel: Members) -> bool:
        """Go into a tunnel; False if that would be one too many."""
        if self.quoted or len(self.tunnels) >= MAX_TUNNELS:
            return False
        self.tunnels.append(tunnel)
        self.level = {}
        self.levels.append(self.level)
        return True


Step: TypeAlias = "Callable[[Dissection, int], tuple[Step, int] | None]"
"""Reads a layer at a position, and says which is the next and where it begins, if there is one to be understood."""
Next: TypeAlias = tuple[Step, int] | None


@lru_cache(maxsize=4096)
def address_text(address: bytes) -> str:
    """Return the canonical text of an address of 4 or 16 octets."""
    if len(address) == 4:
        return ".".join(map(str, address))
    from socket import AF_INET6, inet_ntop

    return inet_ntop(AF_INET6, address)


def as_json(level: Members) -> Members:
    """Return members with their addresses as text."""
    return {
        name: value if not isinstance(value, bytes) else value.hex(":") if len(value) == 6 else address_text(value)
        for name, value in level.items()
    }

"""What a capture is made of, and the buffering that all its formats share."""

from __future__ import annotations

from abc import ABC, abstractmethod

from overflowd_tools.errors import DecodeError
from overflowd_tools.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from overflowd_tools.capture.plain import PlainRun

# The longest packet that a capture may hold: MAXIMUM_SNAPLEN of libpcap. (It allows more for USB and D-Bus,
# which carry no IP.) A greater length is damage or an attack on the reader's memory.
MAX_CAPTURED = 262_144


class Packet(NamedTuple):
    """One captured packet as the file holds it, link-layer header first.

    `number` counts from 1 in the file, as tshark does. `timestamp_ns` is Unix time in nanoseconds, 0 where
    the file has none. `link_type` is a LINKTYPE_ value. `original_length` is the octets that were on the
    wire; `note` says why `data` holds fewer and is empty when the packet is whole.
    """

    number: int
    timestamp_ns: int
    link_type: int
    data: bytes
    original_length: int
    note: str = ""


class IPPacket(NamedTuple):
    """What the IP and transport headers of a packet, or of a reassembled datagram, say.

    Addresses are 4 or 16 octets. `protocol` is the one above all IPv6 extension headers. `length` is the
    octets of the IP packet as its header says, of the whole one after reassembly. `payload` is that of UDP
    or TCP, empty for any other protocol; `missing` counts the octets which the header lengths promise and
    the capture lacks. What a protocol does not have, or a cut packet does not show, is None.
    """

    source: bytes
    destination: bytes
    protocol: int
    tos: int
    length: int
    source_port: int | None
    destination_port: int | None
    tcp_flags: int | None
    icmp: tuple[int, int] | None
    payload: bytes
    missing: int
    tcp_sequence: int | None = None


class ExportMessage(NamedTuple):
    """A message of an IPFIX file, which has no packets around it; `number` counts from 1 in the file."""

    number: int
    data: bytes


Item: TypeAlias = "Packet | PlainRun | ExportMessage | DecodeError"


def cut_by_snapshot(captured: int, original: int) -> str:
    """Return the note of a packet of which the capture kept `captured` octets; empty when that is all."""
    return f"cut by the snapshot length: {captured} of {original} bytes" if captured < original else ""


def cut_by_end(have: int, original: int) -> str:
    """Return the note of a packet in which the file ends after `have` octets."""
    return f"cut at the end of the file: {have} of {original} bytes"


def over_limit(captured: int) -> str:
    """Return the complaint about a packet longer than any can be."""
    return f"the captured length {captured} is over the limit of {MAX_CAPTURED} bytes"


class PacketReader(ABC):
    """Turns a stream of bytes, cut anywhere, into items: what became whole, and what was wrong, in order.

    A format says in `_parse` how to read and in `_parse_cut` what to make of a rest at the end. `finished`
    turns true at damage that leaves no way to find the next packet, and at close().
    """

    def __init__(self) -> None:
        self.finished = False
        self._number = 0
        self._need = 1
        self._pending = bytearray()

    @property
    def buffered(self) -> int:
        """Octets held back until more arrive; never more than one packet and its wrapping."""
        return len(self._pending)

    def feed(self, data: bytes) -> list[Item]:
        """Take the next bytes of the capture and return the items that they complete."""
        if self.finished:
            return []
        items: list[Item] = []
        offset = self._complete_pending(data, items)
        if offset < len(data) and not self.finished:
            offset = self._parse(data, offset, items)
            self._pending += data[offset:]
        if self.finished:
            self._pending.clear()
        return items

    def _complete_pending(self, data: bytes, items: list[Item]) -> int:
        """Parse what waits, with no more of the data than it needs; return how much of them it took."""
        taken = 0
        while self._pending and taken < len(data) and not self.finished:
            missing = self._need - len(self._pending)
            self._pending += data[taken : taken + missing]
            taken = min(taken + missing, len(data))
            if len(self._pending) >= self._need:
                del self._pending[: self._parse(bytes(self._pending), 0, items)]
        return taken

    def close(self) -> list[Item]:
        """Say that the capture ends here and return what can be told of a packet cut by that."""
        if self.finished:
            return []
        items: list[Item] = []
        self._parse_cut(bytes(self._pending), items)
        self.finished = True
        self._pending = bytearray()
        return items

    @abstractmethod
    def _parse(self, data: bytes, offset: int, items: list[Item]) -> int:
        """Append the items of `data` from `offset` on, return where they end, set `_need` to what the next one takes.

        That is more than what is left of `data`, and no more than what has to be there for the next look at it.
        """

    @abstractmethod
    def _parse_cut(self, data: bytes, items: list[Item]) -> None:
        """Append the items of the octets that are left over at the end of the capture."""

    def _complain(self, reason: str) -> DecodeError:
        """Return the error of the packet or place after the last one that was read."""
        return DecodeError(f"packet {self._number + 1}: {reason}")

    def _stop(self, reason: str) -> DecodeError:
        """As `_complain`, for damage after which nothing can be found any more."""
        self.finished = True
        return self._complain(reason)

"""IPFIX files, fed as bytes: messages one after the other and nothing between them (RFC 5655 section 4)."""

from __future__ import annotations

import struct

from overflowd_tools.capture.packet import ExportMessage, Item, PacketReader
from overflowd_tools.errors import DecodeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

VERSION: Final = b"\x00\x0a"
_HEADER_LENGTH: Final = 16
_START: Final = struct.Struct("!HH")


class IpfixFileReader(PacketReader):
    """Reads the messages of an IPFIX file; what is in them is for others to judge.

    A message in which the file ends comes as far as it goes: its own length, in its header, then says more.
    """

    def _parse(self, data: bytes, offset: int, items: list[Item]) -> int:
        self._need = _START.size
        while offset + _START.size <= len(data):
            version, length = _START.unpack_from(data, offset)
            if version != VERSION[1]:
                items.append(self._stop(f"version {version} where IPFIX, version 10, belongs"))
                break
            if length < _HEADER_LENGTH:
                items.append(self._stop(f"an IPFIX message cannot be {length} bytes long"))
                break
            if offset + length > len(data):
                self._need = length
                break
            self._number += 1
            items.append(ExportMessage(self._number, data[offset : offset + length]))
            offset += length
        return offset

    def _parse_cut(self, data: bytes, items: list[Item]) -> None:
        if len(data) >= _HEADER_LENGTH:
            self._number += 1
            items.append(ExportMessage(self._number, data))
        elif data:
            items.append(self._complain(f"the file ends inside its header: {len(data)} of {_HEADER_LENGTH} bytes"))

    def _complain(self, reason: str) -> DecodeError:
        return DecodeError(f"message {self._number + 1}: {reason}")

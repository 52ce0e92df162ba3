"""Captures of real exporters (OF_CORPORA), message by message, and what other programs read in them."""

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from overflowd_tools.capture.fragments import Fragments
from overflowd_tools.capture.link import dissect
from overflowd_tools.capture.packet import IPPacket, Packet
from overflowd_tools.capture.reader import CaptureReader
from overflowd_tools.errors import DecodeError
from overflowd_tools.protocols.exporters import Exporters, Row
from overflowd_tools.protocols.netflow9 import AS_SENT, Message, ipfix_messages
from tests.protocols.set_builders import decode_ipfix, decode_netflow9

ROOT = Path(os.environ.get("OF_CORPORA", "/nonexistent"))
PROTOCOLS = ("NetFlow v9", "IPFIX")
CAPTURES = (b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4", b"\x4d\x3c\xb2\xa1", b"\x0a\x0d\x0d\x0a")
UDP = 17
NOWHERE = (bytes(4), 0, 0)


def manifest() -> list[dict[str, str]]:
    """The rows of MANIFEST.tsv of NetFlow 9 and IPFIX whose file is there."""
    if not (ROOT / "MANIFEST.tsv").is_file():
        return []
    with (ROOT / "MANIFEST.tsv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["protocol"] in PROTOCOLS]
    return [row for row in rows if (ROOT / row["file"]).is_file()]


def datagrams(path: Path) -> Iterator[tuple[bytes, tuple[bytes, int, int]]]:
    """Every export datagram of a capture, IPFIX file or file of one payload, and where it came from."""
    data = path.read_bytes()
    if data[:4] not in CAPTURES:
        yield data, NOWHERE
        return
    reader, fragments = CaptureReader(), Fragments()
    for item in reader.feed(data) + reader.close():
        if isinstance(item, Packet):
            packet = dissect(item, fragments)
            if isinstance(packet, IPPacket) and packet.protocol == UDP:
                yield packet.payload, (packet.source, packet.source_port, item.timestamp_ns)


def file_messages(data: bytes) -> Iterator[bytes]:
    """The messages of an IPFIX file, by their lengths; the rest is one that is broken."""
    while len(data) >= 16:
        length = int.from_bytes(data[2:4])
        if length < 16:
            break
        yield data[:length]
        data = data[length:]
    if data:
        yield data


def messages(path: Path, exporters: Exporters | None = None, how: Any = AS_SENT) -> Iterator[Message]:
    """Decode a file; what is no message at all is skipped."""
    exporters = exporters or Exporters()
    for payload, arrival in datagrams(path):
        try:
            if payload[:2] == b"\0\x09":
                yield decode_netflow9(payload, exporters, arrival, how)
            elif payload[:2] == b"\0\x0a":
                whole = file_messages(payload) if arrival is NOWHERE else ipfix_messages(payload)
                for message in whole:
                    yield decode_ipfix(message, exporters, arrival, how)
        except DecodeError:
            continue


def rows(path: Path) -> list[Row]:
    """All rows of a file."""
    return [row for message in messages(path) for row in message.rows]


class Shown:
    """The members of a line, each to be accounted for once."""

    def __init__(self, members: dict[str, Any]) -> None:
        self.fields = dict(_leaves(members))
        extra = members.get("ie", {})
        self.extra = list(extra.items()) if isinstance(extra, dict) else [tuple(pair) for pair in extra]

    def take(self, field: str, key: str, expected: Any) -> bool:
        """Account for an element, in `ie` or its field; False if it is in neither with the value that is expected."""
        if (key, expected) in self.extra:
            self.extra.remove((key, expected))
            return True
        if field in self.fields and self.fields[field] == expected:
            del self.fields[field]
            return True
        return False

    def take_icmp(self, expected: int, before: str = "") -> bool:
        """Account for a type and code of ICMP in one element."""
        names = [before + "icmp_type", before + "icmp_code"]
        found = [self.fields.pop(name, None) for name in names]
        return found == [*expected.to_bytes(2)]

    def left(self) -> dict[str, Any]:
        """What no element accounts for."""
        return self.fields | dict(self.extra)


def _leaves(members: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in members.items():
        if isinstance(value, dict) and before + name != "ie":
            yield from _leaves(value, f"{before}{name}.")
        elif before + name != "ie":
            yield before + name, value

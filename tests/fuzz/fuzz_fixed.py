"""Any datagram gives a batch, None or a DecodeError; every record of a batch is one line of JSON."""

import json
import sys
import zlib
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from overflowd_tools.errors import DecodeError
from overflowd_tools.protocols.detect import decode
from overflowd_tools.protocols.netflow8 import NETFLOW8
from overflowd_tools.records import FlowWriter
from tests.protocols import netflow_builders as build

WRITER = FlowWriter(envelope=True)


def one_input(data: bytes) -> None:
    for missing in (0, zlib.crc32(data) % 3000):
        try:
            batch = decode(data, missing)
        except DecodeError:
            continue
        if batch is None:
            continue
        count, left_over = divmod(len(batch.records), batch.template.length)
        assert left_over == 0
        assert count <= batch.announced
        assert batch.records in data
        lines = WRITER.lines(batch, bytes(4), 2055, 1)
        assert len(lines) == count
        for line in lines:
            assert line.startswith(b'{"type":"flow","pcount":')
            assert line.endswith(b"}\n")
            members = json.loads(line, object_pairs_hook=list)
            assert len(dict(members)) == len(members)


def seeds() -> Iterable[bytes]:
    for kind in build.KINDS:
        yield build.random_datagram(1, kind, 3, nanoseconds=5)
    for scheme, template in NETFLOW8.items():
        header = bytearray(build.header("netflow7", 2))
        header[1] = 8
        header[22] = scheme
        yield bytes(header) + bytes(4) + bytes(range(template.length)) * 2

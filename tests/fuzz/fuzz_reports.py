"""Any line is a report, another line or a RecordError; only those signed here are genuine, whatever is done to them."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "reports"))

import make_vectors

from overflowd_tools.errors import RecordError
from overflowd_tools.reports import canonical, report, writer
from overflowd_tools.reports.reader import read_line
from overflowd_tools.trust.keys import SecretKey

VECTORS = make_vectors.VECTORS
KEY = SecretKey.from_seed(make_vectors.SEED)
ORIGINALS = (VECTORS / "overflowd-2016.txt").read_bytes().splitlines()
LINES = [*(path.read_bytes().rstrip(b"\n") for path in sorted(VECTORS.glob("*.report"))), *ORIGINALS]
GENUINE = {read.text for line in LINES if (read := read_line(line))}
CONTACT = writer.Contact("noc@example.net", "Example Net")


def one_input(data: bytes) -> None:
    judge(data)
    try:
        value = canonical.decode(data)
    except RecordError:
        pass
    else:
        assert canonical.encode(value) == data
    sign(data)


def judge(line: bytes) -> None:
    try:
        read = read_line(line)
        if read is None:
            assert "verified" not in json.loads(line)
            return
        read.verify()
    except RecordError:
        return
    assert read.text in GENUINE
    again = read_line(read.with_verified(0))
    assert again == read


def sign(line: bytes) -> None:
    """Take the bytes for a flow: what is made of it is a report like any other."""
    try:
        flow = canonical.loads(line)
        bodies = writer.Writer(KEY.public, CONTACT, ("src", "dst"), 1000).bodies(flow, 0)
    except RecordError:
        return
    for body in bodies:
        read = report.from_signed(body, bytes(64))
        assert len(read.signed) <= writer.MAX_SIGNED


def seeds() -> Iterable[bytes]:
    yield from LINES
    yield from (read_line(line).with_verified(0) for line in LINES)
    yield from (json.dumps(json.loads(line)).encode() for line in LINES[:4])
    yield from (row.split(b"\t")[1] for row in (VECTORS / "refused.tsv").read_bytes().splitlines())
    for parts in make_vectors.REPORTS.values():
        data, metadata = parts["flowdata"]["data"], parts["metadata"]
        flow = {
            "type": "flow",
            "source": "netflow5",
            **data,
            **{n: metadata[n] for n in ("p_ppt", "why") if n in metadata},
        }
        yield json.dumps(flow).encode()

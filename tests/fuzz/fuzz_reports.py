"""Any line is a report, another line or a RecordError; only those signed here are genuine, whatever is done to them."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "reports"))

import make_vectors

from overflowd_tools.errors import KeyFileError, RecordError
from overflowd_tools.reports import canonical, envelope, flows, forms, original, plain, report, serials, writer
from overflowd_tools.reports.reader import read_line
from overflowd_tools.trust.keys import SecretKey

VECTORS = make_vectors.VECTORS
KEY = SecretKey.from_seed(make_vectors.SEED)
ORIGINALS = (VECTORS / "overflowd-2016.txt").read_bytes().splitlines()
LINES = [*(path.read_bytes().rstrip(b"\n") for path in sorted(VECTORS.glob("*.report"))), *ORIGINALS]
READ = [read_line(line) for line in LINES]
GENUINE = {read.text: read for read in READ}
DATAGRAMS = [path.read_bytes() for path in sorted(VECTORS.glob("*.datagram"))]
SIGNED = {read.signed for read in READ}
CONTACT = writer.Contact("noc@example.net", "Example Net")
FORMS = forms.Forms()


def one_input(data: bytes) -> None:
    judge(data)
    judge_datagram(data)
    remember(data)
    try:
        value = canonical.decode(data)
    except RecordError:
        pass
    else:
        assert canonical.encode(value) == data
    sign(data)


def judge(line: bytes) -> None:
    """What is genuine is one of the reports that were signed, whole: no piece of one, and no mixture of two."""
    quick = plain.read(line)
    try:
        read = read_line(line)
        if read is None:
            assert "verified" not in original.loads(line)
            return
        assert quick is None or quick == report.read(line)
        read.verify()
    except RecordError:
        return
    assert read == GENUINE[read.text]
    again = read_line(read.with_verified(0))
    assert again == read


def judge_datagram(data: bytes) -> None:
    try:
        _, _, signature, signed = envelope.unpack(data)
        read = report.from_signed(signed, signature)
        read.verify()
    except RecordError:
        return
    assert read.signed == signed
    assert signed in SIGNED


def remember(data: bytes) -> None:
    """Take the bytes for what a state file had in it: they are refused, or numbers go on from them."""
    numbers = serials.Serials()
    try:
        if not numbers.load(data, "key"):
            return
    except KeyFileError:
        return
    epoch, seq, packets, octets = numbers.next(b"::1", 5, 7)
    assert 0 <= epoch <= canonical.MAX_INTEGER
    assert 1 <= seq <= canonical.MAX_INTEGER
    assert max(packets, octets) <= canonical.MAX_INTEGER
    again = serials.Serials()
    assert again.load(numbers.dump("key"), "key")
    assert again.dump("key") == numbers.dump("key")


def sign(line: bytes) -> None:
    """Take the bytes for a flow: what is made of it is a report like any other, also where it is not parsed."""
    quick = FORMS.read(line)
    try:
        flow = canonical.loads(line)
        facts = flows.facts(flow)
    except RecordError:
        assert quick is None
        return
    assert quick is None or quick == facts
    try:
        bodies = writer.Writer(KEY.public, CONTACT, ("src", "dst"), 1000).bodies(flow, 0)
    except RecordError:
        return
    for body in bodies:
        read = report.from_signed(body, bytes(64))
        assert len(read.signed) <= writer.MAX_SIGNED


def seeds() -> Iterable[bytes]:
    yield from LINES
    yield from (read.with_verified(0) for read in READ)
    yield from DATAGRAMS
    yield b'{"epoch":1,"key":"key"}\n{"octets":1,"packets":2,"seq":3,"to":"::1"}\n'
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
        yield json.dumps(flow, separators=(",", ":")).encode()

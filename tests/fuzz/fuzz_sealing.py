"""Any line and any datagram is a sealed report that opens, or refused; what opens is what was sealed here."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "reports"))

import make_sealed

from overflowd_tools.commands import recv
from overflowd_tools.commands.open import opened
from overflowd_tools.delivery import admission
from overflowd_tools.delivery.sockets import Datagram
from overflowd_tools.errors import KeyFileError, RecordError
from overflowd_tools.reports import sealed
from overflowd_tools.trust import bech32, sealing
from overflowd_tools.trust.sealing import ReceivingKey, RecipientKey

VECTORS = make_sealed.VECTORS
KEY = ReceivingKey(make_sealed.SECRET)
OLD = ReceivingKey(bytes(32))
KEYS = {KEY.public.hint: [OLD, KEY]}  # as if the hint of an old key were the same
REPORTS = {(VECTORS / f"{name}.report").read_bytes().rstrip(b"\n") for name in make_sealed.NAMES}
LOCAL = bytes([198, 51, 100, 1])


def one_input(data: bytes) -> None:
    judge(data)
    arrive(data)
    texts(data)
    try:
        assert sealing.pad(sealing.unpad(data)).rstrip(b"\0") == data.rstrip(b"\0")
    except RecordError:
        pass
    box = KEY.public.seal(data)
    assert KEY.open(box) == data
    judge(sealed.Sealed(KEY.public.hint, box).line())


def judge(line: bytes) -> None:
    try:
        found = sealed.read_line(line)
        if found is None:
            return
        assert sealed.read_line(found.line()) == found
        text = opened(found, KEYS).text
    except RecordError:
        return
    # What this module sealed itself may be any report; without its key, none but those of the vectors.
    assert json.loads(text)


def arrive(payload: bytes) -> None:
    datagram = Datagram(1, LOCAL, 1, LOCAL, 65535, payload)
    if not admission.is_sealed(payload):
        return
    try:
        line = recv.admit_sealed(datagram, (), admission.Seen(remembered=1))
        found = sealed.read_line(line)
        assert found is not None
        assert found.datagram() == payload
        assert opened(found, KEYS).text in REPORTS
    except RecordError:
        pass


def texts(data: bytes) -> None:
    text = data[:200].decode("latin-1").strip()
    for parse in (RecipientKey.parse, ReceivingKey.parse):
        try:
            parse(text)
        except KeyFileError:
            pass
    try:
        prefix, octets = bech32.decode(text)
    except KeyFileError:
        return
    assert bech32.encode(prefix, octets) == text.lower()


def seeds() -> Iterable[bytes]:
    for path in sorted(VECTORS.glob("*.sealed*")):
        yield path.read_bytes().rstrip(b"\n") if path.suffix == ".sealed" else path.read_bytes()
    yield from (row.split(b"\t")[1] for row in (VECTORS / "refused-sealed.tsv").read_bytes().splitlines())
    yield from REPORTS
    yield from (KEY.public.text.encode(), KEY.secret_text().encode(), bech32.encode("a", b"").encode())

"""Make the vectors of sealed reports again: python tests/reports/make_sealed.py [DIRECTORY].

A sealed box is made here step by step, from libsodium's box and not from its sealed box, as the page describes it.
Its ephemeral key, which is drawn at random in earnest, comes from a fixed seed: so every run makes the same bytes.
"""

import base64
import json
import sys
from hashlib import blake2b, sha256
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from nacl.bindings import crypto_box, crypto_scalarmult_base

from overflowd_tools.trust import bech32

VECTORS = Path(__file__).parents[1] / "data" / "vectors"
SECRET = bytes(range(0x40, 0x60))
PUBLIC = crypto_scalarmult_base(SECRET)
HINT = sha256(PUBLIC).digest()[:4]
EPHEMERAL = bytes(range(0x60, 0x80))
NAMES = ("every-field", "largest", "unicode")


def seal(contents: bytes, public: bytes = PUBLIC) -> bytes:
    """Return the sealed box of contents, padded or not."""
    ephemeral = crypto_scalarmult_base(EPHEMERAL)
    nonce = blake2b(ephemeral + public, digest_size=24).digest()
    return ephemeral + crypto_box(contents, nonce, public, EPHEMERAL)


def padded(contents: bytes) -> bytes:
    length = -(-(len(contents) + 1) // 64) * 64
    return (contents + b"\x80").ljust(1144 if len(contents) < 1144 < length else length, b"\0")


def line(box: bytes, **changed: object) -> str:
    members = {"$schema": "overflowd-sealed/1", "hint": HINT.hex(), "sealed": base64.b64encode(box).decode()}
    return json.dumps({**members, **changed}, separators=(",", ":"), sort_keys=True)


def refused(report: bytes) -> list[tuple[str, str]]:
    """Return sealed lines that give no report, each after the reason that of-open gives."""
    to = json.loads(report)["metadata"]["to"]
    good = seal(padded(report))
    other = crypto_scalarmult_base(bytes(32))
    ours = f"not a report: what is sealed for our key, hint {HINT.hex()}"
    return [
        (f"cannot be opened: damaged, or not for our key, hint {HINT.hex()}", line(good[:-1], to=to)),
        (f"cannot be opened: damaged, or not for our key, hint {HINT.hex()}", line(bytes(32) + good[32:], to=to)),
        (f"cannot be opened: damaged, or not for our key, hint {HINT.hex()}", line(good[:70] + b"x" + good[71:])),
        (f"cannot be opened: damaged, or not for our key, hint {HINT.hex()}", line(seal(padded(report), other))),
        ("no key: sealed for a key of another, hint 00000000", line(good, hint="00000000")),
        (f"{ours}: what was sealed is not padded", line(seal(report))),
        (f"{ours}: not a report: not a JSON object", line(seal(padded(b"[]")))),
        (f"{ours}: not a report", line(seal(padded(b"{}")))),
        (ours, line(seal(padded(b'{"type":"flow"}')))),
        (ours, line(seal(padded(line(good).encode())))),
        (f"wrong recipient: sealed to 192.0.2.99, and its report is to {to}", line(good, to="192.0.2.99")),
        ("not a sealed report: cut: its box has 48 octets, and none is under 112", line(seal(b""))),
        ("not a sealed report: sealed is not base64", line(good, sealed="!")),
        ("not a sealed report: hint is not 8 hexadecimal digits", line(good, hint=7)),
        ('not a sealed report: "$schema" is not "overflowd-sealed/1"', line(good, **{"$schema": "overflowd-sealed/2"})),
    ]


def make(directory: Path) -> None:
    """Write all the files that this module makes."""
    secret, public = bech32.encode("age-secret-key-", SECRET).upper(), bech32.encode("age", PUBLIC)
    (directory / "receiving-key").write_text(f"# public key: {public}\n{secret}\n")
    for name in NAMES:
        report = (VECTORS / f"{name}.report").read_bytes().rstrip(b"\n")
        box = seal(padded(report))
        (directory / f"{name}.sealed-datagram").write_bytes(b"OFX1" + HINT + box)
        (directory / f"{name}.sealed").write_text(line(box, to=json.loads(report)["metadata"]["to"]) + "\n")
    report = (VECTORS / "every-field.report").read_bytes().rstrip(b"\n")
    text = "".join(f"{reason}\t{bad}\n" for reason, bad in refused(report))
    (directory / "refused-sealed.tsv").write_text(text)


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else VECTORS)

"""Make the test vectors of overflowd-report(5) again: python tests/reports/make_vectors.py [DIRECTORY].

Nothing in them is random: the key comes from a fixed seed, the times and numbers are chosen. So every run, on every
machine, makes the same bytes, and a test holds that against tests/data/vectors.
"""

import base64
import json
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from overflowd_tools.reports import batch, canonical, envelope, report
from overflowd_tools.trust.keys import SecretKey

VECTORS = Path(__file__).parents[1] / "data" / "vectors"
SEED = bytes(range(32))
TIME_MS = 1_795_219_200_000  # 2026-11-21T00:00:00Z
MOST = canonical.MAX_INTEGER
V6 = "2001:db8:ffff:ffff:ffff:ffff:ffff:"

FLOWDATA = {
    "data": {
        "saddr": "192.0.2.7",
        "daddr": "198.51.100.1",
        "sport": 53,
        "dport": 40000,
        "protocol": 17,
        "flags": 0,
        "tos": 0,
        "pcount": 17001,
        "bcount": 682512,
        "start_ms": TIME_MS - 62_000,
        "end_ms": TIME_MS - 1_000,
    },
    "sourcetype": {"type": "Netflow", "version": 5},
}
METADATA = {
    "class": "INFORMATIONAL",
    "info": "FLOWSEEN",
    "time_ms": TIME_MS,
    "expires_ms": TIME_MS + 3_600_000,
    "epoch": 210_889_305_124_386,
    "seq": 1,
}
REPORTS = {
    "every-field": {
        "contact": {"email": "noc@example.net", "identity": "Example Net"},
        "flowdata": FLOWDATA,
        "metadata": {
            **METADATA,
            "to": "198.51.100.1",
            "role": "dst",
            "p_ppt": 17_001_000_000,
            "sampling_rate": 100,
            "why": ["amprep", "frag"],
        },
    },
    "largest": {
        "contact": {"email": f"{'e' * 52}@example.net", "identity": "i" * 64},
        "flowdata": {
            "data": {
                "saddr": f"{V6}1111",
                "daddr": f"{V6}2222",
                "sport": 65535,
                "dport": 65535,
                "protocol": 255,
                "flags": 65535,
                "tos": 255,
                "pcount": MOST,
                "bcount": MOST,
                "start_ms": -MOST,
                "end_ms": MOST,
            },
            "sourcetype": {"type": "IPFIX", "version": 10},
        },
        "metadata": {
            **METADATA,
            "epoch": (1 << 48) - 1,
            "seq": MOST,
            "to": f"{V6}1111",
            "role": "src",
            "p_ppt": 10**12,
            "sampling_rate": MOST,
            "why": ["amprep", "frag", "list"],
        },
    },
    "total": {
        "contact": {"email": "noc@example.net", "identity": "Example Net"},
        "flowdata": FLOWDATA,
        "metadata": {
            **METADATA,
            "seq": 7,
            "to": "198.51.100.1",
            "role": "dst",
            "p_ppt": 17_001_000_000,
            "sampling_rate": 100,
            "total": {"octets": 28_101_782_247, "packets": 700_000_000, "reports": 7},
        },
    },
    "smallest": {
        "contact": {"email": "a@b", "identity": "C"},
        "flowdata": {"data": {"saddr": "::1", "daddr": "::ffff:192.0.2.1"}},
        "metadata": METADATA,
    },
    "unicode": {
        "contact": {"email": "noc@example.net", "identity": 'Universität "Köln" \\ 科隆 🎓'},
        "flowdata": FLOWDATA,
        "metadata": {**METADATA, "to": "192.0.2.7", "role": "src"},
    },
}
REPORTS["largest-total"] = {
    **REPORTS["largest"],
    "metadata": {
        **REPORTS["largest"]["metadata"],
        "total": {"octets": MOST, "packets": MOST, "reports": MOST},
        "why": ["amprep", "frag"],
    },
}


def signed_report(parts: dict, key: SecretKey) -> tuple[bytes, bytes]:
    """Return the signed bytes and the signature of a report of these parts."""
    signed = canonical.encode({"$schema": report.SCHEMA, **parts, "signature": {"key": key.public.text}})
    return signed, key.sign(signed)


def refused(line: str, key: SecretKey) -> list[tuple[str, str]]:
    """Return lines that are no genuine reports, each after the reason that of-verify gives."""
    other = SecretKey.from_seed(bytes(32)).public.text
    small_order = base64.b64encode(b"Ed" + bytes(8) + b"\1" + bytes(31)).decode()
    deep = '"class":{"a":{"b":{"c":{"d":1}}}},"class"'

    def changed(old: str, new: str) -> str:
        assert line.count(old) >= 1
        return line.replace(old, new, 1)

    def resigned(change: Callable[[dict], None]) -> str:
        """Sign again, rightly, what should not have been signed."""
        members = json.loads(line)
        del members["signature"]["signature"]
        change(members)
        signed = json.dumps(members, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()
        return report.with_signature(signed, key.sign(signed)).decode()

    not_report = "not a report: "
    return [
        ("bad signature", changed('"dport":40000', '"dport":40001')),
        ("bad signature", changed('"identity":"Example Net"', '"identity":"Example net"')),
        ("bad signature", changed('"role":"dst"', '"role":"src"').replace('"to":"198.51.100.1"', '"to":"192.0.2.7"')),
        ("bad signature", changed(key.public.text, other)),
        ("bad signature", changed('"tos":0', '"tos":0,"ttl":64')),
        ("not canonical: null", resigned(lambda members: members["metadata"].update(note=None))),
        ("not canonical: true or false", resigned(lambda members: members["metadata"].update(note=True))),
        ("not canonical: integer beyond 2^53-1", resigned(lambda members: members["metadata"].update(note=2**53))),
        (
            "not canonical: a number that is no integer up to 2^53-1",
            resigned(lambda members: members["metadata"].update(note=0.5)),
        ),
        ("not canonical: nested deeper than 5", resigned(lambda members: members["metadata"].update(a=[[[[]]]]))),
        ("not canonical: duplicate key", changed('"class"', '"class":"INFORMATIONAL","class"')),
        ("not canonical: duplicate key", changed('"class"', deep)),
        (
            "not canonical: a key that is not printable ASCII",
            resigned(lambda members: members["metadata"].update({"ö": 1})),
        ),
        (
            "not canonical: control character in a string",
            resigned(lambda members: members["contact"].update(identity="\x1b[2J")),
        ),
        (f"{not_report}to is not an endpoint of the flow", resigned(lambda m: m["metadata"].update(to="192.0.2.8"))),
        (
            f"{not_report}to is not the daddr, which role dst stands for",
            resigned(lambda members: members["metadata"].update(to="192.0.2.7")),
        ),
        (f"{not_report}role is not src or dst", resigned(lambda members: members["metadata"].update(role="both"))),
        (f"{not_report}no expires_ms", resigned(lambda members: members["metadata"].pop("expires_ms"))),
        (
            f"{not_report}dport is not an integer from 0 to 65535",
            resigned(lambda members: members["flowdata"]["data"].update(dport=65536)),
        ),
        (
            f"{not_report}saddr is not in the canonical form of addresses",
            resigned(lambda members: members["flowdata"]["data"].update(saddr="2001:DB8::1")),
        ),
        (
            f"{not_report}its members are not $schema, contact, flowdata, metadata, signature",
            resigned(lambda members: members.update(note="x")),
        ),
        (f'{not_report}"$schema" is not "overflowd-report/2"', changed("overflowd-report/2", "overflowd-report/3")),
        (f"{not_report}signature.key: not a valid Ed25519 public key", changed(key.public.text, small_order)),
        (f"{not_report}signature.signature is not base64", changed('=="}}', ' =="}}')),
    ]


def make(directory: Path) -> None:
    """Write all the files that this module makes."""
    key = SecretKey.from_seed(SEED)
    public = f"untrusted comment: key of the test vectors\n{key.public.text}\n"
    (directory / "reporter.pub").write_text(public)
    for name, parts in REPORTS.items():
        signed, signature = signed_report(parts, key)
        (directory / f"{name}.signed").write_bytes(signed)
        (directory / f"{name}.report").write_bytes(report.with_signature(signed, signature) + b"\n")
        (directory / f"{name}.datagram").write_bytes(envelope.pack(key.public, signature, signed))
    make_batch(directory, key)
    line = (directory / "every-field.report").read_text().rstrip("\n")
    lines = [f"{reason}\t{bad}\n" for reason, bad in refused(line, key)]
    (directory / "refused.tsv").write_text("".join(lines))


def make_batch(directory: Path, key: SecretKey) -> None:
    """Write three of the reports as a batch: NAME-of-3.report each, and what was signed for all of them."""
    names = ("smallest", "total", "unicode")
    bodies = [signed_report(REPORTS[name], key)[0] for name in names]
    for name, body, proof in zip(names, bodies, batch.sign(bodies, key), strict=True):
        (directory / f"{name}-of-3.report").write_bytes(report.with_proof(body, proof) + b"\n")
    first, second, third = (sha256(b"\0" + body).digest() for body in bodies)
    root = sha256(b"\1" + sha256(b"\1" + first + second).digest() + third).digest()
    (directory / "of-3.root").write_bytes(batch.statement(key.public, 3, root))


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else VECTORS)

"""Make the test vectors of statements again: python tests/reports/make_statements.py [DIRECTORY].

As those of reports (make_vectors.py), every run makes the same bytes.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from make_vectors import REPORTS, SEED, TIME_MS, VECTORS, signed_report

from overflowd_tools.reports import canonical, report, statements
from overflowd_tools.trust.keys import SecretKey

KEY = SecretKey.from_seed(SEED)
NEW, RECOVERY = (SecretKey.from_seed(bytes([number]) * 32) for number in (1, 2))
YEAR_MS = 365 * 86_400_000
OVERLAP_MS = 30 * 86_400_000


def evidence() -> bytes:
    """Return the evidence that the key signed two reports with one number."""
    parts = REPORTS["every-field"]
    reports = []
    for tos in (0, 4):
        data = {**parts["flowdata"]["data"], "tos": tos}
        signed, signature = signed_report({**parts, "flowdata": {**parts["flowdata"], "data": data}}, KEY)
        reports.append(json.loads(report.with_signature(signed, signature)))
    members = {"$schema": statements.EVIDENCE, "reports": reports}
    return json.dumps(members, separators=(",", ":"), ensure_ascii=False).encode()


def make(directory: Path) -> None:
    """Write all the files that this module makes."""
    contact = {"email": "noc@example.net", "identity": "Example Net"}
    lines = {
        "announcement": statements.announcement(KEY, TIME_MS, contact, TIME_MS + YEAR_MS, RECOVERY.public),
        "rotation": statements.rotation(KEY, NEW, TIME_MS, TIME_MS + OVERLAP_MS),
        "revocation": statements.revocation(KEY.public, KEY, TIME_MS, TIME_MS, "no longer used"),
        "recovery": statements.revocation(KEY.public, RECOVERY, TIME_MS, TIME_MS - 86_400_000, "stolen"),
        "evidence": evidence(),
    }
    for name, line in lines.items():
        (directory / f"{name}.statement").write_bytes(line + b"\n")
    for name in ("rotation", "recovery"):
        members = json.loads(lines[name])
        del members["signatures"]
        (directory / f"{name}.signed").write_bytes(canonical.encode(members))


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else VECTORS)

"""of-seal: encrypt reports, each for its recipient alone."""

import os
import sys
from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING

from overflowd_tools import command, stream
from overflowd_tools.errors import RecordError

if TYPE_CHECKING:
    from overflowd_tools.reports.report import Report
    from overflowd_tools.trust.sealing import RecipientKey


def options() -> command.Parser:
    """Return the parser of of-seal."""
    parser = command.parser("of-seal", "Encrypt reports, each for its recipient alone.")
    parser.add_argument(
        "--keys",
        metavar="FILE",
        action=command.Once,
        required=True,
        help="whose key is for which addresses: lines PREFIX KEY; the longest prefix counts",
    )
    parser.add_argument("--require", action="store_true", help="let no report go on in clear")
    return parser


def run(context: command.Context) -> None:
    """Seal each report for whose recipient there is a key; any other line goes through as it is."""
    from overflowd_tools.reports.reader import read_line
    from overflowd_tools.trust import recipients

    keys = recipients.parse(stream.read_text(context.args.keys), context.args.keys)
    secret = os.urandom(16)
    write, counts = context.output.write, context.counts
    counts |= {"sealed": 0, "in_clear": 0, "other_lines": 0}
    for source in context.inputs():
        for number, line in source.lines():
            try:
                report = read_line(line)
            except RecordError as error:
                reason = str(error)
                context.reject(source.name, f"line {number}", reason, reason.partition(":")[0])
                continue
            if report is None:
                write(line + b"\n")
                counts["other_lines"] += 1
            elif key := report.to and keys.key(report.to):
                write(seal(report, key, secret) + b"\n")
                counts["sealed"] += 1
            elif context.args.require:
                context.reject(source.name, f"line {number}", f"no key for {report.to or 'everybody'}", "no key")
            else:
                write(line + b"\n")
                counts["in_clear"] += 1


def seal(report: "Report", key: "RecipientKey", secret: bytes) -> bytes:
    """Return the line of a sealed report.

    secret: what hides the flow in the member by which of-send knows that it has reported a flow already.
    """
    from overflowd_tools.reports.sealed import Sealed

    flow = blake2b(report.flow, key=secret, digest_size=8).hexdigest().encode()
    return Sealed(key.hint, key.seal(report.text), report.to, report.expires_ms, flow).line()


def main(argv: Sequence[str] | None = None) -> int:
    """Run of-seal and return its exit status."""
    return command.run(options(), run, argv)


if __name__ == "__main__":
    sys.exit(main())

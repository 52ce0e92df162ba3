"""of-verify: pass on the reports that are genuine, and say why the others are not."""

import sys
import time
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from overflowd_tools import command
from overflowd_tools.errors import KeyFileError, RecordError, UsageError

if TYPE_CHECKING:
    from overflowd_tools.trust.keys import PublicKey

KEY_CHARACTERS = 56


def options() -> command.Parser:
    """Return the parser of of-verify."""
    parser = command.parser("of-verify", "Pass on the reports that are genuine; say why the others are not.")
    parser.add_argument(
        "--key",
        metavar="KEY",
        action="append",
        default=[],
        help="accept this key alone: its RW... text, or a file of such; may be repeated",
    )
    parser.add_argument("--ignore-expiry", action="store_true", help="accept reports that have expired")
    return parser


def run(context: command.Context) -> None:
    """Judge each report; lines of other types go through as they are."""
    from overflowd_tools.reports.reader import read_line

    accepted = _keys(context.args.key)
    ignore_expiry = context.args.ignore_expiry
    write, counts = context.output.write, context.counts
    counts |= {"verified": 0, "other_lines": 0}
    for source in context.inputs():
        for number, line in source.lines():
            try:
                report = read_line(line)
                if report is None:
                    write(line + b"\n")
                    counts["other_lines"] += 1
                    continue
                report.verify(accepted)
                now_ms = time.time_ns() // 1_000_000
                report.check_time(now_ms, ignore_expiry=ignore_expiry)
            except RecordError as error:
                reason = str(error)
                context.reject(source.name, f"line {number}", reason, reason.partition(":")[0])
                continue
            write(report.with_verified(now_ms) + b"\n")
            counts["verified"] += 1


def _keys(values: list[str]) -> "Collection[PublicKey]":
    """Return the keys that --key names, each by its text or by a file. Raises KeyFileError or UsageError."""
    from overflowd_tools.trust.keyfiles import read_public_keys
    from overflowd_tools.trust.keys import PublicKey

    accepted: set[PublicKey] = set()
    for value in values:
        if len(value) == KEY_CHARACTERS and value.startswith("RW"):
            try:
                accepted.add(PublicKey.parse(value))
            except KeyFileError as error:
                raise UsageError(f"--key {value}: {error}") from None
        else:
            accepted.update(read_public_keys(value))
    return accepted


def main(argv: Sequence[str] | None = None) -> int:
    """Run of-verify and return its exit status."""
    return command.run(options(), run, argv)


if __name__ == "__main__":
    sys.exit(main())

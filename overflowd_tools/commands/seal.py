"""of-seal: encrypt reports, each for its recipient alone, or all in one file."""

from __future__ import annotations

import os
import sys
from hashlib import blake2b

from overflowd_tools import command, stream
from overflowd_tools.errors import RecordError, UsageError
from overflowd_tools.options import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from overflowd_tools.reports.report import Report
    from overflowd_tools.trust.sealing import RecipientKey


def options() -> Options:
    """Return the options of of-seal."""
    made = command.options("of-seal", "Encrypt reports, each for its recipient alone, or all in one file.")
    made.add(
        "--keys",
        metavar="FILE",
        help="whose key is for which addresses: lines PREFIX KEY; the longest prefix counts",
    )
    made.add("--require", action="store_true", help="with --keys: let no report go on in clear")
    made.add(
        "--age",
        metavar="KEY",
        action="append",
        help="instead of --keys: make of the whole input one age file, which KEY opens; may be repeated",
    )
    return made


def run(context: command.Context) -> None:
    """Seal each report for its recipient, or everything in one file."""
    args = context.args
    if bool(args.keys) == bool(args.age) or (args.age and args.require):
        raise UsageError("one of --keys FILE [--require] and --age KEY is needed; -h shows the usage")
    write = context.output.write
    for data in _age_file(context) if args.age else _sealed_lines(context):
        write(data)


def _sealed_lines(context: command.Context) -> Iterator[bytes]:
    """Yield each report sealed, if there is a key for its recipient; any other line as it is."""
    from overflowd_tools.trust import recipients

    keys = recipients.parse(stream.read_text(context.args.keys), context.args.keys)
    secret = os.urandom(16)
    counts = context.counts
    counts |= {"sealed": 0, "in_clear": 0, "other_lines": 0}
    for place, line, report in _reports(context):
        if report is None:
            counts["other_lines"] += 1
            yield line + b"\n"
        elif key := report.to and keys.key(report.to):
            counts["sealed"] += 1
            yield seal(report, key, secret) + b"\n"
        elif context.args.require:
            context.reject(*place, f"no key for {report.to or 'everybody'}", "no key")
        else:
            counts["in_clear"] += 1
            yield line + b"\n"


def _age_file(context: command.Context) -> Iterator[bytes]:
    """Yield an age file of all reports, and of any other lines as they are."""
    from overflowd_tools.trust import age_files
    from overflowd_tools.trust.sealing import RecipientKey

    keys = [RecipientKey.parse(text) for text in context.args.age]
    return age_files.encrypted(_blocks(context), keys)


def _blocks(context: command.Context) -> Iterator[bytes]:
    counts = context.counts
    counts |= {"sealed": 0, "other_lines": 0}
    held: list[bytes] = []
    size = 0
    for _, line, report in _reports(context):
        counts["other_lines" if report is None else "sealed"] += 1
        held.append(line)
        size += len(line) + 1
        if size >= stream.WRITE_SIZE:
            yield b"\n".join([*held, b""])
            held.clear()
            size = 0
    yield b"\n".join([*held, b""])


def _reports(context: command.Context) -> Iterator[tuple[tuple[str, str], bytes, Report | None]]:
    """Yield (name and place, line, report) of each line of the inputs; of other lines than reports, None."""
    from overflowd_tools.reports.reader import read_line

    for source in context.inputs():
        for number, line in source.lines():
            place = source.name, f"line {number}"
            try:
                yield place, line, read_line(line)
            except RecordError as error:
                reason = str(error)
                context.reject(*place, reason, reason.partition(":")[0])


def seal(report: Report, key: RecipientKey, secret: bytes) -> bytes:
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

"""of-sign: make signed reports of flows, one for each recipient."""

import argparse
import os
import shlex
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from overflowd_tools import command, passphrase
from overflowd_tools.errors import RecordError, UsageError

if TYPE_CHECKING:
    from overflowd_tools.config import Config
    from overflowd_tools.reports import original, writer
    from overflowd_tools.trust.keys import PublicKey, SecretKey

ROLES: dict[str, tuple[str, ...]] = {"both": ("src", "dst"), "src": ("src",), "dst": ("dst",), "none": ()}
LONGEST_LIFE = 366 * 86400

_EXAMPLE = '--email you@example.net --identity "Your Network"'


def options() -> command.Parser:
    """Return the parser of of-sign."""
    parser = command.parser("of-sign", "Make signed reports of flows, one for each recipient.")
    _add(parser, "-k", "--key", metavar="FILE", help="the secret-key file, in minisign's format")
    _add(parser, "--passphrase-fd", metavar="N", type=int, help="take the passphrase from this descriptor")
    _add(parser, "--email", metavar="ADDR", help="whom to write to about the reports")
    _add(parser, "--identity", metavar="NAME", help="who reports")
    _add(parser, "--to", choices=ROLES, help="the ends of a flow that get a report (both)")
    _add(parser, "--expires", metavar="SECONDS", type=_lifetime, help="how long reports are valid (3600)")
    _add(parser, "--format", choices=("1", "2"), help="version of the reports; 1 is that of 2016 (2)")
    return parser


def _add(parser: command.Parser, *names: str, **more: Any) -> None:
    parser.add_argument(*names, action=command.Once, **more)


def _lifetime(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= LONGEST_LIFE:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 1 to {LONGEST_LIFE}")
    return int(text)


def run(context: command.Context) -> None:
    """Sign each flow; any other line goes through as it is."""
    from overflowd_tools.reports import canonical

    key, maker = _signer(context.args)
    write, counts = context.output.write, context.counts
    counts |= {"flows": 0, "reports": 0, "other_lines": 0}
    for source in context.inputs():
        for number, line in source.lines():
            try:
                record = canonical.loads(line)
                if not _is_flow(record):
                    write(line + b"\n")
                    counts["other_lines"] += 1
                    continue
                bodies = maker.bodies(record, time.time_ns() // 1_000_000)
            except RecordError as error:
                reason = str(error)
                context.reject(source.name, f"line {number}", reason, reason.partition(":")[0])
                continue
            for body in bodies:
                write(maker.complete(body, key.sign(body)) + b"\n")
            counts["flows"] += 1
            counts["reports"] += len(bodies)


def _is_flow(record: dict[str, Any]) -> bool:
    """Tell a flow, whose type may be missing, from reports of both versions and from all else."""
    kind = record.get("type")
    return kind == "flow" or (kind is None and "$schema" not in record and "flowdata" not in record)


def _signer(args: argparse.Namespace) -> "tuple[SecretKey, writer.Writer | original.Writer]":
    """Return the key, and what makes the reports for it to sign."""
    from overflowd_tools import config
    from overflowd_tools.reports.writer import Contact
    from overflowd_tools.trust import keyfiles

    settings = config.load()
    path = args.key or settings.key_path or keyfiles.default_path()
    email, identity = _contact(args, settings, path)
    try:
        contact = Contact(email, identity)
    except RecordError as error:
        raise UsageError(f"--email, --identity: {error}") from None
    key = keyfiles.read_secret_key(path, lambda: passphrase.read(args.passphrase_fd, f"Passphrase of {path}: "))
    return key, _maker(args, key.public, contact)


def _contact(args: argparse.Namespace, settings: "Config", key_path: str) -> tuple[str, str]:
    from overflowd_tools import config

    email = settings.email if args.email is None else args.email
    identity = settings.identity if args.identity is None else args.identity
    if email is None or identity is None:
        if os.path.exists(key_path):
            raise UsageError(f"no contact; add {_EXAMPLE}, or put both into [contact] of {config.path()}")
        option = f"-k {shlex.quote(args.key)} " if args.key else ""
        raise UsageError(f"no key and no contact; make both: of-key new {option}{_EXAMPLE}")
    return email, identity


def _maker(
    args: argparse.Namespace, public: "PublicKey", contact: "writer.Contact"
) -> "writer.Writer | original.Writer":
    from overflowd_tools.reports import writer

    if args.format == "1":
        if args.to or args.expires:
            raise UsageError("--to and --expires mean nothing in --format 1: it has no recipient and no end")
        from overflowd_tools.reports import original

        return original.Writer(public, contact)
    return writer.Writer(public, contact, ROLES[args.to or "both"], 1000 * (args.expires or 3600))


def main(argv: Sequence[str] | None = None) -> int:
    """Run of-sign and return its exit status."""
    return command.run(options(), run, argv)


if __name__ == "__main__":
    sys.exit(main())

"""of-sign: make signed reports of flows, one for each recipient."""

from __future__ import annotations

import os
import sys
import time
from contextlib import closing, contextmanager

from overflowd_tools import command, passphrase
from overflowd_tools.errors import RecordError, UsageError
from overflowd_tools.options import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import SimpleNamespace

    from overflowd_tools.config import Config
    from overflowd_tools.holding import HoldingOutput
    from overflowd_tools.reports import original, writer
    from overflowd_tools.reports.serials import Serials
    from overflowd_tools.trust.keys import PublicKey, SecretKey

    Maker = writer.Writer | original.Writer

ROLES: dict[str, tuple[str, ...]] = {"both": ("src", "dst"), "src": ("src",), "dst": ("dst",), "none": ()}
LONGEST_LIFE = 366 * 86400
SMALLEST_BATCH, LARGEST_BATCH = 2, 1024
LONGEST_WAIT_MS = 60_000
USUAL_WAIT_MS = 100
AT_ONCE = 512
"""Reports that are signed together, each with its own signature, where there are so many."""

_EXAMPLE = '--email you@example.net --identity "Your Network"'


def options() -> Options:
    """Return the options of of-sign."""
    made = command.options("of-sign", "Make signed reports of flows, one for each recipient.")
    add = made.add
    add("-k", "--key", metavar="FILE", help="the secret-key file, in minisign's format")
    add("--passphrase-fd", metavar="N", type=int, help="take the passphrase from this descriptor")
    add("--email", metavar="ADDR", help="whom to write to about the reports")
    add("--identity", metavar="NAME", help="who reports")
    add("--to", choices=ROLES, help="the ends of a flow that get a report (both)")
    add("--expires", metavar="SECONDS", type=_lifetime, help="how long reports are valid (3600)")
    add("--state", metavar="FILE", help="go on with the numbers in this file, and keep them there")
    add("--batch", metavar="N", type=_count, help="sign up to so many reports at once; not for of-send to UDP")
    add("--batch-ms", metavar="T", type=_wait, help="how long a batch waits for more, in milliseconds (100)")
    add("--minisig", metavar="FILE", help="write the signed bytes of one report, and FILE.minisig, too")
    add("--format", choices=("1", "2"), help="version of the reports; 1 is that of 2016 (2)")
    return made


def _lifetime(text: str) -> int:
    return _number(text, LONGEST_LIFE, "seconds")


def _count(text: str) -> int:
    return _number(text, LARGEST_BATCH, "reports", SMALLEST_BATCH)


def _wait(text: str) -> int:
    return _number(text, LONGEST_WAIT_MS, "milliseconds")


def _number(text: str, most: int, of_what: str, least: int = 1) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > 9 or not least <= int(text) <= most:
        raise UsageError(f"{text!r} is not a number of {of_what} from {least} to {most}")
    return int(text)


def run(context: command.Context) -> None:
    """Sign each flow; any other line goes through as it is."""
    from overflowd_tools.reports.serials import Serials

    args = context.args
    if args.batch_ms and not args.batch:
        raise UsageError("--batch-ms goes with --batch")
    if args.minisig is not None and args.batch:
        raise UsageError("--minisig and --batch do not go together: minisign knows no batches")
    serials = Serials()
    key, maker = _signer(args, serials)
    with _kept(context, key.public, serials):
        output = context.output = _output(context, key, maker)
        try:
            _read(context, maker, output)
        finally:
            output.sign()


def _read(context: command.Context, maker: Maker, output: HoldingOutput) -> None:
    """Let the output hold the signed bytes of the reports on each flow; any other line goes through."""
    counts, only_one = context.counts, context.args.minisig is not None
    counts |= {"flows": 0, "reports": 0, "other_lines": 0}
    for source in context.inputs():
        output.source = source
        for number, line in source.lines():
            try:
                bodies = maker.bodies_of(line, time.time_ns() // 1_000_000)
            except RecordError as error:
                reason = str(error)
                context.reject(source.name, f"line {number}", reason, reason.partition(":")[0])
                continue
            if bodies is None:
                counts["other_lines"] += 1
                output.pass_on(line)
                continue
            counts["flows"] += 1
            counts["reports"] += len(bodies)
            if only_one and counts["reports"] > 1:
                raise UsageError("--minisig is for one report: one flow, and one end of it (--to src or --to dst)")
            output.hold(bodies)


def _output(context: command.Context, key: SecretKey, maker: Maker) -> HoldingOutput:
    """Return the output that signs what it holds, as the options say."""
    from overflowd_tools.holding import HoldingOutput
    from overflowd_tools.trust.signing import Signer

    args = context.args
    if args.batch:
        wait_s = (args.batch_ms or USUAL_WAIT_MS) / 1000
        return HoldingOutput(lambda bodies: _batch(key, bodies), args.batch, context.stop, wait_s)
    if args.minisig is not None:
        return HoldingOutput(
            lambda bodies: [_minisig(args.minisig, key, body) for body in bodies], AT_ONCE, context.stop
        )
    signer = Signer(key, len(os.sched_getaffinity(0)))
    return HoldingOutput(lambda bodies: list(map(maker.complete, bodies, signer.sign(bodies))), AT_ONCE, context.stop)


def _batch(key: SecretKey, bodies: list[bytes]) -> list[bytes]:
    """Return the reports of a batch, with one signature for all of them."""
    from overflowd_tools.reports import batch, report

    if len(bodies) == 1:
        return [report.with_signature(bodies[0], key.sign(bodies[0]))]
    return report.with_proofs(bodies, batch.sign(bodies, key))


def _minisig(path: str, key: SecretKey, body: bytes) -> bytes:
    """Return a report, and write what minisign -V verifies."""
    from overflowd_tools.reports.envelope import minisig
    from overflowd_tools.reports.report import with_signature
    from overflowd_tools.trust.keyfiles import create_file

    signature = key.sign(body)
    create_file(path, body, 0o666)
    create_file(f"{path}.minisig", minisig(key, signature), 0o666)
    return with_signature(body, signature)


@contextmanager
def _kept(context: command.Context, key: PublicKey, serials: Serials) -> Iterator[None]:
    """Take up the numbers of the last run, and keep them for the next one, however this one ends."""
    path = context.args.state
    if path is None:
        yield
        return
    from overflowd_tools.trust.state import StateFile

    with closing(StateFile(path, lambda content: serials.load(content, key.text))) as state:
        if state.why_anew:
            context.note(f"{path}: a new epoch begins: {state.why_anew}")
        try:
            yield
        finally:
            state.keep(serials.dump(key.text))


def _signer(args: SimpleNamespace, serials: Serials) -> tuple[SecretKey, Maker]:
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
    return key, _maker(args, key.public, contact, serials)


def _contact(args: SimpleNamespace, settings: Config, key_path: str) -> tuple[str, str]:
    from overflowd_tools import config

    email = settings.email if args.email is None else args.email
    identity = settings.identity if args.identity is None else args.identity
    if email is None or identity is None:
        from shlex import quote

        if os.path.exists(key_path):
            raise UsageError(f"no contact; add {_EXAMPLE}, or put both into [contact] of {config.path()}")
        option = f"-k {quote(args.key)} " if args.key else ""
        raise UsageError(f"no key and no contact; make both: of-key new {option}{_EXAMPLE}")
    return email, identity


def _maker(args: SimpleNamespace, public: PublicKey, contact: writer.Contact, serials: Serials) -> Maker:
    from overflowd_tools.reports import writer

    if args.format == "1":
        if args.to or args.expires:
            raise UsageError("--to and --expires mean nothing in --format 1: it has no recipient and no end")
        if (args.state, args.batch, args.minisig) != (None, None, None):
            raise UsageError("--state, --batch and --minisig are for reports of version 2")
        from overflowd_tools.reports import original

        return original.Writer(public, contact)
    return writer.Writer(public, contact, ROLES[args.to or "both"], 1000 * (args.expires or 3600), serials)


def main(argv: Sequence[str] | None = None) -> int:
    """Run of-sign and return its exit status."""
    return command.run(options(), run, argv)


if __name__ == "__main__":
    sys.exit(main())

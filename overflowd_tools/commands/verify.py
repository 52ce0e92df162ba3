"""of-verify: pass on the reports that are genuine, and say why the others are not."""

from __future__ import annotations

import sys
import time
from contextlib import closing, nullcontext

from overflowd_tools import command, stream
from overflowd_tools.errors import KeyFileError, RecordError, UsageError
from overflowd_tools.options import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from contextlib import AbstractContextManager
    from typing import Any

    from overflowd_tools.reports.report import Report
    from overflowd_tools.trust.corroboration import OwnFlows
    from overflowd_tools.trust.events import Sighting
    from overflowd_tools.trust.judging import Judge
    from overflowd_tools.trust.keyring import Keyring
    from overflowd_tools.trust.keys import PublicKey

    _Item = tuple[str, int, Report | bytes | str]
    """Name of the input, number of the line, and a report, a line of another type, or why it is neither."""

KEY_CHARACTERS = 56
STATES = ("unknown", "seen", "known", "pinned")
HELD_LINES = 512
"""At most so many are judged at once, by one write to the keyring that is brought to the disk."""
HELD_OCTETS = 1 << 21
SHOWN_GAPS = 20


def options() -> Options:
    """Return the options of of-verify."""
    made = command.options("of-verify", "Pass on the reports that are genuine; say why the others are not.")
    add = made.add
    add(
        "--key",
        metavar="KEY",
        action="append",
        default=[],
        help="accept this key alone: its RW... text, or a file of such; may be repeated",
    )
    add("--ignore-expiry", action="store_true", help="accept reports that have expired")
    add("--keyring", metavar="FILE", type=_path, help="keep what is known about keys here")
    add("--require", metavar="STATE", choices=STATES, help=f"keys must be {', '.join(STATES)}")
    add("--policy", metavar="FILE", type=_path, help="what is settled about states and keys")
    add("--own", metavar="FLOWS", type=_path, help="our own flows, which confirm reports")
    return made


def _path(text: str) -> str:
    if not text:  # an unset variable of a script
        raise UsageError("the name of the file is empty")
    return text


def run(context: command.Context) -> None:
    """Judge each report; lines of other types go through as they are."""
    context.counts |= {"verified": 0, "other_lines": 0}
    args = context.args
    if not (args.keyring or args.require or args.policy or args.own):
        for item in _read(context):
            _deliver(context, item, _now_ms(), b"")
        return
    if args.require and not (args.keyring or args.policy):
        raise UsageError("--require goes with --keyring or --policy, which know the states of keys")
    with _keyring(context) as keyring:
        judge = _judge(context, keyring)
        output = context.output = _JudgingOutput(context, judge)
        try:
            for item in _read(context):
                output.hold(item)
        finally:
            output.settle()
    _tell_missing(context, judge)


def _read(context: command.Context) -> Iterator[_Item]:
    """Yield what is genuine, what is of another type, and why the rest is neither, in order."""
    from overflowd_tools.reports.reader import read_line

    accepted = _keys(context.args.key)
    ignore_expiry = context.args.ignore_expiry
    for source in context.inputs():
        for number, line in source.lines():
            try:
                report = read_line(line)
                if report:
                    report.verify(accepted)
                    report.check_time(_now_ms(), ignore_expiry=ignore_expiry)
                yield source.name, number, report or line
            except RecordError as error:
                yield source.name, number, str(error)


def _deliver(context: command.Context, item: _Item, now_ms: int, mark: bytes) -> None:
    """Write a report with what was found out about it, or a line as it is; or say why not."""
    name, number, found = item
    if isinstance(found, str):
        context.reject(name, f"line {number}", found, found.partition(":")[0])
    elif isinstance(found, bytes):
        context.output.write(found + b"\n")
        context.counts["other_lines"] += 1
    else:
        line = found.with_verified(now_ms)
        context.output.write(line[:-2] + b"," + mark + b"}}\n" if mark else line + b"\n")
        context.counts["verified"] += 1


class _JudgingOutput(stream.Output):
    """Standard output that judges what it holds before it is written out, which is before every read that waits."""

    def __init__(self, context: command.Context, judge: Judge) -> None:
        from overflowd_tools.trust.events import Sighting

        super().__init__()
        self._context = context
        self._judge = judge
        self._sighting = Sighting
        self._held: list[_Item] = []
        self._octets = 0

    def hold(self, item: _Item) -> None:
        """Take a line or the reason why there is none, in order."""
        self._held.append(item)
        found = item[2]
        self._octets += len(found) if isinstance(found, (bytes, str)) else len(found.text)
        if len(self._held) >= HELD_LINES or self._octets >= HELD_OCTETS:
            self.settle()

    def flush(self) -> None:
        """Judge and write out what is held. Raises KeyFileError too."""
        self.settle()
        super().flush()

    def settle(self) -> None:
        """Judge what is held; only when the keyring is on the disk is any of it delivered."""
        held, self._held, self._octets = self._held, [], 0
        if not held:
            return
        now_ms = _now_ms()
        for item, mark in self._judged(held, now_ms):
            _deliver(self._context, item, now_ms, mark)

    def _judged(self, held: list[_Item], now_ms: int) -> list[tuple[_Item, bytes]]:
        results: list[tuple[_Item, bytes]] = []
        with self._judge.session(now_ms) as judge:
            for name, number, found in held:
                result, mark = found, b""
                if not isinstance(found, (bytes, str)):
                    flow, role = _flow(found) if self._context.args.own else ({}, "")
                    reason, mark = judge(self._seen(found), flow, role)
                    result = reason or found
                results.append(((name, number, result), mark))
                if self._context.args.strict and isinstance(result, str):
                    break  # what comes after is neither entered nor delivered
        return results

    def _seen(self, report: Report) -> Sighting:
        """Return what a keyring must know about a report."""
        epoch, seq, packets, octets = map(int, report.numbers)
        times, to = (report.time_ms, report.expires_ms), report.to or ""
        return self._sighting(
            report.key, report.signed, report.text, *times, to, epoch, seq, report.contact, packets, octets
        )


def _flow(report: Report) -> tuple[dict[str, Any], str]:
    """Return the flow of a report, and to which end of that it goes."""
    members = report.members
    return members["flowdata"]["data"], members["metadata"].get("role", "")


def _keyring(context: command.Context) -> AbstractContextManager[Keyring | None]:
    from overflowd_tools.trust.keyring import Keyring

    path = context.args.keyring
    return closing(Keyring(path, context.say)) if path else nullcontext()


def _judge(context: command.Context, keyring: Keyring | None) -> Judge:
    from overflowd_tools.trust.judging import Judge
    from overflowd_tools.trust.policy import Policy, parse

    args = context.args
    policy = parse(stream.read_text(args.policy), args.policy) if args.policy else Policy()
    return Judge(policy, args.require, keyring, _own_flows(context, args.own) if args.own else None)


def _own_flows(context: command.Context, path: str) -> OwnFlows:
    """Read flow records of our own; lines of other types are passed over."""
    from overflowd_tools.reports.canonical import loads
    from overflowd_tools.trust.corroboration import OwnFlows

    flows = OwnFlows()
    with open(path, "rb", buffering=0) as file:
        source = stream.Input(
            path,
            file.fileno(),
            stop=context.stop,
            before_blocking=lambda: None,
            rejected=lambda place, reason: context.reject(path, place, reason),
            failed=context.fail,
        )
        for number, line in source.lines():
            try:
                record = loads(line)
                if record.get("type") == "flow":
                    flows.add(record)
            except RecordError as error:
                context.reject(path, f"line {number}", str(error))
    if flows.forgotten:
        context.say(f"{path}: {flows.forgotten} flows too many; the last ones are used")
    return flows


def _tell_missing(context: command.Context, judge: Judge) -> None:
    """Count the gaps in the numbers of reports, and with -v show the largest."""
    gaps = judge.missing()
    context.counts["missing"] = sum(missing for missing, *_ in gaps)
    for missing, key, epoch, to in gaps[:SHOWN_GAPS]:
        context.note(f"{key}: epoch {epoch}: {missing} reports to {to or 'nobody'} are missing")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _keys(values: list[str]) -> Collection[PublicKey]:
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

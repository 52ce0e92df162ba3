"""of-send: deliver reports to the ends of the flows they are about, or all of them to one collector."""

from __future__ import annotations

import math
import select
import sys
import time
from collections import Counter
from functools import partial

from overflowd_tools import command
from overflowd_tools.delivery import addresses, limits, udp
from overflowd_tools.errors import RecordError, UsageError
from overflowd_tools.options import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import SimpleNamespace
    from typing import Any, TypeVar

    from overflowd_tools.reports.report import Report
    from overflowd_tools.reports.sealed import Sealed

    _Sendable = TypeVar("_Sendable", Report, Sealed)

PORT = 65535

_LONGEST_WAIT = 3600 * limits.SECOND


def options() -> Options:
    """Return the options of of-send."""
    made = command.options("of-send", "Deliver reports by UDP to the ends of the flows they are about.")
    add = partial(_add, made)
    made.add("-n", "--dry-run", action="store_true", help="send nothing; write the delivery log")
    add("--port", "PORT", _port, "UDP port of the recipients (%(default)s)", default=PORT)
    add("--source-port", "PORT", _port, f"UDP port to send from ({PORT}, or any if that is in use)")
    add("--to", "URL", str, "send all reports to one collector, udp://HOST:PORT")
    add("--allow", "NET", command.value(addresses.parse_prefix), "send into NET, too", action="append", default=[])
    add("--deny", "FILE", str, "do not send to the prefixes in FILE", action="append", default=[])
    add = partial(_add, made, group="limits (inf: none)")
    add("--prefix-interval", "SECONDS", _seconds, "between datagrams to a /24 or /48 (%(default)g)", default=3.0)
    add("--prefix-burst", "DATAGRAMS", _count, "at once to a /24 or /48 (%(default)g)", default=5)
    add("--network-rate", "PER-SECOND", _rate, "datagrams to a /16 or /32 (%(default)g)", default=5.0)
    add("--rate", "PER-SECOND", _rate, "datagrams in all (100; with --to: inf)")
    add("--bitrate", "BITS-PER-SECOND", _rate, "in all (1000000; with --to: inf)")
    add("--repeat-after", "SECONDS", _seconds, "until a flow is reported again (%(default)g)", default=300.0)
    return made


def _add(made: Options, name: str, metavar: str, kind: Callable[[str], Any], text: str, **more: Any) -> None:
    made.add(name, metavar=metavar, type=kind, help=text, **more)


def _port(text: str) -> int:
    if not (text.isdecimal() and len(text) <= 5 and 0 < int(text) < 65536):
        raise UsageError(f"{text!r} is not a port from 1 to 65535")
    return int(text)


def _seconds(text: str) -> float:
    return _number(text, 0, 1e9)


def _rate(text: str) -> float:
    return _number(text, 1e-6, math.inf)


def _count(text: str) -> int:
    count = _number(text, 1, 1e9)
    if not count.is_integer():
        raise UsageError(f"{text!r} is not an integer")
    return int(count)


def _number(text: str, least: float, most: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not least <= number <= most:
        raise UsageError(f"{text!r} is not a number from {least:g} to {most:g}")
    return number


def run(context: command.Context) -> None:
    """Deliver the reports of the inputs."""
    args = context.args
    route = _ToCollector(context) if args.to else _ToEnds(args)
    if args.dry_run:
        _deliver(context, _Delivery(context, route, None))
        return
    source_port = PORT if args.source_port is None else args.source_port
    with udp.Sender(source_port, insist=args.source_port is not None) as sender:
        _deliver(context, _Delivery(context, route, sender))
    context.counts["unreachable"] = sender.unreachable
    if args.to and sender.unreachable:
        context.status = max(context.status, 1)
        context.say(f"{args.to}: nobody took {sender.unreachable} datagrams")


def _deliver(context: command.Context, delivery: _Delivery) -> None:
    from overflowd_tools.reports.reader import read_line

    for source in context.inputs():
        for number, line in source.lines():
            if context.stop:
                break
            try:
                report = read_line(line)
                sealed = None if report else _read_sealed(line)
            except RecordError as error:
                reason = str(error)
                context.reject(source.name, f"line {number}", reason, reason.partition(":")[0])
                continue
            if report:
                delivery.deliver(report)
            elif sealed:
                delivery.deliver_sealed(sealed)
            else:
                delivery.pass_over()
    delivery.summarize()


def _read_sealed(line: bytes) -> Sealed | None:
    from overflowd_tools.reports import sealed

    return sealed.read_line(line)


class _ToEnds:
    """Every report goes to the end of the flow that it names, if that end may be sent to."""

    via = "udp"

    def __init__(self, args: SimpleNamespace) -> None:
        self._port = args.port
        self._deny = addresses.DenyTable(args.allow, _listed(args.deny))
        self._limits = limits.Limits(_settings(args, rate=100.0, bitrate=1e6))
        self._recent = limits.Recent(args.repeat_after)

    def admit(self, report: Report | Sealed, payload: bytes) -> udp.Peer | str:
        """Return where this report goes, or why it does not go."""
        flow = report.flow or _digest(payload)
        to = report.to
        if to is None:
            return "no recipient"
        address = addresses.pack_address(to)
        if address is None:
            return "not an address"
        if reason := self._deny.reason(address):
            return reason
        now = time.monotonic_ns()
        if self._recent.has(flow, now):
            return "repeated"
        if reason := self._limits.refusal(address, now):
            return reason
        peer = udp.recipient(address, self._port)
        self._limits.take(address, peer.octets(payload), now)
        self._recent.add(flow, now)
        return peer


class _ToCollector:
    """Every report goes to the address that the operator named; a limit makes it wait, and refuses none."""

    def __init__(self, context: command.Context) -> None:
        args = context.args
        self.via = args.to
        self._context = context
        self._peer = udp.collector(args.to)
        self._waits = not args.dry_run and (args.rate or args.bitrate)
        self._limits = limits.Limits(_settings(args, rate=math.inf, bitrate=math.inf))

    def admit(self, _: Report | Sealed, payload: bytes) -> udp.Peer | str:
        """Return the collector, once it may have the next report."""
        if self._waits:
            while wait := self._limits.wait_total(time.monotonic_ns()):
                self._context.output.flush()
                select.select([self._context.stop], [], [], min(wait, _LONGEST_WAIT) / limits.SECOND)
                if self._context.stop:
                    return "interrupted"
            self._limits.take_total(self._peer.octets(payload), time.monotonic_ns())
        return self._peer


def _digest(payload: bytes) -> bytes:
    from hashlib import blake2b  # 3 ms, for what hardly any report needs

    return blake2b(payload, digest_size=16).digest()


def _settings(args: SimpleNamespace, *, rate: float, bitrate: float) -> limits.Settings:
    return limits.Settings(
        prefix_interval_s=args.prefix_interval,
        prefix_burst=args.prefix_burst,
        network_rate=args.network_rate,
        rate=args.rate or rate,
        bitrate=args.bitrate or bitrate,
    )


def _listed(paths: Sequence[str]) -> Iterator[addresses.Prefix]:
    for path in paths:
        with open(path, "rb") as lines:
            yield from addresses.read_prefixes(lines, path)


class _Delivery:
    """Sends or refuses one report after the other; counts and logs what became of each."""

    def __init__(self, context: command.Context, route: _ToEnds | _ToCollector, sender: udp.Sender | None) -> None:
        """Begin. sender: none in a dry run."""
        from overflowd_tools.reports import envelope

        self._context = context
        self._route = route
        self._sender = sender
        self._datagram: Callable[[Report], bytes] = lambda report: envelope.pack(
            report.key, report.signature, report.signed
        )
        self._logs = context.args.verbose or context.args.dry_run
        self._done = "sent" if sender else "send"
        self._refusals: Counter[str] = Counter()
        context.counts.update({self._done: 0, "refused": 0, "other_lines": 0})

    def deliver(self, report: Report) -> None:
        """Send a report, unless there is a reason not to."""
        if report.version != 2:
            reason: str | None = f"version {report.version}"
        elif report.proof:
            reason = "batch"
        else:
            reason = self._attempt(report, self._datagram)
        self._settle(report, reason)

    def deliver_sealed(self, sealed: Sealed) -> None:
        """Send a sealed report, unless there is a reason not to."""
        self._settle(sealed, self._attempt(sealed, type(sealed).datagram))

    def pass_over(self) -> None:
        """Count a line that is no report; nothing comes after this command that could take it."""
        self._context.counts["other_lines"] += 1

    def summarize(self) -> None:
        """Say what was not sent, and why; the exit status says that there was something."""
        counts = self._context.counts
        if self._refusals:
            reasons = ", ".join(f"{number} {reason}" for reason, number in self._refusals.most_common())
            self._undelivered(f"{counts['refused']} reports not sent: {reasons}")
        elif counts["other_lines"] and not counts[self._done]:
            self._undelivered(f"no report in {counts['other_lines']} lines: of-sign makes reports")

    def _undelivered(self, message: str) -> None:
        self._context.status = max(self._context.status, 1)
        self._context.say(message)

    def _attempt(self, report: _Sendable, datagram: Callable[[_Sendable], bytes]) -> str | None:
        """Send a report. Returns None, or the reason why it was not sent."""
        try:
            report.check_time(time.time_ns() // 1_000_000)
        except RecordError as error:
            return str(error).partition(":")[0]
        try:
            payload = datagram(report)
        except RecordError:
            return "size"
        peer = self._route.admit(report, payload)
        if isinstance(peer, str):
            return peer
        return self._sender.send(peer, payload) if self._sender else None

    def _settle(self, report: Report | Sealed, reason: str | None) -> None:
        if reason:
            self._refusals[reason] += 1
            self._context.counts["refused"] += 1
            self._context.counts[f"refused_{reason.replace(' ', '_')}"] = self._refusals[reason]
        else:
            self._context.counts[self._done] += 1
        if self._logs:
            self._log(report.to, reason)

    def _log(self, to: str | None, reason: str | None) -> None:
        line = {"to": to, "via": self._route.via, "decision": "refused" if reason else self._done, "reason": reason}
        members = ",".join(f'"{name}":{_json(value)}' for name, value in line.items() if value is not None)
        self._context.output.write(f"{{{members}}}\n".encode())


def _json(text: str) -> str:
    """Return a text as JSON; nearly all are plain, and then nothing that takes long is imported."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    import json

    return json.dumps(text, ensure_ascii=False)


def main(argv: Sequence[str] | None = None) -> int:
    """Run of-send and return its exit status."""
    return command.run(options(), run, argv)


if __name__ == "__main__":
    sys.exit(main())

"""of-decode: captures of flow exports in, one flow a line out."""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from types import SimpleNamespace

from overflowd_tools import command
from overflowd_tools.decoding.capture_decoder import LINE_TYPES, CaptureDecoder, Sampling, Wanted
from overflowd_tools.errors import UsageError
from overflowd_tools.options import Options
from overflowd_tools.protocols.bounds import Limits
from overflowd_tools.protocols.detect import Rates
from overflowd_tools.stream import Input, read_file, read_text, replace_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from overflowd_tools.protocols.elements import ElementTable

CHUNK = 112 << 10
"""Octets that are read at a time, at most: so that their lines fit into a pipe, and whoever reads it need not wait."""
FILE_CHUNK = 168 << 10
"""As CHUNK, where they go elsewhere: of more lines at a time, each takes less time."""
SAMPLED_CHUNK = 1 << 20
"""As CHUNK, where flows are sampled, and few lines come of many octets."""
_YEARS = 1_000_000_000
"""Of seconds: more than any capture is long."""
NUMPY_AFTER = 70_000
"""Flows after which there are likely so many more that importing numpy is worth its time."""
NUMPY_FOR = 200_000
"""Flows of a file, going by its size and what it began with, for which numpy is worth that from there."""


def options() -> Options:
    """Return the options of this command."""
    made = command.options("of-decode", "Turn captured flow exports into flows, one JSON object a line.", progress=True)
    add = made.add
    add("--envelope", action="store_true", help="show the export header and the arrival too")
    add(
        "--only",
        type=_line_types,
        default=("flow",),
        metavar="TYPE,...",
        help=f"line types, of {', '.join(LINE_TYPES)} (default: flow)",
    )
    add("-p", "--packets", action="store_true", help="each other IP packet is a flow as well")
    add(
        "--sampling-rate",
        action="append",
        type=_sampling_rate,
        default=[],
        metavar="[EXPORTER=]N",
        help="packets for one sampled, whatever the exporter says",
    )
    command.add_sampling(made, None, "keep a flow with probability min(1, rate x packets), as of-sample does")
    add("--split-biflow", action="store_true", help="a record of both directions is two flows")
    add("--templates", metavar="FILE", help="begin with the templates in FILE, and keep all there")
    add("--two-pass", action="store_true", help="use templates and options from anywhere in the FILEs")
    add("--elements", metavar="FILE", help="information elements of your own")
    add = partial(made.add, group="limits")
    add("--max-exporters", type=_number, metavar="N", help="sessions to remember (10000)")
    add("--max-templates", type=_number, metavar="N", help="templates of each session (4096)")
    add(
        "--hold",
        type=_seconds,
        metavar="SECONDS",
        help="how long data wait for their template (600; 0: not at all)",
    )
    add("--hold-size", type=_number, metavar="BYTES", help="how much of them may wait (16777216)")
    return made


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 12 and int(text)):
        raise UsageError(f"'{text}' is not a whole number above 0")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds <= _YEARS:  # nan is neither
        raise UsageError(f"'{text}' is not a number of seconds")
    return seconds


def _line_types(text: str) -> tuple[str, ...]:
    types = tuple(text.split(","))
    for name in types:
        if name not in LINE_TYPES:
            raise UsageError(f"unknown line type '{name}'; known: {', '.join(LINE_TYPES)}")
    return types


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return command.run(options(), run, argv)


def run(context: command.Context) -> None:
    """Decode every input; afterwards say if none of them held a flow export."""
    args = context.args
    wanted = Wanted(
        only=frozenset(args.only),
        envelope=args.envelope,
        packets=args.packets,
        split_biflow=args.split_biflow,
        rates=_rates(args.sampling_rate) if args.sampling_rate else None,
        sampling=_sampling(args),
        table=_element_table(args.elements),
        limits=Limits(args.max_exporters, args.max_templates, args.hold, args.hold_size),
    )
    decoder = _Decoder(context, wanted)
    may_save = bool(args.templates) and decoder.load_templates(args.templates)
    if args.two_pass:
        decoder.look_ahead(wanted)
    try:
        decoder.decode()
    finally:
        if may_save:
            decoder.save_templates(args.templates)
        decoder.account()
    counts = context.counts
    if counts["packets"] and not counts["datagrams"] and not args.packets:
        context.status = max(context.status, 1)
        hint = "; -p takes the packets themselves as flows, of-meter(1) meters them" if counts["other_packets"] else ""
        context.say(f"no flow export in {counts['packets']} packets{hint}")


class _Decoder:
    """A decoder of captures between the files of a context."""

    def __init__(self, context: command.Context, wanted: Wanted, *, survey: bool = False) -> None:
        self._context = context
        self._name = ""
        self._may_use_numpy = True
        self._chunk = SAMPLED_CHUNK if wanted.sampling else CHUNK if context.output.is_pipe else FILE_CHUNK
        self._captures = CaptureDecoder(wanted, context.output.write_all, self._reject, survey=survey)
        context.counts = self._captures.counts

    def _reject(self, place: str, reason: str, kind: str) -> None:
        self._context.reject(self._name, place, reason, kind)

    def decode(self) -> None:
        """Decode every input, and complain of data that waited in vain for a template."""
        for source in self._context.inputs():
            self._decode(source)
        for origin, reason in self._captures.waiting():
            self._context.reject(origin, "", reason, "no template came")

    def account(self) -> None:
        """Count what was lost, and write the lines of type stats."""
        self._captures.account()

    def _decode(self, source: Input) -> None:
        self._name = source.name
        self._captures.begin()
        counts, before, octets = self._captures.counts, self._captures.counts["flows"], 0
        size = os.fstat(source.fileno()).st_size  # of what is no file: 0
        for chunk in source.chunks(self._chunk):
            flows = counts["flows"]
            if self._may_use_numpy and (flows >= NUMPY_AFTER or (flows - before) * size > NUMPY_FOR * octets):
                self._may_use_numpy = False
                command.with_numpy(self._captures.use_numpy)
            self._captures.feed(chunk)
            octets += len(chunk)
            if self._captures.finished:
                break
        if not (self._context.stop or source.failed):  # else it is the end of what we get, and not of the input
            self._captures.close()

    def load_templates(self, path: str) -> bool:
        """Read the file of --templates; return whether it is one that may be written at the end."""
        from overflowd_tools import template_file

        try:
            if os.path.lexists(path) and not os.path.isfile(path):
                raise UsageError(f"{path}: not a regular file")
            data = read_file(path, template_file.LIMIT) if os.path.lexists(path) else b""
            problems = template_file.load(path, data, self._captures.exports.known(), int(time.time()))
        except UsageError as error:
            self._context.fail(f"{error}; going on without it, and leaving it as it is")
            return False
        for place, reason in problems:
            self._context.reject(path, place, reason, "damaged templates")
        return True

    def save_templates(self, path: str) -> None:
        """Write the file of --templates."""
        from overflowd_tools import template_file

        try:
            replace_file(path, template_file.save(self._captures.exports.known(), int(time.time())))
        except OSError as error:
            self._context.fail(f"{path}: {error.strerror}; the templates are not kept")

    def look_ahead(self, wanted: Wanted) -> None:
        """Learn what templates and options there are in all FILEs. Raises UsageError if they cannot be read twice."""
        args = self._context.args
        there = [name for name in args.files if name == "-" or os.path.exists(name)]
        if not args.files or not all(map(os.path.isfile, there)):
            raise UsageError("--two-pass reads its FILEs twice, so they must be regular files")
        silent = SimpleNamespace(**{**vars(args), "quiet": True, "strict": False})
        context = command.Context(self._context.prog, silent, self._context.stop)
        first = _Decoder(context, wanted, survey=True)
        try:
            first.decode()
        finally:
            context.end_progress()
        self._captures.exports.take_survey(first._captures.exports)


def _rates(given: list[tuple[bytes | None, float]]) -> Rates:
    """Return the sampling rates of --sampling-rate; the last one for an exporter counts."""
    by_exporter = {exporter: rate for exporter, rate in given if exporter is not None}
    every = [rate for exporter, rate in given if exporter is None]
    return Rates(every[-1] if every else None, by_exporter)


def _sampling(args: SimpleNamespace) -> Sampling | None:
    """Return how to sample, None if that is not asked for. Raises UsageError for options that need a rate."""
    if args.rate is None:
        if args.amplification is not None or args.seed is not None:
            raise UsageError("--amplification and --seed are for sampling, with -r")
        return None
    return Sampling(args.rate, args.amplification, args.seed)


def _sampling_rate(text: str) -> tuple[bytes | None, float]:
    from socket import AF_INET, AF_INET6, inet_pton

    exporter, equals, number = text.rpartition("=")
    try:
        rate = float(number)
        packed = inet_pton(AF_INET6 if ":" in exporter else AF_INET, exporter) if equals else None
    except (OSError, ValueError):
        rate = 0
    if not 1 <= rate < 1 << 32:  # nan is neither
        raise UsageError(f"'{text}' is not [EXPORTER=]N, N packets for one sampled")
    return packed, int(rate) if rate.is_integer() else rate


def _element_table(path: str | None) -> Callable[[], ElementTable] | None:
    """Return what makes the table of elements with the user's own in it; the file is read now. Raises UsageError."""
    if path is None:
        return None
    from overflowd_tools.protocols.elements import ElementTable

    table = ElementTable.standard()
    table.add(read_text(path).splitlines(), path)
    return lambda: table


if __name__ == "__main__":
    sys.exit(main())

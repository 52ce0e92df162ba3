"""What all commands share: options, diagnostics, counts, signals and exit status (design: section 3).

Exit status 0: done. 1: done, with something rejected. 2: the job could not be done (usage, file, key, I/O).
"""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from functools import partial

from overflowd_tools import __version__, stream
from overflowd_tools.errors import OverflowdError, UsageError, printable
from overflowd_tools.options import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import SimpleNamespace
    from typing import TypeVar

    T = TypeVar("T")

HIGHEST_AMPLIFICATION = 0.02
REPORTS_OF_ONE_KIND = 10
KINDS = 1000


def options(prog: str, summary: str, *, files: bool = True, progress: bool = False) -> Options:
    """Return the options that mean the same in every command; it adds its own.

    files: the command reads FILE arguments or standard input. progress: it offers --progress too.
    """
    made = Options(prog, summary)
    add = partial(made.add, group="options of every command")
    add("-h", "--help", action="help", help="show this help and exit")
    add("-V", "--version", action="version", version=_version(prog), help="show the version")
    add("-q", "--quiet", action="store_true", help="no messages about bad input; the exit status stays")
    add("-v", "--verbose", action="store_true", help="say more, and the counts at the end")
    add("--stats", action="store_true", help="at the end, the counts as one JSON object on stderr")
    add("--strict", action="store_true", help="stop at the first bad line or packet")
    if progress:
        add("--progress", action="store_true", help="show progress on stderr, if that is a terminal")
    if files:
        made.add("files", nargs="*", metavar="FILE", help="input files; - or none: standard input")
    return made


def add_sampling(made: Options, default: float | None, rate_help: str) -> None:
    """Add the options of a command that samples flows: rate, amplification and seed."""
    made.add("-r", "--rate", type=_rate, default=default, help=rate_help)
    made.add(
        "--amplification",
        type=_amplification,
        metavar="A",
        help="keep the expected octets of reports below this share of the octets seen; at most 0.02",
    )
    made.add("--seed", type=int, metavar="N", help="draw predictably (for tests)")


def _rate(text: str) -> float:
    """Return a rate as people write it: a decimal number or a fraction, over 0 and at most 1."""
    numerator, slash, denominator = text.partition("/")
    try:
        value = int(numerator) / int(denominator) if slash else float(text)
    except (ValueError, ZeroDivisionError, OverflowError):
        value = 0.0
    if not 0 < value <= 1:  # nan is neither
        raise UsageError(f"'{text}' is not a rate over 0 and at most 1, as 1e-6 or 1/1000000")
    return value


def _amplification(text: str) -> float:
    value = _rate(text)
    if value > HIGHEST_AMPLIFICATION:
        raise UsageError(f"'{text}' is over {HIGHEST_AMPLIFICATION}: reports could keep each other alive")
    return value


class Context:
    """One run of one command: its arguments, input, output, counts and complaints."""

    def __init__(self, prog: str, args: SimpleNamespace, stop: stream.StopSignals) -> None:
        self.prog = prog
        self.args = args
        self.stop = stop
        self.output = stream.Output()
        self.counts: dict[str, int] = {}
        self.status = 0
        self._rejected = 0
        self._kinds: Counter[str] = Counter()
        self._progress: _Progress | None = None

    def inputs(self, unwrap: Callable[[Iterator[bytes]], Iterator[bytes]] = iter) -> Iterator[stream.Input]:
        """Open each FILE in turn, or standard input; what cannot be opened is reported, and the rest is done.

        unwrap: what the bytes are read as, before they are decompressed. See stream.Input.
        Raises UsageError when there is no FILE and standard input is a terminal.
        """
        if not self.args.files and os.isatty(0):
            raise UsageError("no FILE, and standard input is a terminal; -h shows the usage")
        if getattr(self.args, "progress", False) and os.isatty(2):
            self._progress = _Progress(self.args.files)
        for name in self.args.files or ["-"]:
            if self.stop:
                return
            try:
                descriptor = 0 if name == "-" else _open(name)
            except OSError as error:
                self.fail(f"{name}: {error.strerror}")
                continue
            try:
                yield self._input(name, descriptor, unwrap)
            finally:
                if descriptor:
                    os.close(descriptor)

    def _input(self, name: str, descriptor: int, unwrap: Callable[[Iterator[bytes]], Iterator[bytes]]) -> stream.Input:
        return stream.Input(
            name,
            descriptor,
            stop=self.stop,
            before_blocking=self.output.flush,
            rejected=lambda place, reason: self.reject(name, place, reason),
            failed=lambda reason: self.fail(f"{name}: {reason}"),
            progressed=self._progress.advance if self._progress else None,
            unwrap=unwrap,
        )

    def reject(self, source: str, place: str, reason: str, kind: str = "") -> None:
        """Report one bad line or packet, count it, and make the exit status 1.

        source: name of the input; place: "line 12", "packet 12" or empty. Ten of one kind (by default, of one
        reason, whatever the numbers in it) are shown. Raises Rejected under --strict.
        """
        self._rejected += 1
        self.status = max(self.status, 1)
        kind = kind or _without_numbers(reason)
        if kind not in self._kinds and len(self._kinds) >= KINDS:
            kind = "other reasons"
        self._kinds[kind] += 1
        if self._kinds[kind] <= REPORTS_OF_ONE_KIND:
            self.say(": ".join(part for part in (source, place, reason) if part))
        if self.args.strict:
            raise Rejected

    def fail(self, message: str) -> None:
        """Report that a part of the job could not be done, and make the exit status 2."""
        self.status = 2
        self.say(message)

    def note(self, message: str) -> None:
        """Say something that only -v asks for."""
        if self.args.verbose:
            self.say(message)

    def say(self, message: str) -> None:
        """Write one line to stderr, unless -q."""
        if not self.args.quiet:
            self._tell(f"{self.prog}: {printable(message)}\n")

    def say_counts(self) -> None:
        """Write one line of counts to stderr."""
        counts = ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in self._all_counts().items())
        self._tell(f"{self.prog}: {counts}\n")

    def close(self) -> None:
        """Flush the output and say what is left to say about this run. Raises as Output.finish."""
        self.output.finish()
        for kind, number in self._kinds.items():
            if number > REPORTS_OF_ONE_KIND:
                self.say(f"{number - REPORTS_OF_ONE_KIND} more not shown: {kind}")
        if self.args.verbose:
            self.say_counts()
        if self.args.stats:
            import json

            self._tell(json.dumps({"command": self.prog, **self._all_counts()}, separators=(",", ":")) + "\n")

    def end_progress(self) -> None:
        """Leave the progress shown by --progress as it is, and go to the next line."""
        if self._progress:
            self._progress.close()

    def _tell(self, text: str) -> None:
        if self._progress:
            self._progress.hide()
        stream.tell(text)

    def _all_counts(self) -> dict[str, int]:
        return {**self.counts, "rejected": self._rejected}


class Rejected(Exception):  # noqa: N818 - not an error: the end that --strict asks for
    """Something was rejected under --strict."""


class _Progress:
    """Bytes, share, rate and time left, on stderr."""

    def __init__(self, files: list[str]) -> None:
        try:
            from tqdm import tqdm
        except ImportError:
            raise UsageError("--progress: install overflowd-tools[progress]") from None
        sizes = [os.stat(name).st_size for name in files if os.path.isfile(name)]
        total = sum(sizes) if sizes and len(sizes) == len(files) else None
        self._bar = tqdm(total=total, unit="B", unit_scale=True, unit_divisor=1024, file=sys.stderr)

    def advance(self, octets: int) -> None:
        self._bar.update(octets)

    def hide(self) -> None:
        self._bar.clear()

    def close(self) -> None:
        self._bar.close()


def run(
    declared: Options,
    body: Callable[[Context], None],
    argv: Sequence[str] | None = None,
    *,
    normal_end: bool = False,
) -> int:
    """Run a command and return its exit status; die by the signal where that is the right end.

    normal_end: INT and TERM are the ordinary way to end this command (of-capture, of-recv), with status 0.
    """
    stream.keep_standard_descriptors()
    prog = declared.prog
    stop = stream.StopSignals()
    arguments = sys.argv[1:] if argv is None else list(argv)
    try:
        if arguments in (["-V"], ["--version"]):
            stream.print_all(_version(prog).encode() + b"\n")
            return 0
        args = declared.read(arguments) or _parse(declared, arguments)
        stop.install()
        context = Context(prog, args, stop)
        signal.signal(signal.SIGUSR1, lambda *_: context.say_counts())
        _carry_out(context, body)
    except stream.OutputClosed:
        stream.die_by(signal.SIGPIPE)
    except stream.OutputError as error:
        stream.tell(f"{prog}: {error}\n")
        return 2
    if stop.received and not (normal_end and stop.received != signal.SIGHUP):
        stream.die_by(stop.received)
    return context.status


def value(parse: Callable[[str], T]) -> Callable[[str], T]:
    """Return a type of options from what raises ValueError with the reason that a user is told."""

    def parsed(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise UsageError(str(error)) from None

    return parsed


def with_numpy(use: Callable[[], None]) -> None:
    """Call what imports numpy, if that is installed."""
    # Its library for linear algebra, which is not needed, would start threads.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        use()
    except ImportError:
        pass


def _parse(declared: Options, argv: list[str]) -> SimpleNamespace:
    from overflowd_tools import usage

    return usage.parse(declared, argv)


def _version(prog: str) -> str:
    return f"{prog} {__version__}"


def _without_numbers(reason: str) -> str:
    import re

    return re.sub("[0-9]+", "#", reason)


def _open(name: str) -> int:
    """Open a FILE at once: waiting for the writer of a FIFO here would hold output back, and signals too."""
    descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    os.set_blocking(descriptor, True)
    return descriptor


def _carry_out(context: Context, body: Callable[[Context], None]) -> None:
    """Run the body; whatever it raises becomes a line and a status, except for errors of the output."""
    try:
        body(context)
    except Rejected:
        pass
    except (stream.OutputClosed, stream.OutputError):
        raise
    except OverflowdError as error:
        context.fail(str(error))
    except OSError as error:
        context.fail(f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror))
    except Exception as error:
        if os.environ.get("OF_DEBUG"):
            raise
        context.fail(f"internal error ({type(error).__name__}: {error}); OF_DEBUG=1 shows where")
    finally:
        context.end_progress()
    context.close()

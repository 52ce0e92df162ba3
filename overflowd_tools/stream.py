"""The only owner of standard input, standard output and FILE arguments.

Bytes come in as chunks, whole lines or blocks of whole lines; gzip and zstd are recognised by their magic.
Before a read that would block, what has been written so far is flushed, so that a live pipe never waits for a
buffer to fill. The first INT, TERM or HUP ends the input between two reads; readers need not care.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import stat
from itertools import chain

from overflowd_tools.blocks import OVERLONG, LineCutter
from overflowd_tools.decompression import decompressed, may_be_compressed
from overflowd_tools.errors import DecodeError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType
    from typing import NoReturn, TypeVar

    from overflowd_tools.blocks import Block

    T = TypeVar("T")

READ_SIZE = 1 << 16
WRITE_SIZE = 1 << 16
PIPE_SIZE = 1 << 20


class StopSignals:
    """Turns the first INT, TERM or HUP into a request to stop; the second one kills.

    A signal that the parent process ignores stays ignored, as nohup(1) needs it.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._readable, self._writable = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def __del__(self) -> None:
        os.close(self._readable)
        os.close(self._writable)

    def install(self) -> None:
        """Start to catch the signals."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the shape of a handler
        self.received = number
        os.write(self._writable, b"\0")
        for caught in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(caught) != signal.SIG_IGN:
                signal.signal(caught, signal.SIG_DFL)

    def fileno(self) -> int:
        """Return a descriptor that polls readable once a stop was requested."""
        return self._readable

    def __bool__(self) -> bool:
        return self.received is not None


class OutputError(Exception):
    """The output cannot be written; the text says which, and why."""


class OutputClosed(Exception):  # noqa: N818 - the usual end of `| head`
    """Whoever read the output has gone."""


class Output:
    """Standard output, or a descriptor in its place: whole blocks, written without Python's own buffers."""

    def __init__(self, descriptor: int = 1, name: str = "standard output") -> None:
        self._descriptor = descriptor
        self._name = name
        self._pieces: list[bytes] = []
        self._size = 0
        _enlarge_pipe(descriptor)

    @property
    def is_pipe(self) -> bool:
        """Whether somebody may wait at the other end."""
        return stat.S_ISFIFO(os.fstat(self._descriptor).st_mode)

    def write(self, data: bytes) -> None:
        """Add data; past 64 KiB it goes out at once. Raises OutputError or OutputClosed."""
        self._pieces.append(data)
        self._size += len(data)
        if self._size >= WRITE_SIZE:
            self.flush()

    def write_all(self, pieces: list[bytes]) -> None:
        """Write many short pieces, as write does one."""
        self._pieces += pieces
        self._size += sum(map(len, pieces))
        if self._size >= WRITE_SIZE:
            self.flush()

    def flush(self) -> None:
        """Write out what is held. Raises OutputError or OutputClosed, and gives up what was not written."""
        if not self._size:
            return
        pending = memoryview(b"".join(self._pieces))
        self._pieces.clear()
        self._size = 0
        try:
            while pending:
                try:
                    pending = pending[os.write(self._descriptor, pending) :]
                except BlockingIOError:  # whoever shares the descriptor has made it so
                    select.select([], [self._descriptor], [])
        except BrokenPipeError:
            raise OutputClosed from None
        except OSError as error:
            raise OutputError(f"{self._name}: {error.strerror}") from error

    def finish(self) -> None:
        """Flush, and learn of errors that a file system keeps back until the close. Raises as flush does."""
        self.flush()
        try:
            os.close(os.dup(self._descriptor))
        except OSError as error:
            raise OutputError(f"{self._name}: {error.strerror}") from error


def print_all(data: bytes) -> None:
    """Write this, and nothing else, to standard output. Raises as Output.finish."""
    output = Output()
    output.write(data)
    output.finish()


def tell(text: str) -> None:
    """Write to stderr, if there is somebody left to tell."""
    try:
        os.write(2, text.encode("utf-8", "backslashreplace"))
    except OSError:
        pass


class Input:
    """One FILE or standard input, open for reading."""

    def __init__(
        self,
        name: str,
        descriptor: int,
        *,
        stop: StopSignals,
        before_blocking: Callable[[], None],
        rejected: Callable[[str, str], None],
        failed: Callable[[str], None],
        progressed: Callable[[int], None] | None = None,
        unwrap: Callable[[Iterator[bytes]], Iterator[bytes]] = iter,
    ) -> None:
        """Take over an open descriptor.

        rejected is told the place and the reason of a line that is too long, and of compressed data that
        cannot be read on; failed is told why nothing can be read. Both of the latter end the input.
        unwrap makes of the bytes what they are read as; it raises DecodeError and UsageError as decompressed does.
        """
        self.name = name
        self._descriptor = descriptor
        self._stop = stop
        self._before_blocking = before_blocking
        self._rejected = rejected
        self._report_failure = failed
        self._progressed = progressed
        self._unwrap = unwrap
        self.failed = False
        """Whether something else than the end of the data ended the input."""

    def fileno(self) -> int:
        """Return the descriptor that is read: whoever holds output back can poll it along with a clock."""
        return self._descriptor

    def chunks(self, size: int = READ_SIZE) -> Iterator[bytes]:
        """Yield the (decompressed) bytes in pieces of at most so many octets, as soon as they are there."""
        return self._decompressed(self._raw(size))

    def blocks(self, size: int = READ_SIZE) -> Iterator[Block]:
        """Yield blocks of whole lines; only the very last line may lack its newline. See also OVERLONG.

        size: octets that are read at a time, at most. A line that a stop signal cuts short is dropped.
        """
        cutter = LineCutter(size)
        for count in self._fill(cutter):
            yield from cutter.cut(count)
        if not self._stop:
            yield from cutter.rest()

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield (line number from 1, line without its newline).

        Passed over are blank lines, a byte order mark before the first line, and (rejected) lines over 1 MiB.
        """
        number = 0
        for block in self.blocks():
            if block is OVERLONG:
                number += 1
                self._rejected(f"line {number}", "longer than 1 MiB")
                continue
            lines = bytes(block).split(b"\n")
            if not lines[-1]:
                lines.pop()
            if not number and lines[0].startswith(b"\xef\xbb\xbf"):
                lines[0] = lines[0][3:]
            for line in lines:
                number += 1
                if line and not line.isspace():
                    yield number, line

    def _fail(self, reason: str) -> None:
        self.failed = True
        self._report_failure(reason)

    def _fill(self, cutter: LineCutter) -> Iterator[int]:
        """Add the (decompressed) bytes, read in place if they need no change, and yield how many each time."""
        raw = self._raw(len(cutter.room()))
        first = next(raw, b"")
        if self._unwrap is not iter or may_be_compressed(first):
            for piece in self._decompressed(chain([first], raw)):
                yield from cutter.copy(piece)
        else:
            yield from cutter.copy(first)
            yield from self._reads(lambda: os.readv(self._descriptor, [cutter.room()]), int)

    def _decompressed(self, raw: Iterator[bytes]) -> Iterator[bytes]:
        try:
            yield from decompressed(self._unwrap(raw))
        except DecodeError as error:
            if not self._stop:
                self._rejected("", str(error))
        except UsageError as error:
            self._fail(str(error))

    def _raw(self, size: int) -> Iterator[bytes]:
        return self._reads(lambda: os.read(self._descriptor, size), len)

    def _reads(self, read: Callable[[], T], length: Callable[[T], int]) -> Iterator[T]:
        """Yield what each read gives, to the end of the data."""
        may_block = not stat.S_ISREG(os.fstat(self._descriptor).st_mode)
        _enlarge_pipe(self._descriptor)
        ready = select.poll()
        ready.register(self._descriptor, select.POLLIN)
        ready.register(self._stop.fileno(), select.POLLIN)
        while not self._stop:
            if may_block:
                if not ready.poll(0):
                    self._before_blocking()
                    ready.poll()
                if self._stop:
                    return
            try:
                data = read()
            except OSError as error:
                self._fail(str(error.strerror))
                return
            if not data:
                return
            if self._progressed:
                self._progressed(length(data))
            yield data


def _enlarge_pipe(descriptor: int) -> None:
    """Ask for a 1 MiB pipe: a quarter less time in a pipeline (and no harm where the kernel refuses)."""
    try:
        if fcntl.fcntl(descriptor, fcntl.F_GETPIPE_SZ) < PIPE_SIZE:
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
    except OSError:
        pass


def read_text(path: str) -> str:
    """Return the text of a file that an option names. Raises UsageError if it cannot be read or is no text."""
    try:
        return read_file(path).decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 text: {error}") from None


def read_file(path: str, limit: int = 1 << 24) -> bytes:
    """Return the contents of a file that an option names. Raises UsageError if it cannot be read or is too large."""
    try:
        with open(path, "rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    if len(data) > limit:
        raise UsageError(f"{path}: over {limit} bytes")
    return data


def replace_file(path: str, data: bytes) -> None:
    """Write a file so that whoever opens it finds the old contents or the new ones, also after a crash.

    A file that is there keeps its mode, and a symbolic link leads where it did. Raises OSError.
    """
    path = os.path.realpath(path)
    directory = os.path.dirname(path)
    temporary = os.path.join(directory, f".overflowd-{os.urandom(8).hex()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if os.path.exists(path):
                os.fchmod(descriptor, stat.S_IMODE(os.stat(path).st_mode))
            os.fsync(descriptor)
        os.replace(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def keep_standard_descriptors() -> None:
    """Fill the places of closed standard descriptors, so that no file opened later is taken for one of them.

    The fillers are opened the wrong way round: using them gives EBADF, as using a closed descriptor does.
    """
    for descriptor, flags in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, flags)


def die_by(number: int) -> NoReturn:
    """End this process as the signal would have ended it, silently."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
    os._exit(128 + number)

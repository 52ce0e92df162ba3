"""The log of a keyring: a file that only grows, one JSON object a line, and is locked while it is written.

What was appended is on the disk when append() returns. A crash can leave a piece of a line at the end, which was never
acknowledged; whoever locks the file next cuts it off. Now and then the log is replaced by a shorter one that says the
same; each has an id in its first line, so that others notice.
"""

import errno
import fcntl
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator

from overflowd_tools.errors import KeyFileError
from overflowd_tools.trust.keyfiles import make_directories, sync_directory

SCHEMA = "overflowd-keyring/1"
LINE_LIMIT = 1 << 20
_CHUNK = 1 << 20
_USUAL_LINE = 1 << 12
_START = b'{"$schema":"%s","id":"' % SCHEMA.encode()


class Log:
    """An open log. Every method but lock() is for whoever holds the lock. Raises KeyFileError."""

    def __init__(self, path: str, told: Callable[[str], None]) -> None:
        """Open the file, or make it (mode 0600). told is given what had to be mended."""
        self.path = os.path.realpath(path) if os.path.islink(path) else path  # as it will be replaced
        self._told = told
        self._descriptor = -1
        self.id = ""
        self.size = 0
        self._open()

    def close(self) -> None:
        """Close the file; a lock ends with that."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def lock(self) -> None:
        """Wait until nobody else writes the log, then keep others from it; mend its end, and learn its size."""
        try:
            while True:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX)
                if self._is_current():
                    break
                self.close()  # it was replaced while we waited
                self._open()
            size = os.fstat(self._descriptor).st_size
            if size != self.size or not self.id:
                self._take_up(size)
        except OSError as error:
            raise self._error(error) from None

    def unlock(self) -> None:
        """Let others write."""
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def append(self, lines: bytes) -> None:
        """Add whole lines, and return when they are on the disk; on an error, the log is as it was before."""
        try:
            _write_all(self._descriptor, lines)
            os.fsync(self._descriptor)
        except OSError as error:
            os.ftruncate(self._descriptor, self.size)
            raise self._error(error) from None
        self.size += len(lines)

    def lines(self, start: int) -> Iterator[tuple[int, bytes]]:
        """Yield (offset, line without its newline) from this offset on, which is that of a line.

        Of a line longer than 1 MiB, which no event is, only the beginning is yielded.
        """
        held, offset, place = b"", start, start
        overlong = False
        while place < self.size:
            chunk = os.pread(self._descriptor, min(_CHUNK, self.size - place), place)
            if not chunk:
                return
            place += len(chunk)
            *whole, held = (held + chunk).split(b"\n")
            for line in whole:
                if not overlong:
                    yield offset, line
                overlong = False
                offset += len(line) + 1
            if len(held) > LINE_LIMIT:
                if not overlong:
                    yield offset, held[:LINE_LIMIT]
                overlong = True
                offset += len(held)
                held = b""

    def line_at(self, offset: int) -> bytes:
        """Return the line at this offset without its newline, or nothing if there is none."""
        for size in (_USUAL_LINE, LINE_LIMIT):
            line, newline, _ = os.pread(self._descriptor, size, offset).partition(b"\n")
            if newline:
                return line
        return b""

    def tail(self, end: int) -> bytes:
        """Return the last octets before an offset, by which one log is told from another with the same id."""
        start = max(end - 64, 0)
        return os.pread(self._descriptor, end - start, start)

    def replace(self, lines: Callable[[int], Iterable[bytes]]) -> None:
        """Put a new log in the place of this one, at once and durably, and lock that.

        lines is called with the place where the first line will be.
        """
        directory = os.path.dirname(self.path) or "."
        temporary = os.path.join(directory, f".overflowd-{os.urandom(8).hex()}")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        try:
            descriptor = os.open(temporary, flags, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                size = self._fill(descriptor, lines)
                os.replace(temporary, self.path)
            except BaseException:
                os.unlink(temporary)
                os.close(descriptor)
                raise
            sync_directory(directory)
        except OSError as error:
            raise self._error(error) from None
        self.close()
        self._descriptor, self.size = descriptor, size
        self._read_id()

    def _fill(self, descriptor: int, lines: Callable[[int], Iterable[bytes]]) -> int:
        size, held = 0, [_header()]
        for line in lines(len(held[0])):
            held.append(line)
            if len(held) >= 1000:
                size += _write_all(descriptor, b"".join(held))
                held.clear()
        size += _write_all(descriptor, b"".join(held))
        os.fsync(descriptor)
        return size

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            make_directories(os.path.dirname(self.path) or ".")
            self._descriptor = os.open(self.path, flags, 0o600)
        except OSError as error:
            raise self._error(error) from None
        self.id = ""
        self.size = 0
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode):
            self.close()
            raise KeyFileError(f"{self.path}: not a regular file")
        if status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o022:
            self.close()
            raise KeyFileError(f"{self.path}: others can write it, so it proves nothing; run: chmod 600 {self.path}")

    def _is_current(self) -> bool:
        try:
            there = os.stat(self.path)
        except FileNotFoundError:
            return False
        ours = os.fstat(self._descriptor)
        return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)

    def _take_up(self, size: int) -> None:
        """Learn what others have done to the file, and cut off what they did not finish."""
        start = os.pread(self._descriptor, 4096, 0)
        if b"\n" in start:
            self._read_id()
        elif not start.startswith(_START[: len(start)]) or size > len(_START) + 40:
            raise KeyFileError(f"{self.path}: not a keyring")
        end = self._end_of_lines(size)
        if end < size:
            os.ftruncate(self._descriptor, end)
            os.fsync(self._descriptor)
            self._told(f"{self.path}: {size - end} octets of an unfinished line cut off at the end")
        self.size = end
        if not end:
            self.append(_header())
            self._read_id()
            sync_directory(os.path.dirname(self.path) or ".")

    def _end_of_lines(self, size: int) -> int:
        place = size
        while place:
            start = max(place - _CHUNK, 0)
            newline = os.pread(self._descriptor, place - start, start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            place = start
        return 0

    def _read_id(self) -> None:
        try:
            header = json.loads(self.line_at(0))
            if header["$schema"] != SCHEMA or not isinstance(header["id"], str):
                raise ValueError
            self.id = header["id"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise KeyFileError(f"{self.path}: not a keyring") from None

    def _error(self, error: OSError) -> KeyFileError:
        return KeyFileError(f"{self.path}: {error.strerror}")


def _header() -> bytes:
    return b'%s%s"}\n' % (_START, os.urandom(16).hex().encode())


def _write_all(descriptor: int, data: bytes) -> int:
    pending = memoryview(data)
    while pending:
        written = os.write(descriptor, pending)
        if not written:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        pending = pending[written:]
    return len(data)

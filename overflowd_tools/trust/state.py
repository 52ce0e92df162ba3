"""A file in which a program that signs keeps, from one run to the next, what must never be said twice.

While it is in use, its first line says so, and that is on the disk before anything is said. Only a run that ends well
writes what comes next. So after a crash, whenever it was, nobody knows where to go on, and nobody tries.
"""

import errno
import fcntl
import os
import re
import stat
import time
from collections.abc import Callable
from shlex import quote

from overflowd_tools.errors import KeyFileError
from overflowd_tools.trust.keyfiles import StrPath, sync_directory

LIMIT = 1 << 24

_HEADER = b'{"$schema":"overflowd-state/1","sha256":"%s"}\n'
_IN_USE = _HEADER % (b"0" * 64)
_HEADER_PATTERN = re.compile(rb'\{"\$schema":"overflowd-state/1","sha256":"([0-9a-f]{64})"\}\n')
_ORIGIN = b'{"inode":%d,"saved_s":%d}\n'


class StateFile:
    """An open file, locked for this process alone, and marked as in use. Every method raises KeyFileError."""

    def __init__(self, path: StrPath, load: Callable[[bytes], bool]) -> None:
        """Open the file, or make it (mode 0600), and read it.

        load is given what keep() was, where that still counts; it says if it took it over, or raises KeyFileError.
        A file that others may read or write, that another process has, or that is something else or damaged is
        refused, and left as it is.
        """
        self.path = path
        self.why_anew = "the file is new"
        """Why nothing was taken over, if so."""
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise KeyFileError(f"{path}: {error.strerror}") from None
        try:
            self._take(load)
        except OSError as error:
            self.close()
            raise KeyFileError(f"{path}: {error.strerror}") from None
        except KeyFileError as error:
            self.close()
            raise KeyFileError(f"{path}: {error}") from None

    def keep(self, content: bytes | bytearray) -> None:
        """Write what the next run will find, and return when it is on the disk; the file is no longer in use then."""
        saved_s = int(time.time())
        origin = _ORIGIN % (os.fstat(self._descriptor).st_ino, saved_s)
        place = len(_IN_USE) + len(origin)
        try:
            _write(self._descriptor, origin, len(_IN_USE))
            _write(self._descriptor, content, place)
            os.ftruncate(self._descriptor, place + len(content))
            os.fsync(self._descriptor)
            _write(self._descriptor, _header(origin, content), 0)
            os.utime(self._descriptor, (saved_s, saved_s))
            os.fsync(self._descriptor)
        except OSError as error:
            raise KeyFileError(f"{self.path}: {error.strerror}") from None

    def close(self) -> None:
        """Let others have the file."""
        os.close(self._descriptor)

    def _take(self, load: Callable[[bytes], bool]) -> None:
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise KeyFileError("not a regular file")
        if status.st_uid != os.geteuid():
            raise KeyFileError(f"belongs to another user (uid {status.st_uid}, not {os.geteuid()})")
        if status.st_mode & 0o077:
            raise KeyFileError(f"open to others; run: chmod 600 {quote(os.fspath(self.path))}")
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise KeyFileError("in use by another process") from None
        content = self._read()
        if content is not None:
            self.why_anew = "" if load(content) else "it was kept for another key"
        _write(self._descriptor, _IN_USE, 0)
        os.fsync(self._descriptor)
        sync_directory(os.path.dirname(os.path.realpath(self.path)))

    def _read(self) -> bytes | None:
        """Return the content, or None where there is none to go on with; why_anew tells why."""
        status = os.fstat(self._descriptor)
        if not status.st_size:
            return None
        data = os.pread(self._descriptor, LIMIT + 1, 0) if status.st_size <= LIMIT else b""
        header = _HEADER_PATTERN.match(data)
        if not header:
            raise KeyFileError("not a state file")
        start = header.end()
        if header[0] == _IN_USE:
            self.why_anew = "the last run did not end well"
            return None
        if header[0] != _header(memoryview(data)[start:]):
            raise KeyFileError("damaged; remove it to begin anew")
        # Not from a copy: somebody may have gone on where that was made.
        origin = _ORIGIN % (status.st_ino, int(status.st_mtime))
        if not data.startswith(origin, start):
            self.why_anew = "the file was copied, or changed since it was kept"
            return None
        return data[start + len(origin) :]


def _header(*body: bytes | bytearray | memoryview) -> bytes:
    from hashlib import sha256  # not for those who keep no state, as it takes 3 ms to import

    digest = sha256()
    for part in body:
        digest.update(part)
    return _HEADER % digest.hexdigest().encode()


def _write(descriptor: int, data: bytes | bytearray, place: int) -> None:
    pending = memoryview(data)
    while pending:
        written = os.pwrite(descriptor, pending, place)
        if not written:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        place += written
        pending = pending[written:]

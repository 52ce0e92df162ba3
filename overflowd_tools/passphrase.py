"""Asking for a passphrase: at the terminal without echo, or from a file descriptor; never in argv."""

import os
import signal
from types import FrameType

from overflowd_tools.errors import KeyFileError, UsageError

LENGTH_LIMIT = 1023
"""What minisign takes at most."""


def read(descriptor: int | None, prompt: str) -> bytes:
    """Return the passphrase: the first line that the descriptor gives or, without one, of the terminal.

    Of the descriptor, no byte after that line is read. Raises UsageError if it gives no passphrase, and
    KeyFileError if there is no terminal to ask at.
    """
    return ask(prompt) if descriptor is None else _first_line(descriptor)


def choose(descriptor: int | None) -> bytes | None:
    """Return the passphrase for a new key, or None for none.

    Without a descriptor it is asked for twice if standard input is a terminal, and otherwise there is none. Raises
    UsageError if the two differ, and as read() does.
    """
    if descriptor is not None:
        return read(descriptor, "")
    if not os.isatty(0):
        return None
    first = ask("Passphrase (empty for none): ")
    if first and ask("The same again: ") != first:
        raise UsageError("the two passphrases differ; no key was made")
    return first or None


def ask(prompt: str) -> bytes:
    """Ask at the controlling terminal, whatever the standard streams are; the answer may be empty.

    A signal that comes meanwhile ends the process, after the echo is on again. Raises KeyFileError.
    """
    import getpass

    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        raise KeyFileError("a passphrase is needed, and no terminal to ask at; use --passphrase-fd") from None
    caught = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = {number: signal.getsignal(number) for number in caught}
    try:
        for number, handler in handlers.items():
            if handler != signal.SIG_IGN:
                signal.signal(number, _interrupt)
        answer = os.fsencode(getpass.getpass(prompt))
    except _Interrupted as interruption:
        signal.signal(interruption.number, signal.SIG_DFL)
        os.kill(os.getpid(), interruption.number)
        raise
    except (EOFError, ValueError):
        raise UsageError("no passphrase was given") from None
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return _checked(answer)


class _Interrupted(BaseException):
    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the shape of a handler
    raise _Interrupted(number)


def _first_line(descriptor: int) -> bytes:
    line = bytearray()
    try:
        while len(line) <= LENGTH_LIMIT and (octet := os.read(descriptor, 1)) not in (b"", b"\n"):
            line += octet
    except (OSError, OverflowError) as error:
        raise UsageError(f"--passphrase-fd {descriptor}: {getattr(error, 'strerror', error)}") from None
    line = line.rstrip(b"\r")  # as minisign does
    if not line:
        raise UsageError(f"--passphrase-fd {descriptor}: no passphrase there")
    return _checked(bytes(line))


def _checked(passphrase: bytes) -> bytes:
    if len(passphrase) > LENGTH_LIMIT or b"\0" in passphrase:
        raise UsageError(f"a passphrase has at most {LENGTH_LIMIT} bytes, and no NUL")
    return passphrase

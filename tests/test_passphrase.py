"""Passphrases: from a descriptor and from a pretended terminal; tests/commands/test_key.py has a real one."""

import getpass
import os
import signal

import pytest

from overflowd_tools import passphrase
from overflowd_tools.errors import KeyFileError, UsageError


@pytest.fixture
def pipe():
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)


@pytest.fixture
def terminal(monkeypatch):
    """Make ask() believe in a terminal, and answer what the test says."""
    real = os.open
    monkeypatch.setattr(os, "open", lambda path, flags: real(os.devnull if path == "/dev/tty" else path, flags))

    def answers(answer):
        monkeypatch.setattr(getpass, "getpass", answer)

    return answers


@pytest.mark.parametrize(
    ("sent", "expected", "left"),
    [
        (b"secret\n", b"secret", b""),
        (b"secret", b"secret", b""),
        (b" two words \r\nnext line", b" two words ", b"next line"),
        (b"\xff\xfe\n", b"\xff\xfe", b""),
        (b"x" * 1023 + b"\nrest", b"x" * 1023, b"rest"),
    ],
)
def test_first_line_of_a_descriptor_and_no_more(pipe, sent, expected, left):
    reading, writing = pipe
    os.write(writing, sent)
    os.close(writing)
    assert passphrase.read(reading, "not shown") == expected
    assert os.read(reading, 100) == left


@pytest.mark.parametrize(
    ("sent", "reason"),
    [(b"", "no passphrase"), (b"\nx", "no passphrase"), (b"a\0b\n", "NUL"), (b"x" * 2000, "1023")],
)
def test_descriptor_without_a_passphrase(pipe, sent, reason):
    reading, writing = pipe
    os.write(writing, sent)
    os.close(writing)
    with pytest.raises(UsageError, match=reason):
        passphrase.read(reading, "")


@pytest.mark.parametrize(("number", "reason"), [(999, "Bad file"), (-1, "Bad file"), (1 << 40, "too large|range|int")])
def test_descriptor_that_is_not_open(number, reason):
    with pytest.raises(UsageError, match=f"--passphrase-fd {number}: .*({reason})"):
        passphrase.read(number, "")


def test_answer_from_the_terminal(terminal):
    asked = []
    terminal(lambda prompt: asked.append(prompt) or "sécret \udcff")
    assert passphrase.read(None, "Word: ") == "sécret ".encode() + b"\xff"
    assert asked == ["Word: "]


def test_no_terminal(monkeypatch):
    def missing(path, flags):
        raise OSError(6, "No such device or address", path)

    monkeypatch.setattr(os, "open", missing)
    with pytest.raises(KeyFileError, match="--passphrase-fd"):
        passphrase.ask("Word: ")


@pytest.mark.parametrize("error", [EOFError(), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad")])
def test_terminal_that_gives_no_answer(terminal, error):
    def fails(_):
        raise error

    terminal(fails)
    with pytest.raises(UsageError, match="no passphrase"):
        passphrase.ask("Word: ")


def test_handlers_are_put_back(terminal):
    seen = []
    terminal(lambda _: seen.append(signal.getsignal(signal.SIGTERM)) or "")
    before = signal.getsignal(signal.SIGTERM)
    assert passphrase.ask("Word: ") == b""
    assert signal.getsignal(signal.SIGTERM) == before
    assert seen != [before]


def test_signal_ends_the_process_by_that_signal(terminal, monkeypatch):
    killed = []
    monkeypatch.setattr(os, "kill", lambda pid, number: killed.append((pid, number)))
    before = signal.getsignal(signal.SIGTERM)
    terminal(lambda _: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(BaseException, match="15"):
        passphrase.ask("Word: ")
    assert killed == [(os.getpid(), signal.SIGTERM)]
    assert signal.getsignal(signal.SIGTERM) == before


def test_ignored_signals_stay_ignored(terminal):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        terminal(lambda _: signal.raise_signal(signal.SIGHUP) or "word")
        assert passphrase.ask("Word: ") == b"word"
    finally:
        signal.signal(signal.SIGHUP, before)

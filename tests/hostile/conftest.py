"""Runs of of-decode in this process."""

import signal
from collections.abc import Callable
from typing import Any

import pytest

from overflowd_tools.commands import decode as command
from tests.hostile import builders as build

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
SECONDS = 20


class HungError(BaseException):
    """Not an Exception, so that nothing takes it for one of its own."""


def hung(*_: object) -> None:
    raise HungError(f"it takes more than {SECONDS} seconds")


@pytest.fixture
def decode(tmp_path, monkeypatch, capfdbinary) -> Callable[..., build.Outcome]:
    """Run of-decode on a capture, the octets of a file."""
    monkeypatch.setenv("OF_DEBUG", "1")
    monkeypatch.chdir(tmp_path)
    before = [(number, signal.getsignal(number)) for number in (*HANDLED, signal.SIGALRM)]

    def run(capture: bytes, *argv: str) -> build.Outcome:
        build.write(tmp_path / "in", capture)
        capfdbinary.readouterr()
        signal.signal(signal.SIGALRM, hung)
        signal.alarm(SECONDS)
        try:
            status = command.main(["--stats", *argv, "in"])
        finally:
            signal.alarm(0)
            for number, handler in before:
                signal.signal(number, handler)
        told = capfdbinary.readouterr()
        return build.outcome(status, told.out, told.err)

    return run


@pytest.fixture
def between(decode, good) -> Callable[..., build.Outcome]:
    """Run of-decode on datagrams between good ones, none of which may be touched; give what was between."""

    def run(*bad: bytes, argv: tuple[str, ...] = (), source: str = build.EXPORTER) -> build.Outcome:
        frames = [build.frame(datagram) for datagram in build.BEFORE]
        frames += [build.frame(datagram, source) for datagram in bad]
        frames += [build.frame(datagram) for datagram in build.AFTER]
        capture = build.pcap(*map(build.record, frames))
        done = decode(capture, *argv)
        assert sum(len(str(line)) for line in done.lines) <= build.LINE_OCTETS * len(capture)
        return build.parted(done, good)

    return run


@pytest.fixture
def good(decode, kept={}) -> list[dict[str, Any]]:  # noqa: B006 - one for all tests
    """The lines of the witnesses."""
    if not kept:
        done = decode(build.capture(*build.BEFORE, *build.AFTER))
        assert (done.status, done.told, done.counts["lost"]) == (0, [], 0)
        assert len(done.lines) == 14
        kept["lines"] = done.lines
    return kept["lines"]

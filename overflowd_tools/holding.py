"""Standard output that holds reports back, so that many are signed at once, and keeps the order of all lines."""

from __future__ import annotations

import select
import time

from overflowd_tools import stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

HELD_OCTETS = 1 << 20
"""Lines that go through wait for the reports before them, but no more than this."""


class HoldingOutput(stream.Output):
    """Holds reports until there are enough of them, or until no more input comes."""

    def __init__(
        self,
        sign: Callable[[list[bytes]], list[bytes]],
        most: int,
        stop: stream.StopSignals,
        wait_s: float = 0.0,
    ) -> None:
        """Take what makes lines, without newlines, of the signed bytes of reports, and how many it is given at most.

        wait_s: how long the first report that is held waits for others where no more input is there; a stop signal
        ends that.
        """
        super().__init__()
        self._sign = sign
        self._most = most
        self._stop = stop
        self._wait_s = wait_s
        self._due = 0.0
        self._held: list[bytes] = []
        self._others: list[tuple[int, bytes]] = []
        """Lines to go through as they are, each with the number of reports before it."""
        self._octets = 0
        self.source: stream.Input
        """Where more input may come from; to be set before that is read."""

    def hold(self, bodies: list[bytes]) -> None:
        """Take the signed bytes of the reports on one flow, no more than are signed at once."""
        if len(self._held) + len(bodies) > self._most:
            self.sign()
        if self._wait_s and not self._held:
            self._due = time.monotonic() + self._wait_s
        self._held += bodies
        if len(self._held) == self._most or (self._wait_s and time.monotonic() >= self._due):
            self.sign()

    def pass_on(self, line: bytes) -> None:
        """Take a line, without its newline, to go through as it is."""
        if not self._held:
            self.write(line + b"\n")
            return
        self._others.append((len(self._held), line))
        self._octets += len(line)
        if self._octets > HELD_OCTETS or (self._wait_s and time.monotonic() >= self._due):
            self.sign()

    def sign(self) -> None:
        """Sign what is held, and write it."""
        if not self._held:
            return
        held, others = self._held, self._others
        self._held, self._others, self._octets = [], [], 0
        reports, lines, done = self._sign(held), [], 0
        for place, other in others:
            lines += reports[done:place]
            lines.append(other)
            done = place
        lines += reports[done:]
        self.write(b"\n".join([*lines, b""]))

    def flush(self) -> None:
        """Write out what is signed, wait for more input as long as that may be, and then sign what is held, too."""
        super().flush()
        if self._held and not self._more_comes():
            self.sign()
            super().flush()

    def _more_comes(self) -> bool:
        """Wait for input, or for the signal to stop, until what is held is due; say if there is some."""
        left_s = self._due - time.monotonic() if self._wait_s else 0.0
        if left_s <= 0:
            return False
        ready = select.poll()
        ready.register(self._stop.fileno(), select.POLLIN)
        ready.register(self.source.fileno(), select.POLLIN)
        return bool(ready.poll(1000 * left_s))

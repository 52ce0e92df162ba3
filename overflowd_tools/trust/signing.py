"""Many signatures at once, on all processors: libsodium does without the interpreter's lock while it works."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import ThreadPoolExecutor

    from overflowd_tools.trust.keys import SecretKey

SHARE = 32
"""Messages that make a thread worth the while: they take libsodium some 0.6 ms."""
MOST_THREADS = 4
"""With more of them, each waits for the interpreter's lock too often between two messages."""


class Signer:
    """Signs with one key, and with a thread for each processor."""

    def __init__(self, key: SecretKey, processors: int) -> None:
        self._key = key
        self._most = min(processors, MOST_THREADS)
        self._threads: ThreadPoolExecutor | None = None

    def sign(self, messages: Sequence[bytes]) -> list[bytes]:
        """Return the 64-octet Ed25519 signature of each message, in order."""
        share = max(-(-len(messages) // self._most), SHARE)
        if share >= len(messages):
            return self._key.sign_all(messages)
        if not self._threads:
            from concurrent.futures import ThreadPoolExecutor

            self._threads = ThreadPoolExecutor(self._most - 1)
        shares = [messages[start : start + share] for start in range(0, len(messages), share)]
        try:
            others = self._threads.map(self._key.sign_all, shares[1:])
        except RuntimeError:  # no thread can be started: a limit of the system's
            self._most = 1
            return self._key.sign_all(messages)
        return sum(others, self._key.sign_all(shares[0]))

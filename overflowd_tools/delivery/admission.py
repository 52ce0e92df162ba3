"""Which datagrams are worth a signature check: the cheap questions that of-recv asks first.

Nothing here knows sockets or clocks; times are Unix milliseconds. That a report is let in does not mean that
it is genuine.
"""

from __future__ import annotations

from collections import deque
from hashlib import blake2b

from overflowd_tools.delivery.addresses import Prefix, pack_address
from overflowd_tools.errors import RecordError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

SMALLEST = 150
LARGEST = 1200  # as overflowd-report(5) has it
BRACKETS = 16
LONGEST_COMMENT = 160
SIGNATURE_LINE = 100  # base64 of algorithm (2 octets), key number (8) and signature (64)
SEALED_OVERHEAD = 56  # magic number (4 octets), hint (4) and what the box adds (48)
BLOCK = 64  # what is sealed is padded to a multiple of so many octets
FRESH_MS = 120_000
REMEMBERED = 1 << 15  # some 6 MB

_COMMENT = b"untrusted comment: "
_MESSAGE = b'{"$schema":"overflowd-report/'
_SEALED = b"OFX1"


class RefusedError(RecordError):
    """A datagram that is not let in; `kind` names the reason where reasons are counted."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


def check_shape(datagram: bytes) -> None:
    """Refuse what cannot be the datagram form of a report (overflowd-report(5)), without parsing it.

    Few octets with few brackets also bound what parsing can cost. Raises RefusedError.
    """
    if not SMALLEST <= len(datagram) <= LARGEST:
        raise RefusedError("wrong_size", f"{len(datagram)} octets, not {SMALLEST} to {LARGEST}")
    if not datagram.startswith(_COMMENT):
        raise RefusedError("wrong_start", "not a signed datagram")
    if datagram.count(b"{") + datagram.count(b"[") > BRACKETS:
        raise RefusedError("too_many_brackets", f"more than {BRACKETS} brackets")
    comment_end = datagram.find(b"\n", 0, LONGEST_COMMENT + 1)
    if comment_end < 0:
        raise RefusedError("wrong_lines", f"its comment is longer than {LONGEST_COMMENT} octets")
    signature_end = datagram.find(b"\n", comment_end + 1)
    if signature_end - comment_end - 1 != SIGNATURE_LINE:
        raise RefusedError("wrong_lines", f"its signature line is not of {SIGNATURE_LINE} octets")
    if not datagram.startswith(_MESSAGE, signature_end + 1):
        raise RefusedError("wrong_start", "what is signed is not a report")


def is_sealed(datagram: bytes) -> bool:
    """Tell whether a datagram claims to be a sealed report."""
    return datagram.startswith(_SEALED)


def check_sealed_shape(datagram: bytes) -> None:
    """Refuse what cannot be the datagram form of a sealed report (overflowd-report(5)). Raises RefusedError."""
    padded = len(datagram) - SEALED_OVERHEAD
    if not (0 < padded <= LARGEST - SEALED_OVERHEAD) or (padded % BLOCK and len(datagram) != LARGEST):
        raise RefusedError("wrong_size", f"{len(datagram)} octets, which no sealed report has")


def check_recipient(to: str | None, local: bytes, own: Sequence[Prefix] = ()) -> None:
    """Refuse a report that is to nobody or to somebody else.

    Ours are the addresses in own or, if that is empty, the one address to which the datagram came.
    Raises RefusedError.
    """
    if to is None:
        raise RefusedError("not_to_us", "to nobody")
    address = pack_address(to)
    if address is None or not (any(_within(prefix, address) for prefix in own) if own else address == local):
        raise RefusedError("not_to_us", f"to {to}, which is not ours")


def _within(prefix: Prefix, address: bytes) -> bool:
    if len(prefix.first) != len(address):
        return False
    difference = int.from_bytes(prefix.first) ^ int.from_bytes(address)
    return difference >> (8 * len(address) - prefix.length) == 0


class Seen:
    """Remembers what was let in, in bounded memory, so that duplicates are refused until they expire.

    No signature has been checked yet, so anybody can fill this memory, and then the oldest entries give way.
    From then on, reports that may be among those forgotten come in only while they are fresh (FRESH_MS): they
    can be replayed for two minutes at most, while new reports are never locked out.
    """

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._limit = remembered
        self._digests: set[bytes] = set()
        self._oldest_first: deque[tuple[bytes, int, int]] = deque()  # digest, time_ms, expires_ms
        self._forgotten_ms = -1  # the latest time_ms of those forgotten before they expired

    def check(self, signed: bytes, time_ms: int, expires_ms: int, now_ms: int) -> None:
        """Refuse a duplicate and what may be one; remember the rest.

        signed: the signed bytes with their signature. Were it the bytes alone, a copy with a bad signature,
        sent ahead of a genuine report, would have that one refused. Raises RefusedError.
        """
        digest = blake2b(signed, digest_size=16).digest()
        if digest in self._digests:
            raise RefusedError("duplicate", "a duplicate")
        if time_ms <= self._forgotten_ms and time_ms < now_ms - FRESH_MS:
            raise RefusedError("too_old_to_tell", "too old to tell from a duplicate")
        if len(self._digests) == self._limit:
            self._forget_oldest(now_ms)
        self._digests.add(digest)
        self._oldest_first.append((digest, time_ms, expires_ms))

    def _forget_oldest(self, now_ms: int) -> None:
        digest, time_ms, expires_ms = self._oldest_first.popleft()
        self._digests.remove(digest)
        if expires_ms >= now_ms:
            self._forgotten_ms = max(self._forgotten_ms, time_ms)

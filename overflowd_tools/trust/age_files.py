"""age files (age-encryption.org/v1): a whole stream, encrypted for some receivers, by the library pyrage.

The keys are those of sealing.py. The only importer of pyrage, which the extra "age" installs.
"""

from __future__ import annotations

from itertools import chain

from overflowd_tools.errors import DecodeError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from queue import SimpleQueue
    from typing import Any

    from overflowd_tools.trust.sealing import ReceivingKey, RecipientKey

MAGIC = b"age-encryption.org/v1\n"
LONGEST_HEADER = 1 << 16
"""Octets: 600 receivers. The library reads a header in time of the square of its length."""

_END_OF_HEADER = b"\n--- "


def encrypted(chunks: Iterable[bytes], keys: Sequence[RecipientKey]) -> Iterator[bytes]:
    """Yield an age file of the chunks that each of the keys opens, in pieces of about 64 KiB.

    Raises UsageError where pyrage is not installed, and whatever the chunks raise.
    """
    pyrage = _library("--age")
    recipients = [pyrage.x25519.Recipient.from_str(key.text) for key in keys]
    yield from _coupled(lambda reader, writer: pyrage.encrypt_io(reader, writer, recipients), iter(chunks))


def decrypted(chunks: Iterable[bytes], keys: Callable[[], Sequence[ReceivingKey]]) -> Iterator[bytes]:
    """Pass bytes through; what begins as an age file is decrypted with whichever of the keys it is for.

    keys: called for an age file only. Raises DecodeError for a file that is damaged, cut, or for none of the keys,
    after all that was whole, and UsageError where pyrage is not installed.
    """
    chunks = iter(chunks)
    head = b""
    while _wants_more(head) and (chunk := next(chunks, b"")):
        head += chunk
    everything = chain([head] if head else [], chunks)
    if not head.startswith(MAGIC):
        yield from everything
        return
    if _END_OF_HEADER not in head[:LONGEST_HEADER]:
        raise DecodeError("the age data cannot be decrypted: no end of their header")
    pyrage = _library("age data: use age -d FILE |, or")
    identities = [pyrage.x25519.Identity.from_str(key.secret_text()) for key in keys()]
    try:
        yield from _coupled(lambda reader, writer: pyrage.decrypt_io(reader, writer, identities), everything)
    except pyrage.DecryptError as error:
        raise DecodeError(f"the age data cannot be decrypted: {str(error).lower()}") from None
    except OSError:  # raised by the library; chunks have errors of their own
        raise DecodeError("the age data are damaged or end too early") from None


def _wants_more(head: bytes) -> bool:
    if len(head) < len(MAGIC):
        return MAGIC.startswith(head)
    return head.startswith(MAGIC) and _END_OF_HEADER not in head and len(head) < LONGEST_HEADER


def _library(wanted: str) -> Any:
    try:
        import pyrage
    except ImportError:
        raise UsageError(f"{wanted}: install overflowd-tools[age]") from None
    return pyrage


def _coupled(work: Callable[[_Ends, _Ends], None], chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield what work makes of the chunks.

    work(reader, writer) reads and writes as it likes, so it runs in a thread of its own; only one of the two
    threads runs at any time, and the chunks are drawn in that of the caller. Raises what work or the chunks raise.
    """
    from queue import SimpleQueue
    from threading import Thread

    ends = _Ends(SimpleQueue(), SimpleQueue())
    thread = Thread(target=ends.run, args=(work,), daemon=True)
    thread.start()
    try:
        while True:
            made, ended = ends.made.get()
            if made:
                yield made
            if ended:
                break
            ends.given.put(next(chunks, b""))
    finally:
        ends.given.put(None)
        thread.join()
    if ends.error:
        raise ends.error


class _Ends:
    """Both ends of work, as file objects: a read hands over what was written, and waits for the next chunk."""

    def __init__(self, given: SimpleQueue[bytes | None], made: SimpleQueue[tuple[bytes, bool]]) -> None:
        self.given = given
        """Chunks; one without octets is the end of them, and None tells work to give up."""
        self.made = made
        """What was written since the last item, and whether work has ended."""
        self.error: Exception | None = None
        self._rest = b""
        self._written: list[bytes] = []

    def run(self, work: Callable[[_Ends, _Ends], None]) -> None:
        try:
            work(self, self)
        except Exception as error:
            self.error = error
        self.made.put((b"".join(self._written), True))

    def read(self, size: int) -> bytes:
        if not self._rest:
            self.made.put((b"".join(self._written), False))
            self._written.clear()
            chunk = self.given.get()
            if chunk is None:
                raise EOFError
            self._rest = chunk
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def write(self, data: bytes) -> int:
        self._written.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing: what was written is handed over with the next read."""

"""Plain datagrams of sFlow 5 written by the run, where all samples in them are common ones (sflow_common.py).

What the decoder finds in them, what Accounts make of it and what ShapeWriter writes, at a fraction of the time for each
datagram. Any other one is left to them.
"""

from __future__ import annotations

from struct import Struct

from overflowd_tools.capture.plain import Datagram, PlainRun
from overflowd_tools.protocols.accounting import Accounts
from overflowd_tools.protocols.dissection import address_text
from overflowd_tools.protocols.sequence import Stream
from overflowd_tools.protocols.sflow import read_common
from overflowd_tools.records import note_loss
from overflowd_tools.shapes import ONE_PACKET, origin, with_arrival

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Final

_BEGIN: Final = b"\0\0\0\5\0\0\0\1"
"""Version 5, and an agent with an IPv4 address."""
_HEADER: Final = Struct("!8x4sII4xI")  # agent, sub-agent, sequence number; number of samples
_MOST_PASSED_OVER: Final = 63
_LINES_AT_ONCE: Final = 64


class SflowBulk:
    """Writes the flows of datagrams of streams that are known."""

    def __init__(
        self,
        put: Callable[[list[bytes], int, int], None],
        accounts: Accounts,
        counts: dict[str, int],
        *,
        counters: bool,
    ) -> None:
        """put: writes lines (and is told how many of them are flows). counts: of datagrams. counters: are wanted."""
        self._put = put
        self._stream_of = accounts.find
        self._counts = counts
        self._counters = counters
        self._known: dict[tuple[bytes, bytes, int], tuple[Stream | None, bytes]] = {}
        """Exporter, agent and sub-agent -> their stream, and how the lines of its flows begin."""
        self._failed = 0
        self._pause = 0
        """How many datagrams are left to the decoder unread, since those before had to be."""

    def left(self, run: PlainRun, datagrams: Iterable[tuple[int, Datagram]]) -> Iterator[tuple[int, Datagram]]:
        """Yield those datagrams (index and place) that have to be decoded, each after those before it are written."""
        self._known.clear()
        lines: list[bytes] = []
        written = 0
        for index, datagram in datagrams:
            is_read = self._read(run, datagram, lines)
            written += is_read
            if not is_read or len(lines) >= _LINES_AT_ONCE:
                self._write(lines, written)
                lines, written = [], 0
            if not is_read:
                yield index, datagram
                self._known.clear()  # another stream may be there now, and one may be gone
        self._write(lines, written)

    def _read(self, run: PlainRun, datagram: Datagram, lines: list[bytes]) -> bool:
        """Add the lines of a datagram, if all its samples are common ones, and tell whether they are."""
        exporter, _, start, stop = datagram
        data, samples = run.data, start + _HEADER.size
        if not data.startswith(_BEGIN, start, stop) or samples > stop:
            return False
        if self._pause:
            self._pause -= 1
            return False
        agent, sub_agent, sequence, count = _HEADER.unpack_from(data, start)
        key = exporter, agent, sub_agent
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._find(*key)
        stream, head = found
        if stream is None:
            return False
        texts: list[bytes] = []
        head = with_arrival(head, run.timestamp_ns(start))
        if read_common(data, (samples, stop, count), head, texts, counters=self._counters) != (stop, 0):
            self._pause = self._failed = min(2 * self._failed + 1, _MOST_PASSED_OVER)
            return False
        self._failed = 0
        if lost := stream.records(sequence, 1):
            note_loss(texts, lost)
        lines += texts
        return True

    def _find(self, exporter: bytes, agent: bytes, sub_agent: int) -> tuple[Stream | None, bytes]:
        """Return the stream of an agent, and how the lines of its flows begin."""
        name = address_text(agent)
        stream = self._stream_of(("sflow5", exporter, sub_agent, name, None))
        return stream, ONE_PACKET + origin("sflow5", exporter, sub_agent, name)

    def _write(self, lines: list[bytes], datagrams: int) -> None:
        self._counts["packets"] += datagrams
        self._counts["datagrams"] += datagrams
        if lines:
            self._put(lines, len(lines), 0)

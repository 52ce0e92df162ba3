"""Plain datagrams of NetFlow 5 gathered by the run, for lines that are made by columns.

What the decoder finds in them and what Accounts make of it, at a fraction of the time for each. Whatever is not quite
as usual is left to the decoder, which finds the same where both would do.
"""

from __future__ import annotations

from struct import Struct

from overflowd_tools.capture.plain import Datagram, PlainRun
from overflowd_tools.protocols.accounting import Accounts
from overflowd_tools.protocols.detect import Rates
from overflowd_tools.protocols.netflow import NETFLOW5
from overflowd_tools.protocols.sequence import Stream
from overflowd_tools.records import is_far, origin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Final

    from overflowd_tools.columns.gathering import Gathering

# Version, count, uptime; Unix seconds and nanoseconds; sequence number, engine, sampling.
_HEADER5: Final = Struct("!HHIIIIHH")


class Bulk:
    """Gathers the flows of datagrams that follow the one before in their stream."""

    def __init__(self, gathering: Gathering, accounts: Accounts, rates: Rates | None, counts: dict[str, int]) -> None:
        """rates: sampling rates of exporters, better known. counts: where to count."""
        self._add = gathering.add_flows
        self._stream_of = accounts.find
        self._rate_of = rates.of if rates else None
        self._counts = counts

    def left(self, run: PlainRun, datagrams: Iterable[tuple[int, Datagram]]) -> Iterator[tuple[int, Datagram]]:
        """Yield those datagrams (index and place) that have to be decoded, each after those before it are gathered."""
        data, timestamp_ns = run.data, run.timestamp_ns
        unpack, header_length, length = _HEADER5.unpack_from, _HEADER5.size, NETFLOW5.length
        add = self._add
        known: dict[tuple[bytes, int, int], tuple[Stream | None, bytes]] = {}
        taken = flows = 0
        for index, datagram in datagrams:
            exporter, _, start, stop = datagram
            octets = stop - start - header_length
            if octets >= length:
                version, count, uptime_ms, seconds, nanoseconds, sequence, domain, sampling = unpack(data, start)
                if version == 5 and octets == length * count and nanoseconds < 1_000_000_000:
                    found = known.get((exporter, domain, sampling))
                    if found is None:
                        found = known[exporter, domain, sampling] = self._find(exporter, domain, sampling)
                    stream, start_of_head = found
                    export_ms = seconds * 1000 + nanoseconds // 1_000_000
                    if (
                        stream
                        and stream.expected == sequence
                        and data.find(0, start + 4, stop - 1) >= 0  # else it is text (see decode_netflow5)
                        and not is_far(export_ms, timestamp_ns(start))
                    ):
                        stream.messages += 1
                        stream.expected = sequence + count & 0xFFFFFFFF
                        head = b"%s%d" % (start_of_head, export_ms)
                        add(NETFLOW5, (head, data[start + header_length : stop], export_ms, uptime_ms))
                        taken += 1
                        flows += count
                        continue
            self._count(taken, flows)
            taken = flows = 0
            yield index, datagram
            known.clear()  # another stream may be there now, and one may be gone
        self._count(taken, flows)

    def _find(self, exporter: bytes, domain: int, sampling: int) -> tuple[Stream | None, bytes]:
        """Return the stream of an exporter's engine, and how the head of its flows begins."""
        rate = (self._rate_of and self._rate_of(exporter)) or sampling & 0x3FFF or 1
        stream = self._stream_of(("netflow5", exporter, domain, "", None))
        return stream, origin("netflow5", exporter, domain, rate)

    def _count(self, datagrams: int, flows: int) -> None:
        self._counts["packets"] += datagrams
        self._counts["datagrams"] += datagrams
        self._counts["flows"] += flows

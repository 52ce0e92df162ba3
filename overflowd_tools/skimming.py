"""Plain datagrams of exports of which no flow is kept: passed over, and accounted for, without decoding them.

Whatever is not quite as usual is left to the decoder, which finds the same where both would do.
"""

from __future__ import annotations

from math import ceil
from struct import Struct

from overflowd_tools.capture.plain import Datagram
from overflowd_tools.protocols.accounting import Accounts
from overflowd_tools.protocols.counters import AT_ONCE, Reader, counter_reader
from overflowd_tools.protocols.detect import Decoder, Rates
from overflowd_tools.protocols.netflow import NETFLOW5
from overflowd_tools.sampling.hits import Hits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

    from overflowd_tools.protocols.glance import Glances

_HEADER5: Final = Struct("!HH12xIHH")  # version, count; sequence, engine, sampling
_HEADER5_LENGTH: Final = 24
_WITH_SETS: Final = (b"\x00\x09", b"\x00\x0a")
_FEW_PACKETS: Final = 1 << 24
"""Below it there is an octet of 0 in every record, which text that begins as NetFlow 5 does not have."""


_UNKNOWN: Final[tuple[int, Reader]] = (0, lambda _, __: ())


class Skimmer:
    """Passes over datagrams of NetFlow 5 and 9 and IPFIX."""

    def __init__(
        self, hits: Hits, accounts: Accounts, exports: Decoder, rates: Rates | None, counts: dict[str, int]
    ) -> None:
        """Take what draws, and what knows the exporters. rates: those known better. counts: where to count."""
        self._hits = hits
        self._accounts = accounts
        self._exports = exports
        self._rate_of = rates.of if rates else None
        self._counts = counts
        self._glances: Glances | None = None
        self._known: dict[int, tuple[int, Reader]] = {}
        """Octets of a datagram of NetFlow 5 -> its records, and what reads their packets."""
        for records in range(1, AT_ONCE + 1):
            read = counter_reader(NETFLOW5, "pcount", records)
            assert read is not None
            self._known[_HEADER5_LENGTH + records * NETFLOW5.length] = records, read

    def left(self, data: bytes, datagrams: list[Datagram]) -> Iterator[tuple[int, Datagram]]:
        """Yield index and place of the datagrams that have to be decoded, each after those before it are counted."""
        unpack, known, few_packets = _HEADER5.unpack_from, self._known.get, _FEW_PACKETS
        stream_of, rate_of = self._accounts.find, self._rate_of
        passed = flows = units = 0
        free = self._hits.free
        for index, datagram in enumerate(datagrams):
            exporter, _, start, stop = datagram
            records, read = known(stop - start, _UNKNOWN)
            if records:
                version, count, sequence, domain, sampling = unpack(data, start)
                if version == 5 and count == records:
                    packets = sum(read(data, start + _HEADER5_LENGTH))
                    rate = (rate_of and ceil(rate_of(exporter) or 0)) or sampling & 0x3FFF or 1
                    more = units + (packets + count) * rate
                    stream = stream_of(("netflow5", exporter, domain, "", None))
                    if more <= free and packets < few_packets and stream and stream.expected == sequence:
                        stream.messages += 1
                        stream.expected = sequence + count & 0xFFFFFFFF
                        units = more
                        passed += 1
                        flows += count
                        continue
            if data[start : start + 2] in _WITH_SETS:
                count, more = self._sets(data, datagram, free - units)
                if count:
                    units += more
                    passed += 1
                    flows += count
                    continue
            self._count(passed, flows, units)
            yield index, datagram
            passed = flows = units = 0
            free = self._hits.free
        self._count(passed, flows, units)

    def _sets(self, data: bytes, datagram: Datagram, free: int) -> tuple[int, int]:
        """Take a message of NetFlow 9 or IPFIX of at most so many units; return its records and units, or zeroes."""
        exporters = self._exports.exporters
        if exporters is None:
            return 0, 0
        if self._glances is None:
            from overflowd_tools.protocols.glance import Glances

            self._glances = Glances(exporters, self._rate_of)
        seen = self._glances.look(data, datagram)
        if seen is None:
            return 0, 0
        stream, sequence, count, packets, rate = seen
        records = len(packets)
        units = (sum(packets) + records) * rate
        if units > free or not self._glances.is_next(stream, sequence, count, records):
            return 0, 0
        return records, units

    def _count(self, passed: int, flows: int, units: int) -> None:
        self._hits.pass_over(units)
        for name in ("packets", "datagrams"):
            self._counts[name] += passed
        self._counts["flows"] += flows

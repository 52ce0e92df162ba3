"""Plain datagrams of exports of which no flow is kept: passed over, and accounted for, without decoding them.

Whatever is not quite as usual is left to the decoder, which finds the same where both would do.
"""

from collections.abc import Iterator
from struct import Struct
from typing import Final

from overflowd_tools.capture.plain import Datagram
from overflowd_tools.protocols.accounting import Accounts
from overflowd_tools.protocols.counters import AT_ONCE, Reader, counter_reader
from overflowd_tools.protocols.detect import Rates
from overflowd_tools.protocols.netflow import NETFLOW5
from overflowd_tools.sampling.batches import BatchSampler

_HEADER5: Final = Struct("!HH12xIHH")  # version, count; sequence, engine, sampling
_HEADER5_LENGTH: Final = 24
_FEW_PACKETS: Final = 1 << 24
"""Below it there is an octet of 0 in every record, which text that begins as NetFlow 5 does not have."""


_UNKNOWN: Final[tuple[int, Reader]] = (0, lambda _, __: ())


class Skimmer:
    """Passes over datagrams of NetFlow 5."""

    def __init__(self, batches: BatchSampler, accounts: Accounts, rates: Rates, counts: dict[str, int]) -> None:
        """Take what draws, keeps the accounts and knows sampling rates better, and where to count."""
        self._hits = batches.hits
        self._accounts = accounts
        self._rates = rates
        self._counts = counts
        self._known: dict[int, tuple[int, Reader]] = {}
        """Octets of a datagram -> its records, and what reads their packets."""
        for records in range(1, AT_ONCE + 1):
            read = counter_reader(NETFLOW5, "pcount", records)
            assert read is not None
            self._known[_HEADER5_LENGTH + records * NETFLOW5.length] = records, read

    def left(self, data: bytes, datagrams: list[Datagram]) -> Iterator[tuple[int, Datagram]]:
        """Yield index and place of the datagrams that have to be decoded, each after those before it are counted."""
        unpack, known, continues = _HEADER5.unpack_from, self._known.get, self._accounts.continues
        passed = flows = units = 0
        free = self._hits.free
        for index, datagram in enumerate(datagrams):
            exporter, _, start, stop = datagram
            records, read = known(stop - start, _UNKNOWN)
            if records:
                version, count, sequence, domain, sampling = unpack(data, start)
                if version == 5 and count == records:
                    packets = sum(read(data, start + _HEADER5_LENGTH))
                    rate = sampling & 0x3FFF or 1
                    more = units + (packets + count) * rate
                    if (
                        more <= free
                        and packets < _FEW_PACKETS
                        and continues(("netflow5", exporter, domain, "", None), sequence, count)
                    ):
                        units = more
                        passed += 1
                        flows += count
                        continue
            self._count(passed, flows, units)
            yield index, datagram
            passed = flows = units = 0
            free = self._hits.free
        self._count(passed, flows, units)

    def _count(self, passed: int, flows: int, units: int) -> None:
        self._hits.pass_over(units)
        for name in ("packets", "datagrams"):
            self._counts[name] += passed
        self._counts["flows"] += flows

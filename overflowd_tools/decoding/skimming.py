"""Plain datagrams of exports of which no flow is kept: passed over, and accounted for, without decoding them.

Whatever is not quite as usual is left to the decoder, which finds the same where both would do.
"""

from __future__ import annotations

from math import ceil
from struct import Struct

from overflowd_tools.capture.plain import DOZEN, Datagram, PlainRun
from overflowd_tools.protocols.accounting import Accounts
from overflowd_tools.protocols.counters import AT_ONCE, counter_reader
from overflowd_tools.protocols.detect import Decoder, Rates
from overflowd_tools.protocols.netflow import NETFLOW5
from overflowd_tools.protocols.series import FORM5, WITH_SETS, Form, Sight, series
from overflowd_tools.sampling.hits import Hits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

    from overflowd_tools.protocols.counters import Reader
    from overflowd_tools.protocols.glance import Glances

_HEADER5: Final = Struct("!HH12xIHH")  # version, count; sequence, engine, sampling
_VERSION5: Final = b"\x00\x05"
_UNKNOWN: Final[tuple[int, Reader]] = (0, lambda _, __: ())
_FEW_PACKETS: Final = 1 << 24
"""Below it there is an octet of 0 in every record, which text that begins as NetFlow 5 does not have."""
_SIGHTS_KEPT: Final = 1024


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
        self._known: dict[int, tuple[int, Reader]] = {}
        """Octets of a datagram of NetFlow 5 -> its records, and what reads their packets."""
        for records in range(1, AT_ONCE + 1):
            read = counter_reader(NETFLOW5, "pcount", records)
            assert read is not None
            self._known[FORM5.length + records * NETFLOW5.length] = records, read
        self._glances: Glances | None = None
        self._sights: dict[tuple[bytes, int, int, bytes, bytes], Sight] = {}
        """Of messages with sets: exporter and port, octets, and the header -> what is known until one is decoded."""
        self._last: Sight | None = None

    def left(self, run: PlainRun) -> Iterator[tuple[int, Datagram]]:
        """Yield index and place of the datagrams that have to be decoded, each after those before it are counted."""
        self._forget()  # for there may be something between this run and the one before
        done = 0
        for first, many in run.alike:
            begin, end = first, first + many
            while begin + DOZEN <= end:
                yield from self._one_by_one(run, done, begin)
                done = begin + self._take_alike(run, begin, end)
                begin = done + DOZEN  # a dozen that is not taken goes one by one
        yield from self._one_by_one(run, done, len(run.datagrams))

    def _one_by_one(self, run: PlainRun, begin: int, end: int) -> Iterator[tuple[int, Datagram]]:
        """As left(), for some of the datagrams."""
        data, unpack, known, few_packets = run.data, _HEADER5.unpack_from, self._known.get, _FEW_PACKETS
        stream_of, rate_of = self._accounts.find, self._rate_of
        passed = flows = units = 0
        free = self._hits.free
        for index, datagram in enumerate(run.datagrams[begin:end], begin):
            exporter, _, start, stop = datagram
            records, read = known(stop - start, _UNKNOWN)
            if records:
                version, count, sequence, domain, sampling = unpack(data, start)
                if version == 5 and count == records:
                    packets = sum(read(data, start + FORM5.length))
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
            form = WITH_SETS.get(data[start : start + 2])
            if form and stop - start >= form.length:
                count, more = self._take_sets(data, datagram, form, free - units)
                if count:
                    units += more
                    passed += 1
                    flows += count
                    continue
            self._count(passed, flows, units)
            yield index, datagram
            self._forget()
            passed = flows = units = 0
            free = self._hits.free
        self._count(passed, flows, units)

    def _take_sets(self, data: bytes, datagram: Datagram, form: Form, free: int) -> tuple[int, int]:
        """Take a message of NetFlow 9 or IPFIX of at most so many units; return its records and units, or zeroes."""
        exporter, port, start, stop = datagram
        if self._exports.exporters is None:
            return 0, 0
        head, sequence, tail = form.read(data, start)
        key = exporter, port, stop - start, head, tail
        sight = self._sights.get(key)
        if sight is None:
            sight = self._look(data, datagram)
            if sight is None:
                return 0, 0
            if sight.at == form.length and len(self._sights) < _SIGHTS_KEPT:
                self._sights[key] = sight
        elif sight is not self._last and sight.session:
            self._exports.exporters.heard(*sight.session)
        self._last = sight
        stream, _, records, read, rate, at, announced, _ = sight
        units = (sum(read(data, start + at)) + records) * rate
        if units > free or not (stream.expected == sequence or stream.is_late(sequence)):
            return 0, 0
        if announced is None:
            stream.records(sequence, records)
        else:
            stream.datagrams(sequence, announced)
        return records, units

    def _take_alike(self, run: PlainRun, first: int, end: int) -> int:
        """Take the dozens of datagrams alike from `first` to `end` of which no flow may be kept; return how many."""
        data, datagrams = run.data, run.datagrams
        exporter, port, start, stop = datagrams[first]
        form = FORM5 if data.startswith(_VERSION5, start) else WITH_SETS.get(data[start : start + 2])
        if form is None or stop - start < form.length:
            return 0
        head, sequence, tail = form.read(data, start)
        if form is FORM5:
            sight = self._look5(data, datagrams[first])
        else:
            sight = self._sights.get((exporter, port, stop - start, head, tail))
        if sight is None or sight.stream.expected != sequence:
            return 0
        stream, template, records, read, rate, at, announced, session = sight
        free = self._hits.free
        if (sum(read(data, start + at)) + records) * rate * DOZEN > free:  # they are likely too many
            return 0
        distance, step = datagrams[first + 1][2] - start, stream.step(records, announced)
        dozen = series(form, template, records, distance, DOZEN)
        taken = units = 0
        while first + taken + DOZEN <= end:
            wanted = head, sequence + taken * step & 0xFFFFFFFF, tail
            packets = dozen.packets(data, start + taken * distance, wanted, step)
            if packets is None or packets >= _FEW_PACKETS:
                break
            more = units + (packets + DOZEN * records) * rate
            if more > free:
                break
            units = more
            taken += DOZEN
        if taken:
            if session and self._exports.exporters:
                self._exports.exporters.heard(*session)
            stream.pass_over(taken, records, announced)
            self._count(taken, taken * records, units)
        return taken

    def _look(self, data: bytes, datagram: Datagram) -> Sight | None:
        """Return what can be known of a message with sets, None if it must be decoded."""
        if self._glances is None:
            from overflowd_tools.protocols.glance import Glances

            assert self._exports.exporters is not None
            self._glances = Glances(self._exports.exporters, self._rate_of)
        return self._glances.look(data, datagram)

    def _look5(self, data: bytes, datagram: Datagram) -> Sight | None:
        """Return what can be known of a datagram of NetFlow 5, None if it must be decoded."""
        exporter, _, start, stop = datagram
        records, read = self._known.get(stop - start, _UNKNOWN)
        _, count, _, domain, sampling = _HEADER5.unpack_from(data, start)
        stream = self._accounts.find(("netflow5", exporter, domain, "", None))
        if stream is None or not records or count != records:
            return None
        rate = (self._rate_of and ceil(self._rate_of(exporter) or 0)) or sampling & 0x3FFF or 1
        return Sight(stream, NETFLOW5, records, read, rate, FORM5.length)

    def _forget(self) -> None:
        self._sights.clear()
        self._last = None

    def _count(self, passed: int, flows: int, units: int) -> None:
        self._hits.pass_over(units)
        for name in ("packets", "datagrams"):
            self._counts[name] += passed
        self._counts["flows"] += flows

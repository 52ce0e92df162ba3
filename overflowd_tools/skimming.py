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
from overflowd_tools.protocols.series import FORMS, Form, Sight, series
from overflowd_tools.sampling.hits import Hits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

    from overflowd_tools.protocols.glance import Glances

_HEADER5: Final = Struct("!2xH16xHH")  # count; engine, sampling
_VERSION5: Final = b"\x00\x05"
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
        self._glances: Glances | None = None
        self._sights: dict[tuple[bytes, int, int, bytes, bytes], Sight] = {}
        """Exporter and port, octets, and what the header says -> what that means, until something is decoded."""

    def left(self, run: PlainRun) -> Iterator[tuple[int, Datagram]]:
        """Yield index and place of the datagrams that have to be decoded, each after those before it are counted."""
        self._sights.clear()  # whatever came between this run and the one before
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
        data, forms, sights, few_packets = run.data, FORMS.get, self._sights.get, _FEW_PACKETS
        passed = flows = units = 0
        free = self._hits.free
        last = None
        for index, datagram in enumerate(run.datagrams[begin:end], begin):
            exporter, port, start, stop = datagram
            form, sight = forms(data[start : start + 2]), None
            if form is not None and stop - start >= form.length:
                head, sequence, tail = form.read(data, start)
                sight = sights((exporter, port, stop - start, head, tail))
                if sight is None:
                    sight = self._look(data, datagram, form)
                elif sight is not last and sight.session:
                    self._hear(sight)
            if sight is not None:
                last = sight
                stream, _, records, read, rate, at, announced, _ = sight
                packets = sum(read(data, start + at))
                more = units + (packets + records) * rate
                if more <= free and packets < few_packets and (stream.expected == sequence or stream.is_late(sequence)):
                    if announced is None:
                        stream.records(sequence, records)
                    else:
                        stream.datagrams(sequence, announced)
                    units = more
                    passed += 1
                    flows += records
                    continue
            self._count(passed, flows, units)
            yield index, datagram
            self._sights.clear()
            passed = flows = units = 0
            free = self._hits.free
            last = None
        self._count(passed, flows, units)

    def _take_alike(self, run: PlainRun, first: int, end: int) -> int:
        """Take the dozens of datagrams alike from `first` to `end` of which no flow may be kept; return how many."""
        data, datagrams = run.data, run.datagrams
        exporter, port, start, stop = datagrams[first]
        form = FORMS.get(data[start : start + 2])
        if form is None or stop - start < form.length:
            return 0
        head, sequence, tail = form.read(data, start)
        sight = self._sights.get((exporter, port, stop - start, head, tail))
        if sight is None or sight.stream.expected != sequence:
            return 0
        stream, template, records, _, rate, _, announced, _ = sight
        distance, step = datagrams[first + 1][2] - start, stream.step(records, announced)
        dozen = series(form, template, records, distance, DOZEN)
        free, taken, units = self._hits.free, 0, 0
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
            self._hear(sight)
            stream.pass_over(taken, records, announced)
            self._count(taken, taken * records, units)
        return taken

    def _look(self, data: bytes, datagram: Datagram, form: Form) -> Sight | None:
        """Return what can be known of a message, None if it must be decoded."""
        exporter, port, start, stop = datagram
        sight = self._look5(data, datagram) if data.startswith(_VERSION5, start) else self._look_at_sets(data, datagram)
        if sight is not None and sight.at == form.length and len(self._sights) < _SIGHTS_KEPT:
            head, _, tail = form.read(data, start)
            self._sights[exporter, port, stop - start, head, tail] = sight
        return sight

    def _look_at_sets(self, data: bytes, datagram: Datagram) -> Sight | None:
        if self._exports.exporters is None:
            return None
        if self._glances is None:
            from overflowd_tools.protocols.glance import Glances

            self._glances = Glances(self._exports.exporters, self._rate_of)
        return self._glances.look(data, datagram)

    def _look5(self, data: bytes, datagram: Datagram) -> Sight | None:
        exporter, _, start, stop = datagram
        count, domain, sampling = _HEADER5.unpack_from(data, start)
        at = FORMS[_VERSION5].length
        stream = self._accounts.find(("netflow5", exporter, domain, "", None))
        if not (stream and 0 < count <= AT_ONCE and stop - start == at + count * NETFLOW5.length):
            return None
        read = counter_reader(NETFLOW5, "pcount", count)
        assert read is not None
        rate = (self._rate_of and ceil(self._rate_of(exporter) or 0)) or sampling & 0x3FFF or 1
        return Sight(stream, NETFLOW5, count, read, rate, at)

    def _hear(self, sight: Sight) -> None:
        """Tell that the exporter is heard once more."""
        if sight.session and self._exports.exporters:
            self._exports.exporters.heard(*sight.session)

    def _count(self, passed: int, flows: int, units: int) -> None:
        self._hits.pass_over(units)
        for name in ("packets", "datagrams"):
            self._counts[name] += passed
        self._counts["flows"] += flows

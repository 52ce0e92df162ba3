"""Plain messages of NetFlow 9 and IPFIX gathered by the run, for lines that are made by columns.

What the decoder finds in them, at a fraction of the time for each: those of one data set whose template is known (see
glance.py) and before which nothing was lost. Any other message is left to the decoder.
"""

from __future__ import annotations

from struct import Struct

from overflowd_tools.capture.plain import Datagram, PlainRun
from overflowd_tools.protocols.detect import Decoder, Rates
from overflowd_tools.records import is_far, origin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Final

    from overflowd_tools.columns.gathering import Gathering
    from overflowd_tools.protocols.glance import Found, Glances

_VERSIONS: Final = (b"\x00\x09", b"\x00\x0a")
_NETFLOW9: Final = Struct("!4xIII")  # uptime, Unix seconds, sequence number
_IPFIX: Final = Struct("!4xII")  # Unix seconds, sequence number


class SetsBulk:
    """Gathers the flows of messages of sessions that are known."""

    def __init__(self, gathering: Gathering, exports: Decoder, rates: Rates | None, counts: dict[str, int]) -> None:
        """Take what knows the sessions, some at least. rates: of sampling, better known. counts: where to count."""
        self._add = gathering.add_flows
        self._exports = exports
        self._rate_of = rates.of if rates else None
        self._counts = counts
        self._glances: Glances | None = None

    def left(self, run: PlainRun, datagrams: Iterable[tuple[int, Datagram]]) -> Iterator[tuple[int, Datagram]]:
        """Yield those datagrams (index and place) that have to be decoded, each after those before it are gathered."""
        for index, datagram in datagrams:
            start = datagram[2]
            if run.data[start : start + 2] in _VERSIONS:
                found = self._find(run.data, datagram)
                if found is not None and self._take(run, datagram, found):
                    self._counts["packets"] += 1
                    self._counts["datagrams"] += 1
                    self._counts["flows"] += found.records
                    continue
            yield index, datagram

    def _find(self, data: bytes, datagram: Datagram) -> Found | None:
        if self._glances is None:
            from overflowd_tools.protocols.glance import Glances

            assert self._exports.exporters is not None
            self._glances = Glances(self._exports.exporters, self._rate_of)
        return self._glances.find(data, datagram)

    def _take(self, run: PlainRun, datagram: Datagram, found: Found) -> bool:
        """Gather the flows of a message, if nothing was lost before it and its clock is right; tell whether so."""
        exporter, _, start, stop = datagram
        session, (source, _, domain), template, rate, at, records, announced = found
        uptime_ms, stream = 0, session.stream
        if announced is None:
            seconds, sequence = _IPFIX.unpack_from(run.data, start)
        else:
            uptime_ms, seconds, sequence = _NETFLOW9.unpack_from(run.data, start)
        export_ms = seconds * 1000
        if stream.expected != sequence or is_far(export_ms, run.timestamp_ns(start)):
            return False
        if announced is None:
            stream.records(sequence, records)
        else:
            stream.datagrams(sequence, announced)
        if template.boot_told:
            uptime_ms = export_ms - (session.options.boot_ms or 0) & 0xFFFFFFFF
        head = b"%s%d" % (origin(source, exporter, domain, rate), export_ms)
        self._add(template, (head, run.data[at:stop], export_ms, uptime_ms))
        return True

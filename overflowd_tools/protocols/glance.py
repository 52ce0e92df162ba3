"""What a message of NetFlow 9 or IPFIX holds, at a glance: the usual one, of one data set of flows that are all alike.

Templates that are known may be before it. A glance changes nothing but who was heard last, and which templates. Any
other message is for the decoder.
"""

from __future__ import annotations

from math import ceil
from struct import Struct

from overflowd_tools.named import NamedTuple
from overflowd_tools.protocols.announced import ipfix_templates, netflow9_templates
from overflowd_tools.protocols.counters import AT_ONCE, counter_reader
from overflowd_tools.protocols.exporters import DataSet, Exporters
from overflowd_tools.protocols.rows import flow_batches
from overflowd_tools.protocols.series import Sight
from overflowd_tools.protocols.sessions import Export, Session
from overflowd_tools.protocols.templates import Template

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

# Version, count or length; Unix seconds; domain; number and length of the first set.
_NETFLOW9: Final = Struct("!HH4xI4xIHH")
_IPFIX: Final = Struct("!HHI4xIHH")
_SET: Final = Struct("!HH")
_SET_HEADER: Final = 4
_TEMPLATES: Final = (0, 2)
"""The numbers of sets of templates, in NetFlow 9 and in IPFIX."""
_GLANCES_KEPT: Final = 6
"""Of one session."""
_MOST_OCTETS: Final = 384
"""Of a set of templates that is remembered."""
_YEAR_1990: Final = 631_152_000
_YEAR_2100: Final = 4_102_444_800


class Found(NamedTuple):
    """A message of one data set, as its session knows it.

    key: of the session: source, port, domain. sampling_rate: of all the records. at: where they begin in data.
    announced: the count in a NetFlow 9 header, None for IPFIX.
    """

    session: Session
    key: tuple[str, int, int]
    template: Template
    sampling_rate: float
    at: int
    records: int
    announced: int | None


class Glances:
    """Looks at messages of exporters that are known."""

    def __init__(self, exporters: Exporters, rate_of: Callable[[bytes], float | None] | None) -> None:
        """rate_of: the sampling rates by exporter that are better known."""
        self._exporters = exporters
        self._rate_of = rate_of

    def look(self, data: bytes, datagram: tuple[bytes, int, int, int]) -> Sight | None:
        """Return what tells how many packets a message counts, None if it must be decoded. Arguments as for find."""
        found = self.find(data, datagram)
        if found is None or found.records > AT_ONCE:
            return None
        session, key, template, rate, at, records, announced = found
        exporter, _, start, _ = datagram
        read = counter_reader(template, "pcount", records)
        told = announced, (exporter, key)
        return Sight(session.stream, template, records, read, ceil(rate), at - start, *told) if read else None

    def find(self, data: bytes, datagram: tuple[bytes, int, int, int]) -> Found | None:
        """Return what is known of a message, None if it must be decoded.

        datagram: address and port of the exporter; where in data the message starts and stops.
        """
        exporter, port, start, stop = datagram
        if stop - start < _NETFLOW9.size:
            return None
        count: int | None
        if data[start + 1] == 9:
            _, count, seconds, domain, number, length = _NETFLOW9.unpack_from(data, start)
            source, records_at, fits = "netflow9", start + _NETFLOW9.size, True
        else:
            _, octets, seconds, domain, number, length = _IPFIX.unpack_from(data, start)
            source, records_at, fits = "ipfix", start + _IPFIX.size, octets == stop - start
            count = None
        fits = fits and _YEAR_1990 <= seconds < _YEAR_2100
        key = source, port, domain
        session = self._exporters.heard(exporter, key) if fits else None
        if session is None:
            return None
        if number in _TEMPLATES:
            end = records_at - _SET_HEADER + length
            if not records_at <= end <= stop - _SET_HEADER or not _tells_nothing_new(
                session, number, data[records_at:end], netflow9=count is not None
            ):
                return None
            number, length = _SET.unpack_from(data, end)
            records_at = end + _SET_HEADER
        if records_at - _SET_HEADER + length != stop:
            return None
        known = session.glances.get(number)
        if known is None or known.version != session.options.version:
            known = self._know(session, number, exporter, None if count is None else 0)
        _, template, rate = known
        records, padding = divmod(length - _SET_HEADER, template.length) if template else (0, 0)
        if template is None or padding or not records:
            return None
        # What Found() does, in a third of the time.
        return tuple.__new__(Found, (session, key, template, rate, records_at, records, count))

    def _know(self, session: Session, number: int, exporter: bytes, uptime_ms: int | None) -> _Known:
        """Work out how the records of a template are counted. uptime_ms: any, if their messages have one."""
        layout = session.layouts.get(number)
        if layout is None:
            return _UNKNOWN
        export = Export("", exporter, 0, 0, 0, uptime_ms, 0, {})
        rate = self._rate_of(exporter) if self._rate_of else None
        # A data set of no records makes one batch if nothing in records could make several of them.
        batches = flow_batches(session, DataSet(export, layout, b""), rate)
        if batches is None:
            return _UNKNOWN
        template, rate = (batches[0].flows.template, batches[0].flows.sampling_rate) if batches else (None, 0)
        known = _Known(session.options.version, template, rate)
        _remember(session, number, known)
        return known


def _tells_nothing_new(session: Session, number: int, content: bytes, *, netflow9: bool) -> bool:
    """Take a set of templates that are all known, and tell whether it is one."""
    numbers = session.glances.get(content)
    if numbers is None:
        if netflow9 is not (number == _TEMPLATES[0]) or len(content) > _MOST_OCTETS:
            return False
        announced = netflow9_templates(content) if netflow9 else ipfix_templates(content, options=False)
        numbers = []
        for template in announced:
            layout = session.layouts.get(template.number)
            if layout is None or layout.announced != template:
                return False
            numbers.append(template.number)
        _remember(session, content, numbers)
    for known in numbers:
        session.layouts.move_to_end(known)
        session.restored.pop(known, None)
    return True


def _remember(session: Session, what: int | bytes, known: _Known | list[int]) -> None:
    if len(session.glances) >= _GLANCES_KEPT:
        session.glances.clear()
    session.glances[what] = known


class _Known(NamedTuple):
    """What was worked out of a template, with options of this version. template: None if records must be decoded."""

    version: int
    template: Template | None
    sampling_rate: float


_UNKNOWN: Final = _Known(0, None, 0)

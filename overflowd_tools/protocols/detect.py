"""Which protocol a datagram speaks: told by its content and length, never by its port."""

from __future__ import annotations

from overflowd_tools.errors import DecodeError
from overflowd_tools.protocols.bounds import DEFAULTS, Limits
from overflowd_tools.protocols.netflow import decode_netflow1, decode_netflow5, decode_netflow6, decode_netflow7
from overflowd_tools.protocols.netflow8 import decode_netflow8
from overflowd_tools.protocols.templates import FlowBatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from overflowd_tools.protocols.elements import ElementTable
    from overflowd_tools.protocols.exporters import Exporters
    from overflowd_tools.protocols.lines import Decoded
    from overflowd_tools.protocols.netflow9 import How, Message

_FIXED = {
    b"\x00\x01": decode_netflow1,
    b"\x00\x05": decode_netflow5,
    b"\x00\x06": decode_netflow6,
    b"\x00\x07": decode_netflow7,
    b"\x00\x08": decode_netflow8,
}
_SFLOW = {2, 4, 5}
_ADDRESS_TYPES = {1, 2}
_YEAR_1990, _YEAR_2100 = 631_152_000, 4_102_444_800
_NEVER_SET = 1 << 20
"""An exporter's clock that stands before this, in Unix seconds, counts from its start."""

Arrival = tuple[bytes, int, int]
"""Exporter (4 or 16 octets), its port, and when its datagram came, in Unix nanoseconds (0: unknown)."""


def decode(datagram: bytes, missing: int = 0) -> FlowBatch | None:
    """Decode a datagram of NetFlow 1 or 5 to 8; None if it is no such thing.

    missing: octets that the capture lacks at its end. Raises DecodeError for one that is cut inside its header.
    """
    decoder = _FIXED.get(datagram[:2])
    return decoder(datagram, missing) if decoder else None


class Decoder:
    """Decodes the datagrams of all protocols, and remembers what their exporters announced."""

    def __init__(
        self,
        *,
        table: Callable[[], ElementTable] | None = None,
        rates: Rates | None = None,
        survey: bool = False,
        templates: bool = False,
        counters: bool = True,
        sampled_octets: bool = True,
        limits: Limits = DEFAULTS,
    ) -> None:
        """Take a source of information elements, and the sampling rates that the user knows better.

        survey: remember what exporters announce for others (survey.Survey), and show nothing. templates: give rows of
        templates. counters: read the counter samples of sFlow. sampled_octets: show the octets of sampled packets even
        where they could be read. limits: of what is remembered of exporters.
        """
        self._limits = limits
        self._counters = counters
        self._sampled_octets = sampled_octets
        self._sflow: Callable[..., Decoded] | None = None
        self._survey = survey
        self._templates = templates
        self._table = table
        self._rates = rates or Rates()
        self.exporters: Exporters | None = None
        self._with_sets: Callable[[bytes, Arrival], Iterable[Message]] | None = None

    def decode(self, datagram: bytes, missing: int, arrival: Arrival) -> FlowBatch | Iterable[Message] | Decoded | None:
        """Decode a datagram; None if it is of no protocol known here.

        Raises DecodeError for one that is cut inside its header, and so does the iterator of messages.
        """
        if self._survey:
            return self.messages(datagram, arrival) if _has_sets(datagram, missing) else None
        batch = decode(datagram, missing)
        if batch is not None:
            rate = self._rates.of(arrival[0])
            return batch if rate is None else batch._replace(sampling_rate=rate)
        if not _has_sets(datagram, missing):
            return self._decode_sflow(datagram) if _is_sflow(datagram) else None
        messages = self.messages(datagram, arrival)
        return _and_missing(messages, missing) if missing else messages

    def _decode_sflow(self, datagram: bytes) -> Decoded:
        if self._sflow is None:
            from overflowd_tools.protocols.sflow import decode_sflow

            self._sflow = decode_sflow
        return self._sflow(datagram, counters=self._counters, headers=self._sampled_octets)

    def messages(self, data: bytes, arrival: Arrival) -> Iterable[Message]:
        """Decode a NetFlow 9 datagram, or the IPFIX messages in some octets, one after the other. Raises as decode."""
        if self._with_sets is None:
            self._with_sets = self._prepare()
        return self._with_sets(data, arrival)

    def take_survey(self, first: Decoder) -> None:
        """Take over what a decoder that made a survey found, but for what is known already."""
        from overflowd_tools.protocols.survey import Survey

        found = first.known()
        assert isinstance(found, Survey)
        found.tell(self.known())

    def known(self) -> Exporters:
        """Return what is remembered of exporters, now rather than when the first of them is heard."""
        if self._with_sets is None:
            self._with_sets = self._prepare()
        assert self.exporters is not None
        return self.exporters

    def _prepare(self) -> Callable[[bytes, Arrival], Iterable[Message]]:
        """Return the decoder of messages with sets; most captures have none, and its tables take time to load."""
        from overflowd_tools.protocols import netflow9
        from overflowd_tools.protocols.exporters import Exporters
        from overflowd_tools.protocols.survey import Survey

        make = Survey if self._survey else Exporters
        exporters = self.exporters = make(self._table() if self._table else None, self._limits)
        rate_of = self._rates.of

        as_sent = netflow9.How(batches=True, survey=self._survey, templates=self._templates)

        def decode_messages(data: bytes, arrival: Arrival) -> Iterable[Message]:
            rate = rate_of(arrival[0])
            how = as_sent if rate is None else as_sent._replace(rate=rate)
            if data[1] == 9:
                return (netflow9.decode_netflow9(data, exporters, arrival, how),)
            return _decode_ipfix(data, exporters, arrival, how)

        return decode_messages


def _decode_ipfix(data: bytes, exporters: Exporters, arrival: Arrival, how: How) -> Iterator[Message]:
    from overflowd_tools.protocols.netflow9 import decode_ipfix, ipfix_messages

    decoded = None
    for message in ipfix_messages(data):
        try:
            decoded = decode_ipfix(message, exporters, arrival, how)
        except DecodeError as error:
            if not decoded:
                raise
            decoded = _complaint(decoded, str(error))
        yield decoded


def _and_missing(messages: Iterable[Message], missing: int) -> Iterator[Message]:
    """Yield the messages of a datagram whose end was not captured, and say so if nothing else was wrong with them."""
    told = False
    for message in messages:
        yield message
        told = told or bool(message.problems)
    if not told:
        yield _complaint(message, f"the last {missing} octets are missing")


def _complaint(message: Message, problem: str) -> Message:
    """Return a message that follows another, and of which nothing is known but what is wrong with it."""
    return message._replace(rows=iter(()), problems=[problem], unknown=[], announced=0)


class Rates:
    """Sampling rates by exporter, as the user gives them."""

    def __init__(self, every: float | None = None, by_exporter: dict[bytes, float] | None = None) -> None:
        self._every = every
        self._by_exporter = by_exporter or {}

    def of(self, exporter: bytes) -> float | None:
        """Return the rate to be taken for an exporter, or None to believe what it says."""
        return self._by_exporter.get(exporter, self._every)


def _is_sflow(datagram: bytes) -> bool:
    """Tell sFlow by its version and the type of the agent's address."""
    if len(datagram) < 8 or datagram[:3] != b"\0\0\0":
        return False
    return datagram[3] in _SFLOW and int.from_bytes(datagram[4:8]) in _ADDRESS_TYPES


def _has_sets(datagram: bytes, missing: int) -> bool:
    """Tell NetFlow 9 and IPFIX by their time of export, and by lengths: a DNS message may begin with the same octets.

    missing: octets that the capture lacks at the end.
    """
    version = datagram[:2]
    if version == b"\x00\x09":
        header, time = 20, datagram[8:12]
    elif version == b"\x00\x0a":
        header, time = 16, datagram[4:8]
    else:
        return False
    length_is_true = header == 16 and int.from_bytes(datagram[2:4]) == len(datagram) + missing
    has_clock = len(time) == 4 and _YEAR_1990 <= int.from_bytes(time) < _YEAR_2100
    if len(datagram) < header:
        return length_is_true or (has_clock and missing > 0)
    if length_is_true or len(datagram) < header + 4:
        return length_is_true or has_clock
    first_set, length = int.from_bytes(datagram[header : header + 2]), int.from_bytes(datagram[header + 2 : header + 4])
    if 4 <= first_set < 256:  # such a number has no meaning; the sets behind it may have
        return has_clock and _has_end(datagram, header)
    if has_clock:
        return True
    counts_from_start = int.from_bytes(time) < _NEVER_SET
    fits = 4 <= length <= len(datagram) + missing - header
    return fits and (counts_from_start or _has_end(datagram, header))


def _has_end(datagram: bytes, offset: int) -> bool:
    """Tell whether sets of possible lengths, and no more than padding after them, fill a datagram."""
    while len(datagram) - offset >= 4:
        length = int.from_bytes(datagram[offset + 2 : offset + 4])
        if length < 4:
            return not any(datagram[offset:])
        offset += length
    return offset <= len(datagram)

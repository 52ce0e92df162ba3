"""NetFlow 9 (RFC 3954) and IPFIX (RFC 7011): messages of sets, in which templates say what data mean."""

from __future__ import annotations

import struct

from overflowd_tools.errors import DecodeError
from overflowd_tools.named import NamedTuple
from overflowd_tools.protocols import announced
from overflowd_tools.protocols.exporters import Batch, DataSet, Exporters, Row
from overflowd_tools.protocols.layouts import Layout
from overflowd_tools.protocols.rows import (
    checked_records,
    flow_batches,
    flow_row,
    option_row,
    option_values,
    template_row,
)
from overflowd_tools.protocols.sessions import Export, Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_HEADER9 = struct.Struct("!HHIIII")
_HEADER10 = struct.Struct("!HHIII")
_TEMPLATES, _OPTIONS_TEMPLATES = 2, 3
MAX_RECORDS = 65_536
"""Records that one message may bring, with those that waited for its templates."""


class Message(NamedTuple):
    """One decoded message. unknown: templates that its data sets lack, not complained of before.

    rows: to be taken before the next message is decoded, once; all at a time might take thousands of times the memory
    that the message does. problems: there may be more of them when all rows are taken.
    """

    export: Export
    rows: Iterator[Row | Batch]
    problems: list[str]
    unknown: list[int]
    announced: int


class How(NamedTuple):
    """How the user wants messages decoded.

    rate: the sampling rate, where the user knows better than the exporter. batches: flows that need no thought one by
    one come as batches, which renders them many times faster; the lines are the same. survey: no lines are wanted.
    templates: lines of new templates are.
    """

    rate: float | None = None
    batches: bool = False
    survey: bool = False
    templates: bool = False


AS_SENT = How()


class _Walk:
    """The way through the sets of one message, in wire order."""

    __slots__ = (
        *("_data", "_netflow9", "_options", "_rest", "_room", "export", "exporters", "problems", "records"),
        *("session", "templates", "unknown"),
    )

    def __init__(self, exporters: Exporters, export: Export, *, netflow9: bool) -> None:
        self.session: Session = exporters.session(export)
        self.problems: list[str] = []
        self.unknown: list[int] = []
        self.templates: list[tuple[Layout, str]] = []
        """Templates that were learned or withdrawn."""
        self.records: int | None = 0
        self._data: list[DataSet] = []
        self._options: list[DataSet] = []
        self._room = MAX_RECORDS
        self._rest = ""
        """What is wrong with the end of the data set before, unless the message ends there."""
        self.exporters = exporters
        self.export = export
        self._netflow9 = netflow9

    def walk(self, body: bytes) -> None:
        templates, options = (0, 1) if self._netflow9 else (2, 3)
        try:
            for number, content in announced.sets(body):
                self._complain_of_rest()
                if number >= announced.FIRST_DATA_SET:
                    self._take(number, content)
                elif number == templates:
                    self._learn(self._templates(content))
                elif number == options:
                    self._learn(self._options_templates(content))
                else:
                    self.problems.append(f"set of unknown kind {number}")
            self._complain_of_rest()
        except DecodeError as error:
            self.problems.append(str(error))

    def rows(self, how: How, lost: int) -> Iterator[Row | Batch]:
        """Yield what the message says, the flows in batches where that can be.

        Options anywhere in the message count for all of it. lost: what the sequence number says was lost before this
        message; its first flow tells.
        """
        if how.templates:
            yield from (template_row(self.export, *told) for told in self.templates)
        for data in self._options:
            for octets in checked_records(data.layout, data.content, self.problems):
                yield option_row(self.session, data.export, data.layout, octets)
        for data in self._data:
            batches = flow_batches(self.session, data, how.rate) if how.batches else None
            if batches is not None:
                for batch in batches:
                    yield batch._replace(flows=batch.flows._replace(lost=lost)) if lost else batch
                    lost = 0
                continue
            for octets in checked_records(data.layout, data.content, self.problems):
                row = flow_row(self.session, data.export, data.layout, octets, how.rate)
                if lost:
                    row.members["seq_lost"], lost = lost, 0
                yield row

    def _templates(self, content: bytes) -> Iterator[announced.Told]:
        if self._netflow9:
            return announced.netflow9_templates(content)
        return announced.ipfix_templates(content, options=False)

    def _options_templates(self, content: bytes) -> Iterator[announced.Told]:
        if self._netflow9:
            return announced.netflow9_options_templates(content)
        return announced.ipfix_templates(content, options=True)

    def _learn(self, templates: Iterator[announced.Told]) -> None:
        for template in templates:
            if isinstance(template, announced.InvalidTemplateError):
                self.problems.append(str(template))
                self._withdraw([template.number])
            elif template.fields:
                self._learn_one(template)
            else:
                self._withdraw(self._withdrawn(template.number))

    def _learn_one(self, template: announced.Announced) -> None:
        known = self.session.layouts.get(template.number)
        waited = self.exporters.learn(self.session, template, netflow9=self._netflow9)
        if known is None or known.announced != template:
            self.templates.append((self.session.layouts[template.number], "learned"))
        for data in waited:
            self._read(data)

    def _withdrawn(self, number: int) -> list[int]:
        """Return the templates that a withdrawal is of: one, or all of a kind (RFC 7011 section 8.1)."""
        if self._netflow9 or number not in (_TEMPLATES, _OPTIONS_TEMPLATES):
            return [number]
        return [*self.session.numbers[number == _OPTIONS_TEMPLATES]]

    def _withdraw(self, numbers: list[int]) -> None:
        gone = self.exporters.withdraw(self.session, numbers)
        self.templates += ((layout, "withdrawn") for layout in gone)

    def _take(self, number: int, content: bytes) -> None:
        layout = self.session.layouts.get(number)
        if layout is not None:
            count = self._read(DataSet(self.export, layout, content))
            if self.records is not None:
                self.records += count
            return
        self.records = None
        if not self.exporters.hold(self.session, number, self.export, content):
            self.problems.append("no room, or no more time, to keep data sets until their templates come")
        if self.exporters.is_missed(self.export, number):
            self.unknown.append(number)

    def _read(self, data: DataSet) -> int:
        """Read a data set: options at once, flows when the whole message is known. Return its number of records."""
        layout = data.layout
        count, rest = layout.extent(data.content)
        if any(rest):
            self._rest = self._wrong(layout, count, len(rest))
        if count > self._room:
            if self._room >= 0:
                self.problems.append(f"more than {MAX_RECORDS} records at once")
            self._room = -1
            return count
        self._room -= count
        if not layout.options:
            self._data.append(data)
            return count
        self._options.append(data)
        for octets in checked_records(layout, data.content, []):
            self.exporters.learn_options(self.session, *option_values(layout, octets))
        return count

    def _wrong(self, layout: Layout, count: int, rest: int) -> str:
        """Return what is wrong with octets after the last record that are not all zero."""
        if not count:
            return f"the last {rest} octets of a data set are less than a record of template {layout.number}"
        # RFC 7011 section 3.3.1; of NetFlow 9's padding nothing is said.
        if self._netflow9 or self.session.padding_told:
            return ""
        self.session.padding_told = True
        return f"the last {rest} octets of a data set of template {layout.number} are padding that is not zero"

    def _complain_of_rest(self) -> None:
        if self._rest:
            self.problems.append(self._rest)
            self._rest = ""


def decode_netflow9(
    datagram: bytes, exporters: Exporters, arrival: tuple[bytes, int, int], how: How = AS_SENT
) -> Message:
    """Decode a NetFlow 9 datagram.

    arrival: exporter (4 or 16 octets), its port, Unix nanoseconds. Raises DecodeError for less than a header.
    """
    if len(datagram) < _HEADER9.size:
        raise DecodeError(f"NetFlow 9 header cut short: {len(datagram)} of {_HEADER9.size} octets")
    _, count, uptime, seconds, sequence, domain = _HEADER9.unpack_from(datagram)
    exporter, port, received = arrival
    export = Export("netflow9", exporter, port, domain, seconds * 1000, uptime, received, {"seq": sequence})
    walk = _Walk(exporters, export, netflow9=True)
    walk.walk(datagram[_HEADER9.size :])
    lost = walk.session.stream.datagrams(sequence, count)
    return _message(walk, how, lost, count)


def ipfix_messages(datagram: bytes) -> Iterator[bytes]:
    """Yield the IPFIX messages in a datagram: one by the book, but some exporters send several.

    A message whose length is not true is taken to go on to the end of the datagram.
    """
    while datagram:
        length = int.from_bytes(datagram[2:4])
        if length < _HEADER10.size or datagram[length : length + 2] != b"\x00\x0a":
            length = len(datagram)
        yield datagram[:length]
        datagram = datagram[length:]


def decode_ipfix(message: bytes, exporters: Exporters, arrival: tuple[bytes, int, int], how: How = AS_SENT) -> Message:
    """Decode an IPFIX message; arguments and errors as for decode_netflow9."""
    if len(message) < _HEADER10.size:
        raise DecodeError(f"IPFIX header cut short: {len(message)} of {_HEADER10.size} octets")
    _, length, seconds, sequence, domain = _HEADER10.unpack_from(message)
    exporter, port, received = arrival
    export = Export("ipfix", exporter, port, domain, seconds * 1000, None, received, {"seq": sequence})
    walk = _Walk(exporters, export, netflow9=False)
    if length != len(message):
        walk.problems.append(f"IPFIX message that calls itself {length} octets long, and has {len(message)}")
    walk.walk(message[_HEADER10.size :])
    lost = walk.session.stream.records(sequence, walk.records)
    return _message(walk, how, lost, 0)


def _message(walk: _Walk, how: How, lost: int, count: int) -> Message:
    rows = iter(()) if how.survey else walk.rows(how, lost)
    walk.problems += walk.exporters.reached()
    return Message(walk.export, rows, walk.problems, walk.unknown, count)

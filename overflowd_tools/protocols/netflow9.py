"""NetFlow 9 (RFC 3954) and IPFIX (RFC 7011): messages of sets, in which templates say what data mean."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from overflowd_tools.errors import DecodeError
from overflowd_tools.protocols import announced
from overflowd_tools.protocols.exporters import (
    Batch,
    DataSet,
    Export,
    Exporters,
    Row,
    Session,
    checked_records,
    flow_batch,
    flow_row,
    option_row,
    template_row,
)
from overflowd_tools.protocols.layouts import Layout

_HEADER9 = struct.Struct("!HHIIII")
_HEADER10 = struct.Struct("!HHIII")
_ALL_TEMPLATES = range(2, 4)


class Message(NamedTuple):
    """One decoded message. unknown: templates that its data sets lack, not complained of before."""

    export: Export
    rows: list[Row | Batch]
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

    def __init__(self, exporters: Exporters, export: Export, *, netflow9: bool) -> None:
        self.session: Session = exporters.session(export)
        self.problems: list[str] = []
        self.unknown: list[int] = []
        self.options: list[Row] = []
        self.templates: list[tuple[Layout, str]] = []
        """Templates that were learned or withdrawn."""
        self.records: int | None = 0
        self._data: list[DataSet] = []
        self.exporters = exporters
        self.export = export
        self._netflow9 = netflow9

    def walk(self, body: bytes) -> None:
        templates, options = (0, 1) if self._netflow9 else (2, 3)
        try:
            for number, content in announced.sets(body):
                if number == templates:
                    self._learn(self._templates(content))
                elif number == options:
                    self._learn(self._options_templates(content))
                elif number >= announced.FIRST_DATA_SET:
                    self._take(number, content)
                else:
                    self.problems.append(f"set of unknown kind {number}")
        except DecodeError as error:
            self.problems.append(str(error))

    def flows(self, how: How, lost: int) -> Iterator[Row | Batch]:
        """Yield the flows, in batches where that can be; options anywhere in the message count for all of it.

        lost: what the sequence number says was lost before this message; its first flow tells.
        """
        for data in self._data:
            batch = flow_batch(self.session, data, how.rate) if how.batches and not lost else None
            if batch is not None:
                yield batch
                continue
            for octets in checked_records(data.layout, data.content, self.problems):
                row = flow_row(self.session, data.export, data.layout, octets, how.rate)
                if lost:
                    row.members["seq_lost"], lost = lost, 0
                yield row

    def _templates(self, content: bytes) -> Iterator[announced.Announced]:
        if self._netflow9:
            return announced.netflow9_templates(content)
        return announced.ipfix_templates(content, options=False)

    def _options_templates(self, content: bytes) -> Iterator[announced.Announced]:
        if self._netflow9:
            return announced.netflow9_options_templates(content)
        return announced.ipfix_templates(content, options=True)

    def _learn(self, templates: Iterator[announced.Announced]) -> None:
        try:
            for template in templates:
                if not template.fields:
                    gone = self.session.forget(template.number, _ALL_TEMPLATES)
                    self.templates += ((layout, "withdrawn") for layout in gone)
                    continue
                known = self.session.layouts.get(template.number)
                for data in self.exporters.learn(self.session, template, netflow9=self._netflow9):
                    self._read(data)
                if known is None or known.announced != template:
                    self.templates.append((self.session.layouts[template.number], "learned"))
        except DecodeError as error:
            self.problems.append(str(error))

    def _take(self, number: int, content: bytes) -> None:
        layout = self.session.layouts.get(number)
        if layout is not None:
            count = self._read(DataSet(self.export, layout, content))
            if self.records is not None:
                self.records += count
            return
        self.records = None
        self.exporters.hold(self.session, number, self.export, content)
        if number not in self.session.unknown and len(self.session.unknown) < announced.MAX_FIELDS:
            self.session.unknown.add(number)
            self.unknown.append(number)

    def _read(self, data: DataSet) -> int:
        """Read a data set: options at once, flows when the whole message is known. Return its number of records."""
        layout = data.layout
        if layout.scopes:
            rows = [
                option_row(self.session, data.export, layout, octets)
                for octets in checked_records(layout, data.content, self.problems)
            ]
            self.options += rows
            return len(rows)
        self._data.append(data)
        if layout.length is not None:
            return len(data.content) // layout.length
        return sum(1 for _ in checked_records(layout, data.content, []))


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
    templates = [template_row(walk.export, *told) for told in walk.templates] if how.templates else []
    rows = [] if how.survey else [*templates, *walk.options, *walk.flows(how, lost)]
    return Message(walk.export, rows, walk.problems, walk.unknown, count)

"""From the bytes of captures to lines: the readers, the decoders and the writer of lines, put together, sans-IO."""

from __future__ import annotations

from itertools import islice

from overflowd_tools.capture.fragments import Fragments
from overflowd_tools.capture.link import dissect
from overflowd_tools.capture.packet import ExportMessage, IPPacket, Item, Packet, cut_by_snapshot
from overflowd_tools.capture.plain import Datagram, PlainRun
from overflowd_tools.capture.reader import CaptureReader
from overflowd_tools.capture.streams import Streams
from overflowd_tools.errors import DecodeError
from overflowd_tools.named import NamedTuple
from overflowd_tools.protocols.accounting import Accounts, all_streams
from overflowd_tools.protocols.bounds import DEFAULTS, Limits
from overflowd_tools.protocols.detect import Arrival, Decoder, Rates
from overflowd_tools.protocols.lines import Decoded
from overflowd_tools.protocols.templates import FlowBatch
from overflowd_tools.records import FlowWriter, is_far, note_loss, packet_line, stats_line
from overflowd_tools.rendering import address_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import TypeAlias

    from overflowd_tools.columns.gathering import Gathering
    from overflowd_tools.decoding.netflow5_bulk import Bulk
    from overflowd_tools.decoding.selection import Selection
    from overflowd_tools.decoding.sets_bulk import SetsBulk
    from overflowd_tools.decoding.sflow_bulk import SflowBulk
    from overflowd_tools.decoding.skimming import Skimmer
    from overflowd_tools.protocols.elements import ElementTable
    from overflowd_tools.protocols.exporters import Batch, Row
    from overflowd_tools.protocols.netflow9 import Message

TCP, UDP = 6, 17
LINE_TYPES = ("flow", "option", "counter", "drop", "template", "stats")
_ROWS_AT_ONCE = 1024
"""A message may have 65,536 rows, of kilobytes each."""
_SKIMMED_UNITS = 100
"""Of the largest flow that is left to hits (see sampling.hits): below, hardly a datagram can be passed over."""
_A_FILE = (b"", 0, 0)
"""Where the messages of a file came from, and when: nobody knows."""

Write: TypeAlias = "Callable[[list[bytes]], None]"
Reject: TypeAlias = "Callable[[str, str, str], None]"
"""Is told of bad input: its place in the capture ("packet 12", or empty), the reason, the kind (empty: the reason)."""


class Sampling(NamedTuple):
    """How flows are sampled: at which rate, with which clamp (see sampling.law), by generators made of which seed."""

    rate: float
    amplification: float | None = None
    seed: int | None = None


class Wanted(NamedTuple):
    """What a user wants of captures.

    only: the types of lines. packets: each other IP packet is a flow as well. split_biflow: a record of both directions
    is two flows. rates: sampling rates of exporters, better known. sampling: how to choose among flows, None for all.
    table: makes the table of information elements, if not the standard one. limits: of what is remembered of exporters.
    """

    only: frozenset[str] = frozenset({"flow"})
    envelope: bool = False
    packets: bool = False
    split_biflow: bool = False
    rates: Rates | None = None
    sampling: Sampling | None = None
    table: Callable[[], ElementTable] | None = None
    limits: Limits = DEFAULTS


class CaptureDecoder:
    """Decodes one capture after the other; what is known of a stream of exports outlives a capture.

    Call begin(), feed() until the capture ends or `finished`, and close().
    """

    def __init__(self, wanted: Wanted, write: Write, reject: Reject, *, survey: bool = False) -> None:
        """survey: find templates and options for another decoder, and show nothing."""
        self._write = write
        self._reject = reject
        self._only: frozenset[str] = frozenset() if survey else wanted.only
        self._other_types = bool(self._only - {"flow"})
        self._packets_too = wanted.packets and "flow" in self._only
        self._split = wanted.split_biflow
        self._rates = wanted.rates
        self._writer = FlowWriter(envelope=wanted.envelope)
        self.exports = Decoder(
            table=wanted.table,
            rates=wanted.rates,
            survey=survey,
            templates="template" in wanted.only,
            counters="counter" in wanted.only,
            sampled_octets=wanted.envelope,
            limits=wanted.limits,
        )
        self._accounts = Accounts()
        self.counts = dict.fromkeys(
            ("packets", "datagrams", "flows", "other_lines", "other_packets", "lost", "reordered", "forgotten"), 0
        )
        self._gathering: Gathering | None = None
        self._may_take_runs = "flow" in self._only and not (wanted.envelope or wanted.sampling)
        self._bulk: Bulk | None = None
        self._sets_bulk: SetsBulk | None = None
        self._sflow_bulk: SflowBulk | None = None
        self._selection: Selection | None = None
        self._skimmer: Skimmer | None = None
        if wanted.sampling and "flow" in self._only:
            self._sample(wanted.sampling, wanted.rates)
        self.begin()

    def _sample(self, sampling: Sampling, rates: Rates | None) -> None:
        """Sample flows from now on."""
        from overflowd_tools.decoding.selection import Selection
        from overflowd_tools.sampling.law import Law

        law = Law(sampling.rate, sampling.amplification)
        self._selection = Selection(law, sampling.seed, self._writer, lambda reason: self._reject("", reason, ""))
        self.counts["kept"] = 0
        if self._selection.hits.most >= _SKIMMED_UNITS:
            from overflowd_tools.decoding.skimming import Skimmer

            self._skimmer = Skimmer(self._selection.hits, self._accounts, self.exports, rates, self.counts)

    @property
    def finished(self) -> bool:
        """Whether nothing more can be read from this capture."""
        return self._reader.finished

    def begin(self) -> None:
        """Begin with another capture."""
        self._reader, self._fragments, self._streams = CaptureReader(runs=True), Fragments(), Streams()

    def use_numpy(self) -> None:
        """Make lines of many flows at once from now on, which changes nothing but the time. Raises ImportError."""
        if self._selection:  # draws before there are lines
            return
        from overflowd_tools.columns.gathering import Gathering

        self._gathering = Gathering(self._writer.renderer)
        if self._may_take_runs:
            from overflowd_tools.decoding.netflow5_bulk import Bulk

            self._bulk = Bulk(self._gathering, self._accounts, self._rates, self.counts)
        if self._may_take_runs and not self._split:
            from overflowd_tools.decoding.sets_bulk import SetsBulk

            self._sets_bulk = SetsBulk(self._gathering, self.exports, self._rates, self.counts)

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the capture, and write and reject what they complete."""
        try:
            self._take(self._reader.feed(data))
        finally:
            self._write_gathered()

    def close(self) -> None:
        """Say that the capture ends here: take what waited for more of it, and complain of what never came."""
        try:
            self._take(self._reader.close())
            for exporter, port, message in self._streams.close():
                self._write_messages("", self.exports.messages(message, (exporter, port, 0)))
        finally:
            self._write_gathered()
        if self._streams.lost:
            self._reject("", f"{self._streams.lost} gaps in TCP streams of IPFIX", "")
        self._fragments.close()
        if self._fragments.lost:
            self._reject("", f"{self._fragments.lost} fragmented datagrams incomplete", "")

    def account(self) -> None:
        """Count what the sequence numbers of all streams tell and what was forgotten; write the lines of type stats."""
        if self.exports.exporters:
            self.counts["forgotten"] = self.exports.exporters.forgotten
        for key, stream in all_streams(self._accounts, self.exports.exporters):
            self.counts["lost"] += stream.lost
            self.counts["reordered"] += stream.reordered
            if "stats" in self._only:
                self._write([stats_line(key, stream)])
                self.counts["other_lines"] += 1

    def waiting(self) -> Iterator[tuple[str, str]]:
        """Yield origin and number of the data sets that wait for a template, a pair for each template."""
        exporters = self.exports.exporters
        for (source, exporter, _, domain), number, sets in exporters.waiting() if exporters else ():
            origin = f"{source} from {address_text(exporter).decode() or 'a file'}, domain {domain}"
            yield origin, f"no template {number} came: {sets} data sets not decoded"

    def _take(self, items: list[Item]) -> None:
        for item in items:
            if isinstance(item, PlainRun):
                self._take_run(item)
            elif isinstance(item, DecodeError):
                place, _, reason = str(item).rpartition(": ")
                self._reject(place, reason, "")
            else:
                self._take_item(item)

    def _take_run(self, run: PlainRun) -> None:
        """Take packets that need no dissecting."""
        for index, (exporter, port, start, stop) in self._left(run):
            self.counts["packets"] += 1
            arrival = (exporter, port, run.timestamp_ns(start))
            try:
                decoded = self.exports.decode(run.data[start:stop], 0, arrival)
                if decoded is None:
                    captured = run.packet(index)
                    packet = dissect(captured, self._fragments)
                    assert isinstance(packet, IPPacket)
                    self._take_other(captured, packet)
                else:
                    self._write_export(run.number + index, "", arrival, decoded)
            except DecodeError as error:
                self._reject(f"packet {run.number + index}", str(error), "")

    def _left(self, run: PlainRun) -> Iterable[tuple[int, Datagram]]:
        """Return index and place of the datagrams of a run that have to be decoded."""
        if self._skimmer:
            return self._skimmer.left(run)
        datagrams: Iterable[tuple[int, Datagram]] = enumerate(run.datagrams)
        if self._sflow_bulk:
            datagrams = self._sflow_bulk.left(run, datagrams)
        if self._sets_bulk and self.exports.exporters is not None:
            datagrams = self._sets_bulk.left(run, datagrams)
        return self._bulk.left(run, datagrams) if self._bulk else datagrams

    def _take_item(self, item: Packet | ExportMessage) -> None:
        self.counts["packets"] += 1
        try:
            if isinstance(item, ExportMessage):
                self.counts["datagrams"] += 1
                self._write_messages(f"message {item.number}", self.exports.messages(item.data, _A_FILE))
                return
            packet = dissect(item, self._fragments)
            if isinstance(packet, DecodeError):
                raise packet
            if packet is not None:
                self._take_packet(item, packet)
            elif item.note:
                self._complain_of_cut(item)
        except DecodeError as error:
            what = "message" if isinstance(item, ExportMessage) else "packet"
            self._reject(f"{what} {item.number}", str(error), "")

    def _take_packet(self, captured: Packet, packet: IPPacket) -> None:
        decoded: FlowBatch | Decoded | Iterable[Message] | None = None
        arrival = (packet.source, packet.source_port or 0, captured.timestamp_ns)
        if packet.protocol == UDP:
            decoded = self.exports.decode(packet.payload, packet.missing, arrival)
        elif packet.protocol == TCP:
            whole = self._streams.take(packet, captured.timestamp_ns)
            if whole:
                decoded = (message for data in whole for message in self.exports.messages(data, arrival))
        if decoded is None:
            self._take_other(captured, packet)
        else:
            self._write_export(captured.number, captured.note, arrival, decoded)

    def _take_other(self, captured: Packet, packet: IPPacket) -> None:
        """Take a packet that is no export."""
        self.counts["other_packets"] += 1
        if self._packets_too:
            self._write_lines([packet_line(packet, captured.timestamp_ns)], 0)
        if captured.note:
            self._complain_of_cut(captured)

    def _complain_of_cut(self, captured: Packet) -> None:
        """Say that the file ends inside a packet that is no export; a snapshot length may cut such ones."""
        if captured.note != cut_by_snapshot(len(captured.data), captured.original_length):
            self._reject(f"packet {captured.number}", captured.note, "")

    def _write_export(
        self, number: int, note: str, arrival: Arrival, decoded: FlowBatch | Decoded | Iterable[Message]
    ) -> None:
        """Write what is in the export of the packet of this number. note: why not all of it was captured, or empty."""
        self.counts["datagrams"] += 1
        if isinstance(decoded, FlowBatch):
            self._write_batch(number, note, arrival, decoded)
        elif isinstance(decoded, Decoded):
            self._write_decoded(number, arrival, decoded)
        else:
            self._write_messages(f"packet {number}", decoded)

    def _write_batch(self, number: int, note: str, arrival: Arrival, batch: FlowBatch) -> None:
        lost = self._accounts.batch(batch, arrival[0])
        flows = len(batch.records) // batch.template.length
        if "flow" in self._only:
            self._write_flows(batch._replace(lost=lost) if lost else batch, flows, arrival)
        if flows != batch.announced:
            reason = note or "the count in the header is wrong"
            text = f"{reason}; {flows} of {batch.announced} announced flows are there"
            self._reject(f"packet {number}", text, "fewer flows than announced")
        if batch.surplus:
            text = f"the count in the header is wrong; {batch.surplus} octets after the last record"
            self._reject(f"packet {number}", text, "octets after the last record")

    def _write_flows(self, batch: FlowBatch, flows: int, arrival: Arrival) -> None:
        """Sample and write the flows of a batch, so many."""
        if self._gathering and not is_far(batch.export_ms, arrival[2]):
            self._gathering.add_flows(batch.template, self._writer.run(batch, *arrival), batch.lost)
            self.counts["flows"] += flows
            return
        lines_of = self._selection.batch if self._selection else self._writer.lines
        self._put(lines_of(batch, *arrival), flows, 0)

    def _write_messages(self, place: str, messages: Iterable[Message]) -> None:
        for message in messages:
            rows: Iterator[Row | Batch] = (row for row in message.rows if row.type in self._only)
            if self._split:
                rows = self._halves(rows)
            if self._gathering:
                self._gather(rows)
            else:
                while some := [*islice(rows, _ROWS_AT_ONCE)]:
                    self._write_rows(some)
            for problem in message.problems:
                self._reject(place, problem, "")

    def _halves(self, rows: Iterator[Row | Batch]) -> Iterator[Row | Batch]:
        """Yield both directions of a record as flows of their own."""
        from overflowd_tools.protocols.biflow import split_rows

        for row in rows:
            yield from split_rows([row], self.exports.known().elements())

    def _gather(self, rows: Iterator[Row | Batch]) -> None:
        """Write rows, and batches together with others of their templates."""
        for row in rows:
            flows = getattr(row, "flows", None)
            if flows is None:
                self._write_lines(self._writer.rows([row]), int(row.type != "flow"))
            else:
                export = row.export
                arrival = export.exporter, export.port, export.received_ns
                self._write_flows(flows, len(flows.records) // flows.template.length, arrival)

    def _write_rows(self, rows: list[Row | Batch]) -> None:
        """Sample and write rows and batches."""
        others = sum(row.type != "flow" for row in rows)
        if self._selection:
            self._put(*self._selection.rows(rows), others)
        else:
            self._write_lines(self._writer.rows(rows), others)

    def _write_decoded(self, number: int, arrival: Arrival, decoded: Decoded) -> None:
        if self._may_take_runs and not self._sflow_bulk:
            from overflowd_tools.decoding.sflow_bulk import SflowBulk

            counters = "counter" in self._only
            self._sflow_bulk = SflowBulk(self._put, self._accounts, self.counts, counters=counters)
        lost = self._accounts.decoded(decoded, arrival[0])
        chosen = [line for line in decoded.lines if line.type in self._only]
        lines = self._writer.decoded(decoded, chosen, *arrival)
        note_loss(lines, lost)
        self._write_lines(lines, sum(line.type != "flow" for line in chosen) if self._other_types else 0)
        for problem in decoded.problems:
            self._reject(f"packet {number}", problem, "")

    def _write_lines(self, lines: list[bytes], others: int) -> None:
        """Sample and write lines of which so many are of other types than flow."""
        self._put(self._selection.lines(lines) if self._selection else lines, len(lines) - others, others)

    def _put(self, lines: list[bytes], flows: int, others: int) -> None:
        """Write what is left of so many flows, and so many lines of other types."""
        if self._gathering:
            self._gathering.add_text(b"".join(lines))
        else:
            self._write(lines)
        self.counts["flows"] += flows
        self.counts["other_lines"] += others
        if self._selection:
            self.counts["kept"] += len(lines) - others

    def _write_gathered(self) -> None:
        if self._gathering:
            self._write(self._gathering.take())

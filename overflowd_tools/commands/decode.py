"""of-decode: captures of flow exports in, one flow a line out."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from overflowd_tools import command
from overflowd_tools.capture.fragments import Fragments
from overflowd_tools.capture.link import dissect
from overflowd_tools.capture.packet import ExportMessage, IPPacket, Item, Packet, cut_by_snapshot
from overflowd_tools.capture.reader import CaptureReader
from overflowd_tools.capture.streams import Streams
from overflowd_tools.errors import DecodeError, UsageError
from overflowd_tools.protocols.accounting import Accounts, all_streams
from overflowd_tools.protocols.detect import Decoder, Rates
from overflowd_tools.protocols.templates import FlowBatch
from overflowd_tools.records import FlowWriter, flow_line, note_loss, stats_line
from overflowd_tools.rendering import address_text
from overflowd_tools.stream import Input, read_file, read_text, replace_file

if TYPE_CHECKING:
    from overflowd_tools.protocols.elements import ElementTable
    from overflowd_tools.protocols.lines import Decoded
    from overflowd_tools.protocols.netflow9 import Message

TCP, UDP = 6, 17
LINE_TYPES = ("flow", "option", "counter", "drop", "template", "stats")
_A_FILE = (b"", 0, 0)
"""Where the messages of a file came from, and when: nobody knows."""


def options() -> command.Parser:
    """Return the parser of this command's options."""
    parser = command.parser(
        "of-decode", "Turn captured flow exports into flows, one JSON object a line.", progress=True
    )
    add = parser.add_argument
    add("--envelope", action="store_true", help="show the export header and the arrival too")
    add(
        "--only",
        type=_line_types,
        default=("flow",),
        metavar="TYPE,...",
        help=f"line types, of {', '.join(LINE_TYPES)} (default: flow)",
    )
    add("-p", "--packets", action="store_true", help="each other IP packet is a flow as well")
    add(
        "--sampling-rate",
        action="append",
        type=_sampling_rate,
        default=[],
        metavar="[EXPORTER=]N",
        help="packets for one sampled, whatever the exporter says",
    )
    add("--split-biflow", action="store_true", help="a record of both directions is two flows")
    add("--templates", action=command.Once, metavar="FILE", help="begin with the templates in FILE, and keep all there")
    add("--two-pass", action="store_true", help="use templates and options from anywhere in the FILEs")
    add("--elements", action=command.Once, metavar="FILE", help="information elements of your own")
    return parser


def _line_types(text: str) -> tuple[str, ...]:
    types = tuple(text.split(","))
    for name in types:
        if name not in LINE_TYPES:
            raise argparse.ArgumentTypeError(f"unknown line type '{name}'; known: {', '.join(LINE_TYPES)}")
    return types


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return command.run(options(), run, argv)


def run(context: command.Context) -> None:
    """Decode every input; afterwards say if none of them held a flow export."""
    context.counts.update(packets=0, datagrams=0, flows=0, other_lines=0, other_packets=0, lost=0, reordered=0)
    decoder = _Decoder(context)
    may_save = bool(context.args.templates) and decoder.load_templates(context.args.templates)
    if context.args.two_pass:
        decoder.look_ahead()
    try:
        for source in context.inputs():
            decoder.decode(source)
        decoder.complain_of_templates()
    finally:
        if may_save:
            decoder.save_templates(context.args.templates)
        decoder.account()
    counts = context.counts
    if counts["packets"] and not counts["datagrams"] and not context.args.packets:
        context.status = max(context.status, 1)
        hint = "; -p takes the packets themselves as flows, of-meter(1) meters them" if counts["other_packets"] else ""
        context.say(f"no flow export in {counts['packets']} packets{hint}")


class _Decoder:
    """Decodes one input after the other; what is known of a stream of exports outlives a file."""

    def __init__(self, context: command.Context, *, survey: bool = False) -> None:
        """survey: find templates and options for another decoder, and show nothing."""
        args = context.args
        self._context = context
        self._counts = context.counts
        self._writer = FlowWriter(envelope=args.envelope)
        self._decoder = Decoder(
            table=_element_table(args.elements),
            rates=_rates(args.sampling_rate),
            survey=survey,
            templates="template" in args.only,
            counters="counter" in args.only,
            sampled_octets=args.envelope,
        )
        self._accounts = Accounts()
        self._fragments, self._streams = Fragments(), Streams()
        self._only: frozenset[str] = frozenset() if survey else frozenset(args.only)
        self._packets_too = args.packets
        self._split = args.split_biflow

    def decode(self, source: Input) -> None:
        """Decode one input to its end."""
        reader = CaptureReader()
        self._fragments, self._streams = Fragments(), Streams()
        for chunk in source.chunks():
            self._take(source.name, reader.feed(chunk))
            if reader.finished:
                break
        if self._context.stop or source.failed:  # the end of what we get, and not of the input
            return
        self._take(source.name, reader.close())
        self._close(source.name)

    def _close(self, name: str) -> None:
        """Take what waited for more of an input that has ended, and complain of what never came."""
        for exporter, port, message in self._streams.close():
            self._write_messages(name, "", self._decoder.messages(message, (exporter, port, 0)))
        if self._streams.lost:
            self._context.reject(name, "", f"{self._streams.lost} gaps in TCP streams of IPFIX")
        self._fragments.close()
        if self._fragments.lost:
            self._context.reject(name, "", f"{self._fragments.lost} fragmented datagrams incomplete")

    def load_templates(self, path: str) -> bool:
        """Read the file of --templates; return whether it is one that may be written at the end."""
        from overflowd_tools import template_file

        try:
            if os.path.lexists(path) and not os.path.isfile(path):
                raise UsageError(f"{path}: not a regular file")
            data = read_file(path, template_file.LIMIT) if os.path.lexists(path) else b""
            problems = template_file.load(path, data, self._decoder.known(), int(time.time()))
        except UsageError as error:
            self._context.fail(f"{error}; going on without it, and leaving it as it is")
            return False
        for place, reason in problems:
            self._context.reject(path, place, reason, "damaged templates")
        return True

    def save_templates(self, path: str) -> None:
        """Write the file of --templates."""
        from overflowd_tools import template_file

        try:
            replace_file(path, template_file.save(self._decoder.known(), int(time.time())))
        except OSError as error:
            self._context.fail(f"{path}: {error.strerror}; the templates are not kept")

    def look_ahead(self) -> None:
        """Learn what templates and options there are in all FILEs. Raises UsageError if they cannot be read twice."""
        args = self._context.args
        there = [name for name in args.files if name == "-" or os.path.exists(name)]
        if not args.files or not all(map(os.path.isfile, there)):
            raise UsageError("--two-pass reads its FILEs twice, so they must be regular files")
        silent = argparse.Namespace(**{**vars(args), "quiet": True, "strict": False, "progress": False})
        context = command.Context(self._context.prog, silent, self._context.stop)
        context.counts.update(self._context.counts)
        first = _Decoder(context, survey=True)
        for source in context.inputs():
            first.decode(source)
        self._decoder.take_survey(first._decoder)

    def account(self) -> None:
        """Count what the sequence numbers of all streams tell, and write the lines of type stats."""
        for key, stream in all_streams(self._accounts, self._decoder.exporters):
            self._counts["lost"] += stream.lost
            self._counts["reordered"] += stream.reordered
            if "stats" in self._only:
                self._context.output.write(stats_line(key, stream))
                self._counts["other_lines"] += 1

    def complain_of_templates(self) -> None:
        """Say which data sets waited in vain for their templates: one line for each of these."""
        exporters = self._decoder.exporters
        for (source, exporter, _, domain), number, sets in exporters.waiting() if exporters else ():
            origin = f"{source} from {address_text(exporter).decode() or 'a file'}, domain {domain}"
            reason = f"no template {number} came: {sets} data sets not decoded"
            self._context.reject(origin, "", reason, "no template came")

    def _take(self, name: str, items: list[Item]) -> None:
        for item in items:
            if isinstance(item, DecodeError):
                place, _, reason = str(item).rpartition(": ")
                self._context.reject(name, place, reason)
                continue
            self._counts["packets"] += 1
            try:
                if isinstance(item, ExportMessage):
                    self._counts["datagrams"] += 1
                    self._write_messages(name, f"message {item.number}", self._decoder.messages(item.data, _A_FILE))
                    continue
                packet = dissect(item, self._fragments)
                if isinstance(packet, DecodeError):
                    raise packet
                if packet is not None:
                    self._take_packet(name, item, packet)
                elif item.note:
                    self._complain_of_cut(name, item)
            except DecodeError as error:
                what = "message" if isinstance(item, ExportMessage) else "packet"
                self._context.reject(name, f"{what} {item.number}", str(error))

    def _take_packet(self, name: str, captured: Packet, packet: IPPacket) -> None:
        decoded: FlowBatch | Decoded | list[Message] | None = None
        if packet.protocol == UDP:
            arrival = (packet.source, packet.source_port or 0, captured.timestamp_ns)
            decoded = self._decoder.decode(packet.payload, packet.missing, arrival)
        elif packet.protocol == TCP:
            decoded = self._streamed(packet, captured.timestamp_ns)
        if decoded is None:
            self._counts["other_packets"] += 1
            if self._packets_too and "flow" in self._only:
                self._context.output.write(flow_line(_packet_flow(captured, packet)))
                self._counts["flows"] += 1
            if captured.note:
                self._complain_of_cut(name, captured)
            return
        self._counts["datagrams"] += 1
        if isinstance(decoded, FlowBatch):
            self._write_batch(name, captured, packet, decoded)
        elif isinstance(decoded, list):
            self._write_messages(name, f"packet {captured.number}", decoded)
        else:
            self._write_decoded(name, captured, packet, decoded)

    def _complain_of_cut(self, name: str, captured: Packet) -> None:
        """Say that the file ends inside a packet that is no export; a snapshot length may cut such ones."""
        if captured.note != cut_by_snapshot(len(captured.data), captured.original_length):
            self._context.reject(name, f"packet {captured.number}", captured.note)

    def _streamed(self, packet: IPPacket, timestamp_ns: int) -> "list[Message] | None":
        """Return the IPFIX messages that a segment completes, or None if there are none."""
        arrival = (packet.source, packet.source_port or 0, timestamp_ns)
        messages = self._streams.take(packet, timestamp_ns)
        return [decoded for data in messages for decoded in self._decoder.messages(data, arrival)] or None

    def _write_batch(self, name: str, captured: Packet, packet: IPPacket, batch: FlowBatch) -> None:
        lost = self._accounts.batch(batch, packet.source)
        lines = self._writer.lines(batch, packet.source, packet.source_port or 0, captured.timestamp_ns)
        if "flow" in self._only:
            note_loss(lines, lost)
            self._context.output.write_all(lines)
            self._counts["flows"] += len(lines)
        if len(lines) != batch.announced:
            reason = captured.note or "the count in the header is wrong"
            text = f"{reason}; {len(lines)} of {batch.announced} announced flows are there"
            self._context.reject(name, f"packet {captured.number}", text, "fewer flows than announced")

    def _write_messages(self, name: str, place: str, messages: "list[Message]") -> None:
        only, counts = self._only, self._counts
        for message in messages:
            rows = [row for row in message.rows if row.type in only]
            if self._split:
                from overflowd_tools.protocols.biflow import split_rows

                rows = split_rows(rows, self._decoder.known().elements())
            lines = self._writer.rows(rows)
            self._context.output.write_all(lines)
            others = sum(row.type != "flow" for row in rows)
            counts["flows"] += len(lines) - others
            counts["other_lines"] += others
            for problem in message.problems:
                self._context.reject(name, place, problem)

    def _write_decoded(self, name: str, captured: Packet, packet: IPPacket, decoded: "Decoded") -> None:
        lost = self._accounts.decoded(decoded, packet.source)
        chosen = [line for line in decoded.lines if line.type in self._only]
        port = packet.source_port or 0
        lines = self._writer.decoded(decoded, chosen, packet.source, port, captured.timestamp_ns)
        note_loss(lines, lost)
        self._context.output.write_all(lines)
        others = sum(line.type != "flow" for line in chosen)
        self._counts["flows"] += len(lines) - others
        self._counts["other_lines"] += others
        for problem in decoded.problems:
            self._context.reject(name, f"packet {captured.number}", problem)


def _rates(given: list[tuple[bytes | None, float]]) -> Rates:
    """Return the sampling rates of --sampling-rate; the last one for an exporter counts."""
    by_exporter = {exporter: rate for exporter, rate in given if exporter is not None}
    every = [rate for exporter, rate in given if exporter is None]
    return Rates(every[-1] if every else None, by_exporter)


def _sampling_rate(text: str) -> tuple[bytes | None, float]:
    from socket import AF_INET, AF_INET6, inet_pton

    exporter, equals, number = text.rpartition("=")
    try:
        rate = float(number)
        packed = inet_pton(AF_INET6 if ":" in exporter else AF_INET, exporter) if equals else None
    except (OSError, ValueError):
        rate = 0
    if not 1 <= rate < 1 << 32:  # nan is neither
        raise argparse.ArgumentTypeError(f"'{text}' is not [EXPORTER=]N, N packets for one sampled")
    return packed, int(rate) if rate.is_integer() else rate


def _element_table(path: str | None) -> "Callable[[], ElementTable] | None":
    """Return what makes the table of elements with the user's own in it; the file is read now. Raises UsageError."""
    if path is None:
        return None
    from overflowd_tools.protocols.elements import ElementTable

    table = ElementTable.standard()
    table.add(read_text(path).splitlines(), path)
    return lambda: table


def _packet_flow(captured: Packet, packet: IPPacket) -> dict[str, Any]:
    """Return a packet as a flow of its own; start and end are the moment of its capture."""
    seen_ms = captured.timestamp_ns // 1_000_000
    times = {"start_ms": seen_ms, "end_ms": seen_ms, "time_src": "recv"} if seen_ms else {}
    ports = {"sport": packet.source_port, "dport": packet.destination_port, "flags": packet.tcp_flags}
    icmp = dict(zip(("icmp_type", "icmp_code"), packet.icmp or (), strict=False))
    return {
        "type": "flow",
        "pcount": 1,
        "source": "packet",
        "saddr": address_text(packet.source).decode(),
        "daddr": address_text(packet.destination).decode(),
        "bcount": packet.length,
        **{name: value for name, value in ports.items() if value is not None},
        "protocol": packet.protocol,
        "tos": packet.tos,
        **icmp,
        **times,
    }


if __name__ == "__main__":
    sys.exit(main())

"""of-decode: captures of flow exports in, one flow a line out."""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from overflowd_tools import command
from overflowd_tools.capture.fragments import Fragments
from overflowd_tools.capture.link import dissect
from overflowd_tools.capture.packet import ExportMessage, IPPacket, Item, Packet
from overflowd_tools.capture.reader import CaptureReader
from overflowd_tools.errors import DecodeError
from overflowd_tools.protocols.detect import Decoder, Rates
from overflowd_tools.protocols.templates import FlowBatch
from overflowd_tools.records import FlowWriter, flow_line
from overflowd_tools.rendering import address_text
from overflowd_tools.stream import Input, read_text

if TYPE_CHECKING:
    from overflowd_tools.protocols.elements import ElementTable
    from overflowd_tools.protocols.lines import Decoded
    from overflowd_tools.protocols.netflow9 import Message

UDP = 17
LINE_TYPES = ("flow", "option", "counter", "drop")
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
    context.counts.update(packets=0, datagrams=0, flows=0, other_lines=0, other_packets=0)
    decoder = _Decoder(context)
    for source in context.inputs():
        decoder.decode(source)
    decoder.complain_of_templates()
    counts = context.counts
    if counts["packets"] and not counts["datagrams"] and not context.args.packets:
        context.status = max(context.status, 1)
        hint = "; -p takes the packets themselves as flows, of-meter(1) meters them" if counts["other_packets"] else ""
        context.say(f"no flow export in {counts['packets']} packets{hint}")


class _Decoder:
    """Decodes one input after the other; what is known of a stream of exports outlives a file."""

    def __init__(self, context: command.Context) -> None:
        args = context.args
        self._context = context
        self._counts = context.counts
        self._writer = FlowWriter(envelope=args.envelope)
        self._decoder = Decoder(table=_element_table(args.elements), rates=_rates(args.sampling_rate))
        self._only = frozenset(args.only)
        self._packets_too = args.packets

    def decode(self, source: Input) -> None:
        reader = CaptureReader()
        fragments = Fragments()
        for chunk in source.chunks():
            self._take(source.name, reader.feed(chunk), fragments)
            if reader.finished:
                break
        if self._context.stop:  # the input goes on; only we do not
            return
        self._take(source.name, reader.close(), fragments)
        fragments.close()
        if fragments.lost:
            self._context.reject(source.name, "", f"{fragments.lost} fragmented datagrams incomplete")

    def complain_of_templates(self) -> None:
        """Say which data sets waited in vain for their templates: one line for each of these."""
        exporters = self._decoder.exporters
        for (source, exporter, _, domain), number, sets in exporters.waiting() if exporters else ():
            origin = f"{source} from {address_text(exporter).decode() or 'a file'}, domain {domain}"
            reason = f"no template {number} came: {sets} data sets not decoded"
            self._context.reject(origin, "", reason, "no template came")

    def _take(self, name: str, items: list[Item], fragments: Fragments) -> None:
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
                packet = dissect(item, fragments)
                if isinstance(packet, DecodeError):
                    raise packet
                if packet is not None:
                    self._take_packet(name, item, packet)
            except DecodeError as error:
                self._context.reject(name, f"packet {item.number}", str(error))

    def _take_packet(self, name: str, captured: Packet, packet: IPPacket) -> None:
        decoded = None
        if packet.protocol == UDP:
            arrival = (packet.source, packet.source_port or 0, captured.timestamp_ns)
            decoded = self._decoder.decode(packet.payload, packet.missing, arrival)
        if decoded is None:
            self._counts["other_packets"] += 1
            if self._packets_too and "flow" in self._only:
                self._context.output.write(flow_line(_packet_flow(captured, packet)))
                self._counts["flows"] += 1
            return
        self._counts["datagrams"] += 1
        if isinstance(decoded, FlowBatch):
            self._write_batch(name, captured, packet, decoded)
        elif isinstance(decoded, list):
            self._write_messages(name, f"packet {captured.number}", decoded)
        else:
            self._write_decoded(name, captured, packet, decoded)

    def _write_batch(self, name: str, captured: Packet, packet: IPPacket, batch: FlowBatch) -> None:
        lines = self._writer.lines(batch, packet.source, packet.source_port or 0, captured.timestamp_ns)
        if "flow" in self._only:
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
            lines = self._writer.rows(rows)
            self._context.output.write_all(lines)
            others = sum(row.type != "flow" for row in rows)
            counts["flows"] += len(lines) - others
            counts["other_lines"] += others
            for problem in message.problems:
                self._context.reject(name, place, problem)

    def _write_decoded(self, name: str, captured: Packet, packet: IPPacket, decoded: "Decoded") -> None:
        chosen = [line for line in decoded.lines if line.type in self._only]
        port = packet.source_port or 0
        self._context.output.write_all(
            self._writer.decoded(decoded, chosen, packet.source, port, captured.timestamp_ns)
        )
        flows = sum(line.type == "flow" for line in chosen)
        self._counts["flows"] += flows
        self._counts["other_lines"] += len(chosen) - flows
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

"""of-decode: captures of flow exports in, one flow a line out."""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from overflowd_tools import command
from overflowd_tools.capture.fragments import Fragments
from overflowd_tools.capture.link import dissect
from overflowd_tools.capture.packet import IPPacket, Packet
from overflowd_tools.capture.reader import CaptureReader
from overflowd_tools.errors import DecodeError
from overflowd_tools.protocols.detect import Decoder
from overflowd_tools.protocols.templates import FlowBatch
from overflowd_tools.records import FlowWriter, address_text, flow_line
from overflowd_tools.stream import Input

if TYPE_CHECKING:
    from overflowd_tools.protocols.netflow9 import Message

UDP = 17
LINE_TYPES = ("flow", "option", "counter", "drop")


def options() -> command.Parser:
    """Return the parser of this command's options."""
    parser = command.parser(
        "of-decode", "Turn captured flow exports into flows, one JSON object a line.", progress=True
    )
    parser.add_argument("--envelope", action="store_true", help="show the export header and the arrival too")
    parser.add_argument("--only", type=_line_types, default=("flow",), metavar="TYPE,...", help="line types: flow")
    parser.add_argument("-p", "--packets", action="store_true", help="each other IP packet is a flow as well")
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
    context.counts.update(packets=0, datagrams=0, flows=0, other_packets=0)
    decoder = _Decoder(context)
    for source in context.inputs():
        decoder.decode(source)
    counts = context.counts
    if counts["packets"] and not counts["datagrams"] and not context.args.packets:
        context.status = max(context.status, 1)
        hint = "; -p takes the packets themselves as flows, of-meter(1) meters them" if counts["other_packets"] else ""
        context.say(f"no flow export in {counts['packets']} packets{hint}")


class _Decoder:
    """Decodes one input after the other; what is known of a stream of exports outlives a file."""

    def __init__(self, context: command.Context) -> None:
        self._context = context
        self._counts = context.counts
        self._writer = FlowWriter(envelope=context.args.envelope)
        self._decoder = Decoder()
        self._only = frozenset(context.args.only)
        self._packets_too = context.args.packets

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

    def _take(self, name: str, items: list[Packet | DecodeError], fragments: Fragments) -> None:
        for item in items:
            if isinstance(item, DecodeError):
                place, _, reason = str(item).rpartition(": ")
                self._context.reject(name, place, reason)
                continue
            self._counts["packets"] += 1
            try:
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
            if self._packets_too:
                self._context.output.write(flow_line(_packet_flow(captured, packet)))
                self._counts["flows"] += 1
            return
        self._counts["datagrams"] += 1
        place = f"packet {captured.number}"
        if isinstance(decoded, FlowBatch):
            self._write_batch(name, captured, packet, decoded)
        elif isinstance(decoded, list):
            for message in decoded:
                self._write_message(name, place, message)

    def _write_message(self, name: str, place: str, message: "Message") -> None:
        only = self._only
        rows = [row for row in message.rows if row.type in only]
        lines = self._writer.rows(rows)
        self._context.output.write_all(lines)
        self._counts["flows"] += len(lines) - sum(row.type != "flow" for row in rows)
        for problem in message.problems:
            self._context.reject(name, place, problem)

    def _write_batch(self, name: str, captured: Packet, packet: IPPacket, batch: FlowBatch) -> None:
        lines = self._writer.lines(batch, packet.source, packet.source_port or 0, captured.timestamp_ns)
        self._context.output.write_all(lines)
        self._counts["flows"] += len(lines)
        if len(lines) != batch.announced:
            reason = captured.note or "the count in the header is wrong"
            text = f"{reason}; {len(lines)} of {batch.announced} announced flows are there"
            self._context.reject(name, f"packet {captured.number}", text, "fewer flows than announced")


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

"""The lines of the pipe (overflowd-record(5)): flows, and what else is decoded."""

from __future__ import annotations

from functools import lru_cache

from overflowd_tools.json_lines import flow_line
from overflowd_tools.protocols.accounting import statistics
from overflowd_tools.protocols.templates import FlowBatch, Template
from overflowd_tools.protocols.times import DAY_MS
from overflowd_tools.rendering import FRAGMENTS_KEPT, Renderer, Run, address_text, compile_template, member

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from overflowd_tools.capture.packet import IPPacket
    from overflowd_tools.protocols.accounting import StreamKey
    from overflowd_tools.protocols.exporters import Batch, Row
    from overflowd_tools.protocols.lines import Decoded, Line
    from overflowd_tools.protocols.sequence import Stream
    from overflowd_tools.shapes import ShapeWriter

_SUSPECT = b',"time_suspect":true'


def stats_line(key: StreamKey, stream: Stream) -> bytes:
    """Return the line that tells how much of a stream of exports arrived."""
    exporter = {"exporter": address_text(key.exporter).decode()} if key.exporter else {}
    return flow_line({"type": "stats", "source": key.source, **exporter, **statistics(key, stream)})


def packet_line(packet: IPPacket, captured_ns: int) -> bytes:
    """Return a packet as a flow of its own; start and end are the moment of its capture (Unix time, 0: unknown)."""
    seen_ms = captured_ns // 1_000_000
    times = {"start_ms": seen_ms, "end_ms": seen_ms, "time_src": "recv"} if seen_ms else {}
    ports = {"sport": packet.source_port, "dport": packet.destination_port, "flags": packet.tcp_flags}
    icmp = dict(zip(("icmp_type", "icmp_code"), packet.icmp or (), strict=False))
    return flow_line(
        {
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
    )


def note_loss(lines: list[bytes], lost: int) -> None:
    """Let the first of these lines say how much was lost before it."""
    if lost and lines:
        lines[0] = b'%s,"seq_lost":%d}\n' % (lines[0][:-2], lost)


class FlowWriter:
    """Writes batches of flows as lines, by one generated function a template."""

    def __init__(self, *, envelope: bool = False) -> None:
        """Show with the envelope also what the header of the datagram said, and where and when it arrived."""
        self._envelope = envelope
        self._renderers: dict[Template, Renderer] = {}
        self._shapes: ShapeWriter | None = None

    def lines(self, batch: FlowBatch, exporter: bytes, exporter_port: int, received_ns: int) -> list[bytes]:
        """Return one line for each flow of the batch. Arguments as for head."""
        lines = self.renderer(batch.template)(*self.run(batch, exporter, exporter_port, received_ns))
        if is_far(batch.export_ms, received_ns):
            lines = [_suspected(line) for line in lines]
        note_loss(lines, batch.lost)
        return lines

    def run(self, batch: FlowBatch, exporter: bytes, exporter_port: int, received_ns: int) -> Run:
        """Return what a renderer takes for the flows of the batch. Arguments as for head."""
        head = self.head(batch, exporter, exporter_port, received_ns)
        return head, batch.records, batch.export_ms, batch.uptime_ms or 0

    def head(self, batch: FlowBatch, exporter: bytes, exporter_port: int, received_ns: int) -> bytes:
        """Return the members that all lines of a batch share, as they stand after type and pcount.

        exporter (4 or 16 octets), exporter_port: where the datagram came from. received_ns: when, Unix time, or 0.
        """
        head = b"%s%d" % (origin(batch.source, exporter, batch.domain, batch.sampling_rate), batch.export_ms)
        if self._envelope:
            head += b',"exporter_port":%d' % exporter_port
            if batch.uptime_ms is not None and not batch.template.boot_told:
                head += b',"uptime_ms":%d' % batch.uptime_ms
            if received_ns:
                head += b',"recv_ms":%d' % (received_ns // 1_000_000)
            head += b"".join(member(name) % value for name, value in batch.envelope.items())
        return head

    def renderer(self, template: Template) -> Renderer:
        """Return the renderer of a template, made when it is first asked for."""
        renderer = self._renderers.get(template)
        if renderer is None:
            if len(self._renderers) >= FRAGMENTS_KEPT // 4:
                self._renderers.clear()
            renderer = self._renderers[template] = compile_template(template)
        return renderer

    def rows(self, rows: list[Row | Batch]) -> list[bytes]:
        """Return the lines of rows and batches, in their order."""
        lines = []
        for row in rows:
            flows = getattr(row, "flows", None)
            if flows is None:
                lines.append(self._row(row))
            else:
                lines += self.lines(flows, row.export.exporter, row.export.port, row.export.received_ns)
        return lines

    def decoded(
        self, decoded: Decoded, lines: list[Line], exporter: bytes, exporter_port: int, received_ns: int
    ) -> list[bytes]:
        """Return the text of these lines of a datagram whose protocol has no clock: flows were when it came."""
        if self._shapes is None:
            from overflowd_tools.shapes import ShapeWriter

            self._shapes = ShapeWriter(envelope=self._envelope)
        return self._shapes.texts(decoded, lines, exporter, exporter_port, received_ns)

    def _row(self, row: Row | Any) -> bytes:
        export, members = row.export, row.members
        line: dict[str, Any] = {"type": row.type}
        if "pcount" in members:
            line["pcount"] = members["pcount"]
        line["source"] = export.source
        if export.exporter:
            line["exporter"] = address_text(export.exporter).decode()
        line["domain"] = export.domain
        line["export_ms"] = export.export_ms
        if self._envelope:
            line["exporter_port"] = export.port
            if export.uptime_ms is not None:
                line["uptime_ms"] = export.uptime_ms
            if export.received_ns:
                line["recv_ms"] = export.received_ns // 1_000_000
            line |= export.envelope
        line |= members
        if row.type == "flow" and is_far(export.export_ms, export.received_ns):
            line["time_suspect"] = True
        return flow_line(line)


def is_far(export_ms: int, received_ns: int) -> bool:
    """Tell whether an exporter's clock is more than a day away from when its datagram came, if that is known."""
    return bool(received_ns) and not -DAY_MS <= received_ns // 1_000_000 - export_ms <= DAY_MS


def _suspected(line: bytes) -> bytes:
    """Return a line that says that its times are suspect, as it may do already."""
    return line if _SUSPECT in line else b"%s%s}\n" % (line[:-2], _SUSPECT)


@lru_cache(maxsize=FRAGMENTS_KEPT)
def origin(source: str, exporter: bytes, domain: int, sampling_rate: float) -> bytes:
    """Return how a head begins, up to export_ms: that stays the same from one batch of an exporter to the next."""
    sampled = b',"sampling_rate":%s' % str(sampling_rate).encode() if sampling_rate != 1 else b""
    origin = b',"exporter":"%s"' % address_text(exporter) if exporter else b""
    return b',"source":"%s"%s,"domain":%d%s,"export_ms":' % (source.encode(), origin, domain, sampled)

"""How much of each stream of exports arrived: sequence numbers of protocols without sessions, and the counts of all."""

from __future__ import annotations

from itertools import chain

from overflowd_tools.named import NamedTuple
from overflowd_tools.protocols.sequence import Stream
from overflowd_tools.protocols.templates import FlowBatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from overflowd_tools.protocols.exporters import Exporters
    from overflowd_tools.protocols.lines import Decoded

STREAMS = 10_000


class StreamKey(NamedTuple):
    """Whose messages are numbered together.

    exporter: 4 or 16 octets, none for a file. port: of the exporter, None where streams go on when it changes. agent:
    of sFlow, as text, or empty. aggregation: of NetFlow 8, each of which has its own numbers.
    """

    source: str
    exporter: bytes
    port: int | None
    domain: int
    agent: str = ""
    aggregation: int | None = None


class Accounts:
    """The streams of NetFlow 1 to 8 and sFlow; the first of too many is forgotten, and its losses with it."""

    def __init__(self) -> None:
        self._streams: dict[tuple[str, bytes, int, str, int | None], Stream] = {}
        self.find = self._streams.get
        """Returns the stream of a source, exporter, domain, agent and aggregation, if there is one."""

    def batch(self, batch: FlowBatch, exporter: bytes) -> int:
        """Take a datagram of NetFlow, whose numbers count flows; return how many are lost before it."""
        told = batch.envelope
        key = batch.source, exporter, batch.domain, "", told.get("aggregation")
        stream = self._streams.get(key) or self._begin(key)
        if "seq" in told:
            return stream.records(told["seq"], batch.announced)
        stream.messages += 1
        return 0

    def decoded(self, decoded: Decoded, exporter: bytes) -> int:
        """Take a datagram of sFlow, whose numbers count datagrams; return how many are lost before it."""
        key = decoded.source, exporter, decoded.domain, decoded.head.get("agent", ""), None
        stream = self._streams.get(key) or self._begin(key)
        return stream.records(decoded.envelope["seq"], 1)

    def streams(self) -> Iterator[tuple[StreamKey, Stream]]:
        """Yield all streams."""
        for (source, exporter, domain, agent, aggregation), stream in self._streams.items():
            yield StreamKey(source, exporter, None, domain, agent, aggregation), stream

    def _begin(self, key: tuple[str, bytes, int, str, int | None]) -> Stream:
        stream = self._streams[key] = Stream()
        if len(self._streams) > STREAMS:
            del self._streams[next(iter(self._streams))]
        return stream


def all_streams(accounts: Accounts, exporters: Exporters | None) -> Iterator[tuple[StreamKey, Stream]]:
    """Yield all streams, those of sessions too."""
    sessions = exporters.sessions() if exporters else ()
    heard = ((StreamKey(*key), session.stream) for key, session in sessions if session.stream.messages)
    return chain(accounts.streams(), heard)


def statistics(key: StreamKey, stream: Stream) -> dict[str, Any]:
    """Return the members of a stats line but for the exporter."""
    members: dict[str, Any] = {"domain": key.domain}
    if key.port is not None and key.exporter:
        members["exporter_port"] = key.port
    if key.agent:
        members["agent"] = key.agent
    if key.aggregation is not None:
        members["aggregation"] = key.aggregation
    return members | {
        "messages": stream.messages,
        "lost": stream.lost,
        "reordered": stream.reordered,
        "restarted": stream.restarted,
        "unknown": stream.unknown,
    }

"""Our own records of flows, and whether they have the flow of a report.

A forger who is not on the path cannot know port, time and protocol of a flow that really came by. So reports that our
own records confirm are what a key earns trust with.
"""

from hashlib import blake2b
from typing import Any, NamedTuple

from overflowd_tools.errors import RecordError

SLACK_MS = 120_000
"""How far clocks may differ."""
UNDATED_MS = 3_600_000
"""How old a flow without times of its own may be, when it is reported."""
FLOWS = 1 << 18
SPANS = 16
"""How many flows between the same ends are told apart; with more, the oldest and the next are taken as one."""

_ENDS = ("saddr", "daddr", "sport", "dport", "protocol")


class Own(NamedTuple):
    """What our own records say about a flow."""

    verdict: str
    """found; absent: not there, though we have older and newer flows; or unknown."""
    digest: bytes
    """8 octets that stand for the flow of our own that was found, or none."""


class OwnFlows:
    """Bounded records of our own flows. When there are too many, those that came first are forgotten."""

    def __init__(self, most: int = FLOWS) -> None:
        self._most = most
        self._spans: dict[bytes, list[tuple[int, int]]] = {}
        self._first_ms: int | None = None
        self._last_ms: int | None = None
        self.forgotten = 0
        """How many there was no room for."""

    def add(self, flow: dict[str, Any]) -> None:
        """Take in a flow record with start_ms and end_ms (overflowd-record(5)). Raises RecordError."""
        start, end = flow.get("start_ms"), flow.get("end_ms")
        if type(start) is not int or type(end) is not int or type(flow.get("saddr")) is not str:
            raise RecordError("a flow without addresses, start_ms or end_ms confirms nothing")
        self._first_ms = start if self._first_ms is None else min(self._first_ms, start)
        self._last_ms = end if self._last_ms is None else max(self._last_ms, end)
        ends = _digest(flow)
        spans = self._spans.setdefault(ends, [])
        spans.append((start, max(start, end)))
        if len(spans) > SPANS:
            spans.sort()
            spans[:2] = [(spans[0][0], max(spans[0][1], spans[1][1]))]
        if len(self._spans) > self._most:
            del self._spans[next(iter(self._spans))]
            self.forgotten += 1

    def find(self, flow: dict[str, Any], time_ms: int) -> Own:
        """Tell what is known about the flow of a report that was made at this time (Unix milliseconds)."""
        start, end = flow.get("start_ms"), flow.get("end_ms")
        if type(start) is not int or type(end) is not int:
            start, end = time_ms - UNDATED_MS, time_ms
        ends = _digest(flow)
        for first, last in self._spans.get(ends, ()):
            if first <= end + SLACK_MS and last >= start - SLACK_MS:
                return Own("found", blake2b(ends + b"%d" % first, digest_size=8).digest())
        if self.forgotten or self._first_ms is None or self._last_ms is None:
            return Own("unknown", b"")
        covered = self._first_ms <= start - SLACK_MS and end + SLACK_MS <= self._last_ms
        return Own("absent" if covered else "unknown", b"")


def _digest(flow: dict[str, Any]) -> bytes:
    ends = "\t".join(str(flow.get(name) or 0) for name in _ENDS)
    return blake2b(ends.encode("utf-8", "surrogatepass"), digest_size=16).digest()

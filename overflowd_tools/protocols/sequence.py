"""What the sequence numbers of export streams tell of datagrams that never came.

NetFlow 5 and 7 count flows, NetFlow 9 datagrams (RFC 3954 section 5.1; some exporters count flows all the same), IPFIX
data records with those of options (RFC 7011 section 3.1). A stream is the traffic of one exporter's domain.
"""

from __future__ import annotations

from overflowd_tools.named import NamedTuple

_WINDOW = 1 << 31
_NEAR = 1000
"""A number so little behind the expected one is a late datagram; further behind, the exporter began anew."""
_COUNTERS = 8
_GAPS = 8
_NUMBERS = 0xFFFFFFFF


class _Counter(NamedTuple):
    """Where a counter was left, and what the jump away from it was taken for."""

    expected: int
    lost: int
    restarted: int


class Stream:
    """One stream of sequence numbers: what came next, what did not."""

    __slots__ = (
        *("_counts_datagrams", "expected", "_gaps", "_parked", "_previous", "_slack"),
        *("lost", "messages", "reordered", "restarted", "unknown"),
    )

    def __init__(self) -> None:
        self.messages = 0
        self.lost = 0
        self.reordered = 0
        self.restarted = 0
        self.unknown = 0
        self.expected: int | None = None
        self._previous: tuple[int, int] | None = None
        self._slack = 0
        """How much lower than expected the next number may be."""
        self._counts_datagrams = False
        self._parked: tuple[_Counter, ...] = ()
        self._gaps: tuple[tuple[int, int], ...] = ()
        """First and size of what was lost lately, and may yet come late."""

    def records(self, number: int, count: int | None) -> int:
        """Take the number of a message of count records, each of which counts; return how many are lost before it.

        count None: how many there were cannot be told (a data set without template), so the next number is taken as
        it comes.
        """
        self.messages += 1
        if number == self.expected and count is not None:  # as nearly always
            self.expected = number + count & _NUMBERS
            return 0
        lost = self._gap(number, count or 0)
        if count is None:
            self.unknown += 1
            self.expected = None
        elif lost >= 0:
            self.expected = number + count & _NUMBERS
        return max(lost, 0)

    def datagrams(self, number: int, count: int) -> int:
        """Take the number of a NetFlow 9 datagram of count records; return how many datagrams (flows) are lost.

        Whether an exporter counts datagrams or flows shows in its numbers. A flow may have been sent as two records,
        one for each direction, and templates are records too: so flows are at most, and at least half, the records.
        """
        if self._previous is not None and number != self.expected and not self._counts_datagrams:
            before, records = self._previous
            step = number - before & _NUMBERS
            if 0 < step < records / 2:
                self._counts_datagrams = True
                self.expected = before + 1 & _NUMBERS
        late = self.reordered
        lost = self.records(number, self.step(0, count))
        if self.reordered == late:
            self._previous = number, count
            self._slack = 0 if self._counts_datagrams else max(count - 1, 0)
        return lost

    def step(self, records: int, count: int | None) -> int:
        """Return by how much a message raises the number. count: that of a NetFlow 9 header, None for all others."""
        if count is None:
            return records
        return 1 if self._counts_datagrams else max(count, 1)

    def pass_over(self, messages: int, records: int, count: int | None) -> None:
        """Take messages of so many records each, of which none is lost or late. count: as for step()."""
        assert self.expected is not None
        last = self.expected + (messages - 1) * self.step(records, count) & _NUMBERS
        self.messages += messages - 1
        self.expected = last
        if count is None:
            self.records(last, records)
        else:
            self.datagrams(last, count)

    def is_late(self, number: int) -> bool:
        """Tell whether a message with this number comes late, so that nothing can be lost before it."""
        if self.expected is None or (self._previous is not None and not self._counts_datagrams):
            return False
        return 0 < (self.expected - number & _NUMBERS) <= _NEAR

    def _gap(self, number: int, count: int) -> int:
        """Return how many are lost, or -1 for a message of count that comes late."""
        if self.expected is None:
            return 0
        gap = number - self.expected & _NUMBERS
        if gap == 0:
            return 0
        if gap <= _NEAR:
            self._lose(self.expected, gap)
            return gap
        behind = 0x100000000 - gap
        if behind <= self._slack:
            return 0
        if behind <= _NEAR:
            self.reordered += 1
            self._fill(number, count)
            return -1
        return self._jump(self.expected, number, gap)

    def _lose(self, first: int, size: int) -> None:
        self.lost += size
        self._gaps = ((first, size), *self._gaps[: _GAPS - 1])

    def _fill(self, number: int, count: int) -> None:
        """Take back as lost what a late message brings; not for a copy of one that came before (mirror ports)."""
        for first, size in self._gaps:
            at = number - first & _NUMBERS
            if at < size:
                found = min(count, size - at)
                self.lost = max(self.lost - found, 0)
                parts = ((first, at), (number + found & _NUMBERS, size - at - found))
                others = [gap for gap in self._gaps if gap != (first, size)]
                self._gaps = (*(part for part in parts if part[1]), *others)[:_GAPS]
                return

    def _jump(self, expected: int, number: int, gap: int) -> int:
        """Take a number far from the expected one; return how many are lost.

        The cards of one router may each have a counter under the same source identifier: where one goes on that was
        left before, the jump that led away from it was no loss.
        """
        for counter in self._parked:
            near = number - counter.expected & _NUMBERS
            if near <= _NEAR:
                others = tuple(other for other in self._parked if other is not counter)
                self._parked = (_Counter(expected, 0, 0), *others)
                self._gaps = tuple(gap for gap in self._gaps if gap[0] != counter.expected)
                self.lost = max(self.lost - counter.lost, 0)
                if near:
                    self._lose(counter.expected, near)
                self.restarted -= counter.restarted
                return near
        lost = gap if gap < _WINDOW else 0
        restarted = int(gap >= _WINDOW)
        self._parked = (_Counter(expected, lost, restarted), *self._parked[: _COUNTERS - 1])
        self.restarted += restarted
        if lost:
            self._lose(expected, lost)
        return lost

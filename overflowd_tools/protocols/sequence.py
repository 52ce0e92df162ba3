"""What the sequence numbers of export streams tell of datagrams that never came.

NetFlow 5 and 7 count flows, NetFlow 9 datagrams (RFC 3954 section 5.1; some exporters count flows all the same), IPFIX
data records with those of options (RFC 7011 section 3.1). A stream is the traffic of one exporter's domain.
"""

_WINDOW = 1 << 31
_REORDERED = 1000
"""A number so little behind the expected one is a late datagram; further behind, the exporter began anew."""


class Stream:
    """One stream of sequence numbers: what came next, what did not."""

    __slots__ = ("_expected", "_per_record", "_previous", "lost", "messages", "reordered", "restarted", "unknown")

    def __init__(self) -> None:
        self.messages = 0
        self.lost = 0
        self.reordered = 0
        self.restarted = 0
        self.unknown = 0
        self._expected: int | None = None
        self._previous: tuple[int, int] | None = None
        self._per_record: bool | None = None

    def records(self, number: int, count: int | None) -> int:
        """Take the number of a message of count records, each of which counts; return how many are lost before it.

        count None: how many there were cannot be told (a data set without template), so the next number is taken as
        it comes.
        """
        self.messages += 1
        lost = self._gap(number)
        if count is None:
            self.unknown += 1
            self._expected = None
        elif lost >= 0:
            self._expected = number + count & 0xFFFFFFFF
        return max(lost, 0)

    def datagrams(self, number: int, count: int) -> int:
        """Take the number of a NetFlow 9 datagram of count records; return how many datagrams (records) are lost.

        Whether this exporter counts datagrams or records shows at its second one.
        """
        if self._previous is not None and self._per_record is None:
            step = number - self._previous[0] & 0xFFFFFFFF
            self._per_record = step == self._previous[1] and step != 1
        self._previous = number, count
        return self.records(number, count if self._per_record else 1)

    def _gap(self, number: int) -> int:
        if self._expected is None:
            return 0
        gap = number - self._expected & 0xFFFFFFFF
        if gap < _WINDOW:
            self.lost += gap
            return gap
        if 0x100000000 - gap <= _REORDERED:
            self.reordered += 1
            self.lost = max(self.lost - 1, 0)
            return -1
        self.restarted += 1
        return 0

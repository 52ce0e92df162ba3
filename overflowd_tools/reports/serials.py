"""The numbers of the reports to each recipient, and what these reports stand for together."""

import os
from io import BytesIO
from typing import Any

from overflowd_tools.errors import KeyFileError, RecordError
from overflowd_tools.reports.canonical import MAX_INTEGER, loads
from overflowd_tools.reports.report import address, integers

RECIPIENTS = 1 << 16
"""How many recipients are numbered at a time, in at most 24 MB."""

_NUMBERS = dict.fromkeys(("seq", "packets", "octets"), (1, MAX_INTEGER)) | {"octets": (0, MAX_INTEGER)}


class Serials:
    """Numbers the reports to each recipient, so that it sees what got lost and learns nothing about others.

    The table of recipients is bounded. When it is full, all are forgotten and a new epoch begins: so the pair of
    epoch, 48 random bits, and number is never given to one recipient twice, and no total ever goes back.
    """

    def __init__(self, recipients: int = RECIPIENTS) -> None:
        self._limit = recipients
        self._epoch = 0
        self._last: dict[bytes, list[int]] = {}
        self._start_epoch()

    def next(self, recipient: bytes, packets: int = 1, octets: int = 0) -> tuple[int, int, int, int]:
        """Count one more report to this recipient, which stands for so many packets and octets.

        recipient: the text of its address, in the form that reports use; empty for reports to nobody. Returns the
        epoch, the number of the report in it, from 1, and the packets and octets that all of them stand for; these two
        stay at 2^53-1 once they are there.
        """
        numbers = self._last.get(recipient)
        if numbers is None or numbers[0] == MAX_INTEGER:
            if numbers or len(self._last) >= self._limit:
                self._start_epoch()
            numbers = self._last[recipient] = [0, 0, 0]
        numbers[0] += 1
        numbers[1] += packets
        numbers[2] += octets
        if numbers[1] > MAX_INTEGER or numbers[2] > MAX_INTEGER:
            numbers[1:] = (min(number, MAX_INTEGER) for number in numbers[1:])
        return self._epoch, numbers[0], numbers[1], numbers[2]

    def dump(self, key: str) -> bytearray:
        """Return all this as lines of JSON, to go on from there another time; key is the text of the one that signs."""
        text = bytearray(b'{"epoch":%d,"key":"%s"}\n' % (self._epoch, key.encode()))
        for recipient, (seq, packets, octets) in self._last.items():
            text += b'{"octets":%d,"packets":%d,"seq":%d,"to":"%s"}\n' % (octets, packets, seq, recipient)
        return text

    def load(self, data: bytes | bytearray, key: str) -> bool:
        """Go on where dump() ended; return False, and do not, if that was for another key.

        Raises KeyFileError for lines that dump() did not make.
        """
        lines = BytesIO(data)  # one at a time: all of them would take more memory than the table
        try:
            first = loads(lines.readline())
            epoch = integers(first, {"epoch": (0, MAX_INTEGER)})["epoch"]
            if first.get("key") != key:
                return False
            last: dict[bytes, list[int]] = {}
            for line in lines:
                recipient, numbers = _numbers(loads(line))
                if recipient in last or len(last) == self._limit:
                    raise KeyFileError(f"a recipient is there twice, or there are more than {self._limit}")
                last[recipient] = numbers
        except (RecordError, KeyError, ValueError):
            raise KeyFileError("not the numbers of reports") from None
        self._epoch, self._last = epoch, last
        return True

    def _start_epoch(self) -> None:
        self._epoch = int.from_bytes(os.urandom(6))
        self._last = {}


def _numbers(line: dict[str, Any]) -> tuple[bytes, list[int]]:
    numbers, recipient = integers(line, _NUMBERS), line["to"]
    if recipient != "" and address(line, "to") != recipient:  # it is empty for reports to nobody
        raise RecordError("to is not in the canonical form of addresses")
    return recipient.encode(), [numbers["seq"], numbers["packets"], numbers["octets"]]

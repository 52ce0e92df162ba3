"""The reader of captures of every format, told apart by their first four octets."""

from overflowd_tools.capture.ipfix_file import VERSION, IpfixFileReader
from overflowd_tools.capture.packet import Item, PacketReader
from overflowd_tools.capture.pcap import MAGICS, PcapReader
from overflowd_tools.capture.pcapng import SECTION_HEADER, PcapngReader
from overflowd_tools.errors import DecodeError

_UNKNOWN = "not a pcap or pcapng capture, nor an IPFIX file"


class CaptureReader:
    """Reads pcap, pcapng or an IPFIX file, sans-IO: feed() it what arrived, close() it at the end.

    Both return a list of items in the order of the file: Packet, PlainRun, ExportMessage of an IPFIX file, DecodeError;
    one that concerns one place begins "packet N: " or "message N: ". How the input was cut into pieces changes
    nothing in the items, but that runs end with the pieces.
    """

    def __init__(self, *, runs: bool = False) -> None:
        """Give packets one by one, or plain ones as runs (plain.py), which takes a fraction of the time."""
        self._runs = runs
        self._head = b""
        self._reader: PacketReader | None = None
        self._refused = False

    @property
    def finished(self) -> bool:
        """Whether all that may still come would be dropped: after damage beyond repair, or close()."""
        return self._refused or (self._reader is not None and self._reader.finished)

    @property
    def buffered(self) -> int:
        """Octets held back until more arrive."""
        return len(self._head) + (self._reader.buffered if self._reader else 0)

    def feed(self, data: bytes) -> list[Item]:
        """Take the next bytes of the capture and return the items that they complete."""
        if self._reader:
            return self._reader.feed(data)
        if self._refused:
            return []
        data = self._head + data
        magic = data[:4]
        if len(magic) < 4:
            self._head = data
            return []
        self._head = b""
        if magic in MAGICS:
            self._reader = PcapReader(runs=self._runs)
        elif magic == SECTION_HEADER:
            self._reader = PcapngReader(runs=self._runs)
        elif magic.startswith(VERSION):
            self._reader = IpfixFileReader()
        else:
            return self._refuse(_UNKNOWN)
        return self._reader.feed(data)

    def close(self) -> list[Item]:
        """Say that the capture ends here and return the last items.

        A capture of no packets is fine; one of no bytes at all is an error.
        """
        if self._reader:
            return self._reader.close()
        if self._refused:
            return []
        return self._refuse(_UNKNOWN if self._head else "empty: not even a file header")

    def _refuse(self, reason: str) -> list[Item]:
        self._refused = True
        self._head = b""
        return [DecodeError(reason)]

"""Send datagrams to those who did not ask for them, so that they yield to everything else and never surprise.

The socket options are Linux's (ip(7), ipv6(7)); Python's socket module lacks some of their names.
"""

from __future__ import annotations

import socket

from overflowd_tools.errors import UsageError
from overflowd_tools.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

_IP_MTU_DISCOVER = 10
_IPV6_MTU_DISCOVER = 23
_PMTUDISC_DO = 2  # sets DF; whatever does not fit the path gives EMSGSIZE instead of fragments
_LOWER_EFFORT = 0x04  # DSCP 000001, RFC 8622: dropped before any other traffic
_HOP_LIMIT = 64

_OPTIONS = {
    socket.AF_INET: (
        (socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_DO),
        (socket.IPPROTO_IP, socket.IP_TOS, _LOWER_EFFORT),
        (socket.IPPROTO_IP, socket.IP_TTL, _HOP_LIMIT),
        (socket.SOL_SOCKET, socket.SO_RCVBUF, 0),  # nobody reads answers
    ),
    socket.AF_INET6: (
        (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1),
        (socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_DO),
        (socket.IPPROTO_IPV6, socket.IPV6_TCLASS, _LOWER_EFFORT),
        (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, _HOP_LIMIT),
        (socket.SOL_SOCKET, socket.SO_RCVBUF, 0),
    ),
}
_COLLECTOR = r"udp://(?:\[([^\[\]]+)\]|([^\[\]:/@]+)):([0-9]{1,5})"


class Peer(NamedTuple):
    """Where a datagram goes: an address family and an address as the socket module takes it."""

    family: socket.AddressFamily
    address: tuple[Any, ...]

    def octets(self, payload: bytes) -> int:
        """Return how many octets of IP a payload makes: without options, 28 or 48 more than its own."""
        return len(payload) + (28 if self.family == socket.AF_INET else 48)


def recipient(address: bytes, port: int) -> Peer:
    """Return the peer with this address of 4 or 16 octets."""
    family = socket.AF_INET if len(address) == 4 else socket.AF_INET6
    return Peer(family, (socket.inet_ntop(family, address), port))


def collector(url: str) -> Peer:
    """Return the peer that the operator named: udp://HOST:PORT, IPv6 addresses in brackets.

    A name is resolved here and never again; its first address is taken. Raises UsageError.
    """
    import re

    match = re.fullmatch(_COLLECTOR, url, re.ASCII)
    if not match or not 0 < int(match[3]) < 65536:
        raise UsageError(f"{url!r} is not udp://HOST:PORT")
    host = match[1] or match[2]
    try:
        # As bytes, a name does not have IDNA imported.
        name = host.encode() if host.isascii() else host
        found = socket.getaddrinfo(name, int(match[3]), type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:  # UnicodeError: a label that IDNA forbids
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{url}: {reason}") from None
    family, _, _, _, address = found[0]
    return Peer(family, address)


class Sender:
    """Sends each datagram on a socket connected to its recipient, and never reads one. A context manager.

    Connected, as only then the kernel tells of ICMP errors and keeps away what others send. The socket
    of the last recipient is kept. The next recipient gets another one: a socket that is connected once more
    keeps the source address of the first time.
    """

    def __init__(self, source_port: int, *, insist: bool) -> None:
        """Prepare to send from a port; 0: any port.

        insist: fail where another program has the port, instead of taking any port. Raises UsageError.
        """
        self._source_port = source_port
        self._insist = insist
        self._peer: Peer | None = None
        self._socket: socket.socket | None = None
        self.unreachable = 0
        """Datagrams of which ICMP said in time that nobody took them."""
        if insist:
            try:
                self._open(socket.AF_INET, source_port).close()
            except OSError as error:
                raise UsageError(f"cannot send from UDP port {source_port}: {error.strerror}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, peer: Peer, payload: bytes) -> str | None:
        """Send one datagram. Returns None, or in the words of strerror(3) why it did not leave."""
        try:
            connected = self._connected(peer)
            try:
                connected.send(payload)
            except OSError:
                # If it goes now, the error was about an earlier datagram: the kernel tells it once.
                connected.send(payload)
                self.unreachable += 1
        except OSError as error:
            return (error.strerror or str(error)).lower()
        return None

    def close(self) -> None:
        """Close the socket, and count the last error that came in."""
        if self._socket is not None:
            if self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self.unreachable += 1
            self._socket.close()
        self._socket = self._peer = None

    def _connected(self, peer: Peer) -> socket.socket:
        if self._socket is not None and peer == self._peer:
            return self._socket
        self.close()
        opened = self._open(peer.family, self._source_port)
        try:
            opened.connect(peer.address)
            if opened.getsockname() == opened.getpeername():  # our own port on this host: it would go to us
                opened.close()
                opened = self._open(peer.family, 0)
                opened.connect(peer.address)
        except OSError:
            opened.close()
            raise
        self._socket, self._peer = opened, peer
        return opened

    def _open(self, family: socket.AddressFamily, source_port: int) -> socket.socket:
        opened = socket.socket(family, socket.SOCK_DGRAM)
        try:
            for level, option, value in _OPTIONS[family]:
                opened.setsockopt(level, option, value)
            self._bind(opened, source_port)
        except OSError:
            opened.close()
            raise
        return opened

    def _bind(self, opened: socket.socket, source_port: int) -> None:
        try:
            opened.bind(("", source_port))
        except OSError:
            if self._insist:
                raise

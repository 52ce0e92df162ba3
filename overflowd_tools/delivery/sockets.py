"""Listening UDP sockets that know when, from where and to which address each datagram came.

The socket options are Linux's (socket(7), ip(7), ipv6(7)); Python's socket module lacks most of their names.
"""

from __future__ import annotations

import errno
import select
import socket
import struct
import time

from overflowd_tools.errors import UsageError
from overflowd_tools.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Protocol, Self

    class StopRequest(Protocol):
        """Truthy once the work is to end; its descriptor polls readable from then on."""

        def fileno(self) -> int: ...  # noqa: D102
        def __bool__(self) -> bool: ...


RECEIVE_BUFFER = 8 << 20
"""Octets of kernel memory to ask for: about a second of exports from a busy router."""

BATCH = 64
"""Datagrams taken from one socket before the others have their turn."""

_SO_RCVBUFFORCE = 33
_SO_TIMESTAMPNS = 35
_SO_MEMINFO = 55
_IP_PKTINFO = 8

_TIMESPEC = struct.Struct("@ll")
_MEMINFO = struct.Struct("=9I")
_ANCILLARY_SIZE = 128  # three control messages; the largest, in6_pktinfo, takes 40 octets
_LARGEST_DATAGRAM = 1 << 16
_V4_MAPPED = bytes(10) + b"\xff\xff"  # RFC 4291 section 2.5.5.2
_SECONDS_BETWEEN_NOTICES = 10.0
_ENDPOINT = r"(?:(?:\[([^\]]*)\]|([^:\[\]]*)):)?([0-9]{1,5})"


class Endpoint(NamedTuple):
    """Where to listen: a UDP port of one local address, or of all IPv4 and IPv6 addresses."""

    address: str | None
    port: int

    def __str__(self) -> str:
        if self.address is None:
            return f"port {self.port}"
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


class Datagram(NamedTuple):
    """One UDP datagram as it arrived; addresses are 4 or 16 octets, both of the same family."""

    time_ns: int
    source: bytes
    source_port: int
    destination: bytes
    destination_port: int
    payload: bytes


def parse_endpoint(text: str) -> Endpoint:
    """Read "2055", "192.0.2.1:2055" or "[2001:db8::1]:2055"; names are not resolved.

    Raises ValueError with the reason.
    """
    import re

    match = re.fullmatch(_ENDPOINT, text, re.ASCII)
    if not match:
        raise ValueError(f"{text!r} is not PORT, IPV4:PORT or [IPV6]:PORT")
    ipv6, ipv4, digits = match.groups()
    port = int(digits)
    if not 0 < port < 65536:
        raise ValueError(f"{text!r}: a port is a number from 1 to 65535")
    if ipv6 is None and ipv4 is None:
        return Endpoint(None, port)
    address = ipv4 if ipv6 is None else ipv6
    try:
        packed = _packed(address, socket.AF_INET if ipv6 is None else socket.AF_INET6)
    except (OSError, ValueError):  # ValueError: an embedded NUL
        raise ValueError(f"{text!r}: {address!r} is not an IP address") from None
    if len(packed) == 4:  # also of ::ffff:192.0.2.1
        address = socket.inet_ntop(socket.AF_INET, packed)
    return Endpoint(address, port)


class Receiver:
    """The listening sockets of one command. A context manager, which closes them."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        say: Callable[[str], None],
        receive_buffer: int = RECEIVE_BUFFER,
    ) -> None:
        """Bind every endpoint, with a receive buffer of that many octets each, or what the kernel grants.

        say: takes a line for a person when the kernel had to drop datagrams; at most one in ten seconds.
        Raises UsageError naming the endpoint that cannot be bound.
        """
        self._say = say
        self._sockets: dict[int, _Socket] = {}
        self._buffer = memoryview(bytearray(_LARGEST_DATAGRAM))
        self._said = 0
        self._silent_until = 0.0
        try:
            for endpoint in endpoints:
                opened = _Socket(endpoint, receive_buffer)
                self._sockets[opened.fileno()] = opened
        except UsageError:
            self._close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: object, *_: object) -> None:
        if error is None:
            self._tell_drops(final=True)
        self._close()

    def _close(self) -> None:
        for opened in self._sockets.values():
            opened.close()

    def granted(self) -> list[tuple[Endpoint, int]]:
        """Return, for each endpoint, the octets of receive buffer that the kernel granted."""
        return [(opened.endpoint, opened.receive_buffer()) for opened in self._sockets.values()]

    def dropped(self) -> int:
        """Return how many datagrams the kernel dropped so far, nearly all because a buffer was full."""
        return sum(opened.dropped() for opened in self._sockets.values())

    def batches(self, stop: StopRequest) -> Iterator[list[Datagram]]:
        """Yield what arrives, in the order of arrival per socket, until stop.

        An empty list says that nothing is waiting: the time to flush. What had arrived when the stop was seen
        is still yielded, but nothing that came later, so that a flood cannot put off the end.
        """
        poller = select.poll()
        for descriptor in (stop.fileno(), *self._sockets):
            poller.register(descriptor, select.POLLIN)
        while not stop:
            ready = poller.poll(0)
            if not ready:
                yield []
                ready = poller.poll()
            for descriptor, _ in ready:
                if descriptor in self._sockets and (batch := self._sockets[descriptor].receive(self._buffer)):
                    yield batch
            self._tell_drops()
        yield from self._arrived_before(time.time_ns())

    def _arrived_before(self, time_ns: int) -> Iterator[list[Datagram]]:
        for opened in self._sockets.values():
            while batch := opened.receive(self._buffer):
                yield batch
                if batch[-1].time_ns > time_ns:
                    break

    def _tell_drops(self, *, final: bool = False) -> None:
        now = time.monotonic()
        if (now < self._silent_until and not final) or (dropped := self.dropped()) == self._said:
            return
        self._said = dropped
        self._silent_until = now + _SECONDS_BETWEEN_NOTICES
        self._say(f"{dropped} datagrams dropped by the kernel so far: a receive buffer was full")


class _Socket:
    """One bound, non-blocking UDP socket."""

    def __init__(self, endpoint: Endpoint, receive_buffer: int) -> None:
        self.endpoint = endpoint
        self._dropped = 0
        try:
            self._socket = _bind(endpoint)
            _ask_for_buffer(self._socket, receive_buffer)
        except OSError as error:
            raise UsageError(f"cannot listen on UDP {endpoint}: {error.strerror}") from error
        self.fileno = self._socket.fileno
        self.close = self._socket.close

    def receive_buffer(self) -> int:
        # The kernel doubles what was asked for, to pay for its own overhead (socket(7)).
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2

    def dropped(self) -> int:
        # The counter behind SO_RXQ_OVFL, which tells it only with the next datagram that is not dropped.
        information = self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
        counter = _MEMINFO.unpack(information)[8]
        self._dropped += (counter - self._dropped) & 0xFFFFFFFF
        return self._dropped

    def receive(self, buffer: memoryview) -> list[Datagram]:
        """Return the next datagrams, at most BATCH; none if nothing is waiting."""
        batch: list[Datagram] = []
        while len(batch) < BATCH:
            try:
                size, ancillary, _, peer = self._socket.recvmsg_into([buffer], _ANCILLARY_SIZE)
            except BlockingIOError:
                break
            time_ns = 0
            destination = b""
            for level, _, data in ancillary:
                if level == socket.SOL_SOCKET:
                    seconds, nanoseconds = _TIMESPEC.unpack(data)
                    time_ns = seconds * 1_000_000_000 + nanoseconds
                elif level == socket.IPPROTO_IP:
                    destination = data[8:12]
                else:
                    destination = _unmapped(data[:16])
            source = _packed(peer[0], self._socket.family)
            batch.append(Datagram(time_ns, source, peer[1], destination, self.endpoint.port, bytes(buffer[:size])))
        return batch


def _bind(endpoint: Endpoint) -> socket.socket:
    if endpoint.address is not None:
        family = socket.AF_INET6 if ":" in endpoint.address else socket.AF_INET
        return _bound(family, endpoint.address, endpoint.port, ipv6_only=True)
    try:
        return _bound(socket.AF_INET6, "::", endpoint.port, ipv6_only=False)
    except OSError as error:
        if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            raise
        return _bound(socket.AF_INET, "0.0.0.0", endpoint.port, ipv6_only=False)  # noqa: S104 - asked for


def _bound(family: socket.AddressFamily, address: str, port: int, *, ipv6_only: bool) -> socket.socket:
    """Return a bound socket that tells time and local address of each datagram. Raises OSError."""
    opened = socket.socket(family, socket.SOCK_DGRAM)
    try:
        opened.setblocking(False)
        opened.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, ipv6_only)
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            opened.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        where = socket.getaddrinfo(address, port, family, socket.SOCK_DGRAM, 0, socket.AI_NUMERICHOST)
        opened.bind(where[0][4])  # with the scope of a link-local address as a number
    except OSError:
        opened.close()
        raise
    return opened


def _ask_for_buffer(opened: socket.socket, octets: int) -> None:
    try:
        opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, octets)
    except PermissionError:  # it takes CAP_NET_ADMIN to pass net.core.rmem_max
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, octets)


def _packed(address: str, family: int) -> bytes:
    """Return the octets of an address that may carry a scope; IPv4 in IPv6 is unwrapped. Raises OSError."""
    return _unmapped(socket.inet_pton(family, address.partition("%")[0]))


def _unmapped(address: bytes) -> bytes:
    return address[12:] if address.startswith(_V4_MAPPED) and len(address) == 16 else address

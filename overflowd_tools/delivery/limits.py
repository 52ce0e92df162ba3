"""How much may be sent, and to whom: token buckets, and a memory of what was sent. Callers pass the time.

A bucket is one number, the time at which it will be full again (the virtual scheduling of ITU-T I.371, also
known as GCRA). Times are nanoseconds of one clock that never goes back.
"""

from __future__ import annotations

from overflowd_tools.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Hashable

SECOND = 1_000_000_000
PREFIXES = 16_384
"""Prefixes of a kind that are remembered. At the default rate only 1,600 can be short of tokens."""
DATAGRAMS = 32_768
"""Datagrams that are remembered: at the default rate, all of five minutes."""


class Settings(NamedTuple):
    """The limits of one of-send. A rate of infinity is no limit, nor is an interval of 0."""

    prefix_interval_s: float
    """Seconds until a /24 (IPv4) or /48 (IPv6) may have one more datagram (RFC 8085 section 3.1.3)."""
    prefix_burst: int
    """Datagrams that such a prefix may have at once."""
    network_rate: float
    """Datagrams a second to one /16 (IPv4) or /32 (IPv6); at most one second's worth at once."""
    rate: float
    """Datagrams a second in all; at most one second's worth at once."""
    bitrate: float
    """Bits a second in all, IP and UDP headers included; about one second's worth at once."""


class Limits:
    """The token buckets of one of-send. Only what is sent takes tokens, or memory."""

    def __init__(self, settings: Settings) -> None:
        """Begin with full buckets."""
        interval = round(settings.prefix_interval_s * SECOND)
        self._prefixes = _PrefixBuckets(interval, slack=(settings.prefix_burst - 1) * interval)
        interval = round(SECOND / settings.network_rate)
        self._networks = _PrefixBuckets(interval, slack=max(0, SECOND - interval))
        interval = round(SECOND / settings.rate)
        self._datagrams = _Bucket(interval, slack=max(0, SECOND - interval))
        # The last datagram may overdraw this one: else a low rate would never let a long datagram go.
        self._bits = _Bucket(SECOND / settings.bitrate, slack=SECOND)

    def refusal(self, address: bytes, now: int) -> str | None:
        """Return why nothing may go to this address (4 or 16 octets) now, in a word or two, or None."""
        prefix, network = _aggregates(address)
        if self._prefixes.wait(prefix, now):
            return "prefix limit"
        if self._networks.wait(network, now):
            return "network limit"
        if self._datagrams.wait(now):
            return "rate limit"
        return "bit rate limit" if self._bits.wait(now) else None

    def take(self, address: bytes, octets: int, now: int) -> None:
        """Take the tokens of a datagram to this address, of so many octets with its IP and UDP headers."""
        prefix, network = _aggregates(address)
        self._prefixes.take(prefix, now)
        self._networks.take(network, now)
        self.take_total(octets, now)

    def wait_total(self, now: int) -> int:
        """Return the nanoseconds until the rate and the bit rate let another datagram go; 0: at once."""
        return max(self._datagrams.wait(now), self._bits.wait(now))

    def take_total(self, octets: int, now: int) -> None:
        """Take the tokens of a datagram from the rate and the bit rate alone."""
        self._datagrams.take(1, now)
        self._bits.take(8 * octets, now)


class Recent:
    """Remembers for a while what was sent, so that it is not sent again."""

    def __init__(self, window_s: float, size: int = DATAGRAMS) -> None:
        """Remember for a number of seconds, but never more than size things: the oldest go first."""
        self._window = round(window_s * SECOND)
        self._size = size
        self._sent: dict[Hashable, int] = {}

    def __len__(self) -> int:
        return len(self._sent)

    def has(self, thing: Hashable, now: int) -> bool:
        """Say whether this was sent within the window."""
        sent = self._sent.get(thing)
        return sent is not None and now - sent < self._window

    def add(self, thing: Hashable, now: int) -> None:
        """Remember that this was sent now."""
        while self._sent:
            oldest = next(iter(self._sent))
            if len(self._sent) < self._size and now - self._sent[oldest] < self._window:
                break
            del self._sent[oldest]
        self._sent.pop(thing, None)
        self._sent[thing] = now


class _Bucket:
    """A token bucket for everything. cost: nanoseconds that a unit takes to come back."""

    def __init__(self, cost: float, slack: int) -> None:
        self._cost = cost
        self._slack = slack
        self._full_at = 0

    def wait(self, now: int) -> int:
        return max(0, self._full_at - now - self._slack)

    def take(self, units: int, now: int) -> None:
        self._full_at = max(self._full_at, now) + round(units * self._cost)


class _PrefixBuckets:
    """A token bucket for each prefix, in bounded memory.

    A prefix that is not in the table is taken to be as short of tokens as the shortest of those that had to
    leave it. So nobody gains tokens by naming more prefixes than the table holds; and as a bucket is short
    for a limited time only, nobody is shut out for longer than that.
    """

    def __init__(self, cost: int, slack: int, size: int = PREFIXES) -> None:
        self._cost = cost
        self._slack = slack
        self._size = size
        self._full_at: dict[bytes, int] = {}  # least recently used first
        self._others_full_at = 0

    def __len__(self) -> int:
        return len(self._full_at)

    def wait(self, prefix: bytes, now: int) -> int:
        return max(0, self._full_at.get(prefix, self._others_full_at) - now - self._slack)

    def take(self, prefix: bytes, now: int) -> None:
        full_at = self._full_at.pop(prefix, self._others_full_at)
        self._make_room(now)
        self._full_at[prefix] = max(full_at, now) + self._cost

    def _make_room(self, now: int) -> None:
        while self._full_at:
            oldest = next(iter(self._full_at))
            full_at = self._full_at[oldest]
            if full_at > now and len(self._full_at) < self._size:
                break
            del self._full_at[oldest]
            self._others_full_at = max(self._others_full_at, full_at)


def _aggregates(address: bytes) -> tuple[bytes, bytes]:
    """Return the /24 and the /16 of an IPv4 address, the /48 and the /32 of an IPv6 one."""
    return (address[:3], address[:2]) if len(address) == 4 else (address[:6], address[:4])

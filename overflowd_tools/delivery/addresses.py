"""Who must never be sent to: a recipient's address comes from traffic that anybody may have forged.

The table follows IANA's special-purpose registries (RFC 6890, RFC 8190) and is stricter than "globally
reachable" there: multicast, anycast services, tunnels, translators and all of IPv6 outside 2000::/3 are
refused too. `ipaddress.is_global` would let most of those pass.
"""

from __future__ import annotations

import socket
from bisect import bisect_right

from overflowd_tools.errors import UsageError
from overflowd_tools.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_V4_MAPPED = bytes(10) + b"\xff\xff"  # RFC 4291 section 2.5.5.2
_LONGEST_PREFIX = 49  # characters; the longest address has 45 of them (POSIX's INET6_ADDRSTRLEN)

_PREFIXES = {
    "0.0.0.0/8": "this network",  # RFC 791 section 3.2
    "10.0.0.0/8": "private",  # RFC 1918
    "100.64.0.0/10": "shared",  # RFC 6598, carrier-grade NAT
    "127.0.0.0/8": "loopback",  # RFC 1122 section 3.2.1.3
    "169.254.0.0/16": "link-local",  # RFC 3927
    "172.16.0.0/12": "private",
    "192.0.0.0/24": "protocol assignment",  # RFC 6890 section 2.1
    "192.0.2.0/24": "documentation",  # RFC 5737
    "192.31.196.0/24": "anycast service",  # AS112, RFC 7535
    "192.52.193.0/24": "anycast service",  # AMT relays, RFC 7450
    "192.88.99.0/24": "anycast service",  # 6to4 relays, RFC 7526
    "192.168.0.0/16": "private",
    "192.175.48.0/24": "anycast service",  # AS112, RFC 7534
    "198.18.0.0/15": "benchmarking",  # RFC 2544
    "198.51.100.0/24": "documentation",
    "203.0.113.0/24": "documentation",
    "224.0.0.0/4": "multicast",  # RFC 5771
    "240.0.0.0/4": "reserved",  # RFC 1112 section 4
    "::/96": "IPv4-compatible",  # RFC 4291 section 2.5.5.1, deprecated
    "64:ff9b::/96": "NAT64",  # RFC 6052: any IPv4 address hides in it
    "64:ff9b:1::/48": "NAT64",  # RFC 8215
    "100::/64": "discard",  # RFC 6666
    "2001::/23": "protocol assignment",  # RFC 2928: Teredo, ORCHID, benchmarking, anycast services
    "2001:db8::/32": "documentation",  # RFC 3849
    "2002::/16": "6to4",  # RFC 3056: any IPv4 address hides in it
    "2620:4f:8000::/48": "anycast service",  # AS112, RFC 7534
    "3fff::/20": "documentation",  # RFC 9637
    "fc00::/7": "private",  # RFC 4193
    "fe80::/10": "link-local",  # RFC 4291 section 2.5.6
    "fec0::/10": "site-local",  # RFC 3879, deprecated
    "ff00::/8": "multicast",  # RFC 4291 section 2.7
}

_SINGLE = {
    "255.255.255.255": "broadcast",  # RFC 919
    "::": "unspecified",
    "::1": "loopback",
    # What cloud providers answer with an instance's secrets. One of them is an ordinary public address.
    "100.100.100.200": "metadata",  # Alibaba
    "168.63.129.16": "metadata",  # Azure
    "169.254.0.23": "metadata",  # Tencent
    "169.254.42.42": "metadata",  # Scaleway
    "169.254.169.254": "metadata",  # nearly all
    "169.254.170.2": "metadata",  # AWS, containers
    "169.254.170.23": "metadata",  # AWS, pods
    "192.0.0.192": "metadata",  # Oracle
    "fd00:42::42": "metadata",  # Scaleway
    "fd00:ec2::23": "metadata",  # AWS, pods
    "fd00:ec2::254": "metadata",  # AWS
    "fd20:ce::254": "metadata",  # Google
}


class Prefix(NamedTuple):
    """An IP prefix: the 4 or 16 octets of its first address, and its length in bits."""

    first: bytes
    length: int


def pack_address(text: str) -> bytes | None:
    """Return the 4 or 16 octets of an address, or None if the text is not an address written plainly.

    Plainly is as inet_ntop(3) writes it (RFC 5952), so that no other program can take the text for another
    address: no octal, no leading zeros, no scope, no capitals. IPv4 in IPv6 (::ffff:0:0/96), of which more
    than one form is in use, comes back as 4 octets.
    """
    try:
        if ":" not in text:
            packed = socket.inet_pton(socket.AF_INET, text)
            return packed if socket.inet_ntop(socket.AF_INET, packed) == text else None
        packed = socket.inet_pton(socket.AF_INET6, text)
    except (OSError, ValueError):  # ValueError: an embedded NUL, or a lone surrogate
        return None
    if packed.startswith(_V4_MAPPED):
        return packed[12:]
    return packed if socket.inet_ntop(socket.AF_INET6, packed) == text else None


def parse_prefix(text: str) -> Prefix:
    """Read "192.0.2.0/24", "2001:db8::/32" or a single address. Raises ValueError with the reason."""
    if len(text) > _LONGEST_PREFIX:
        raise ValueError(f"{len(text)} characters are not an IP prefix")
    address, slash, digits = text.partition("/")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        packed = socket.inet_pton(family, address)
    except (OSError, ValueError):
        raise ValueError(f"{address!r} is not an IP address") from None
    bits = 8 * len(packed)
    if slash and not (digits.isascii() and digits.isdigit() and len(digits) <= 3 and int(digits) <= bits):
        raise ValueError(f"{digits!r} is not a prefix length from 0 to {bits}")
    length = int(digits) if slash else bits
    if int.from_bytes(packed, "big") & ((1 << (bits - length)) - 1):
        raise ValueError(f"{text!r} has bits set behind its prefix length")
    if packed.startswith(_V4_MAPPED) and length >= 96:  # that is how addresses are looked up, too
        return Prefix(packed[12:], length - 96)
    return Prefix(packed, length)


def read_prefixes(lines: Iterable[bytes], name: str) -> Iterator[Prefix]:
    """Read one prefix or address a line; "#" begins a comment.

    Raises UsageError with the name and the number of the first line that is neither: half a list is none.
    """
    for number, line in enumerate(lines, 1):
        text = line.partition(b"#")[0].strip().decode("ascii", "backslashreplace")
        if text:
            try:
                yield parse_prefix(text)
            except ValueError as error:
                raise UsageError(f"{name}: line {number}: {error}") from None


class _PrefixSet:
    """Prefixes of one address family, searched by bisection; each costs one int of memory."""

    def __init__(self, bits: int, keys: list[int]) -> None:
        """Take over keys made by _key."""
        self._bits = bits
        self._keys: list[int] = []
        for key in sorted(keys):  # a prefix sorts before those inside it, which add nothing
            if self.find(key >> 8) is None:
                self._keys.append(key)

    def __bool__(self) -> bool:
        return bool(self._keys)

    def find(self, address: int) -> int | None:
        """Return the key of the prefix that has this address in it, or None."""
        index = bisect_right(self._keys, address << 8 | 0xFF)
        if not index:
            return None
        key = self._keys[index - 1]
        return key if (address ^ key >> 8) >> (self._bits - (key & 0xFF)) == 0 else None


def _key(prefix: Prefix) -> int:
    return int.from_bytes(prefix.first, "big") << 8 | prefix.length


def _prefix_sets(prefixes: Iterable[Prefix]) -> dict[int, _PrefixSet]:
    """Return a set for each size of an address in octets."""
    keys: dict[int, list[int]] = {4: [], 16: []}
    for prefix in prefixes:
        keys[len(prefix.first)].append(_key(prefix))
    return {octets: _PrefixSet(8 * octets, found) for octets, found in keys.items()}


class DenyTable:
    """Says which addresses must not be sent to, and why."""

    def __init__(self, allow: Iterable[Prefix] = (), deny: Iterable[Prefix] = ()) -> None:
        """Build the table.

        allow: prefixes in which the built-in table does not count (the private addresses of a lab).
        deny: prefixes refused whatever else is said (own networks, exporters, those who opted out).
        """
        builtin = {parse_prefix(text): reason for text, reason in _PREFIXES.items()}
        self._deny = _prefix_sets(deny)
        self._allow = _prefix_sets(allow)
        self._builtin = _prefix_sets(builtin)
        self._reasons = {_key(prefix): reason for prefix, reason in builtin.items()}
        self._single = {pack_address(text): reason for text, reason in _SINGLE.items()}

    def reason(self, address: bytes) -> str | None:
        """Return why an address (as pack_address gives it) is refused, in a word or two, or None."""
        octets = len(address)
        number = int.from_bytes(address, "big")
        if (deny := self._deny[octets]) and deny.find(number) is not None:
            return "operator list"
        if (allow := self._allow[octets]) and allow.find(number) is not None:
            return None
        if (reason := self._single.get(address)) is not None:
            return reason
        if (key := self._builtin[octets].find(number)) is not None:
            return self._reasons[key]
        if octets == 16:
            return None if number >> 125 == 0b001 else "reserved"  # 2000::/3, RFC 4291 section 2.4
        # It may be the broadcast address of a network behind an old router, and reach many (RFC 2644).
        return "subnet broadcast" if number & 0xFF in (0, 255) else None

"""Whose key is used for which address: a list of prefixes, of which the longest decides."""

from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import NamedTuple

from overflowd_tools.errors import KeyFileError, UsageError
from overflowd_tools.trust.sealing import RecipientKey


class Entry(NamedTuple):
    """A prefix, and the key of whoever has the addresses in it."""

    version: int
    length: int
    first: int
    key: RecipientKey


class Recipients:
    """The keys of receivers by the prefixes that are theirs."""

    def __init__(self, entries: list[Entry]) -> None:
        """Take the entries, no two with the same prefix."""
        self._keys = {(entry.version, entry.length, entry.first): entry.key for entry in entries}
        lengths = sorted({(entry.version, entry.length) for entry in entries}, reverse=True)
        self._lengths = {family: [length for version, length in lengths if version == family] for family in (4, 6)}
        self.key = lru_cache(maxsize=65_536)(self._key)
        """key(address) returns the key for an address (text), or None: that of the longest prefix it is in."""

    def _key(self, text: str) -> RecipientKey | None:
        address = ip_address(text)
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        number, bits = int(address), address.max_prefixlen
        for length in self._lengths[address.version]:
            first = number >> (bits - length) << (bits - length)
            if key := self._keys.get((address.version, length, first)):
                return key
        return None


def parse(text: str, name: str) -> Recipients:
    """Read a file of lines PREFIX KEY; "#" begins a comment.

    Raises UsageError with the name and the number of the first line that is anything else: with half a list,
    reports would go out in clear.
    """
    entries: dict[tuple[int, int, int], Entry] = {}
    for number, line in enumerate(text.split("\n"), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            entry = _entry(words)
        except (KeyFileError, UsageError, ValueError) as error:
            raise UsageError(f"{name}: line {number}: {error}") from None
        if entries.setdefault(entry[:3], entry) is not entry:
            raise UsageError(f"{name}: line {number}: {words[0]} is there already")
    if not entries:
        raise UsageError(f"{name}: no key in it; a line has a prefix and a key")
    return Recipients(list(entries.values()))


def _entry(words: list[str]) -> Entry:
    if len(words) != 2:
        raise UsageError("not a prefix and a key")
    network = ip_network(words[0])
    return Entry(network.version, network.prefixlen, int(network.network_address), RecipientKey.parse(words[1]))

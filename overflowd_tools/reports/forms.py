"""Flow lines of a form that was seen before: what reports say of them, found without parsing.

The lines of one layout of flows, as of-decode writes them, differ in nothing but their numbers, addresses and texts.
So a new form is turned into one pattern, which stands for all that flows.facts() checks of such a line: that it is
JSON, which members it has, and their ranges. Forms with nesting, escapes, fractions, signs or duplicates are left to
flows.facts(), and so are lines in which one value is out of its range.
"""

import re
from collections.abc import Callable
from typing import Any

from overflowd_tools.reports import flows, patterns
from overflowd_tools.reports.report import FLOW_FIELDS, ROLES, SAMPLING_FIELDS, is_canonical_address

MOST = 32
"""How many forms are turned into patterns, which takes some 2 ms each, and at most as often in vain."""
LONGEST = 2048
"""Octets of a line from which a form is learned."""

_OF_MOST = {2**8 - 1: patterns.UINT8, 2**16 - 1: patterns.UINT16, 2**53 - 1: patterns.NATURAL}
_IPV4 = b'"(%s)"' % patterns.IPV4
_IPV6 = b'"(%s)"' % patterns.IPV6

_ENDS = {name.encode() for name in ROLES.values()}
_INTEGERS = {name.encode(): rb"(%s)" % _OF_MOST[most] for name, (_, most) in FLOW_FIELDS.items()} | {
    b"p_ppt": rb"([1-9][0-9]{0,11}+|1000000000000)",
    b"sampling_rate": rb"([1-9][0-9]{0,14}+)",
}
"""Integers that reports take over -> pattern of their values, which is a group."""
_is_source = re.compile(rb'"(?!%s")%s"' % (flows.AGGREGATED.encode(), flows.SOURCE.encode())).fullmatch

_NEVER_LEARNED = {b"type", b"why"}

_TEXT = rb'"[ !#-\[\]-~]*+"'
_NUMBER = rb"(?:0|[1-9][0-9]{0,18}+)"
_WORD = rb"(?:true|false|null)"
_MEMBER = rb',"([A-Za-z0-9_]++)":(%s|%s|%s)' % (_TEXT, _NUMBER, _WORD)
_members = re.compile(_MEMBER).findall
_is_flat = re.compile(rb'\{"type":"flow"(?:%s)*+\}' % _MEMBER).fullmatch

Reader = Callable[[bytes], flows.Facts | None]
"""What a report says of the flow of a line; None for a line that is not of one form."""

_READER = """
def read(line):
    match = fitting(line)
    if not match:
        return None
    {taken} = match.groups()
    if {is_wrong}:
        return None
    return TEXT % ({data}), (saddr, daddr), {stands_for}, {probability}, {rate}, b""
"""


class Forms:
    """Reads flow lines, and learns their forms from the lines themselves."""

    def __init__(self) -> None:
        self._readers: list[Reader] = []
        self._latest: Reader | None = None
        self._left = MOST

    def read(self, line: bytes) -> flows.Facts | None:
        """Return what a report says of the flow of a line, the same as flows.facts(); None if it must be parsed."""
        return (self._latest and self._latest(line)) or self._otherwise(line)

    def _otherwise(self, line: bytes) -> flows.Facts | None:
        """Read a line that is not of the latest form."""
        for read in self._readers:
            facts = read(line)
            if facts:
                self._latest = read
                return facts
        members = _learnable(line) if self._left else None
        if not members:
            return None
        self._left -= 1
        self._latest = _reader(members)
        self._readers.append(self._latest)
        return self._latest(line)


def _reader(members: dict[bytes, bytes]) -> Reader:
    """Generate the reader of lines that have these members in this order, and the same source."""
    pattern = b"".join(b',"%s":%s' % (name, _pattern(name, value)) for name, value in members.items())
    taken = [name.decode() for name in members if name in _ENDS or name in _INTEGERS]
    numbered = [name.decode() for name in _ENDS if b":" in members[name]]
    data = sorted(name for name in taken if name not in SAMPLING_FIELDS)
    text = ",".join(f'"{name}":"%s"' if name in ROLES.values() else f'"{name}":%s' for name in data)
    names: dict[str, Any] = {
        "fitting": re.compile(rb'\{"type":"flow"%s\}' % pattern).fullmatch,
        "TEXT": b'{"data":{%s}%s}' % (text.encode(), _sourcetype(members.get(b"source"))),
        "is_canonical": is_canonical_address,
        "stands_for": flows.stands_for,
    }
    packets, octets, rate, p_ppt = (
        f"int({name})" if name in taken else absent
        for name, absent in (("pcount", "0"), ("bcount", "0"), ("sampling_rate", "1"), ("p_ppt", str(flows.CERTAIN)))
    )
    sampled = not SAMPLING_FIELDS.keys().isdisjoint(taken)
    source = _READER.format(
        taken=", ".join(taken),
        is_wrong=" or ".join(f"not is_canonical({name})" for name in numbered) or "False",
        data=", ".join(data),
        stands_for=f"*stands_for({packets}, {octets}, {rate}, {p_ppt})" if sampled else f"{packets} or 1, {octets}",
        probability="""b',"p_ppt":' + p_ppt""" if "p_ppt" in taken else 'b""',
        rate="""b',"sampling_rate":' + sampling_rate""" if "sampling_rate" in taken else 'b""',
    )
    exec(source, names)  # noqa: S102 - made of our own field tables alone
    reader: Reader = names["read"]
    return reader


def _learnable(line: bytes) -> dict[bytes, bytes] | None:
    """Return the members of a flow line but its type, if its form can be learned."""
    if len(line) > LONGEST or not _is_flat(line):
        return None
    found = _members(line)
    members = dict(found)
    if len(members) < len(found) or not members.keys() >= _ENDS or not members.keys().isdisjoint(_NEVER_LEARNED):
        return None
    return members if b"source" not in members or _is_source(members[b"source"]) else None


def _pattern(name: bytes, value: bytes) -> bytes:
    """Return the pattern of the values that a member has in lines of the form."""
    if name in _INTEGERS:
        return _INTEGERS[name]
    if name in _ENDS:
        return _IPV6 if b":" in value else _IPV4
    if name == b"source":
        return re.escape(value)
    return _TEXT if value.startswith(b'"') else _NUMBER if value.isdigit() else _WORD


def _sourcetype(source: bytes | None) -> bytes:
    """Return the member sourcetype of flowdata in the canonical form, for the text of a member source."""
    if source is None:
        return b""
    named = flows.sourcetype({"source": source[1:-1].decode()})["sourcetype"]
    version = b',"version":%d' % named["version"] if "version" in named else b""
    return b',"sourcetype":{"type":"%s"%s}' % (named["type"].encode(), version)

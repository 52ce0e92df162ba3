"""Reports in the very form in which of-sign writes them, recognised without parsing.

One pattern stands for all that report.read() checks between the contact and the key of such a line: the canonical form,
the members and their order, the ranges. Contact and key are the same in all reports of a sender: what a line begins
and ends with is looked at once, and then compared. A line that does not fit may still be a report, in another spelling
or with more in it; that is for report.read() to say.
"""

import binascii
import re
from functools import lru_cache
from typing import NamedTuple

from overflowd_tools.errors import KeyFileError, RecordError
from overflowd_tools.reports import batch, canonical, patterns, report
from overflowd_tools.reports.report import UNKNOWN, Report, is_canonical_address
from overflowd_tools.trust.keys import SIGNATURE_SIZE, PublicKey

# "(?:..|)" takes half the time of "(?:..)?".
_ADDRESS = b"(?:%s|%s)" % (patterns.IPV4, patterns.IPV6)
_RULE = rb'"[!#-\[\]-~]{1,32}+"'
_MIDDLE = re.compile(
    rb'(?:"bcount":NATURAL,|)"daddr":"(?P<daddr>ADDRESS)"(?:,"dport":(UINT16)|)(?:,"end_ms":NATURAL|)'
    rb'(?:,"flags":UINT16|)(?:,"pcount":NATURAL|)(?:,"protocol":(UINT8)|),"saddr":"(?P<saddr>ADDRESS)"'
    rb'(?:,"sport":(UINT16)|)(?:,"start_ms":NATURAL|)(?:,"tos":UINT8|)\}'
    rb'(?:,"sourcetype":\{"type":"[A-Za-z_-]{1,32}+"(?:,"version":UINT16|)\}|)\}'
    rb',"metadata":\{"class":"INFORMATIONAL","epoch":(NATURAL),"expires_ms":(NATURAL),"info":"FLOWSEEN"'
    rb'(?:,"p_ppt":(?:[1-9][0-9]{0,11}|1000000000000)|),"role":"(?:dst|(?P<is_source>src))"'
    rb'(?:,"sampling_rate":[1-9][0-9]{0,14}+|),"seq":(NATURAL),"time_ms":(NATURAL)'
    rb',"to":"(?(is_source)(?P=saddr)|(?P=daddr))"'
    rb'(?:,"total":\{"octets":(NATURAL),"packets":(NATURAL),"reports":NATURAL\}|)(?:,"why":\[RULE(?:,RULE){0,15}\]|)\}'
    rb',"signature":\{(?P<batch>"batch":\{[^}]*+\},|)'.replace(b"ADDRESS", _ADDRESS)
    .replace(b"NATURAL", patterns.NATURAL)
    .replace(b"UINT16", patterns.UINT16)
    .replace(b"UINT8", patterns.UINT8)
    .replace(b"RULE", _RULE)
)
_fitting = _MIDDLE.fullmatch

_BEGINNING = re.compile(
    rb'\{"\$schema":"overflowd-report/2","contact":\{"email":"([^"\\]+)","identity":"([^"\\]+)"\},"flowdata":\{"data":\{'
)
_KEY = re.compile(rb'"key":"(RW[A-Za-z0-9+/]{54})","signature":"')
_BATCH = re.compile(rb'"batch":\{"count":([1-9][0-9]{0,3}),"index":(0|[1-9][0-9]{0,3}),"path":"([^"]*+)"\},')
_ENDS = tuple(b'%c=="}}' % last for last in b"AQgw")  # the base64 of 64 octets, whose last bits are 0, and the end
_SIGNATURE_AT = -88 - len(b'"}}')
_UNSIGNED_AT = _SIGNATURE_AT - len(b',"signature":"')
_KEY_AT = _UNSIGNED_AT - 56 - len(b'"key":""')
_SENDERS = 4096

_new = tuple.__new__  # what calling a class of NamedTuple comes to, in half the time


class _Sender(NamedTuple):
    """What is the same in all reports of one sender."""

    beginning: bytes
    """Of the line, up to where the flow begins."""
    key: PublicKey
    contact: str


_senders: dict[bytes, _Sender] = {}
"""By what stands in a line between the rest of it and the signature."""


def read(line: bytes) -> Report | None:
    """Return the report of a line in the form that of-sign writes, the same as report.read() would; else None."""
    sender = _senders.get(line[_KEY_AT:_SIGNATURE_AT])
    if not sender or not line.startswith(sender.beginning):
        sender = _meet(line)
        if not sender:
            return None
    match = _fitting(line, len(sender.beginning), len(line) + _KEY_AT)
    if not match or not line.endswith(_ENDS):
        return None
    groups = match.groups(UNKNOWN)
    daddr, dport, protocol, saddr, sport, epoch, expires, is_source, seq, time, octets, packets, member = groups
    if (b":" in saddr or b":" in daddr) and not (is_canonical_address(saddr) and is_canonical_address(daddr)):
        return None
    signed, proof = line[:_UNSIGNED_AT] + b"}}", None
    try:
        signature = binascii.a2b_base64(line[_SIGNATURE_AT:-3])
        if len(signature) != SIGNATURE_SIZE:  # it has characters that decoders skip
            return None
        if member:
            proof = _proof(member, signature)
            start, end = match.span("batch")
            signed, signature = signed[:start] + signed[end:], b""
    except (ValueError, RecordError):
        return None
    ends = (b"dst" if is_source == UNKNOWN else b"src", saddr, daddr, sport, dport, protocol)
    numbers = (epoch, seq, packets, octets) if octets != UNKNOWN else (epoch, seq, b"0", b"0")
    return _new(
        Report,
        (2, sender.key, signed, signature, int(time), int(expires), ends, line, proof, sender.contact, numbers),
    )


def _proof(member: bytes, signature: bytes) -> batch.Proof:
    """Return the proof of a report of a batch. Raises RecordError or ValueError."""
    fields = _BATCH.fullmatch(member)
    if not fields:
        raise RecordError("batch in another spelling")
    count, index, path = fields.groups()
    return batch.read({"count": int(count), "index": int(index), "path": path.decode()}, signature)


def _meet(line: bytes) -> _Sender | None:
    """Return the sender of what may be a report, and remember it."""
    beginning, key = _BEGINNING.match(line), _KEY.fullmatch(line[_KEY_AT:_SIGNATURE_AT])
    if not beginning or not key:
        return None
    try:
        sender = _Sender(beginning[0], PublicKey.parse(key[1].decode()), _contact(*beginning.groups()))
    except (KeyFileError, RecordError, UnicodeDecodeError):
        return None
    if len(_senders) >= _SENDERS:
        _senders.clear()
    _senders[key[0]] = sender
    return sender


@lru_cache(maxsize=4096)
def _contact(email: bytes, identity: bytes) -> str:
    contact = {"email": email.decode(), "identity": identity.decode()}
    report.check_contact(contact)
    for text in contact.values():
        canonical.encode_text(text)
    return report.written_contact(contact)

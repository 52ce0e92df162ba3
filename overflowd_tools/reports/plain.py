"""Reports in the very form in which of-sign writes them, recognised without parsing.

One pattern stands for all that report.read() checks of such a line: the canonical form, the members and their order,
the ranges. What it cannot tell, addresses, the contact and the key, is the same in many lines and is remembered. A line
that does not fit may still be a report, in another spelling or with more in it; that is for report.read() to say.
"""

import binascii
import re
from functools import lru_cache

from overflowd_tools.errors import KeyFileError, RecordError
from overflowd_tools.reports import batch, canonical, report
from overflowd_tools.reports.report import UNKNOWN, Report
from overflowd_tools.trust.keys import PublicKey

_UNSIGNED_OCTETS = len(b',"signature":"') + 88 + len(b'"}}')

_NATURAL = rb"(?:0|[1-9][0-9]{0,14})"  # below 2^53
_UINT16 = rb"(?:0|[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_UINT8 = rb"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_ADDRESS = rb"(?:UINT8\.UINT8\.UINT8\.UINT8|[0-9a-f]*:[0-9a-f.:]+)"
_RULE = rb'"[!#-\[\]-~]{1,32}"'
_PATTERN = re.compile(
    rb'\{"\$schema":"overflowd-report/2","contact":(?P<contact>\{"email":"[^"\\]+","identity":"[^"\\]+"\})'
    rb',"flowdata":\{"data":\{(?:"bcount":NATURAL,)?"daddr":"(?P<daddr>ADDRESS)"(?:,"dport":(?P<dport>UINT16))?'
    rb'(?:,"end_ms":NATURAL)?(?:,"flags":UINT16)?(?:,"pcount":NATURAL)?(?:,"protocol":(?P<protocol>UINT8))?'
    rb',"saddr":"(?P<saddr>ADDRESS)"(?:,"sport":(?P<sport>UINT16))?(?:,"start_ms":NATURAL)?(?:,"tos":UINT8)?\}'
    rb'(?:,"sourcetype":\{"type":"[A-Za-z_-]{1,32}"(?:,"version":UINT16)?\})?\}'
    rb',"metadata":\{"class":"INFORMATIONAL","epoch":NATURAL,"expires_ms":(?P<expires_ms>NATURAL),"info":"FLOWSEEN"'
    rb'(?:,"p_ppt":(?:[1-9][0-9]{0,11}|1000000000000))?,"role":"(?P<role>src|dst)"'
    rb'(?:,"sampling_rate":[1-9][0-9]{0,14})?,"seq":NATURAL,"time_ms":(?P<time_ms>NATURAL),"to":"(?P<to>ADDRESS)"'
    rb'(?:,"total":\{"octets":NATURAL,"packets":NATURAL,"reports":NATURAL\})?(?:,"why":\[RULE(?:,RULE){0,15}\])?\}'
    rb',"signature":\{(?P<batch>"batch":\{"count":[1-9][0-9]{0,3},"index":NATURAL,"path":"[A-Za-z0-9+/=]{44,428}"\},)?'
    rb'"key":"(?P<key>RW[A-Za-z0-9+/]{54})","signature":"(?P<signature>[A-Za-z0-9+/]{85}[AQgw]==)"\}\}'.replace(
        b"ADDRESS", _ADDRESS
    )
    .replace(b"NATURAL", _NATURAL)
    .replace(b"UINT16", _UINT16)
    .replace(b"UINT8", _UINT8)
    .replace(b"RULE", _RULE)
)
_fitting = _PATTERN.fullmatch


def read(line: bytes) -> Report | None:
    """Return the report of a line in the form that of-sign writes, the same as report.read() would; else None."""
    match = _fitting(line)
    if not match:
        return None
    contact, daddr, dport, protocol, saddr, sport, expires_ms, role, time_ms, to, member, key, signature = match.groups(
        UNKNOWN
    )
    if to != (saddr if role == b"src" else daddr):
        return None
    if not _is_contact(contact) or (b":" in saddr + daddr and not (_is_address(saddr) and _is_address(daddr))):
        return None
    try:
        signer = PublicKey.parse(key.decode())
    except KeyFileError:
        return None
    signed, octets, proof = line[:-_UNSIGNED_OCTETS] + b"}}", binascii.a2b_base64(signature), None
    if member != UNKNOWN:
        try:
            proof = batch.read(canonical.loads(b"{%s}" % member[:-1])["batch"], octets)
        except RecordError:
            return None
        start, end = match.span("batch")
        signed, octets = signed[:start] + signed[end:], b""
    return Report(
        2,
        signer,
        signed,
        octets,
        int(time_ms),
        int(expires_ms),
        to.decode(),
        b" ".join((role, saddr, daddr, sport, dport, protocol)),
        line,
        proof,
    )


@lru_cache(maxsize=4096)
def _is_contact(text: bytes) -> bool:
    try:
        report.check_contact(canonical.decode(text))
    except RecordError:
        return False
    return True


def _is_address(text: bytes) -> bool:
    try:
        return report.canonical_address(text.decode()) == text.decode()
    except OSError:
        return False

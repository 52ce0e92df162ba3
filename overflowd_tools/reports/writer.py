"""How reports are made from flow records: which of their fields go in, to whom, and under which number."""

from collections.abc import Iterable
from typing import Any

from overflowd_tools.errors import RecordError
from overflowd_tools.reports import canonical, flows
from overflowd_tools.reports.forms import Forms
from overflowd_tools.reports.report import CLASS, INFO, ROLES, SCHEMA, check_contact, with_signature
from overflowd_tools.reports.serials import Serials
from overflowd_tools.trust.keys import PublicKey

MAX_SIGNED = 1000
"""Most octets to be signed: with what the datagram form adds, at most 199, they stay within its 1200."""

_START = b'{"$schema":"%s","contact":' % SCHEMA.encode()
_METADATA = b',"flowdata":%%s,"metadata":{"class":"%s","epoch":%%d,"expires_ms":%%d,"info":"%s"%%s' % (
    CLASS.encode(),
    INFO.encode(),
)
_NUMBERS = b'%s,"seq":%d,"time_ms":%d'
_TOTAL = b',"total":{"octets":%d,"packets":%d,"reports":%d}'


class Contact:
    """Whom to talk to about a report. Raises RecordError for texts that no report may carry."""

    __slots__ = ("email", "identity", "text")

    def __init__(self, email: str, identity: str) -> None:
        self.email = email
        self.identity = identity
        self.text = b'{"email":%s,"identity":%s}' % (canonical.encode_text(email), canonical.encode_text(identity))
        """The canonical form of members()."""
        check_contact(self.members())

    def members(self) -> dict[str, Any]:
        """Return the contact as it stands in a report."""
        return {"email": self.email, "identity": self.identity}


class Writer:
    """Makes the bytes to be signed from flow records, one report for each recipient."""

    def __init__(
        self,
        key: PublicKey,
        contact: Contact,
        roles: Iterable[str],
        lifetime_ms: int,
        serials: Serials | None = None,
    ) -> None:
        """Take the key that will sign, and the ends of the flow that get a report.

        roles: of "src" and "dst"; without any, there is one report, addressed to nobody. serials: the numbers to
        go on with, by default new ones.
        """
        start = _START + contact.text.replace(b"%", b"%%") + _METADATA
        self._end = b'},"signature":{"key":"%s"}}' % key.text.encode()
        self._to_nobody = start + _NUMBERS + b"%s" + self._end
        self._to_ends = [
            (
                b'%s,"role":"%s"%s,"to":"%%s"%s%%s%s' % (start, role.encode(), _NUMBERS, _TOTAL, self._end),
                list(ROLES).index(role),
            )
            for role in roles
        ]
        self._lifetime_ms = lifetime_ms
        self._serials = serials or Serials()
        self._forms = Forms()

    def bodies_of(self, line: bytes, now_ms: int) -> list[bytes] | None:
        """Return the signed bytes of each report on the flow of a line, or None for a line of another type.

        Raises RecordError as bodies() does, and for a line that is no JSON object.
        """
        facts = self._forms.read(line)
        if facts:
            return self._bodies(facts, now_ms)
        flow = flows.parse(line)
        return None if flow is None else self.bodies(flow, now_ms)

    def bodies(self, flow: dict[str, Any], now_ms: int) -> list[bytes]:
        """Return the signed bytes of each report on this flow; complete() makes reports of them.

        flow: a flow record (overflowd-record(5)); what is absent there is absent in the report.
        Raises RecordError for a flow without addresses, and for values that a report cannot carry.
        """
        return self._bodies(flows.facts(flow), now_ms)

    def complete(self, body: bytes, signature: bytes) -> bytes:
        """Return the line of a report, without newline, from its signed bytes and the 64-octet signature."""
        return with_signature(body, signature)

    def _bodies(self, facts: flows.Facts, now_ms: int) -> list[bytes]:
        text, ends, packets, octets, probability, rate, why = facts
        expires_ms = now_ms + self._lifetime_ms
        if not self._to_ends:
            epoch, seq, *_ = self._serials.next(b"")
            body = self._to_nobody % (text, epoch, expires_ms, probability, rate, seq, now_ms, why)
            return [body if len(body) <= MAX_SIGNED else self._shortened(body, why)]
        bodies = []
        for frame, end in self._to_ends:
            to = ends[end]
            epoch, seq, packets_so_far, octets_so_far = self._serials.next(to, packets, octets)
            total = octets_so_far, packets_so_far, seq
            body = frame % (text, epoch, expires_ms, probability, rate, seq, now_ms, to, *total, why)
            bodies.append(body if len(body) <= MAX_SIGNED else self._shortened(body, why, _TOTAL % total))
        return bodies

    def _shortened(self, body: bytes, *optional: bytes) -> bytes:
        """Leave out the last members of the metadata, one by one, until there is room for what is left."""
        for member in optional:
            body = body[: -len(member + self._end)] + self._end
            if len(body) <= MAX_SIGNED:
                return body
        raise RecordError(f"the report would be longer than {MAX_SIGNED} octets")

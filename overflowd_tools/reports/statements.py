"""Statements about keys: announcement, rotation, revocation and evidence (overflowd-report(5)).

Each is a JSON object on one line. The signed bytes are its canonical form without `signatures`, an object that has one
signature for each member that it is named after: so both keys of a rotation sign the same bytes.
"""

from binascii import b2a_base64
from typing import Any, NamedTuple

from overflowd_tools.errors import KeyFileError, RecordError
from overflowd_tools.reports import canonical, report
from overflowd_tools.trust.keys import PublicKey, SecretKey

ANNOUNCEMENT, ROTATION, REVOCATION, EVIDENCE = (
    f"overflowd-{kind}/1" for kind in ("key", "rotation", "revocation", "evidence")
)

_TIME = (0, canonical.MAX_INTEGER)
_REASON_LENGTH = 256
_MEMBERS: dict[str, tuple[set[str], set[str]]] = {
    ANNOUNCEMENT: ({"key", "time_ms"}, {"contact", "expires_ms", "recovery"}),
    ROTATION: ({"new", "old", "time_ms", "until_ms"}, set()),
    REVOCATION: ({"key", "since_ms", "time_ms"}, {"reason", "recovery"}),
}
"""Schema -> the members that must be there, and those that may; "$schema" and signatures always are."""
_KEYS = ("key", "new", "old", "recovery")


class Statement(NamedTuple):
    """A statement whose layout is right, and whose signatures are good."""

    schema: str
    members: dict[str, Any]
    keys: dict[str, PublicKey]
    """Those of its members that are keys."""


class Evidence(NamedTuple):
    """Two genuine reports of one key with the same number that say different things."""

    key: PublicKey
    first: bytes
    second: bytes


def announcement(
    key: SecretKey,
    time_ms: int,
    contact: dict[str, Any] | None = None,
    expires_ms: int | None = None,
    recovery: PublicKey | None = None,
) -> bytes:
    """Return the line by which a key introduces itself. Raises RecordError for what no report may carry."""
    members: dict[str, Any] = {"key": key.public.text, "time_ms": time_ms}
    if contact:
        members["contact"] = contact
    if expires_ms is not None:
        members["expires_ms"] = expires_ms
    if recovery:
        members["recovery"] = recovery.text
    return _signed(ANNOUNCEMENT, members, {"key": key})


def rotation(old: SecretKey, new: SecretKey, time_ms: int, until_ms: int) -> bytes:
    """Return the line by which one key passes its place on to another; reports of the old one end at until_ms."""
    members = {"old": old.public.text, "new": new.public.text, "time_ms": time_ms, "until_ms": until_ms}
    return _signed(ROTATION, members, {"new": new, "old": old})


def revocation(key: PublicKey, signer: SecretKey, time_ms: int, since_ms: int, reason: str = "") -> bytes:
    """Return the line that makes void what a key signed from since_ms on; a recovery key signs it if not the key."""
    members = {"key": key.text, "time_ms": time_ms, "since_ms": since_ms}
    if reason:
        members["reason"] = reason
    if signer.public == key:
        return _signed(REVOCATION, members, {"key": signer})
    return _signed(REVOCATION, {**members, "recovery": signer.public.text}, {"recovery": signer})


def read(line: bytes) -> Statement | Evidence | None:
    """Return the statement of a line, or None for a line that is none.

    Raises RecordError for one that is not as it should be, and where a signature is bad.
    """
    members = canonical.loads(line)
    canonical.check_unique(line)
    schema = members.get("$schema")
    if schema == EVIDENCE:
        return _evidence(members)
    return _statement(schema, members) if type(schema) is str and schema in _MEMBERS else None


def check_time(statement: Statement, now_ms: int) -> None:
    """Refuse a statement from the future. Raises RecordError."""
    if statement.members["time_ms"] > now_ms + report.CLOCK_SKEW_MS:
        raise RecordError("from the future: its time is more than 120 seconds ahead")


def _signed(schema: str, members: dict[str, Any], signers: dict[str, SecretKey]) -> bytes:
    members = {"$schema": schema, **members}
    signed = canonical.encode(members)
    signatures = {name: b2a_base64(key.sign(signed), newline=False).decode() for name, key in signers.items()}
    line = canonical.encode({**members, "signatures": signatures})
    read(line)  # what this suite would refuse is not written
    return line


def _statement(schema: str, members: dict[str, Any]) -> Statement:
    required, optional = _MEMBERS[schema]
    names = members.keys() - {"$schema", "signatures"}
    if not required <= names <= required | optional:
        raise RecordError(f"{schema}: it has not the members that it should")
    times = [name for name in names if name.endswith("_ms")]
    if len(report.integers(members, dict.fromkeys(times, _TIME))) != len(times):
        raise RecordError(f"{schema}: one of its times is null")
    keys = {name: _key(members, name) for name in _KEYS if name in names}
    if len(set(keys.values())) != len(keys):
        raise RecordError(f"{schema}: two of its keys are the same")
    if "contact" in names:
        report.check_contact(report.member_object(members, "contact"))
    if type(members.get("reason", "")) is not str or len(members.get("reason", "")) > _REASON_LENGTH:
        raise RecordError(f"reason is not a text of at most {_REASON_LENGTH} characters")
    if schema == ROTATION and members["until_ms"] < members["time_ms"]:
        raise RecordError("until_ms is before time_ms")
    _verify(members, keys, _signers(schema, keys))
    return Statement(schema, members, keys)


def _signers(schema: str, keys: dict[str, PublicKey]) -> set[str]:
    if schema == ROTATION:
        return {"new", "old"}
    return {"recovery"} if schema == REVOCATION and "recovery" in keys else {"key"}


def _verify(members: dict[str, Any], keys: dict[str, PublicKey], signers: set[str]) -> None:
    signatures = report.member_object(members, "signatures")
    if signatures.keys() != signers:
        raise RecordError(f"signatures has not exactly the members {' and '.join(sorted(signers))}")
    signed = canonical.encode({name: value for name, value in members.items() if name != "signatures"})
    for name in sorted(signers):
        if not keys[name].verify(signed, report.from_base64(signatures[name])):
            raise RecordError(f"bad signature: {name}")


def _key(members: dict[str, Any], name: str) -> PublicKey:
    text = members[name]
    if type(text) is not str:
        raise RecordError(f"{name} is not a text")
    try:
        return PublicKey.parse(text)
    except KeyFileError as error:
        raise RecordError(f"{name}: {error}") from None


def _evidence(members: dict[str, Any]) -> Evidence:
    reports = members.get("reports")
    if members.keys() != {"$schema", "reports"} or type(reports) is not list or len(reports) != 2:
        raise RecordError(f"{EVIDENCE}: it has not the member reports with two of them")
    first, second = (_report(one) for one in reports)
    numbers = [
        (one.key, *(one.members["metadata"].get(name) for name in ("epoch", "seq", "to"))) for one in (first, second)
    ]
    if numbers[0] != numbers[1] or first.signed == second.signed:
        raise RecordError("these reports prove nothing: they have not one number, or they are the same")
    return Evidence(first.key, first.text, second.text)


def _report(members: Any) -> report.Report:
    if type(members) is not dict or members.get("$schema") != report.SCHEMA:
        raise RecordError("reports has something else than reports of version 2")
    found = report.read(canonical.encode(members))
    found.verify()
    return found

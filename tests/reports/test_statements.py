"""Statements about keys: what is signed by whom, and that nothing else is believed."""

import json
import shutil
import subprocess

import make_statements
import orjson
import pytest
from harness import DATA
from hypothesis import given
from hypothesis import strategies as st

from overflowd_tools.errors import RecordError
from overflowd_tools.reports import canonical, report, statements
from overflowd_tools.reports.statements import Evidence
from overflowd_tools.trust.keys import SecretKey

NOW = 1_795_219_200_000
KEY, OTHER, RECOVERY = (SecretKey.from_seed(bytes([number]) * 32) for number in range(3))
CONTACT = {"email": "noc@example.net", "identity": "Example Net"}
LINES = {
    "announcement": statements.announcement(KEY, NOW, CONTACT, NOW + 1, RECOVERY.public),
    "rotation": statements.rotation(KEY, OTHER, NOW, NOW + make_statements.OVERLAP_MS),
    "revocation": statements.revocation(KEY.public, KEY, NOW, NOW - 5, "stolen"),
    "recovery": statements.revocation(KEY.public, RECOVERY, NOW, 0),
}


def signed_report(seq=1, key=KEY, **more) -> dict:
    metadata = {"class": "INFORMATIONAL", "info": "FLOWSEEN", "time_ms": NOW, "expires_ms": NOW + 1, "epoch": 1}
    members = {
        "$schema": report.SCHEMA,
        "contact": CONTACT,
        "flowdata": {"data": {"saddr": "192.0.2.7", "daddr": "192.0.2.8"}},
        "metadata": {**metadata, "seq": seq, **more},
        "signature": {"key": key.public.text},
    }
    signed = canonical.encode(members)
    return json.loads(report.with_signature(signed, key.sign(signed)))


def evidence(*reports) -> bytes:
    return json.dumps({"$schema": statements.EVIDENCE, "reports": reports}).encode()


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_what_is_written_is_read(line):
    statement = statements.read(line)
    assert statement.schema.startswith("overflowd-")
    assert canonical.encode(statement.members) == line
    statements.check_time(statement, NOW - 120_000)
    with pytest.raises(RecordError, match="from the future"):
        statements.check_time(statement, NOW - 120_001)


def test_members():
    assert statements.read(LINES["announcement"]).keys == {"key": KEY.public, "recovery": RECOVERY.public}
    assert statements.read(LINES["rotation"]).members["until_ms"] == NOW + 30 * 86_400_000
    assert statements.read(LINES["revocation"]).members["reason"] == "stolen"
    assert statements.read(statements.announcement(KEY, NOW)).members.keys() == {
        *("$schema", "key", "signatures", "time_ms")
    }


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_other_spellings_are_the_same_statement(line):
    spaced = json.dumps(json.loads(line), indent=None, separators=(" , ", " : ")).encode()
    assert statements.read(spaced) == statements.read(line)


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_every_changed_member_is_noticed(line):
    members = json.loads(line)
    for name in members.keys() - {"$schema", "signatures"}:
        for value in (7, "x", OTHER.public.text, KEY.public.text, RECOVERY.public.text, CONTACT, None, NOW + 10**12):
            if value == members[name]:
                continue
            with pytest.raises(RecordError):
                statements.read(json.dumps({**members, name: value}).encode())
        with pytest.raises(RecordError):
            statements.read(json.dumps({key: value for key, value in members.items() if key != name}).encode())
    with pytest.raises(RecordError):
        statements.read(json.dumps({**members, "more": 1}).encode())


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_signatures_cannot_be_moved_or_left_out(line):
    members = json.loads(line)
    for signatures in ({}, {**members["signatures"], "more": "x"}, 7, dict.fromkeys(members["signatures"], "AAAA")):
        with pytest.raises(RecordError):
            statements.read(json.dumps({**members, "signatures": signatures}).encode())
    for name in members["signatures"]:
        other = json.loads(LINES["rotation" if line != LINES["rotation"] else "revocation"])["signatures"]
        changed = {**members["signatures"], name: next(iter(other.values()))}
        with pytest.raises(RecordError, match="bad signature"):
            statements.read(json.dumps({**members, "signatures": changed}).encode())


def test_a_statement_of_one_kind_is_none_of_another():
    """The schema is signed."""
    for line in LINES.values():
        for schema in (statements.ANNOUNCEMENT, statements.ROTATION, statements.REVOCATION, statements.EVIDENCE):
            members = json.loads(line)
            if members["$schema"] != schema:
                with pytest.raises(RecordError):
                    statements.read(json.dumps({**members, "$schema": schema}).encode())


def test_keys_must_differ_and_times_be_in_order():
    with pytest.raises(RecordError, match="two of its keys are the same"):
        statements.rotation(KEY, KEY, NOW, NOW + 1)
    with pytest.raises(RecordError, match="two of its keys are the same"):
        statements.announcement(KEY, NOW, recovery=KEY.public)
    with pytest.raises(RecordError, match="until_ms is before time_ms"):
        statements.rotation(KEY, OTHER, NOW, NOW - 1)


@pytest.mark.parametrize("reason", ["x" * 257, "a\nb", "\x7f"])
def test_reasons_are_short_texts(reason):
    with pytest.raises(RecordError):
        statements.revocation(KEY.public, KEY, NOW, 0, reason)


def test_contacts_are_those_of_reports():
    with pytest.raises(RecordError):
        statements.announcement(KEY, NOW, {"email": "x", "identity": "y"})


@pytest.mark.parametrize("line", [b"{}", b'{"$schema":7}', b'{"$schema":"overflowd-report/2"}', b'{"type":"flow"}'])
def test_other_lines_are_none(line):
    assert statements.read(line) is None


@pytest.mark.parametrize("line", [b"", b"[]", b"x", b"\xff", b'{"a":1,"a":2}', b"[" * 10_000])
def test_what_is_not_an_object_is_refused(line):
    with pytest.raises(RecordError):
        statements.read(line)


def test_a_key_twice_is_refused():
    line = LINES["revocation"].replace(b'"since_ms"', b'"since_ms":5,"since_ms"')
    with pytest.raises(RecordError, match="duplicate key"):
        statements.read(line)


def test_evidence_of_two_reports_with_one_number():
    first, second = signed_report(), signed_report(sampling_rate=5)
    found = statements.read(evidence(first, second))
    assert found == Evidence(KEY.public, canonical.encode(first), canonical.encode(second))


@pytest.mark.parametrize(
    "reports",
    [
        (signed_report(), signed_report()),
        (signed_report(), signed_report(seq=2)),
        (signed_report(), signed_report(epoch=2)),
        (signed_report(), signed_report(to="192.0.2.7", role="src")),
        (signed_report(), signed_report(key=OTHER, sampling_rate=5)),
        (signed_report(), {**signed_report(), "contact": {"email": "a@b", "identity": "x"}}),
        (signed_report(),),
        (signed_report(), 7),
        (signed_report(), {"$schema": "overflowd-report/1"}),
        (signed_report(), {**signed_report(), "more": None}),
    ],
    ids=range(10),
)
def test_what_proves_nothing(reports):
    with pytest.raises(RecordError):
        statements.read(evidence(*reports))


def test_evidence_has_no_more_members():
    with pytest.raises(RecordError):
        statements.read(json.dumps({"$schema": statements.EVIDENCE, "reports": 7}).encode())
    with pytest.raises(RecordError):
        statements.read(json.dumps({"$schema": statements.EVIDENCE, "reports": [], "key": "x"}).encode())


@given(st.sampled_from(sorted(LINES)), st.data())
def test_any_changed_octet_is_noticed(name, data):
    line = bytearray(LINES[name])
    place = data.draw(st.integers(0, len(line) - 1))
    line[place] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = statements.read(bytes(line))
    except RecordError:
        return
    assert found is None or found == statements.read(LINES[name])


@pytest.mark.skipif(not shutil.which("jq"), reason="jq is not installed")
def test_jq_makes_the_signed_bytes():
    done = subprocess.run(["jq", "-jcS", "del(.signatures)"], input=LINES["rotation"], capture_output=True, check=True)
    for name, key in (("old", KEY), ("new", OTHER)):
        signature = report.from_base64(orjson.loads(LINES["rotation"])["signatures"][name])
        assert key.public.verify(done.stdout, signature)


def test_the_vectors(tmp_path):
    make_statements.make(tmp_path)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert {name: (DATA / "vectors" / name).read_bytes() for name in made} == made
    for name, line in made.items():
        if name.endswith(".statement"):
            assert statements.read(line.rstrip(b"\n")) is not None
    assert len(made) == 7

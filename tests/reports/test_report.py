"""Reports of version 2: what is genuine, and everything that is not; the test vectors; stock tools as judges."""

import base64
import copy
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import make_vectors
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overflowd_tools.errors import RecordError
from overflowd_tools.reports import canonical, envelope, report
from overflowd_tools.trust.keys import PublicKey, SecretKey

KEY = SecretKey.from_seed(make_vectors.SEED)
OTHER = SecretKey.from_seed(bytes(32))
VECTORS = make_vectors.VECTORS
TOP = Path(__file__).resolve().parents[2]
PAGE = TOP / "man" / "overflowd-report.5"
NOW = make_vectors.TIME_MS
NAMES = sorted(make_vectors.REPORTS)
NEEDS_JQ = pytest.mark.skipif(not shutil.which("jq"), reason="jq is not installed")


def line_of(name="every-field"):
    return (VECTORS / f"{name}.report").read_bytes().rstrip(b"\n")


def members_of(name="every-field"):
    return json.loads(line_of(name))


def judge(line, accepted=(), now=NOW):
    """Do all that of-verify does to a line of version 2; return the reason why it is refused, or None."""
    try:
        read = report.read(line)
        read.verify(accepted)
        read.check_time(now)
    except RecordError as error:
        return str(error)
    return None


# --- the vectors


def test_the_vectors_are_what_their_program_makes(tmp_path):
    make_vectors.make(tmp_path)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert made == {name: (VECTORS / name).read_bytes() for name in made}
    assert len(made) == 3 * len(NAMES) + 2 + 4


@pytest.mark.parametrize("name", NAMES)
def test_vectors_are_genuine_in_every_form(name):
    line = line_of(name)
    read = report.read(line)
    assert judge(line) is None
    assert read.text == line
    assert read.signed == report.signable(members_of(name)) == (VECTORS / f"{name}.signed").read_bytes()
    assert (read.version, read.members, read.key) == (2, members_of(name), KEY.public)
    assert (read.time_ms, read.expires_ms) == (NOW, NOW + 3_600_000)
    datagram = (VECTORS / f"{name}.datagram").read_bytes()
    assert len(datagram) <= envelope.MAX_DATAGRAM
    claim, _, signature, signed = envelope.unpack(datagram)
    assert claim == KEY.public.text
    assert report.from_signed(signed, signature) == read


@pytest.mark.parametrize("row", (VECTORS / "refused.tsv").read_text().splitlines(), ids=lambda row: row.split("\t")[0])
def test_vectors_that_are_refused(row):
    reason, line = row.split("\t")
    assert judge(line.encode()) == reason


# --- one report, changed


def test_no_flipped_bit_is_accepted():
    """All of them, one at a time: none gives another genuine report."""
    line = line_of()
    for at in range(len(line)):
        for bit in range(8):
            changed = bytearray(line)
            changed[at] ^= 1 << bit
            assert judge(bytes(changed)) is not None, (at, bit)


def test_no_flipped_bit_of_a_datagram_is_accepted():
    signed, signature = (VECTORS / "every-field.signed").read_bytes(), report.read(line_of()).signature
    for at in range(len(signed) + 64):
        for bit in range(8):
            changed = bytearray(signed + signature)
            changed[at] ^= 1 << bit
            with pytest.raises(RecordError):
                report.from_signed(bytes(changed[:-64]), bytes(changed[-64:])).verify()


def test_no_cut_or_doubled_octet_is_accepted():
    line = line_of()
    for at in range(len(line)):
        assert judge(line[:at]) is not None
        assert judge(line[:at] + line[at + 1 :]) is not None
        assert judge(line[: at + 1] + line[at:]) is not None


def leaves(value, path=()):
    if isinstance(value, dict):
        for key, member in value.items():
            yield from leaves(member, (*path, key))
    else:
        yield path, value


@pytest.mark.parametrize("path", [path for path, _ in leaves(members_of())], ids=".".join)
def test_every_member_is_signed(path):
    members = members_of()
    part = members
    for name in path[:-1]:
        part = part[name]
    last = path[-1]
    for value in (0, 1, 2, 65535, "", "x", "192.0.2.7", "198.51.100.1", [], ["frag"], {}, None, True):
        part[last] = value
        if members != members_of():
            assert judge(json.dumps(members).encode()) is not None
    del part[last]
    assert judge(json.dumps(members).encode()) is not None


def test_a_moved_recipient():
    members = members_of()
    members["metadata"].update(to="192.0.2.7", role="src")
    assert judge(json.dumps(members).encode()) == "bad signature"
    members["metadata"].update(to="203.0.113.1")
    assert judge(json.dumps(members).encode()) == "not a report: to is not an endpoint of the flow"
    del members["metadata"]["to"], members["metadata"]["role"]
    assert judge(json.dumps(members).encode()) == "bad signature"


def test_a_swapped_key():
    """Neither may the name of the key change, nor can the signature be replaced without it."""
    members = members_of()
    members["signature"]["key"] = OTHER.public.text
    assert judge(json.dumps(members).encode()) == "bad signature"
    members = members_of()
    signature = OTHER.sign(report.signable(members))
    members["signature"]["signature"] = base64.b64encode(signature).decode()
    assert judge(json.dumps(members).encode()) == "bad signature"


def test_the_same_key_under_another_number_is_another_text():
    members = members_of()
    members["signature"]["key"] = PublicKey(KEY.public.raw, b"numbered").text
    assert judge(json.dumps(members).encode()) == "bad signature"


def test_a_swapped_signature():
    members = members_of()
    members["signature"]["signature"] = members_of("unicode")["signature"]["signature"]
    assert judge(json.dumps(members).encode()) == "bad signature"


def test_the_signature_of_version_1_is_none_here():
    """A text that was signed in the old way, or for another purpose, does not begin as a report does."""
    members = members_of()
    text = json.dumps({name: members[name] for name in ("flowdata", "metadata")}).encode()
    members["signature"]["signature"] = base64.b64encode(KEY.sign(text)).decode()
    assert judge(json.dumps(members).encode()) == "bad signature"


@pytest.mark.parametrize("end", ["A", "g", "w", "=", "\\n", " "])
def test_one_signature_has_one_text(end):
    """Base64 leaves bits at the end that decoders ignore, and they skip characters that are none of theirs."""
    members = members_of()
    text = members["signature"]["signature"]
    for other in (text[:-3] + end + "==", text + end, text[:-2], end + text, text.replace("=", "")):
        members["signature"]["signature"] = other
        if other != text:
            assert judge(json.dumps(members).encode()) is not None


# --- other spellings


@NEEDS_JQ
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "program",
    [
        ["-c", "."],
        ["-cS", "."],
        ["-ca", "."],
        ["-c", "to_entries | reverse | from_entries"],
        ["-c", ".metadata |= (to_entries | reverse | from_entries)"],
    ],
    ids=" ".join,
)
def test_jq_in_the_middle_is_harmless(name, program):
    done = subprocess.run(["jq", *program], input=line_of(name), capture_output=True, check=True)
    assert judge(done.stdout.rstrip(b"\n")) is None
    assert report.read(done.stdout).text == line_of(name)


@pytest.mark.parametrize("name", NAMES)
def test_other_spellings_are_read_and_become_canonical(name):
    members = members_of(name)
    backwards = dict(reversed(members.items()))
    for text in (json.dumps(members), json.dumps(backwards, indent=2), json.dumps(members, ensure_ascii=False)):
        assert judge(text.encode()) is None
        assert report.read(text.encode()).text == line_of(name)


def test_a_forged_verified_is_left_out():
    for verified in ('{"key":"RW"}', "true", "null", "1.5", "[[[[[[[]]]]]]]"):
        line = line_of()[:-1] + b',"verified":' + verified.encode() + b"}"
        read = report.read(line)
        read.verify()
        assert "verified" not in read.members
        assert read.text == line_of()


def test_verified_stands_outside_the_signature():
    read = report.read(line_of())
    text = read.with_verified(NOW)
    verified = json.loads(text)["verified"]
    assert verified == {"format": 2, "key": KEY.public.text, "time_ms": NOW}
    assert canonical.encode(json.loads(text)) == text
    again = report.read(text)
    again.verify()
    assert again.text == line_of()


def test_a_duplicate_key_is_seen_in_any_spelling():
    line = line_of().replace(b'"role"', b'"role":"dst", "role"')
    assert judge(line) == "not canonical: duplicate key"
    line = b'{"verified":{},"verified":{},' + line_of()[1:]
    assert judge(line) == "not canonical: duplicate key"


# --- keys and times


def test_only_accepted_keys():
    assert judge(line_of(), {KEY.public}) is None
    assert judge(line_of(), {OTHER.public, PublicKey(KEY.public.raw, b"numbered")}) is None
    assert judge(line_of(), {OTHER.public}) == f"wrong key: {KEY.public.text}"


def test_the_time_window():
    assert judge(line_of(), now=NOW - 120_000) is None
    assert judge(line_of(), now=NOW - 120_001) == "from the future: its time is more than 120 seconds ahead"
    assert judge(line_of(), now=NOW + 3_600_000) is None
    assert judge(line_of(), now=NOW + 3_600_001) == "expired"
    report.read(line_of()).check_time(NOW + 10**12, ignore_expiry=True)
    with pytest.raises(RecordError, match="future"):
        report.read(line_of()).check_time(0, ignore_expiry=True)


# --- the layout

WRONG = [
    (("contact",), [None, "x", [], {}]),
    (("contact", "email"), [None, 1, "", "a", "@", "a@", "@b", "a" * 60 + "@bcde", "ä" * 31 + "@bc"]),
    (("contact", "identity"), [None, 1, "", "i" * 65, "ä" * 33]),
    (("flowdata",), [None, "x", [], {}]),
    (("flowdata", "data"), [None, "x", [], {}]),
    (("flowdata", "data", "saddr"), [None, 1, "", "1.2.3", "192.0.2.07", "a.b", "1.2.3.4 ", "\0", "::1%lo", ["::1"]]),
    (("flowdata", "data", "daddr"), ["2001:DB8::1", "2001:db8:0::1", "::ffff:102:304", "198.51.100.1\n", "ä"]),
    (("flowdata", "data", "sport"), [-1, 65536, 1.0, "53", True, [], {}]),
    (("flowdata", "data", "pcount"), [-1, 2**53, 2**64, "1"]),
    (("flowdata", "data", "start_ms"), [-(2**53), 2**53, "now"]),
    (("flowdata", "data", "protocol"), [256]),
    (("flowdata", "data", "tos"), [256]),
    (("flowdata", "data", "flags"), [65536]),
    (("flowdata", "sourcetype"), [None, "x", [], {}]),
    (("flowdata", "sourcetype", "type"), [None, 5, "", "t" * 33]),
    (("flowdata", "sourcetype", "version"), [-1, 65536, "5"]),
    (("metadata",), [None, "x", [], {}]),
    (("metadata", "class"), [None, "ALARM", 1]),
    (("metadata", "info"), [None, "flowseen", []]),
    (("metadata", "time_ms"), [None, -1, 1.5, "now", 2**53]),
    (("metadata", "expires_ms"), [None, -1, True]),
    (("metadata", "epoch"), [None, -1]),
    (("metadata", "seq"), [None, -1]),
    (("metadata", "p_ppt"), [0, 10**12 + 1, 0.5]),
    (("metadata", "sampling_rate"), [0, 1.5]),
    (("metadata", "why"), [None, "frag", {}, [1], [""], ["ö"], ["a b"], ["r" * 33], ["x"] * 17, [["frag"]]]),
    (("metadata", "to"), [None, "", 1, [], {}, "203.0.113.1", "192.0.2.7"]),
    (("metadata", "role"), [None, "", "src", "both", 1, [], {}]),
    (("signature",), [None, "x", [], {}, {"key": "x"}]),
    (("signature", "key"), [None, 1, "", "RW", "x" * 56, "RWQ" + "A" * 53, []]),
    (("signature", "signature"), [None, 1, "", "AAAA", "A" * 88, "A" * 87 + "=", "ä" * 88, "A" * 84 + "====", []]),
    (("$schema",), [None, 2, "overflowd-report/1", "overflowd-report/2 "]),
]


@pytest.mark.parametrize(
    ("path", "values"), WRONG, ids=lambda value: ".".join(value) if isinstance(value, tuple) else ""
)
def test_wrong_members(path, values):
    for value in values:
        members = members_of()
        part = members
        for name in path[:-1]:
            part = part[name]
        part[path[-1]] = value
        reason = judge(json.dumps(members).encode())
        assert reason.startswith(("not a report: ", "not canonical: ")), (value, reason)


@pytest.mark.parametrize("path", [("note",), ("type",), ("signature", "note")], ids=".".join)
def test_unknown_members_where_none_may_be(path):
    members = members_of()
    part = members
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = "x"
    with pytest.raises(RecordError, match="not a report"):
        report.check(members)


@pytest.mark.parametrize("path", [("contact",), ("flowdata",), ("flowdata", "data"), ("metadata",)], ids=".".join)
def test_unknown_members_are_for_later_writers(path):
    members = members_of()
    part = members
    for name in path:
        part = part[name]
    part["later"] = {"list": ["x", 1]}
    report.check(members)
    members["signature"]["signature"] = base64.b64encode(KEY.sign(report.signable(members))).decode()
    assert judge(json.dumps(members).encode()) is None


def test_a_signed_part_with_more_than_its_key_is_refused():
    signed = (VECTORS / "every-field.signed").read_bytes()
    members = json.loads(signed)
    for signature in ("x", {}, {"key": KEY.public.text, "signature": "x"}, {"signature": "x"}):
        members["signature"] = signature
        with pytest.raises(RecordError, match="its signature has not the member key alone"):
            report.from_signed(canonical.encode(members), bytes(64))
    with pytest.raises(RecordError, match="not canonical"):
        report.from_signed(signed + b"\n", bytes(64))
    for size in (0, 63, 65):
        with pytest.raises(RecordError, match=r"not a report: signature.signature"):
            report.from_signed(signed, bytes(size))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)


@given(
    st.lists(st.sampled_from([path for path, _ in leaves(members_of())]), min_size=1, max_size=3), JSON, st.integers(0)
)
def test_no_value_anywhere_is_accepted_or_crashes(paths, value, depth):
    members = copy.deepcopy(members_of())
    for path in paths:
        cut = path[: 1 + depth % len(path)]
        part = members
        for name in cut[:-1]:
            part = part.get(name) if isinstance(part, dict) else None
        if isinstance(part, dict):
            part[cut[-1]] = value
    try:
        text = json.dumps(members).encode()
    except UnicodeEncodeError:
        return
    if text == json.dumps(members_of()).encode():
        assert judge(text) is None
    else:
        assert judge(text) is not None


# --- stock tools


def run(arguments, **more):
    return subprocess.run(arguments, capture_output=True, check=False, timeout=60, **more)


@pytest.fixture(params=NAMES)
def files(request, tmp_path):
    """The signed bytes and the signature of a vector, as files that stock tools read."""
    read = report.read(line_of(request.param))
    (tmp_path / "message").write_bytes(read.signed)
    (tmp_path / "changed").write_bytes(read.signed.replace(b'"class"', b'"clasS"'))
    (tmp_path / "signature").write_bytes(read.signature)
    der = bytes.fromhex("302a300506032b6570032100") + read.key.raw  # RFC 8410 section 4
    (tmp_path / "key.der").write_bytes(der)
    return tmp_path


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
def test_openssl_agrees(files):
    verify = ["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", files / "key.der", "-rawin"]
    good = run([*verify, "-in", files / "message", "-sigfile", files / "signature"])
    if b"unknown option" in good.stderr.lower():
        pytest.skip("an openssl without -rawin")
    assert (good.returncode, good.stdout) == (0, b"Signature Verified Successfully\n")
    assert run([*verify, "-in", files / "changed", "-sigfile", files / "signature"]).returncode != 0


SIGNIFY = shutil.which("signify-openbsd") or shutil.which("signify")


@pytest.mark.skipif(not SIGNIFY, reason="signify is not installed")
@pytest.mark.parametrize("name", NAMES)
def test_signify_checks_a_datagram(name, tmp_path):
    verify = [SIGNIFY, "-V", "-q", "-e", "-p", VECTORS / "reporter.pub", "-x", "-", "-m", "-"]
    datagram = (VECTORS / f"{name}.datagram").read_bytes()
    done = run(verify, input=datagram)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == (VECTORS / f"{name}.signed").read_bytes()
    assert run(verify, input=datagram.replace(b'"class"', b'"clasS"')).returncode != 0


def test_the_manual_page_shows_the_vectors():
    """The worked example of overflowd-report(5) breaks its lines for the reader; joined again, they are exact."""
    text = PAGE.read_text().replace("\n", "").replace("\\-", "-")
    assert (VECTORS / "every-field.signed").read_text() in text
    read = report.read(line_of())
    assert base64.b64encode(read.signature).decode() in text
    assert KEY.public.text in text
    assert KEY.public.raw.hex() in text
    assert make_vectors.SEED.hex() in text


@pytest.mark.skipif(
    not all(map(shutil.which, ["jq", "openssl", "base64", "signify-openbsd"])), reason="not all the tools are installed"
)
def test_the_commands_of_the_manual_page(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{TOP / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("OF_PYTHON", sys.executable)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    blocks = re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed$", PAGE.read_text(), flags=re.DOTALL | re.MULTILINE)
    steps = [step.split("\n", 1) for block in blocks for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]
    assert len(steps) == 22
    for command, output in steps:
        done = run(["sh", "-c", command], cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, b""), command
        assert output == "" or done.stdout.decode() == output, command

"""of-verify as people run it: what passes, what does not and why, whose keys count."""

import base64
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from overflowd_tools.reports import report, writer
from overflowd_tools.trust.keys import SecretKey

TOP = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "overflowd_tools.commands.verify"]
VECTORS = TOP / "tests" / "data" / "vectors"
KEY = SecretKey.from_seed(bytes(range(32)))
OTHER = SecretKey.from_seed(bytes(32))
FLOW = {"type": "flow", "source": "netflow5", "saddr": "192.0.2.7", "daddr": "198.51.100.1", "pcount": 1}
README = (VECTORS / "overflowd-2016.txt").read_bytes().splitlines()
README_KEY = "d52b9644ba6ffd2bdaa6505e649fd80ca80fad72baf2f46f5c83ab8a2a354df3"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(TOP))
    monkeypatch.delenv("OF_DEBUG", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def now_ms():
    return time.time_ns() // 1_000_000


def lines(*flows, key=KEY, time_ms=None, lifetime_ms=3_600_000):
    made = writer.Writer(key.public, writer.Contact("noc@example.net", "Example Net"), ["dst"], lifetime_ms)
    bodies = [body for flow in flows or [FLOW] for body in made.bodies(flow, time_ms or now_ms())]
    return [made.complete(body, key.sign(body)) for body in bodies]


def of_verify(*argv, lines=()):
    data = b"".join(line + b"\n" for line in lines)
    return subprocess.run([*COMMAND, *argv], input=data, capture_output=True, timeout=60, check=False)


def passed(done):
    assert (done.returncode, done.stderr) == (0, b"")
    return [json.loads(line) for line in done.stdout.splitlines()]


def reasons(done):
    """Return the reasons for which all the lines were refused."""
    assert (done.returncode, done.stdout) == (1, b"")
    prefix = "of-verify: -: line "
    said = done.stderr.decode().splitlines()
    assert all(line.startswith(prefix) for line in said)
    return [line[len(prefix) :].split(": ", 1)[1] for line in said]


def test_genuine_reports_pass_with_a_note(folder):
    (line,) = lines()
    done = of_verify(lines=[line])
    (members,) = passed(done)
    verified = members.pop("verified")
    assert json.dumps(members, separators=(",", ":")).encode() == line
    assert done.stdout.startswith(line[:-1] + b',"verified":')
    assert verified["format"] == 2
    assert verified["key"] == KEY.public.text
    assert now_ms() - 60_000 < verified["time_ms"] <= now_ms()


def test_what_was_verified_can_be_verified_again():
    done = of_verify(lines=lines(FLOW, FLOW, FLOW))
    assert len(passed(of_verify(lines=done.stdout.splitlines()))) == 3


def test_a_forged_note_is_never_believed():
    (line,) = lines()
    forged = line[:-1] + b',"verified":{"format":2,"key":"%s","time_ms":1}}' % OTHER.public.text.encode()
    (members,) = passed(of_verify(lines=[forged]))
    assert members["verified"]["key"] == KEY.public.text
    assert members["verified"]["time_ms"] > 1
    assert reasons(of_verify(lines=[forged.replace(b'"pcount":1', b'"pcount":2')])) == ["bad signature"]


def test_the_text_that_passes_is_our_own():
    (line,) = lines()
    members = json.loads(line)
    members["contact"] = dict(reversed(members["contact"].items()))
    spaced = json.dumps(dict(reversed(members.items())), indent=None).encode()
    assert spaced != line
    assert of_verify(lines=[b"  " + spaced + b"\r"]).stdout.startswith(line[:-1])


def test_the_readme_of_2016():
    members = passed(of_verify(lines=README))
    assert [one["verified"]["format"] for one in members] == [1, 1, 1, 1]
    assert {base64.b64decode(one["verified"]["key"])[10:].hex() for one in members} == {README_KEY}
    again = passed(
        of_verify("--key", members[0]["verified"]["key"], lines=[json.dumps(one).encode() for one in members])
    )
    assert len(again) == 4
    changed = [line.replace(b"'tos': 0", b"'tos': 1") for line in README]
    assert reasons(of_verify(lines=changed)) == ["the signed text says something else than the rest of the report"] * 4


def test_the_vectors():
    reports = sorted(VECTORS.glob("*.report"))
    done = of_verify("--ignore-expiry", "--key", VECTORS / "reporter.pub", *reports)
    assert len(passed(done)) == len(reports) >= 4
    rows = [row.split("\t") for row in (VECTORS / "refused.tsv").read_text().splitlines()]
    done = of_verify("--ignore-expiry", lines=[line.encode() for _, line in rows])
    assert reasons(done) == [reason for reason, _ in rows]


def test_times():
    late = lines(time_ms=now_ms() - 7_200_000)
    early = lines(time_ms=now_ms() + 180_000)
    soon = lines(time_ms=now_ms() + 60_000)
    future = "from the future: its time is more than 120 seconds ahead"
    assert reasons(of_verify(lines=late + early)) == ["expired", future]
    assert len(passed(of_verify(lines=soon))) == 1
    assert len(passed(of_verify("--ignore-expiry", lines=late))) == 1
    assert reasons(of_verify("--ignore-expiry", lines=early)) == [future]


def test_a_forged_report_is_called_forged_not_late():
    (line,) = lines()
    members = json.loads(line)
    members["metadata"]["expires_ms"] = 1
    assert reasons(of_verify(lines=[json.dumps(members).encode()])) == ["bad signature"]


def test_keys(folder):
    (line,), (other,) = lines(), lines(key=OTHER)
    (folder / "keys").write_text(f"# two\n{KEY.public.text}\n{OTHER.public.text}\n")
    (folder / "one.pub").write_text(f"untrusted comment: x\n{OTHER.public.text}\n")
    both = [line, other]
    assert len(passed(of_verify("--key", "keys", lines=both))) == 2
    assert len(passed(of_verify("--key", KEY.public.text, "--key", "one.pub", lines=both))) == 2
    done = of_verify("--key", "one.pub", lines=both)
    assert done.returncode == 1
    assert done.stderr.decode() == f"of-verify: -: line 1: wrong key: {KEY.public.text}\n"
    assert report.read(done.stdout).key == OTHER.public


@pytest.mark.parametrize("value", ["", "missing", "RW" + "A" * 54, "RWQ", README_KEY])
def test_wrong_keys(value):
    done = of_verify("--key", value, lines=lines())
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"of-verify: ")
    assert done.stderr.count(b"\n") == 1


def test_other_lines_go_through_as_they_are():
    other = [b'{"type":"flow", "pcount": 1.50}', b'{"type":"option"}', b'{"$schema":"overflowd-sealed/1"}']
    done = of_verify(lines=[*other, *lines(), *other])
    assert (done.returncode, done.stderr) == (0, b"")
    out = done.stdout.splitlines()
    assert out[:3] == out[4:] == other
    assert b'"verified"' in out[3]


BAD = {
    b"x": "not a report: not JSON: unexpected character, expected a JSON value at character 1",
    b"{}": "not a report",
    b'{"saddr":"::1"}': "not a report",
    b'{"type":"flow","verified":{}}': "not a report",
    b'{"$schema":"overflowd-report/3"}': 'not a report: "$schema" is not "overflowd-report/2"',
    b"{'a': 1}": "not a report",
    b"{'a': '\\x41'}": "not a report: Python text with an escape in it",
    b'{"flowdata":1,"metadata":1,"signature":1}': "not a report: signature is not an object",
}


def test_bad_lines():
    done = of_verify(lines=list(BAD))
    assert reasons(done) == list(BAD.values())
    (line,) = lines()
    done = of_verify(lines=[line, *BAD, line])
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 2


def test_the_reason_is_told_ten_times_of_a_kind():
    bad = [line.replace(b'"pcount":1', b'"pcount":2') for line in lines(*[FLOW] * 12)]
    done = of_verify("--stats", lines=[*bad, *lines(), *[b"x"] * 3])
    said = done.stderr.decode().splitlines()
    assert [line.split(": ", 3)[3] for line in said[:10]] == ["bad signature"] * 10
    assert said[13] == "of-verify: 2 more not shown: bad signature"
    assert json.loads(said[14]) == {"command": "of-verify", "verified": 1, "other_lines": 0, "rejected": 15}
    assert done.returncode == 1


def test_strict_and_quiet():
    bad = [b"x", *lines()]
    assert of_verify("--strict", lines=bad).stdout == b""
    done = of_verify("-q", lines=bad)
    assert (done.returncode, done.stderr) == (1, b"")
    assert len(done.stdout.splitlines()) == 1

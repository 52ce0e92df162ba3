"""of-sign as people run it: keys and contacts from options and settings, other lines, bad lines, pipes that end."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from overflowd_tools.reports import original, report
from overflowd_tools.trust import keyfiles
from overflowd_tools.trust.keys import SecretKey

TOP = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "overflowd_tools.commands.sign"]
KEY = SecretKey.from_seed(bytes(range(32)))
CONTACT = ["--email", "noc@example.net", "--identity", "Example Net"]
FLOW = (
    b'{"type":"flow","pcount":17001,"source":"netflow5","saddr":"192.0.2.7","daddr":"198.51.100.1","sport":53,"tos":0}'
)


@pytest.fixture
def empty_home(tmp_path, monkeypatch):
    for name in ("XDG_CONFIG_HOME", "CREDENTIALS_DIRECTORY", "OF_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(TOP))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def home(empty_home):
    folder = empty_home / ".config" / "overflowd"
    keyfiles.write_secret_key(folder / "key", KEY, None)
    (folder / "config.toml").write_text('[contact]\nemail = "noc@example.net"\nidentity = "Example Net"\n')
    return empty_home


def of_sign(*argv, lines=(FLOW,), **more):
    data = b"".join(line + b"\n" for line in lines)
    return subprocess.run([*COMMAND, *argv], input=data, capture_output=True, timeout=60, check=False, **more)


def reports(done):
    assert (done.returncode, done.stderr) == (0, b"")
    now = time.time_ns() // 1_000_000
    read = [report.read(line) for line in done.stdout.splitlines()]
    for one in read:
        one.verify([KEY.public])
        one.check_time(now)
        assert now - 60_000 < one.time_ms <= now
    return read


def complaint(done):
    assert (done.returncode, done.stdout) == (2, b"")
    text = done.stderr.decode()
    assert text.startswith("of-sign: ")
    assert text.count("\n") == 1
    return text[len("of-sign: ") : -1]


# --- what is made


def test_one_report_for_each_end_by_default(home):
    source, destination = reports(of_sign())
    assert [one.members["metadata"]["to"] for one in (source, destination)] == ["192.0.2.7", "198.51.100.1"]
    assert source.members["contact"] == {"email": "noc@example.net", "identity": "Example Net"}
    assert source.expires_ms - source.time_ms == 3_600_000
    assert source.text + b"\n" + destination.text + b"\n" == of_sign_text([source, destination])


def of_sign_text(read):
    return b"".join(one.text + b"\n" for one in read)


@pytest.mark.parametrize(
    ("end", "to"), [("both", ["src", "dst"]), ("src", ["src"]), ("dst", ["dst"]), ("none", [None])]
)
def test_ends(home, end, to):
    assert [one.members["metadata"].get("role") for one in reports(of_sign("--to", end))] == to


def test_expires(home):
    (one,) = reports(of_sign("--to", "dst", "--expires", "90"))
    assert one.expires_ms - one.time_ms == 90_000


def test_format_1(home):
    done = of_sign("--format", "1")
    (line,) = done.stdout.splitlines()
    original.read(line).verify([KEY.public])
    assert json.loads(line)["contact"] == {"email": "noc@example.net", "identity": "Example Net"}
    done = of_sign("--format", "2", "--to", "src")
    assert reports(done)[0].version == 2


def test_numbers_go_on_over_files(home):
    for name in ("a", "b"):
        (home / name).write_bytes(FLOW + b"\n")
    done = of_sign("--to", "dst", "a", "-", "b")
    assert [one.members["metadata"]["seq"] for one in reports(done)] == [1, 2, 3]


# --- other lines, bad lines


def test_other_lines_go_through_as_they_are(home):
    (made,) = of_sign("--to", "dst").stdout.splitlines()
    other = [
        b'{"type":"option", "a": 1.50}',
        made,
        b'{"flowdata":{},"metadata":{},"signature":{}}',
        b'{"$schema":"overflowd-sealed/1"}',
        b'{"type":"report"}',
    ]
    done = of_sign("--to", "dst", lines=[*other, FLOW, *other])
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, b"")
    assert lines[:5] == lines[6:] == other
    report.read(lines[5])


def test_a_flow_needs_no_type(home):
    assert len(reports(of_sign(lines=[b'{"saddr":"::1","daddr":"::2"}']))) == 2


BAD = {
    b"x": "not JSON: unexpected character, expected a JSON value at character 1",
    b"[]": "not a JSON object",
    b'{"type":"flow"}': "no saddr",
    b"{}": "no saddr",
    FLOW.replace(b'"daddr"', b'"x"'): "no daddr",
    FLOW.replace(b"198.51.100.1", b"example.net"): "daddr is not an address",
    FLOW.replace(b"17001", b"9007199254740992"): "pcount is beyond 2^53-1, which a report cannot carry",
    FLOW.replace(b"17001", b"99999999999999999999999"): "pcount is beyond 2^53-1, which a report cannot carry",
    FLOW.replace(b"53", b"65536"): "sport is not an integer from 0 to 65535",
    FLOW.replace(b"53", b"NaN"): "not JSON: unexpected character, expected a JSON value at character 102",
    b"\xff": "not JSON: str is not valid UTF-8: surrogates not allowed at character 1",
    b"[" * 5000: "not JSON: depth limit exceeded at character 1026",
}


def test_bad_lines(home):
    done = of_sign("--to", "dst", lines=[FLOW, *BAD, FLOW])
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 2
    said = [f"of-sign: -: line {number}: {reason}" for number, reason in enumerate(BAD.values(), 2)]
    assert done.stderr.decode().splitlines() == said


def test_strict_stops_at_the_first(home):
    done = of_sign("--strict", "--to", "dst", lines=[FLOW, b"x", FLOW])
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr.count(b"\n") == 1


def test_stats(home):
    done = of_sign("--stats", lines=[FLOW, FLOW, b'{"type":"option"}', b"x"])
    counts = {"command": "of-sign", "flows": 2, "reports": 4, "other_lines": 1, "rejected": 1}
    assert json.loads(done.stderr.splitlines()[-1]) == counts


# --- keys and contacts


def test_nothing_there(empty_home):
    said = complaint(of_sign())
    assert said == 'no key and no contact; make both: of-key new --email you@example.net --identity "Your Network"'


def test_the_command_that_is_named_does_it(empty_home):
    command = complaint(of_sign()).split(": ", 1)[1]
    assert command.startswith("of-key ")
    command = command.replace("of-key", f"{sys.executable} -m overflowd_tools.commands.key", 1)
    subprocess.run(command, shell=True, check=True, capture_output=True, timeout=60)
    done = of_sign()
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(done.stdout.splitlines()) == 2


def test_nothing_at_a_path_with_spaces(empty_home):
    said = complaint(of_sign("-k", "my key"))
    assert said.endswith("""of-key new -k 'my key' --email you@example.net --identity "Your Network\"""")


def test_no_key(empty_home):
    said = complaint(of_sign(*CONTACT))
    assert said == f"{empty_home}/.config/overflowd/key: no such key; make one: of-key new"
    assert complaint(of_sign(*CONTACT, "-k", "x")) == "x: no such key; make one: of-key new -k x"


@pytest.mark.parametrize("options", [[], CONTACT[:2], CONTACT[2:]])
def test_no_contact(home, options):
    (home / ".config/overflowd/config.toml").unlink()
    said = complaint(of_sign(*options))
    assert said == (
        'no contact; add --email you@example.net --identity "Your Network", '
        f"or put both into [contact] of {home}/.config/overflowd/config.toml"
    )


def test_options_beat_settings(home):
    done = of_sign("--to", "dst", "--email", "ä@b", "--identity", "C\N{CYRILLIC CAPITAL LETTER ES}")
    assert reports(done)[0].members["contact"] == {"email": "ä@b", "identity": "C\N{CYRILLIC CAPITAL LETTER ES}"}


def test_the_key_of_the_settings(home):
    other = SecretKey.from_seed(bytes(32))
    keyfiles.write_secret_key(home / "other", other, None)
    settings = home / ".config/overflowd/config.toml"
    settings.write_text(f'key = "{home}/other"\n' + settings.read_text())
    line = of_sign().stdout.splitlines()[0]
    report.read(line).verify([other.public])
    reports(of_sign("-k", f"{home}/.config/overflowd/key"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--email", ""], "--email, --identity: email is not a text of 1 to 64 octets"),
        (["--email", "x"], "--email, --identity: email has no @ inside"),
        (["--identity", "x" * 65], "--email, --identity: identity is not a text of 1 to 64 octets"),
        (["--identity", "a\nb"], "--email, --identity: not canonical: control character in a string"),
        (["--identity", b"\xff"], "--email, --identity: not canonical: control character in a string"),
        (
            ["--format", "1", "--to", "src"],
            "--to and --expires mean nothing in --format 1: it has no recipient and no end",
        ),
        (
            ["--format", "1", "--expires", "5"],
            "--to and --expires mean nothing in --format 1: it has no recipient and no end",
        ),
    ],
)
def test_wrong_options(home, options, said):
    assert complaint(of_sign(*options)) == said


@pytest.mark.parametrize(
    "options",
    [
        *(["--expires", text] for text in ("0", "-1", "1.5", "x", "", "31622401", "9" * 5000)),
        *(["--to", "x"], ["--format", "3"], ["--passphrase-fd", "x"], ["-k", "a", "-k", "b"], ["--em", "x"]),
    ],
    ids=lambda options: " ".join(options)[:20],
)
def test_wrong_usage(home, options):
    done = of_sign(*options)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"usage: of-sign" in done.stderr


def test_an_encrypted_key(home):
    keyfiles.write_secret_key(home / "locked", KEY, b"open sesame")
    (home / "phrase").write_bytes(b"open sesame\n")
    (home / "wrong").write_bytes(b"open simsim\n")
    with open(home / "phrase", "rb") as phrase:
        done = of_sign("-k", "locked", "--passphrase-fd", str(phrase.fileno()), pass_fds=[phrase.fileno()])
    assert len(reports(done)) == 2
    with open(home / "wrong", "rb") as phrase:
        done = of_sign("-k", "locked", "--passphrase-fd", str(phrase.fileno()), pass_fds=[phrase.fileno()])
    assert complaint(done) == "locked: wrong passphrase, or a damaged key file"
    assert complaint(of_sign("-k", "locked", start_new_session=True)).startswith("locked: a passphrase is needed")


def test_a_key_that_others_may_read(home):
    (home / ".config/overflowd/key").chmod(0o644)
    assert "open to others" in complaint(of_sign())


# --- pipes


def test_reports_come_out_while_the_input_stays_open(home):
    with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        for _ in range(2):
            process.stdin.write(FLOW + b"\n")
            process.stdin.flush()
            report.read(process.stdout.readline()).verify([KEY.public])
            report.read(process.stdout.readline()).verify([KEY.public])
        process.stdin.close()
        assert process.stdout.read() == b""
    assert process.returncode == 0


def test_a_reader_that_goes_away(home):
    (home / "flows").write_bytes((FLOW + b"\n") * 5000)
    with subprocess.Popen([*COMMAND, "flows"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        report.read(process.stdout.readline())
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == -signal.SIGPIPE


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk(home):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(COMMAND, input=FLOW, stdout=full, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (2, b"of-sign: standard output: No space left on device\n")


@pytest.mark.parametrize("program", ["jq -c .", "jq -cS .", "jq -ca ."])
@pytest.mark.skipif(not shutil.which("jq"), reason="jq is not installed")
def test_jq_in_the_middle(home, program):
    verify = f"{sys.executable} -m overflowd_tools.commands.verify"
    flows = b"".join(b"%s\n" % FLOW.replace(b'"tos":0', b'"tos":%d' % tos) for tos in range(100))
    pipe = f"{' '.join(COMMAND)} --identity 'Ö 科 \"x\\' | {program} | {verify}"
    done = subprocess.run(pipe, shell=True, input=flows, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(done.stdout.splitlines()) == 200

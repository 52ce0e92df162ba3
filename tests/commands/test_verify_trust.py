"""of-verify with a memory: keyrings, policies, our own flows, and what happens to them under stress."""

import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from harness import TOP

from overflowd_tools.reports import batch, canonical, report, statements, writer
from overflowd_tools.trust.keys import SecretKey

COMMAND = [sys.executable, "-m", "overflowd_tools.commands.verify"]
OF_KEY = [sys.executable, "-m", "overflowd_tools.commands.key"]
KEY, OTHER = SecretKey.from_seed(bytes(range(32))), SecretKey.from_seed(bytes(32))
FLOW = {"type": "flow", "source": "netflow5", "saddr": "192.0.2.7", "daddr": "198.51.100.1", "sport": 53, "pcount": 1}
NOW = time.time_ns() // 1_000_000
HOUR = 3_600_000


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(TOP))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ".config"))
    monkeypatch.delenv("OF_DEBUG", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Reporter:
    """Signs reports on flows to their destinations."""

    def __init__(self, key=KEY):
        self._key = key
        contact = writer.Contact("noc@example.net", "Example Net")
        self._writer = writer.Writer(key.public, contact, ["dst"], HOUR)

    def lines(self, count=1, flow=FLOW, time_ms=NOW) -> list[bytes]:
        made = [body for _ in range(count) for body in self._writer.bodies(flow, time_ms)]
        return [self._writer.complete(body, self._key.sign(body)) for body in made]


def signed_again(line: bytes, **metadata) -> bytes:
    """Return the report with other metadata under the same number, signed by the same key."""
    members = json.loads(line)
    del members["signature"]["signature"]
    members["metadata"] |= metadata
    signed = canonical.encode(members)
    return report.with_signature(signed, KEY.sign(signed))


def of_verify(*argv, lines=()):
    data = b"".join(line + b"\n" for line in lines)
    return subprocess.run([*COMMAND, *map(str, argv)], input=data, capture_output=True, timeout=60, check=False)


def of_key(*argv, lines=()):
    data = b"".join(line + b"\n" for line in lines)
    done = subprocess.run(
        [*OF_KEY, *argv, "--keyring", "ring"], input=data, capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout


def marks(done) -> list[dict]:
    """Return what was found out about each report that passed."""
    return [json.loads(line)["verified"] for line in done.stdout.splitlines()]


def reasons(done) -> list[str]:
    """Return the line and the kind of reason of each refusal."""
    found = [line.split(": ") for line in done.stderr.decode().splitlines()]
    return [f"{parts[2]}: {parts[3]}" for parts in found]


def test_a_report_passes_once_with_its_mark():
    lines = Reporter().lines(3)
    done = of_verify("--keyring", "ring", lines=lines)
    assert (done.returncode, done.stderr) == (0, b"")
    assert [json.loads(line) for line in lines] == [
        {name: value for name, value in json.loads(line).items() if name != "verified"}
        for line in done.stdout.splitlines()
    ]
    assert [list(mark) for mark in marks(done)] == [["format", "key", "time_ms", "state", "for"]] * 3
    assert [(mark["state"], mark["for"]) for mark in marks(done)] == [("unknown", ["accept"])] * 3
    again = of_verify("--keyring", "ring", lines=lines)
    assert (again.returncode, again.stdout) == (1, b"")
    assert reasons(again) == [f"line {number}: duplicate" for number in (1, 2, 3)]


def test_what_passed_can_be_verified_again():
    done = of_verify("--keyring", "ring", lines=Reporter().lines())
    again = of_verify(lines=done.stdout.splitlines())
    assert (again.returncode, again.stderr) == (0, b"")
    assert list(marks(again)[0]) == ["format", "key", "time_ms"]


def test_lines_stay_in_order():
    good, other = Reporter().lines(2), b'{"type":"flow","n":%d}'
    lines = [other % 1, good[0], b"bad", other % 2, good[0], good[1], other % 3]
    done = of_verify("--keyring", "ring", "--stats", lines=lines)
    kinds = [json.loads(line).get("n") or "report" for line in done.stdout.splitlines()]
    assert kinds == [1, "report", 2, "report", 3]
    *told, stats = done.stderr.decode().splitlines()
    assert [line.split(": ")[2] for line in told] == ["line 3", "line 5"]
    assert json.loads(stats) == {
        "command": "of-verify",
        "verified": 2,
        "other_lines": 3,
        "missing": 0,
        "rejected": 2,
    }


def test_states_are_asked_for():
    lines = Reporter().lines(2)
    done = of_verify("--keyring", "ring", "--require", "known", lines=lines)
    assert reasons(done) == [
        "line 1: unknown key, where one that is known is asked for",
        reasons(done)[0].replace("1", "2"),
    ]
    of_key("trust", KEY.public.text)
    done = of_verify("--keyring", "ring", "--require", "known", lines=lines)
    assert [mark["state"] for mark in marks(done)] == ["known", "known"]
    of_key("distrust", KEY.public.text)
    assert reasons(of_verify("--keyring", "ring", lines=Reporter().lines())) == ["line 1: distrusted key"]


def test_an_equivocation_is_proven_to_others():
    (line,) = Reporter().lines()
    done = of_verify("--keyring", "ring", lines=[line, signed_again(line, sampling_rate=100), *Reporter().lines()])
    assert reasons(done) == ["line 2: equivocation", "line 3: distrusted key"]
    evidence = of_key("export", KEY.public.text).rstrip()
    found = statements.read(evidence)
    assert (found.key, found.first) == (KEY.public, line)
    other = subprocess.run([*OF_KEY, "import", "--keyring", "other"], input=evidence, capture_output=True, check=True)
    assert other.stderr == b""
    assert reasons(of_verify("--keyring", "other", lines=Reporter().lines())) == ["line 1: distrusted key"]


def test_reports_of_a_batch_are_like_any_other():
    """What counts is what was signed, not how: the same report with a signature of its own is the same report."""
    bodies = [canonical.decode(line) for line in Reporter().lines(3)]
    signed = [report.signable(members) for members in bodies]
    batched = [report.with_proof(body, proof) for body, proof in zip(signed, batch.sign(signed, KEY), strict=True)]
    alone = [report.with_signature(body, KEY.sign(body)) for body in signed]
    done = of_verify("--keyring", "ring", lines=[*batched, batched[0], *alone])
    assert len(marks(done)) == 3
    assert reasons(done) == [f"line {number}: duplicate" for number in (4, 5, 6, 7)]
    done = of_verify("--keyring", "ring", lines=[signed_again(alone[1], sampling_rate=100)])
    assert reasons(done) == ["line 1: equivocation"]
    assert statements.read(of_key("export", KEY.public.text).rstrip()).first == batched[1]


def test_rotation_and_revocation():
    of_key("pin", KEY.public.text, "Example Net")
    of_key("import", lines=[statements.rotation(KEY, OTHER, NOW - 2 * HOUR, NOW - HOUR)])
    done = of_verify("--keyring", "ring", lines=[*Reporter().lines(), *Reporter(OTHER).lines()])
    assert reasons(done) == ["line 1: replaced key"]
    assert [(mark["key"], mark["state"]) for mark in marks(done)] == [(OTHER.public.text, "pinned")]
    of_key("import", lines=[statements.revocation(KEY.public, KEY, NOW, 0)])
    done = of_verify("--keyring", "ring", lines=[*Reporter().lines(), *Reporter(OTHER).lines()])
    assert reasons(done) == ["line 1: revoked key", "line 2: distrusted key"]


def test_missing_reports_are_shown():
    lines = Reporter().lines(10)
    done = of_verify("--keyring", "ring", "-v", "--stats", lines=lines[:3] + lines[7:])
    epoch = json.loads(lines[0])["metadata"]["epoch"]
    *told, _, stats = done.stderr.decode().splitlines()
    assert told == [f"of-verify: {KEY.public.text}: epoch {epoch}: 4 reports to 198.51.100.1 are missing"]
    assert json.loads(stats)["missing"] == 4
    done = of_verify("--keyring", "ring", "-v", lines=lines[3:7])
    assert b"missing\n" not in done.stderr


@pytest.mark.parametrize("packed", [False, True])
def test_our_own_flows_confirm_reports(packed):
    own = [
        {**FLOW, "start_ms": NOW - 1000, "end_ms": NOW},
        {**FLOW, "sport": 1, "start_ms": NOW - HOUR, "end_ms": NOW - HOUR},
        {**FLOW, "sport": 1, "start_ms": NOW + HOUR, "end_ms": NOW + HOUR},
        {"type": "option", "x": None},
    ]
    data = b"".join(json.dumps(line).encode() + b"\n" for line in own)
    with (gzip.open if packed else open)("flows", "wb") as file:
        file.write(data)
    times = {"start_ms": NOW - 500, "end_ms": NOW - 100}
    reporter = Reporter()
    lines = [*reporter.lines(flow={**FLOW, **times}), *reporter.lines(flow={**FLOW, **times, "sport": 80})]
    done = of_verify("--keyring", "ring", "--own", "flows", lines=lines)
    assert (done.returncode, done.stderr) == (0, b"")
    assert [(mark["own"], mark["state"]) for mark in marks(done)] == [("found", "unknown"), ("absent", "seen")]
    assert marks(of_verify("--own", "flows", lines=lines[:1]))[0]["own"] == "found"
    with open("policy", "w") as file:
        file.write("[own]\nexporters = 'unsampled'\n")
    of_verify(
        "--keyring",
        "ring",
        "--own",
        "flows",
        "--policy",
        "policy",
        lines=reporter.lines(flow={**FLOW, **times, "sport": 81}),
    )
    assert json.loads(of_key("show", KEY.public.text))["contradictions"] == 1


def test_bad_flows_of_our_own():
    with open("flows", "wb") as file:
        file.write(b'{"type":"flow","saddr":"192.0.2.7"}\nnot json\n\xff\n{"type":"flow"}\n[]\n')
    done = of_verify("--own", "flows", lines=Reporter().lines())
    assert done.returncode == 1
    assert done.stderr.decode().count("of-verify: flows: line ") == 5
    assert marks(done)[0]["own"] == "unknown"
    done = of_verify("--own", "missing", lines=Reporter().lines())
    assert (done.returncode, done.stderr) == (2, b"of-verify: missing: No such file or directory\n")


def test_a_policy_without_a_keyring():
    with open("policy", "w") as file:
        file.write(
            f"[key.\"{KEY.public.text}\"]\nstate = 'pinned'\nmax_rate = 2\n[own]\nprefixes = ['198.51.100.0/24']\n"
        )
    lines = [*Reporter().lines(3), *Reporter(OTHER).lines(), *Reporter().lines(flow={**FLOW, "daddr": "203.0.113.1"})]
    done = of_verify("--policy", "policy", "--require", "known", lines=lines)
    assert [mark["for"] for mark in marks(done)] == [["accept", "export", "accuse"]] * 2
    assert [reason.partition(": ")[2] for reason in reasons(done)] == [
        "over the rate that the policy allows its key",
        "unknown key, where one that is known is asked for",
        "not ours",
    ]


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["--require", "seen"], "--require goes with --keyring or --policy"),
        (["--policy", "missing"], "missing: No such file or directory"),
        (["--policy", "bad"], "bad: unknown setting x"),
        (["--keyring", "bad"], "bad: not a keyring"),
        (["--keyring", "."], ".: Is a directory"),
    ],
)
def test_what_cannot_be_used(folder, argv, reason):
    (folder / "bad").write_text("x = 1\n")
    done = of_verify(*argv, lines=Reporter().lines())
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(f"of-verify: {reason}".encode())
    assert done.stderr.count(b"\n") == 1
    assert (folder / "bad").read_text() == "x = 1\n"


@pytest.mark.parametrize("argv", [["--require", "trusted"], ["--keyring", ""], ["--keyring", "a", "--keyring", "b"]])
def test_what_makes_no_sense(argv):
    done = of_verify(*argv)
    assert done.returncode == 2
    assert b"usage: of-verify" in done.stderr


def test_archives_teach_nothing():
    lines = Reporter().lines(2, time_ms=NOW - 5 * HOUR)
    for _ in range(2):
        done = of_verify("--keyring", "ring", "--ignore-expiry", lines=lines)
        assert (done.returncode, len(marks(done))) == (0, 2)
    assert of_key("list") == b""


def test_reports_of_2016():
    readme = (TOP / "tests/data/vectors/overflowd-2016.txt").read_bytes().splitlines()
    done = of_verify("--keyring", "ring", lines=[*readme, readme[0]])
    assert len(marks(done)) == 4
    assert reasons(done) == ["line 5: duplicate"]


def test_strict_enters_nothing_after_the_first_refusal():
    lines = Reporter().lines(3)
    done = of_verify("--keyring", "ring", "--strict", lines=[lines[0], lines[0], lines[1], lines[2]])
    assert (done.returncode, len(marks(done)), reasons(done)) == (1, 1, ["line 2: duplicate"])
    done = of_verify("--keyring", "ring", lines=lines)
    assert (len(marks(done)), reasons(done)) == (2, ["line 1: duplicate"])


def test_nothing_waits_in_a_live_pipe():
    lines = Reporter().lines(2)
    with subprocess.Popen([*COMMAND, "--keyring", "ring"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        for line in lines:
            process.stdin.write(line + b"\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["verified"]["state"] == "unknown"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == -signal.SIGTERM


def test_a_full_output_enters_all_the_same():
    """At most once, not at least once: what could not be written does not pass later as if it were new."""
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*COMMAND, "--keyring", "ring"],
            input=Reporter().lines()[0] + b"\n",
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert (done.returncode, done.stderr) == (2, b"of-verify: standard output: No space left on device\n")
    assert json.loads(of_key("list"))["reports"] == 1


def test_killed_at_any_moment_no_report_passes_twice(folder):
    dice, reporter = random.Random(9), Reporter()
    lines = reporter.lines(6000)
    (folder / "reports").write_bytes(b"\n".join(lines) + b"\n")
    passed = []
    for _ in range(8):
        with open("out", "wb") as out:
            process = subprocess.Popen(
                [*COMMAND, "--keyring", "ring", "-q", "reports"], stdout=out, stderr=subprocess.PIPE
            )
            time.sleep(dice.uniform(0.1, 0.5))
            process.kill()
            assert process.communicate(timeout=30)[1] == b""
        passed += (folder / "out").read_bytes().split(b"\n")[:-1]
    numbers = [json.loads(line)["metadata"]["seq"] for line in passed]
    assert len(numbers) == len(set(numbers))
    done = of_verify("--keyring", "ring", "-q", "reports")
    assert not {mark_number(line) for line in done.stdout.splitlines()} & set(numbers)
    assert json.loads(of_key("list"))["reports"] == 6000


def mark_number(line: bytes) -> int:
    return json.loads(line)["metadata"]["seq"]


def test_two_at_once_pass_each_report_once(folder):
    lines = Reporter().lines(3000)
    (folder / "reports").write_bytes(b"\n".join(lines) + b"\n")
    argv = [*COMMAND, "--keyring", "ring", "-q", "reports"]
    both = [subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    outputs = [process.communicate(timeout=60) for process in both]
    assert [told for _, told in outputs] == [b"", b""]
    numbers = [mark_number(line) for output, _ in outputs for line in output.splitlines()]
    assert sorted(numbers) == list(range(1, 3001))
    assert os.path.getsize("ring") < 6_000_000

"""of-open as people run it: keys new and old, sealed lines good and bad."""

import gzip
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import make_sealed
import pytest

from overflowd_tools.reports.sealed import Sealed
from overflowd_tools.trust import age_files, receiving
from overflowd_tools.trust.keyfiles import write_secret_key
from overflowd_tools.trust.keys import SecretKey
from overflowd_tools.trust.sealing import ReceivingKey

TOP = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "overflowd_tools.commands.open"]
VECTORS = make_sealed.VECTORS
KEY = ReceivingKey(make_sealed.SECRET)
OLD = ReceivingKey(bytes(32))
REPORT = (VECTORS / "every-field.report").read_bytes().rstrip(b"\n")
TO = "198.51.100.1"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(TOP))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.delenv("OF_DEBUG", raising=False)
    monkeypatch.chdir(tmp_path)
    receiving.write_key("key", KEY)
    receiving.write_key("old", OLD)
    return tmp_path


def sealed_line(key=KEY.public, contents=REPORT, to=TO, hint=None):
    return Sealed(hint or key.hint, key.seal(contents), to).line()


def of_open(*argv, lines=(), **more):
    data = b"".join(line + b"\n" for line in lines)
    return subprocess.run([*COMMAND, *argv], input=data, capture_output=True, timeout=60, check=False, **more)


def reason(done):
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (1, b"", 1)
    return done.stderr.decode().removeprefix("of-open: -: line 1: ").rstrip("\n")


def test_vectors():
    for name in make_sealed.NAMES:
        done = of_open("-k", "key", VECTORS / f"{name}.sealed")
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout == (VECTORS / f"{name}.report").read_bytes()


def test_vectors_are_as_they_are_made(tmp_path):
    make_sealed.make(tmp_path)
    for path in [*VECTORS.glob("*sealed*"), VECTORS / "receiving-key"]:
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_reasons():
    rows = [row.split("\t") for row in (VECTORS / "refused-sealed.tsv").read_text().splitlines()]
    done = of_open("-k", "key", lines=[bad.encode() for _, bad in rows])
    assert (done.returncode, done.stdout) == (1, b"")
    said = [line.partition(": -: line ")[2].partition(": ")[2] for line in done.stderr.decode().splitlines()]
    assert said == [why for why, _ in rows]


def test_keys_new_and_old(home):
    lines = [sealed_line(), sealed_line(OLD.public)]
    assert of_open("-k", "key", "-k", "old", "-k", "key", lines=lines).stdout == (REPORT + b"\n") * 2
    with open("both", "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as both:
        both.write(Path("key").read_text() + Path("old").read_text())
    assert of_open("-k", "both", lines=lines).stdout == (REPORT + b"\n") * 2
    done = of_open("-k", "key", lines=lines[1:])
    assert reason(done) == f"no key: sealed for a key of another, hint {OLD.public.hint.hex()}"


def test_default_key(home):
    done = of_open(lines=[sealed_line()])
    assert (done.returncode, done.stderr) == (
        2,
        f"of-open: {home}/overflowd/receiving-key: no such key; make one: of-key new --receiving\n".encode(),
    )
    receiving.write_key(home / "overflowd" / "receiving-key", KEY)
    assert of_open(lines=[sealed_line()]).stdout == REPORT + b"\n"


def test_a_key_that_signs(home):
    signer = SecretKey.from_seed(bytes(range(32)))
    write_secret_key(home / "signer", signer, b"passphrase")
    line = sealed_line(ReceivingKey.of_signer(signer).public)
    reader, writer = os.pipe()
    os.write(writer, b"passphrase\n")
    os.close(writer)
    done = of_open("-k", "signer", "--passphrase-fd", str(reader), lines=[line], pass_fds=[reader])
    os.close(reader)
    assert (done.returncode, done.stdout, done.stderr) == (0, REPORT + b"\n", b"")


def test_hints_may_collide(home, monkeypatch):
    """Every key of ours with this hint is tried, and no other."""
    from overflowd_tools.commands import open as command

    class Counting:
        tried = 0

        def __init__(self, key):
            self.key = key

        def open(self, box):
            Counting.tried += 1
            return self.key.open(box)

    hint = b"same"
    keys = {hint: [Counting(OLD), Counting(KEY)], b"else": [Counting(OLD)]}
    assert command.opened(Sealed(hint, KEY.public.seal(REPORT)), keys).text == REPORT
    assert Counting.tried == 2


def test_recipient():
    assert of_open("-k", "key", lines=[sealed_line(to=None)]).returncode == 0
    assert reason(of_open("-k", "key", lines=[sealed_line(to="192.0.2.7")])).startswith("wrong recipient: ")
    assert of_open("-k", "key", "--own", "198.51.100.0/24", lines=[sealed_line(to=None)]).stdout == REPORT + b"\n"
    done = of_open("-k", "key", "--own", "192.0.2.0/24", lines=[sealed_line(to=None)])
    assert reason(done) == "to 198.51.100.1, which is not ours"
    done = of_open("-k", "key", "--own", "192.0.2.0/33")
    assert done.returncode == 2
    assert b"prefix length" in done.stderr


def test_spelling_does_not_matter_and_members_may_be_added():
    line = json.dumps({**json.loads(sealed_line()), "note": {"x": 1.5}}, indent=None, ensure_ascii=True)
    assert of_open("-k", "key", lines=[line.encode()]).stdout == REPORT + b"\n"


def test_what_is_opened_is_canonical():
    spelled = json.dumps({**json.loads(REPORT), "verified": {"format": 2}}).encode()
    assert of_open("-k", "key", lines=[sealed_line(contents=spelled)]).stdout == REPORT + b"\n"


def test_every_mutation_gives_the_report_or_one_line():
    rng = random.Random(5)
    good = sealed_line()
    lines = []
    for _ in range(1000):
        line = bytearray(good)
        for _ in range(rng.choice((1, 1, 2, 5))):
            line[rng.randrange(len(line))] = rng.choice(range(32, 127))
        lines.append(bytes(line[: rng.choice((len(line), len(line), rng.randrange(1, len(line))))]))
    done = of_open("-k", "key", "--stats", "-q", lines=lines)
    counts = json.loads(done.stderr)
    assert done.returncode == 1
    assert counts["rejected"] > 900
    assert counts["rejected"] + counts["opened"] + counts["other_lines"] == len(lines)
    assert all(line == REPORT or line in lines for line in done.stdout.splitlines())


def test_a_box_of_nearly_a_mebibyte():
    """The longest line that there can be: opened, or refused, like any other."""
    padding = b" " * 780_000
    assert of_open("-k", "key", lines=[sealed_line(contents=REPORT + padding)]).stdout == REPORT + b"\n"
    assert reason(of_open("-k", "key", lines=[sealed_line(contents=padding)])).startswith("not a report: ")


def test_age_files_are_opened_on_the_way():
    """What is in one is lines as any others: compressed, in clear, or sealed once more."""
    pytest.importorskip("pyrage")
    lines = b"\n".join([REPORT, sealed_line(), b'{"type":"flow"}', b""])
    for contents in (lines, gzip.compress(lines)):
        Path("bulk.age").write_bytes(b"".join(age_files.encrypted([contents], [KEY.public])))
        done = of_open("-k", "old", "-k", "key", "bulk.age", "-", lines=[sealed_line()])
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.splitlines() == [REPORT, REPORT, b'{"type":"flow"}', REPORT]


def test_an_age_file_for_others_does_not_stop_the_rest():
    pytest.importorskip("pyrage")
    Path("bulk.age").write_bytes(b"".join(age_files.encrypted([REPORT], [OLD.public])))
    done = of_open("-k", "key", "bulk.age", "-", lines=[sealed_line()])
    assert (done.returncode, done.stdout) == (1, REPORT + b"\n")
    assert done.stderr == b"of-open: bulk.age: the age data cannot be decrypted: no matching keys found\n"

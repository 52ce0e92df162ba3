"""of-key about the keys of others: statements made, published, read and judged; and other people's secret keys."""

import json
import os
import random
import shutil
import signal
import subprocess
import time

import pytest
from harness import BIN, DATA, Workplace, environment

from overflowd_tools.trust.keys import SecretKey

VECTORS = DATA / "vectors"
STRANGERS = [SecretKey.from_seed(bytes([number]) * 32).public.text for number in range(50, 60)]
SMALL_ORDER = "RWQ" + "A" * 9 + "AAEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"[:44]


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    made = Workplace(tmp_path_factory.mktemp("original"))
    for argv in (["--email", "noc@example.net", "--identity", "Example Net"], ["-k", "next"], ["-k", "safe"]):
        assert made.run("of-key", "new", *argv, cwd=made.home).returncode == 0
    return made


@pytest.fixture
def place(original, tmp_path, monkeypatch):
    shutil.copytree(original.home, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return Workplace(tmp_path)


def out(done) -> bytes:
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout


def public(place, *argv) -> str:
    return out(place.run("of-key", "show", *argv)).decode().strip()


def ring(place, *argv) -> dict[str, dict]:
    listed = [json.loads(line) for line in out(place.run("of-key", "list", *argv)).splitlines()]
    return {record["key"]: record for record in listed}


def refusal(done, status=2) -> str:
    assert (done.returncode, done.stdout) == (status, b"")
    assert done.stderr.startswith(b"of-key: ")
    assert done.stderr.count(b"\n") == 1
    return done.stderr.decode()[:-1]


# --- statements


def test_a_life_of_a_key(place):
    """Announced, pinned by others, rotated, then found out to be stolen from before the rotation."""
    first, second = public(place), public(place, "-k", "next")
    announced = out(place.run("of-key", "export", "--recovery", "safe.pub", "--expires", "365"))
    assert json.loads(announced)["contact"] == {"email": "noc@example.net", "identity": "Example Net"}
    out(place.run("of-key", "import", input=announced))
    out(place.run("of-key", "pin", first, "Example Net"))
    rotated = out(place.run("of-key", "rotate", "next", "--overlap", "7"))
    statement = json.loads(rotated)
    assert statement["until_ms"] - statement["time_ms"] == 7 * 86_400_000
    out(place.run("of-key", "import", input=rotated))
    found = ring(place)
    assert [(found[key]["state"], found[key]["name"]) for key in (first, second)] == [("pinned", "Example Net")] * 2
    assert (found[first]["successor"], found[second]["predecessor"]) == (second, first)
    revoked = out(place.run("of-key", "revoke", "-k", "safe", first, "--since", "2026-01-01", "--reason", "stolen"))
    assert json.loads(revoked)["since_ms"] == 1_767_225_600_000
    out(place.run("of-key", "import", input=revoked))
    assert [ring(place)[key]["state"] for key in (first, second)] == ["revoked", "distrusted"]
    shown = json.loads(out(place.run("of-key", "show", ".config/overflowd/key.pub")))
    assert set(shown["statements"]) == {"announcement", "revocation", "rotation"}
    assert shown["statements"]["revocation"]["reason"] == "stolen"
    exported = out(place.run("of-key", "export", first))
    assert sorted(map(json.loads, exported.splitlines()), key=str) == sorted(shown["statements"].values(), key=str)
    done = place.run("of-key", "pin", first, "Example Net")
    assert (done.returncode, done.stderr.decode()) == (0, f"of-key: {first}: revoked, and stays so\n")
    out(place.run("of-key", "check"))


def test_a_key_revokes_itself(place):
    out(place.run("of-key", "import", input=out(place.run("of-key", "revoke"))))
    assert ring(place)[public(place)]["state"] == "revoked"


@pytest.mark.parametrize(
    ("name", "reason"),
    [("recovery", "it is signed by a key that was not announced before as the recovery key"), ("rotation", None)],
)
def test_the_vectors(place, name, reason):
    done = place.run("of-key", "import", VECTORS / f"{name}.statement")
    expected = f"of-key: {VECTORS / name}.statement: line 1: {reason}\n" if reason else ""
    assert done.stderr.decode() == expected
    everything = [VECTORS / f"{name}.statement" for name in ("announcement", "recovery", "evidence", "revocation")]
    done = place.run("of-key", "import", "--keyring", "other", *everything)
    assert (done.returncode, done.stderr) == (0, b"")
    [revoked] = ring(place, "--keyring", "other").values()
    assert (revoked["state"], revoked["proofs"]) == ("revoked", 1)


def test_what_is_imported_line_by_line(place):
    lines = [
        b"untrusted comment: a key",
        STRANGERS[0].encode(),
        b"# and more",
        SMALL_ORDER.encode(),
        b"RWQ",
        b'{"type":"flow"}',
        b"{",
        (VECTORS / "rotation.statement").read_bytes().strip().replace(b'"until_ms":1', b'"until_ms":2'),
        STRANGERS[1].encode() + b"\r",
        (VECTORS / "every-field.report").read_bytes().strip(),
        b"\xff\xfe",
    ]
    done = place.run("of-key", "--stats", "import", input=b"\n".join(lines))
    assert done.returncode == 1
    told = done.stderr.decode().splitlines()
    assert [line.split(": ")[2:] for line in told[:-1]] == [
        ["line 4", "not a valid Ed25519 public key"],
        ["line 5", "not a public key", "56 base64 characters beginning RW are expected"],
        ["line 6", "neither a key nor a statement about one"],
        ["line 7", "not JSON", told[3].rpartition(": ")[2]],
        ["line 8", "bad signature", "new"],
        ["line 10", "neither a key nor a statement about one"],
        ["line 11", "not JSON", *told[6].split(": ")[4:]],
    ]
    assert json.loads(told[-1]) == {"command": "of-key", "imported": 2, "rejected": 7}
    assert set(ring(place)) == set(STRANGERS[:2])


def test_strict_keeps_nothing_of_the_lines_at_hand(place):
    done = place.run("of-key", "--strict", "import", input=f"{STRANGERS[0]}\nRWQ\n{STRANGERS[1]}\n".encode())
    assert done.returncode == 1
    assert ring(place) == {}


# --- the word of the operator


def test_decisions_and_notes(place):
    key = STRANGERS[0]
    assert ring_state(place, key, "trust") == "known"
    assert ring_state(place, key, "distrust") == "distrusted"
    assert ring_state(place, key, "pin", "Näme") == "pinned"
    out(place.run("of-key", "note", key, "called them"))
    assert {name: ring(place)[key].get(name) for name in ("name", "note")} == {"name": "Näme", "note": "called them"}
    out(place.run("of-key", "note", key, ""))
    assert "note" not in ring(place)[key]
    assert ring(place)[key]["state"] == "pinned"
    out(place.run("of-key", "export", key))


def ring_state(place, key, *words):
    out(place.run("of-key", words[0], key, *words[1:]))
    return ring(place)[key]["state"]


def test_the_best_come_first(place):
    for word, key in zip(("distrust", "pin", "trust"), STRANGERS, strict=False):
        out(place.run("of-key", word, key, *(["x"] if word == "pin" else [])))
    assert [record["state"] for record in ring(place).values()] == ["pinned", "known", "distrusted"]


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["list"], "keyring: no such keyring"),
        (["show", STRANGERS[0]], "keyring: no such keyring"),
        (["export", STRANGERS[0]], "keyring: no such keyring"),
        (["show", "RWx"], "RWx: not a public key"),
        (["trust", SMALL_ORDER], "not a valid Ed25519 public key"),
        (["trust", "two.pub"], "two.pub: 2 keys, where one is expected"),
        (["pin", STRANGERS[0], ""], "NAME must be text"),
        (["pin", STRANGERS[0], "a\nb"], "NAME must be text"),
        (["note", STRANGERS[0], "\x1b[2J"], "TEXT must be text"),
        (["rotate", "missing"], "missing: no such key; make one: of-key new -k missing"),
        (["rotate", ".config/overflowd/key"], "two of its keys are the same"),
        (["revoke", "--reason", "x" * 300], "reason is not a text of at most 256 characters"),
        (["export", "--expires", "5", STRANGERS[0]], "are for the announcement of your own key"),
        (["list", "--keyring", "two.pub"], "two.pub: not a keyring"),
        (["trust", "--keyring", "next.pub", STRANGERS[0]], "next.pub: not a keyring"),
        (["import", "--keyring", "/proc/ring"], "/proc/ring: No such file"),
        (["check", "--policy", "missing"], "missing: No such file or directory"),
        (["check", "-k", "missing"], "missing: no such key"),
    ],
)
def test_what_cannot_be_done(place, argv, reason):
    (place.home / "two.pub").write_text("\n".join(STRANGERS[:2]))
    before = (place.home / "two.pub").read_bytes(), (place.home / "next.pub").read_bytes()
    assert reason in refusal(place.run("of-key", *argv))
    assert ((place.home / "two.pub").read_bytes(), (place.home / "next.pub").read_bytes()) == before


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["revoke", "--since", "yesterday"], "not a time such as 2026-11-21T12:00Z: yesterday"),
        (["revoke", "--since", "1969-12-31"], "before 1970"),
        (["rotate", "next", "--overlap", "0"], "not a number of days from 1 to 36500"),
        (["export", "--expires", "1.5"], "not a number of days"),
        (["export", "--expires", "x"], "not a number of days"),
        (["list", "--keyring", ""], "the name of the file is empty"),
    ],
)
def test_what_makes_no_sense(place, argv, reason):
    done = place.run("of-key", *argv)
    assert (done.returncode, done.stdout) == (2, b"")
    assert reason in done.stderr.decode().splitlines()[0]


def test_an_unknown_key(place):
    out(place.run("of-key", "trust", STRANGERS[0]))
    assert refusal(place.run("of-key", "show", STRANGERS[1])).endswith(f"{STRANGERS[1]}: not in the keyring")
    assert out(place.run("of-key", "export", STRANGERS[1])) == b""


# --- check


def test_check_finds_what_is_wrong(place):
    out(place.run("of-key", "check"))
    out(place.run("of-key", "check", "-k", "next"))
    out(place.run("of-key", "trust", STRANGERS[0]))
    (place.home / "policy").write_text("[defaults]\naccept = 'loved'\n")
    assert "policy: defaults.accept is none of" in refusal(place.run("of-key", "check", "--policy", "policy"))
    keyring = place.home / ".config/overflowd/keyring"
    with keyring.open("a") as file:
        file.write("damaged\n")
    assert "keyring: octet" in refusal(place.run("of-key", "check"), 1)
    shutil.copy("safe.pub", "next.pub")
    assert refusal(place.run("of-key", "check", "-k", "next")).endswith("next.pub: not the public half of next")
    os.chmod("next", 0o640)
    assert "open to others" in refusal(place.run("of-key", "check", "-k", "next"))
    os.chmod(keyring, 0o666)
    assert "others can write it" in refusal(place.run("of-key", "list"))


def test_two_passphrases_are_two_lines(place):
    for name, passphrase in (("one", b"first\n"), ("two", b"second\n")):
        done = place.run("of-key", "new", "-k", name, "--passphrase-fd", "0", input=passphrase)
        assert done.returncode == 0
    done = place.run("of-key", "rotate", "-k", "one", "--passphrase-fd", "0", "two", input=b"first\nsecond\n")
    assert json.loads(out(done))["new"] == public(place, "-k", "two")
    assert "wrong passphrase" in refusal(
        place.run("of-key", "revoke", "-k", "one", "--passphrase-fd", "0", input=b"second\n")
    )


# --- other people's keys


@pytest.mark.skipif(not shutil.which("signify-openbsd"), reason="signify is not installed")
def test_a_secret_key_of_signify(place):
    subprocess.run(["signify-openbsd", "-G", "-n", "-p", "s.pub", "-s", "s.sec"], check=True)
    assert public(place, "-k", "s.sec") == (place.home / "s.pub").read_text().split("\n")[1]
    out(place.run("of-key", "check", "-k", "s.sec"))
    revoked = json.loads(out(place.run("of-key", "revoke", "-k", "s.sec")))
    assert revoked["key"] == (place.home / "s.pub").read_text().split("\n")[1]
    data = bytearray((place.home / "s.sec").read_bytes())
    data[-20] ^= 1
    (place.home / "damaged").write_bytes(data)
    os.chmod("damaged", 0o600)
    assert "damaged" in refusal(place.run("of-key", "show", "-k", "damaged"))


@pytest.mark.skipif(not shutil.which("minisign"), reason="minisign is not installed")
def test_a_secret_key_of_minisign_makes_statements(place):
    subprocess.run(["minisign", "-G", "-W", "-s", "m.key", "-p", "m.pub"], check=True, capture_output=True)
    os.chmod("m.key", 0o600)
    out(place.run("of-key", "import", input=out(place.run("of-key", "rotate", "m.key"))))
    theirs = (place.home / "m.pub").read_text().split("\n")[1]
    assert ring(place)[theirs]["predecessor"] == public(place)


# --- crashes and company


def test_killed_at_any_moment_nothing_acknowledged_is_lost(place):
    """What a run that ended well said is there; the others did all or nothing."""
    dice = random.Random(5)
    command = [str(BIN / "of-key"), "trust"]
    start = time.monotonic()
    out(place.run("of-key", "trust", STRANGERS[0]))
    usual = time.monotonic() - start
    acknowledged = {STRANGERS[0]}
    for number in range(15):
        key = SecretKey.from_seed(bytes([100 + number]) * 32).public.text
        process = subprocess.Popen([*command, key], env=environment(place.home), stderr=subprocess.PIPE)
        time.sleep(dice.uniform(0.2, 1.2) * usual)
        process.send_signal(signal.SIGKILL)
        told = process.communicate(timeout=30)[1]
        assert told in (b"", b"of-key: %s" % told[8:]), told
        if process.returncode == 0:
            acknowledged.add(key)
    done = place.run("of-key", "check")
    assert done.returncode == 0 or b"cut off" in done.stderr
    assert acknowledged <= set(ring(place))


def test_ten_at_once(place):
    processes = [
        subprocess.Popen([str(BIN / "of-key"), "trust", key], env=environment(place.home)) for key in STRANGERS
    ]
    assert [process.wait(60) for process in processes] == [0] * 10
    assert {record["state"] for record in ring(place).values()} == {"known"}
    assert set(ring(place)) == set(STRANGERS)

"""of-sign --batch and --minisig: one signature for many, nothing held back too long, and what others make of it."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
from harness import readable
from test_sign import COMMAND, FLOW, KEY, complaint, empty_home, home, of_sign, reports

__all__ = ["empty_home", "home"]

MODULES = [sys.executable, "-m"]


def flows(count):
    return [FLOW.replace(b'"sport":53', b'"sport":%d' % number) for number in range(count)]


def batches(read):
    """Return the sizes of the batches, in order; 1 for a report that is signed by itself."""
    sizes = []
    for one in read:
        if one.proof is None:
            sizes.append(1)
        elif one.proof.place == 0:
            sizes.append(one.proof.leaves)
    return sizes


@pytest.mark.parametrize(
    ("size", "ends", "count", "sizes"),
    [
        ("2", "dst", 5, [2, 2, 1]),
        ("3", "dst", 7, [3, 3, 1]),
        ("64", "dst", 130, [64, 64, 2]),
        ("64", "both", 65, [64, 64, 2]),
        ("1024", "both", 513, [1024, 2]),
        ("64", "none", 1, [1]),
        ("2", "both", 2, [2, 2]),
    ],
)
def test_sizes(home, size, ends, count, sizes):
    read = reports(of_sign("--batch", size, "--batch-ms", "60000", "--to", ends, lines=flows(count)))
    assert batches(read) == sizes
    assert [one.members["flowdata"]["data"]["sport"] for one in read] == sorted(
        one.members["flowdata"]["data"]["sport"] for one in read
    )


def test_the_same_reports_as_without(home):
    def what(read):
        return [
            {
                **one.members,
                "signature": 0,
                "metadata": {**one.members["metadata"], "time_ms": 0, "expires_ms": 0, "epoch": 0},
            }
            for one in read
        ]

    assert what(reports(of_sign("--batch", "5", lines=flows(20)))) == what(reports(of_sign(lines=flows(20))))


def test_other_lines_keep_their_places(home):
    others = [b'{"type":"option", "a": %d}' % number for number in range(6)]
    lines = [others[0], *flows(3), others[1], others[2], *flows(1), others[3], b"bad", *flows(5), others[4], others[5]]
    done = of_sign("--batch", "4", "--to", "dst", lines=lines)
    assert done.stderr == b"of-sign: -: line 9: not JSON: unexpected character, expected a JSON value at character 1\n"
    assert done.returncode == 1
    made = done.stdout.splitlines()
    lines.remove(b"bad")
    assert len(made) == len(lines)
    for given, line in zip(lines, made, strict=True):
        assert line == given if given in others else line.startswith(b'{"$schema"')


def test_many_other_lines_do_not_fill_the_memory(home):
    """A mebibyte of them behind one report ends its batch."""
    other = b'{"type":"x","y":"%s"}' % (b"y" * 100_000)
    made = of_sign("--batch", "64", "--batch-ms", "60000", "--to", "dst", lines=[FLOW, *[other] * 30, FLOW]).stdout
    sizes = ["batch" in json.loads(line).get("signature", {}) for line in made.splitlines()]
    assert sizes == [False] * 32


def test_an_idle_pipe_gets_its_reports_in_time(home):
    argv = [*COMMAND, "--batch", "64", "--batch-ms", "50", "--to", "dst"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        for count in (3, 1, 2):
            process.stdin.write(b"".join(line + b"\n" for line in flows(count)))
            made = b""
            while made.count(b"\n") < count:
                assert readable(process.stdout)
                made += os.read(process.stdout.fileno(), 1 << 16)
            assert [json.loads(line)["signature"].get("batch", {}).get("count") for line in made.splitlines()] == [
                count if count > 1 else None
            ] * count
        process.stdin.close()
        assert process.stdout.read() == b""
        assert process.wait(60) == 0


def test_lines_that_trickle_in_do_not_put_it_off(home):
    """Input that never pauses for long enough ends no batch, but its time does."""
    argv = [*COMMAND, "--batch", "1024", "--batch-ms", "80", "--to", "dst"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        written = 0
        while not readable(process.stdout, 0.01):
            process.stdin.write(FLOW + b"\n")
            written += 1
            assert written < 3000
        process.stdin.close()
        assert len(process.stdout.read().splitlines()) == written


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_signs_what_is_held(home, end):
    argv = [*COMMAND, "--batch", "64", "--batch-ms", "60000", "--to", "dst"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        process.stdin.write(b"".join(line + b"\n" for line in flows(3)))
        assert not readable(process.stdout, 0.5)
        process.send_signal(end)
        assert len(process.stdout.read().splitlines()) == 3
        assert process.wait(60) == -end


def test_over_files(home):
    for name in ("a", "b"):
        (home / name).write_bytes(b"".join(line + b"\n" for line in flows(3)))
    assert batches(reports(of_sign("--batch", "64", "--to", "dst", "a", "-", "b"))) == [7]


def test_what_one_file_left_does_not_wait_for_the_next(home):
    (home / "a").write_bytes(b"".join(line + b"\n" for line in flows(3)))
    argv = [*COMMAND, "--batch", "64", "--batch-ms", "50", "--to", "dst", "a", "-"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        assert readable(process.stdout)
        process.stdin.close()
        assert len(process.stdout.read().splitlines()) == 3


def test_thousands_of_other_lines(home):
    other = [b'{"type":"x"}'] * 50_000
    done = of_sign("--batch", "64", "--batch-ms", "60000", "--to", "dst", lines=[FLOW, *other, FLOW, *other[:5], FLOW])
    kinds = "".join("o" if line == other[0] else "r" for line in done.stdout.splitlines())
    assert kinds == "r" + "o" * 50_000 + "rooooor"


@pytest.mark.skipif(not shutil.which("jq"), reason="jq is not installed")
def test_jq_sample_and_verify_take_batches(home):
    sign, verify, sample = (
        f"{' '.join(MODULES)} overflowd_tools.commands.{name}" for name in ("sign", "verify", "sample")
    )
    pipe = f"{sign} --batch 64 | jq . | jq -c . | tac | {sample} -r 1e-9 | {verify} | {verify}"
    lines = b"".join(line + b"\n" for line in flows(100))
    done = subprocess.run(pipe, shell=True, input=lines, capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(done.stdout.splitlines()) == 200


def test_of_send_refuses_them(home):
    made = of_sign("--batch", "64", lines=flows(3)).stdout
    argv = [*MODULES, "overflowd_tools.commands.send", "-n", "--to", "udp://127.0.0.1:9"]
    done = subprocess.run(argv, input=made, capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (1, b"of-send: 6 reports not sent: 6 batch\n")


def test_wrong_usage(home):
    for size in ("0", "1", "1025", "x", "-2", "1e2", "99999999999999999999", "\N{ARABIC-INDIC DIGIT TWO}"):
        done = of_sign("--batch", size)
        assert (done.returncode, done.stdout) == (2, b"")
        assert b"is not a number of reports from 2 to 1024" in done.stderr or size == "-2"
    assert complaint(of_sign("--batch-ms", "5")) == "--batch-ms goes with --batch"
    assert complaint(of_sign("--batch", "5", "--minisig", "x")).startswith("--minisig and --batch do not go together")


# --- minisig


@pytest.mark.skipif(not shutil.which("minisign"), reason="minisign is not installed")
def test_minisign_verifies(home):
    (one,) = reports(of_sign("--to", "dst", "--minisig", "message"))
    assert (home / "message").read_bytes() == one.signed
    argv = ["minisign", "-V", "-P", KEY.public.text, "-m", "message"]
    done = subprocess.run(argv, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"Signature and comment signature verified\nTrusted comment: overflowd report\n")
    assert one.signed not in done.stdout
    (home / "message").write_bytes(one.signed.replace(b"dst", b"src"))
    assert subprocess.run(argv, capture_output=True, check=False).returncode == 1


def test_minisig_is_for_one_report(home):
    for argv, lines in (([], [FLOW]), (["--to", "dst"], [FLOW, FLOW])):
        done = of_sign("--minisig", f"m{len(argv)}", *argv, lines=lines)
        assert done.returncode == 2
        assert done.stderr.startswith(b"of-sign: --minisig is for one report: ")
        assert len(done.stdout.splitlines()) == len(argv) / 2


def test_minisig_replaces_nothing(home):
    (home / "m.minisig").write_bytes(b"x")
    done = of_sign("--minisig", "m", "--to", "dst")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == b"of-sign: m.minisig: there already, and never overwritten\n"
    assert (home / "m.minisig").read_bytes() == b"x"

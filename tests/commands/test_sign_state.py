"""of-sign --state: the numbers go on from run to run, and none is ever given twice."""

import json
import os
import random
import signal
import subprocess

import pytest
from test_sign import COMMAND, FLOW, complaint, empty_home, home, of_sign, reports

__all__ = ["empty_home", "home"]


def numbers(done):
    """Return epoch, recipient, number and total of each report."""
    metadata = [one.members["metadata"] for one in reports(done)]
    return [(one["epoch"], one["to"], one["seq"], one["total"]["reports"], one["total"]["packets"]) for one in metadata]


def test_numbers_and_totals_go_on(home):
    first = numbers(of_sign("--state", "state", lines=[FLOW, FLOW]))
    second = numbers(of_sign("--state", "state", "--to", "dst"))
    epoch = first[0][0]
    assert first == [
        (epoch, "192.0.2.7", 1, 1, 17001),
        (epoch, "198.51.100.1", 1, 1, 17001),
        (epoch, "192.0.2.7", 2, 2, 34002),
        (epoch, "198.51.100.1", 2, 2, 34002),
    ]
    assert second == [(epoch, "198.51.100.1", 3, 3, 51003)]
    assert numbers(of_sign("--to", "dst"))[0][1:] == ("198.51.100.1", 1, 1, 17001)


def test_reports_to_nobody_are_numbered_too(home):
    made = [reports(of_sign("--state", "state", "--to", "none"))[0].members["metadata"] for _ in range(2)]
    assert [one["seq"] for one in made] == [1, 2]
    assert made[0]["epoch"] == made[1]["epoch"]


def test_batches_are_numbered_alike(home):
    made = [
        number for _ in range(2) for number in numbers(of_sign("--state", "state", "--batch", "2", lines=[FLOW] * 3))
    ]
    assert [number[2] for number in made[::2]] == [1, 2, 3, 4, 5, 6]
    assert len({number[0] for number in made}) == 1


def test_another_key(home):
    of_sign("--state", "state")
    subprocess.run(["minisign", "-G", "-W", "-p", "p", "-s", "s"], check=True, capture_output=True)
    done = of_sign("-v", "--state", "state", "-k", "s")
    assert b"of-sign: state: a new epoch begins: it was kept for another key\n" in done.stderr


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE])
def test_ends_after_which_it_goes_on(home, end):
    with subprocess.Popen(
        [*COMMAND, "--state", "state", "--to", "dst"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdin.write(FLOW + b"\n")
        process.stdin.flush()
        epoch = json.loads(process.stdout.readline())["metadata"]["epoch"]
        if end == signal.SIGPIPE:
            process.stdout.close()
            process.stdin.write(FLOW + b"\n")
            process.stdin.flush()
        else:
            process.send_signal(end)
        assert process.wait(60) == -end
    given = 2 if end == signal.SIGPIPE else 1
    assert numbers(of_sign("--state", "state", "--to", "dst"))[0][:3] == (epoch, "198.51.100.1", given + 1)


def test_killed_at_any_moment(home):
    """No number that was seen on standard output is seen again, and none is missing."""
    rng = random.Random(5)
    (home / "flows").write_bytes((FLOW + b"\n") * 300)
    seen, last = set(), {}
    for run in range(12):
        argv = [*COMMAND, "--state", "state", "--to", "dst", *(["--batch", "8"] if run % 3 == 2 else []), "flows"]
        with subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            if run % 4:
                try:
                    process.wait(rng.uniform(0.02, 0.35))
                except subprocess.TimeoutExpired:
                    process.kill()
            out, err = process.communicate(timeout=60)
        assert err == b""
        for line in out[: out.rfind(b"\n") + 1].splitlines():
            metadata = json.loads(line)["metadata"]
            epoch, number = metadata["epoch"], metadata["seq"]
            assert (epoch, number) not in seen
            seen.add((epoch, number))
            assert number == last.get(epoch, 0) + 1
            last[epoch] = number
    assert len(seen) >= 900


def test_two_at_a_time(home):
    with subprocess.Popen([*COMMAND, "--state", "state"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdin.write(FLOW + b"\n")
        process.stdin.flush()
        process.stdout.readline()
        assert complaint(of_sign("--state", "state")) == "state: in use by another process"
        process.stdin.close()
        assert process.wait(60) == 0
    assert numbers(of_sign("--state", "state", "--to", "dst"))[0][2] == 2


@pytest.mark.parametrize("data", [b"x\n", b"\x1f\x8b", b"{}\n", b'{"$schema":"overflowd-keyring/1","id":"x"}\n'])
def test_a_file_of_another_kind_stays(home, data):
    (home / "state").write_bytes(data)
    (home / "state").chmod(0o600)
    assert complaint(of_sign("--state", "state")) == "state: not a state file"
    assert (home / "state").read_bytes() == data


def test_files_that_cannot_be_used(home):
    assert complaint(of_sign("--state", ".")) == ".: Is a directory"
    assert complaint(of_sign("--state", "")) == ": No such file or directory"
    assert complaint(of_sign("--state", "x/y")) == "x/y: No such file or directory"
    (home / "state").touch(0o644)
    assert complaint(of_sign("--state", "state")) == "state: open to others; run: chmod 600 state"
    assert complaint(of_sign("--state", "state", "--format", "1")).startswith("--state, --batch and --minisig are for")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_loses_no_number(home):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*COMMAND, "--state", "state"], input=FLOW, stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 2
    assert numbers(of_sign("--state", "state", "--to", "dst"))[0][2] == 2

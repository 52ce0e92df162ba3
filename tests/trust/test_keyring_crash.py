"""Keyrings under kill -9, full disks and competition: what was acknowledged stays, and nothing passes twice."""

import random
import resource
import signal
import subprocess
import sys
import time

import pytest
from harness import TOP
from trust.rings import NOW, Small, judge, known, record, ring, sighting

from overflowd_tools.trust.keys import PublicKey, SecretKey

CHILD = """
import sys
sys.path[:0] = [{top!r}, {tests!r}]
from trust.rings import *
first, last, step, limits = *map(int, sys.argv[2:5]), Small if sys.argv[5] == "small" else Limits
with ring(sys.argv[1], limits=limits) as keyring:
    print("ready", flush=True)
    for start in range(first, last, step):
        some = [sighting(key=seq % 3, seq=seq) for seq in range(start, start + step)]
        passed = [one.seq for one, why in zip(some, judge(keyring, *some)) if not why]
        print(*passed, flush=True)
""".format(top=str(TOP), tests=str(TOP / "tests"))


def child(path, first, last, step, limits="small") -> subprocess.Popen:
    argv = [sys.executable, "-c", CHILD, str(path), str(first), str(last), str(step), limits]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def acknowledged(output: bytes) -> list[int]:
    """Return the numbers in the whole lines that a child wrote."""
    return [int(number) for line in output.split(b"\n")[1:-1] for number in line.split()]


def test_killed_at_any_moment(tmp_path):
    """With small limits the log is made shorter all the time, and the window is narrow."""
    path, dice = tmp_path / "ring", random.Random(3)
    passed: list[int] = []
    start = 1
    for _ in range(12):
        process = child(path, start, start + 100_000, 7)
        assert process.stdout.readline() == b"ready\n"
        time.sleep(dice.uniform(0, 0.12))
        process.send_signal(signal.SIGKILL)
        output, told = process.communicate(timeout=30)
        assert told == b""
        passed += acknowledged(b"\n" + output)
        start = max(max(passed, default=1) - 30, 1)
    assert len(passed) == len(set(passed)) > 100
    told: list[str] = []
    with ring(path, told, Small) as keyring:
        again = judge(keyring, *(sighting(key=seq % 3, seq=seq) for seq in passed))
        assert set(again) <= {"duplicate", "too old"}
        before = known(keyring)
        keyring.check()
        assert known(keyring)["statements"] == before["statements"]
    assert all("unfinished line" in one for one in told)


def test_two_processes_pass_each_report_once(tmp_path):
    path = tmp_path / "ring"
    children = [child(path, 1, 701, 7, "large") for _ in range(2)]
    outputs = [process.communicate(timeout=60) for process in children]
    assert [told for _, told in outputs] == [b"", b""]
    first, second = (acknowledged(output) for output, _ in outputs)
    assert sorted(first + second) == list(range(1, 701))
    with ring(path) as keyring:
        assert sum(record(keyring, key).reports for key in range(3)) == 700


def test_two_processes_while_the_log_is_made_shorter(tmp_path):
    path = tmp_path / "ring"
    children = [child(path, 1, 701, 7, "small") for _ in range(2)]
    outputs = [process.communicate(timeout=60) for process in children]
    assert [told for _, told in outputs] == [b"", b""]
    both = [number for output, _ in outputs for number in acknowledged(output)]
    assert len(both) == len(set(both))


@pytest.mark.parametrize("room", [0, 100, 3_000, 9_000, 30_000, 40_000, 60_000])
def test_a_full_disk(tmp_path, room):
    """Where there is no room for more, nothing is acknowledged, and what was stays."""
    path = tmp_path / "ring"
    with ring(path) as keyring:
        judge(keyring, sighting(seq=1))
    code = f"""
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, most))
try:
    exec({CHILD!r})
finally:  # for whoever measures this
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
"""
    argv = [sys.executable, "-c", code, str(path), "2", "2000", "20", "small"]
    done = subprocess.run(argv, capture_output=True, timeout=60, check=False)
    passed = acknowledged(done.stdout)
    assert done.returncode == 1
    assert b"KeyFileError" in done.stderr.splitlines()[-1]
    with ring(path) as keyring:
        again = judge(keyring, sighting(seq=1), *(sighting(key=seq % 3, seq=seq) for seq in passed))
        assert set(again) <= {"duplicate", "too old"}
        assert len(passed) == len(set(passed))
        fresh = judge(keyring, sighting(key=7))
        assert fresh == [None]


def test_memory_of_a_flood_of_keys(tmp_path):
    """A keyring that many forged keys came to is no larger than one that few came to."""
    path = tmp_path / "ring"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with ring(path, limits=Small) as keyring:
        for start in range(0, 3000, 10):
            forged = [sighting(seq=1)._replace(key=forged_key(number)) for number in range(start, start + 10)]
            with keyring.update(NOW) as update:
                for one in forged:
                    update.judge(one, "unknown")
        assert len(known(keyring)["records"]) <= Small.keys
    assert path.stat().st_size < 3 * Small.log
    assert path.with_name("ring.index").stat().st_size < 300_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


def forged_key(number: int) -> PublicKey:
    return SecretKey.from_seed(number.to_bytes(32, "big")).public

"""The state file: what is kept counts once, and only after a run that ended well; whatever else is there stays."""

import fcntl
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from overflowd_tools.errors import KeyFileError
from overflowd_tools.trust.state import LIMIT, StateFile

TOP = Path(__file__).resolve().parents[2]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state"


def taken(path, *, keep=None, takes=True):
    """Open the file, and return what was taken over, or why nothing was."""
    found = []
    with closing(StateFile(path, lambda content: found.append(content) or takes)) as state:
        if keep is not None:
            state.keep(keep)
        assert bool(state.why_anew) != bool(found and takes)
        return state.why_anew or found[0]


def refused(path):
    """Return why the file is refused, and require that it stays as it is."""
    before = path.read_bytes()
    with pytest.raises(KeyFileError) as caught:
        taken(path)
    assert path.read_bytes() == before
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


def test_from_run_to_run(path):
    assert taken(path, keep=b"one\n") == "the file is new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert taken(path, keep=b"") == b"one\n"
    assert taken(path, keep=b"a much longer one\n" * 100_000) == b""
    assert taken(path, keep=b"short") == b"a much longer one\n" * 100_000
    assert taken(path, keep=b"x") == b"short"


def test_what_is_not_kept_is_gone(path):
    taken(path, keep=b"one")
    assert taken(path) == b"one"
    assert taken(path, keep=b"two") == "the last run did not end well"
    assert taken(path) == b"two"


def test_what_another_key_kept(path):
    taken(path, keep=b"one")
    assert taken(path, keep=b"two", takes=False) == "it was kept for another key"
    assert taken(path) == b"two"


def test_content_that_is_refused(path):
    def load(content):
        raise KeyFileError("not like that")

    taken(path, keep=b"one")
    before = path.read_bytes()
    with pytest.raises(KeyFileError, match=r"state: not like that$"):
        StateFile(path, load)
    assert path.read_bytes() == before
    assert taken(path) == b"one"


def test_two_at_a_time(path):
    with closing(StateFile(path, bool)) as state:
        with pytest.raises(KeyFileError, match=r"in use by another process$"):
            StateFile(path, bool)
        state.keep(b"one")
    assert taken(path) == b"one"


@pytest.mark.parametrize("copy", ["cp {0} {1} && mv {1} {0}", "cp -p {0} {1} && mv {1} {0}", "touch -d 2020-01-01 {0}"])
def test_a_copy_does_not_count(path, copy):
    """Who puts an old file back would give numbers twice, which looks like fraud."""
    taken(path, keep=b"one")
    subprocess.run(copy.format(path, f"{path}.old"), shell=True, check=True)
    assert taken(path, keep=b"two") == "the file was copied, or changed since it was kept"
    assert taken(path) == b"two"


def test_a_file_that_moves_is_the_same(path):
    taken(path, keep=b"one")
    path.rename(f"{path}.new")
    assert taken(f"{path}.new") == b"one"


def test_a_link(path, tmp_path):
    path.symlink_to(tmp_path / "elsewhere")
    taken(path, keep=b"one")
    assert taken(path) == b"one"
    assert path.is_symlink()


@pytest.mark.parametrize("data", [b"x", b"\0" * 200, b'{"$schema":"overflowd-state/2"}\n', b"seckey\n" * 50])
def test_other_files(path, data):
    path.write_bytes(data)
    path.chmod(0o600)
    assert refused(path) == "not a state file"


def test_damage(path):
    taken(path, keep=b"one\ntwo\n")
    whole = path.read_bytes()
    for at in range(len(whole)):
        for bit in (1, 32):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :])
            assert refused(path) in ("not a state file", "damaged; remove it to begin anew")
    for end in range(1, len(whole)):
        path.write_bytes(whole[:end])
        assert refused(path) in ("not a state file", "damaged; remove it to begin anew")


def test_an_empty_file_is_new(path):
    path.touch(0o600)
    assert taken(path) == "the file is new"


def test_a_huge_file(path):
    path.touch(0o600)
    os.truncate(path, LIMIT + 1)
    with pytest.raises(KeyFileError, match="not a state file"):
        taken(path)
    assert path.stat().st_size == LIMIT + 1


def test_what_is_no_file(path):
    with pytest.raises(KeyFileError, match="Is a directory"):
        taken(path.parent)
    with pytest.raises(KeyFileError, match="No such file or directory"):
        taken(path / "x")
    os.mkfifo(path, 0o600)
    with pytest.raises(KeyFileError, match="not a regular file"):
        taken(path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o666])
def test_open_to_others(path, mode):
    path.touch()
    path.chmod(mode)
    assert refused(path) == f"open to others; run: chmod 600 {path}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_of_another_user(path):
    path.touch(0o600)
    os.chown(path, 12345, 12345)
    assert refused(path) == "belongs to another user (uid 12345, not 0)"


def test_a_full_disk(path, monkeypatch):
    taken(path, keep=b"one")
    with closing(StateFile(path, bool)) as state:

        def full(*_):
            raise OSError(28, "No space left on device")

        for name in ("pwrite", "fsync"):
            with monkeypatch.context() as patched:
                patched.setattr(os, name, full)
                with pytest.raises(KeyFileError, match=r"state: No space left on device$"):
                    state.keep(b"two")
    assert taken(path) == "the last run did not end well"
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(KeyFileError, match="No space left on device"):
        taken(path)
    monkeypatch.setattr(os, "pwrite", lambda *_: 0)
    with pytest.raises(KeyFileError, match="Input/output error"):
        taken(path)
    monkeypatch.undo()
    with open(path, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nobody has kept it


CRASHING = """
import os, sys
from overflowd_tools.trust import state
left, real = int(sys.argv[2]), {name: getattr(os, name) for name in ("pwrite", "fsync", "ftruncate", "utime")}
def counted(name):
    def call(*arguments):
        global left
        left -= 1
        if left < 0:
            if name == "pwrite":
                real[name](arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2], arguments[2])
            os.kill(os.getpid(), 9)
        return real[name](*arguments)
    return call
for name in real:
    setattr(os, name, counted(name))
found = []
file = state.StateFile(sys.argv[1], lambda content: not found.append(content))
os.write(1, (found[0] if found else b"anew") + b"\\n")
file.keep(b"two")
"""


def test_a_crash_at_every_step(path):
    """What counts next is what was kept whole, and only if nothing could be said after it."""
    outcomes = []
    for steps in range(12):
        path.unlink(missing_ok=True)
        taken(path, keep=b"one")
        argv = [sys.executable, "-c", CRASHING, str(path), str(steps)]
        done = subprocess.run(argv, cwd=TOP, capture_output=True, timeout=60, check=False)
        try:
            next_run = taken(path)
        except KeyFileError as error:
            next_run = str(error)
        spoke = done.stdout == b"one\n"
        outcomes.append((spoke, done.returncode, next_run))
        if spoke:
            assert next_run != b"one"
    assert outcomes[0] == (False, -signal.SIGKILL, next(iter(outcomes))[2])
    assert outcomes[-1] == (True, 0, b"two")
    assert (True, -signal.SIGKILL, "the last run did not end well") in outcomes

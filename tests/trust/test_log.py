"""The log of a keyring: whole lines or none, one writer at a time, and no harm to files that are something else."""

import errno
import json
import os
import stat
import subprocess
import sys

import pytest
from harness import TOP

from overflowd_tools.errors import KeyFileError
from overflowd_tools.trust import log
from overflowd_tools.trust.log import LINE_LIMIT, Log


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "ring")


@pytest.fixture
def told():
    return []


@pytest.fixture
def opened(path, told):
    made = Log(path, told.append)
    made.lock()
    yield made
    made.close()


def content(path) -> list[bytes]:
    with open(path, "rb") as file:
        return file.read().split(b"\n")[1:]


def events(opened) -> list[bytes]:
    return [line for offset, line in opened.lines(0) if offset]


def test_a_new_log_has_an_id_and_is_private(path, opened, told):
    with open(path) as file:
        assert json.loads(file.read()) == {"$schema": "overflowd-keyring/1", "id": opened.id}
    assert len(opened.id) == 32
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert told == []


def test_what_is_appended_is_there(path, opened):
    opened.append(b"one\ntwo\n")
    assert content(path) == [b"one", b"two", b""]
    (first, _), (second, line) = list(opened.lines(0))[1:]
    assert opened.line_at(first) == b"one"
    assert (line, opened.line_at(second), opened.line_at(10**6)) == (b"two", b"two", b"")
    assert opened.tail(opened.size).endswith(b"one\ntwo\n")


@pytest.mark.parametrize("torn", [b"x", b'{"event":"rep', b"\0" * 5000, b"y" * 3_000_000])
def test_an_unfinished_line_is_cut_off_and_told(path, opened, told, torn):
    opened.append(b"one\n")
    opened.close()
    with open(path, "ab") as file:
        file.write(torn)
    again = Log(path, told.append)
    again.lock()
    assert content(path) == [b"one", b""]
    assert told == [f"{path}: {len(torn)} octets of an unfinished line cut off at the end"]
    assert (again.id, again.size) == (opened.id, os.path.getsize(path))
    again.close()


@pytest.mark.parametrize("torn", [b"", b"{", b'{"$schema":"overflowd-keyring/1","id":"abc'])
def test_a_log_that_was_never_finished_begins_anew(path, told, torn):
    with open(path, "wb") as file:
        file.write(torn)
    opened = Log(path, told.append)
    opened.lock()
    assert len(opened.id) == 32
    assert len(told) == (1 if torn else 0)
    opened.close()


@pytest.mark.parametrize(
    "other",
    [
        b"precious, and without a newline at its end",
        b'{"type":"flow"}\n{"ty',
        b'{"$schema":"overflowd-keyring/2","id":"x"}\n',
        b'{"$schema":"overflowd-keyring/1","id":7}\n',
        b"[]\nx",
        b"[" * 100_000 + b"\nx",
        b'{"$schema":"overflowd-keyring/1","id":"' + b"a" * 100,
        b"\n",
        b"\xff\xfe",
    ],
)
def test_other_files_are_not_touched(path, told, other):
    with open(path, "wb") as file:
        file.write(other)
    opened = Log(path, told.append)
    with pytest.raises(KeyFileError, match="not a keyring"):
        opened.lock()
    with open(path, "rb") as file:
        assert file.read() == other
    opened.close()


def test_files_that_cannot_be_logs(path, told, tmp_path):
    os.mkfifo(path)
    with pytest.raises(KeyFileError, match="not a regular file"):
        Log(path, told.append)
    with pytest.raises(KeyFileError, match="Is a directory"):
        Log(str(tmp_path), told.append)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(KeyFileError, match=r"file|Not a directory"):
        Log(str(tmp_path / "file" / "ring"), told.append)


def test_a_log_that_others_can_write_is_refused(path, opened, told):
    os.chmod(path, 0o620)
    with pytest.raises(KeyFileError, match="others can write it"):
        Log(path, told.append)


def test_lines_past_the_limit_are_shown_in_part(opened):
    opened.append(b"a\n" + b"x" * (3 * LINE_LIMIT) + b"\nb\n")
    assert [len(line) for line in events(opened)] == [1, LINE_LIMIT, 1]
    offsets = [offset for offset, _ in opened.lines(0)]
    assert [opened.line_at(offset) for offset in (offsets[1], offsets[3])] == [b"a", b"b"]
    assert opened.line_at(offsets[2]) == b""


@pytest.mark.parametrize("failing", ["write", "fsync"])
def test_a_full_disk_leaves_the_log_as_it_was(path, opened, monkeypatch, failing):
    opened.append(b"one\n")
    real = os.write

    def fails(descriptor, data=b""):
        if failing == "write" and len(data) > 5:
            return real(descriptor, data[:5])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, failing, fails)
        with pytest.raises(KeyFileError, match="No space left"):
            opened.append(b"another line\n")
    assert content(path) == [b"one", b""]
    opened.append(b"two\n")
    assert content(path) == [b"one", b"two", b""]


def test_a_write_of_nothing_is_an_error(opened, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda *_: 0)
        with pytest.raises(KeyFileError, match="Input/output error"):
            opened.append(b"line\n")


def test_replacing_is_seen_by_others(path, opened, told):
    opened.append(b"one\n")
    other = Log(path, told.append)
    before = opened.id
    opened.replace(lambda place: [b"%d\n" % place] * 2500)
    assert opened.id != before
    assert opened.size == os.path.getsize(path)
    assert int(opened.line_at(opened.size - 3)) == len(opened.line_at(0)) + 1
    opened.unlock()
    other.lock()
    assert (other.id, len(events(other))) == (opened.id, 2500)
    other.close()


def test_a_failed_replacement_leaves_everything(path, opened, tmp_path):
    opened.append(b"one\n")

    def fails(place):
        yield b"x\n"
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(KeyFileError, match="No space"):
        opened.replace(fails)
    assert os.listdir(tmp_path) == ["ring"]
    assert content(path) == [b"one", b""]


def test_a_log_that_was_removed_is_made_again(path, opened, told):
    opened.unlock()
    os.unlink(path)
    opened.lock()
    assert content(path) == [b""]


def test_only_one_process_holds_the_lock(path, opened):
    code = f"""
from overflowd_tools.trust.log import Log
log = Log({path!r}, print)
print("waiting", flush=True)
log.lock()
log.append(b"second\\n")
"""
    with subprocess.Popen([sys.executable, "-c", code], cwd=TOP, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"waiting\n"
        opened.append(b"first\n")
        opened.unlock()
        assert process.wait(30) == 0
    assert content(path) == [b"first", b"second", b""]
    opened.lock()
    assert events(opened) == [b"first", b"second"]


def test_the_end_is_found_in_a_long_tail(path, opened, monkeypatch):
    monkeypatch.setattr(log, "_CHUNK", 7)
    opened.append(b"a long line of text\n")
    with open(path, "ab") as file:
        file.write(b"and the beginning of one more")
    opened.lock()
    assert events(opened) == [b"a long line of text"]

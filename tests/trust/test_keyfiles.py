"""The rules for key files: who may read them, and that they appear whole or not at all."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import textwrap

import pytest

from overflowd_tools.errors import KeyFileError
from overflowd_tools.trust import keyfiles
from overflowd_tools.trust.keys import SecretKey, encode_secret

KEY = SecretKey.from_seed(bytes(range(32)))


@pytest.fixture(autouse=True)
def _own_settings(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)


@pytest.fixture
def umask():
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


def never():
    raise AssertionError("nobody should ask for a passphrase here")


def mode_of(path) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def secret_file(path, mode=0o600):
    path.write_bytes(encode_secret(KEY, None, "c"))
    path.chmod(mode)
    return path


# --- where


def test_default_path(tmp_path, monkeypatch):
    assert keyfiles.default_path() == str(tmp_path / "config/overflowd/key")
    monkeypatch.setenv("HOME", "/somewhere")
    for without in ("", "relative/path"):
        monkeypatch.setenv("XDG_CONFIG_HOME", without)
        assert keyfiles.default_path() == "/somewhere/.config/overflowd/key"


def test_credential_comes_first_if_it_is_there(tmp_path, monkeypatch):
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert keyfiles.default_path() == str(tmp_path / "config/overflowd/key")
    secret_file(tmp_path / "overflowd.key")
    assert keyfiles.default_path() == str(tmp_path / "overflowd.key")


# --- reading secret keys


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_key_that_only_its_owner_can_read(tmp_path, mode):
    assert keyfiles.read_secret_key(secret_file(tmp_path / "k", mode), never).public == KEY.public


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o440, 0o644, 0o777])
def test_key_that_others_can_use_is_refused_with_the_remedy(tmp_path, mode):
    path = secret_file(tmp_path / "my key", mode)
    with pytest.raises(KeyFileError, match=f"{mode:04o}") as caught:
        keyfiles.read_secret_key(path, never)
    remedy = str(caught.value).partition("run: ")[2]
    subprocess.run(remedy, shell=True, check=True)
    assert keyfiles.read_secret_key(path, never).public == KEY.public


def test_key_of_someone_else_is_refused(tmp_path, monkeypatch):
    path = secret_file(tmp_path / "k")
    monkeypatch.setattr(os, "geteuid", lambda: os.stat(path).st_uid + 1)
    with pytest.raises(KeyFileError, match="another user"):
        keyfiles.read_secret_key(path, never)


@pytest.mark.parametrize(("mode", "accepted"), [(0o400, True), (0o440, True), (0o460, False), (0o444, False)])
def test_credential_of_systemd(tmp_path, monkeypatch, mode, accepted):
    """Mode 0440 is how an ACL for the one user of the service looks from outside."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    path = secret_file(tmp_path / "overflowd.key", mode)
    if accepted:
        assert keyfiles.read_secret_key(path, never).public == KEY.public
    else:
        with pytest.raises(KeyFileError, match="open to others"):
            keyfiles.read_secret_key(path, never)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_credential_belongs_to_root_or_to_the_service(tmp_path, monkeypatch):
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    path = secret_file(tmp_path / "overflowd.key", 0o440)
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    assert keyfiles.read_secret_key(path, never).public == KEY.public
    os.chown(path, 1234, -1)
    assert keyfiles.read_secret_key(path, never).public == KEY.public
    os.chown(path, 1235, -1)
    with pytest.raises(KeyFileError, match="another user"):
        keyfiles.read_secret_key(path, never)


def test_only_files_in_the_credentials_directory_are_credentials(tmp_path, monkeypatch):
    (tmp_path / "credentials").mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    with pytest.raises(KeyFileError, match="open to others"):
        keyfiles.read_secret_key(secret_file(tmp_path / "k", 0o440), never)


def test_missing_key_names_the_command_that_makes_one(tmp_path):
    with pytest.raises(KeyFileError, match=r"make one: of-key new$"):
        keyfiles.read_secret_key(keyfiles.default_path(), never)
    with pytest.raises(KeyFileError, match=r"make one: of-key new -k '.*/a key'$"):
        keyfiles.read_secret_key(tmp_path / "a key", never)


def test_what_is_no_regular_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo", "/dev/zero"):
        with pytest.raises(KeyFileError, match="not a regular file"):
            keyfiles.read_secret_key(path, never)
    with pytest.raises(KeyFileError, match="Not a directory"):
        keyfiles.read_secret_key(secret_file(tmp_path / "k") / "k", never)


def test_symbolic_link_to_a_key_is_followed(tmp_path):
    (tmp_path / "link").symlink_to(secret_file(tmp_path / "k"))
    assert keyfiles.read_secret_key(tmp_path / "link", never).public == KEY.public


@pytest.mark.parametrize("size", [0, 1, 4096, 4097, 1 << 20])
def test_files_that_hold_no_key(tmp_path, size):
    path = secret_file(tmp_path / "k")
    path.write_bytes(b"A" * size)
    with pytest.raises(KeyFileError, match="over 4096 bytes" if size > 4096 else "not a minisign secret key"):
        keyfiles.read_secret_key(path, never)


def test_encrypted_key_asks(tmp_path):
    path = tmp_path / "k"
    keyfiles.write_secret_key(path, KEY, b"pass")
    assert keyfiles.read_secret_key(path, lambda: b"pass").public == KEY.public
    with pytest.raises(KeyFileError, match="k: wrong passphrase"):
        keyfiles.read_secret_key(path, lambda: b"")


# --- reading public keys


def test_public_keys_one_a_line(tmp_path):
    other = SecretKey.generate().public
    path = tmp_path / "keys"
    path.write_text(f"# ours\n{KEY.public.text}\n\nuntrusted comment: theirs\n  {other.text}\r\n#\n{other.text}")
    assert keyfiles.read_public_keys(path) == [KEY.public, other, other]


@pytest.mark.parametrize("content", [b"", b"# nothing\n", b"untrusted comment: x\n\n"])
def test_no_public_key(tmp_path, content):
    path = tmp_path / "keys"
    path.write_bytes(content)
    with pytest.raises(KeyFileError, match="no public key"):
        keyfiles.read_public_keys(path)


def test_bad_public_key_names_its_line_and_shows_nothing_of_it(tmp_path):
    path = tmp_path / "keys"
    secret = encode_secret(KEY, None, "c")
    path.write_bytes(KEY.public.text.encode() + b"\n" + secret)
    with pytest.raises(KeyFileError, match="line 3: not a public key") as caught:
        keyfiles.read_public_keys(path)
    assert secret.split(b"\n")[1][:12].decode() not in str(caught.value)
    path.write_bytes(b"\xff\xfe\0")
    with pytest.raises(KeyFileError, match="line 1"):
        keyfiles.read_public_keys(path)


def test_public_key_files_of_other_kinds(tmp_path):
    for path, reason in (
        (tmp_path, "Is a directory"),
        (tmp_path / "none", "No such file"),
        ("/dev/zero", "over"),
    ):
        with pytest.raises(KeyFileError, match=reason):
            keyfiles.read_public_keys(path)


def test_public_half(tmp_path):
    path = tmp_path / "k"
    keyfiles.write_secret_key(path, KEY, b"pass")
    assert keyfiles.read_public_half(path, never) == KEY.public
    os.unlink(keyfiles.public_path(path))
    assert keyfiles.read_public_half(path, lambda: b"pass") == KEY.public
    (tmp_path / "k.pub").write_text(f"{KEY.public.text}\n" * 2)
    with pytest.raises(KeyFileError, match="2 keys"):
        keyfiles.read_public_half(path, never)


# --- writing


@pytest.mark.parametrize(("mask", "public_mode"), [(0, 0o644), (0o022, 0o644), (0o077, 0o600)])
def test_modes_whatever_the_umask(tmp_path, umask, mask, public_mode):
    path = tmp_path / "a/b/key"
    umask(mask)
    keyfiles.write_secret_key(path, KEY, None)
    assert mode_of(path) == 0o600
    assert mode_of(tmp_path / "a/b/key.pub") == public_mode
    assert mode_of(tmp_path / "a") == mode_of(tmp_path / "a/b") == 0o700
    assert sorted(os.listdir(tmp_path / "a/b")) == ["key", "key.pub"]
    assert keyfiles.read_secret_key(path, never).public == KEY.public
    assert keyfiles.read_public_keys(f"{path}.pub") == [KEY.public]


def test_path_without_a_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keyfiles.write_secret_key("key", KEY, None)
    assert keyfiles.read_secret_key("key", never).public == KEY.public


@pytest.mark.parametrize("name", ["k", "k.pub"])
@pytest.mark.parametrize("kind", ["file", "directory", "dangling link"])
def test_nothing_is_overwritten(tmp_path, name, kind):
    path = tmp_path / name
    match kind:
        case "file":
            path.write_bytes(b"mine")
        case "directory":
            path.mkdir()
        case _:
            path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(KeyFileError, match=f"{name}: there already"):
        keyfiles.write_secret_key(tmp_path / "k", KEY, None)
    assert os.listdir(tmp_path) == [name]
    if kind == "file":
        assert path.read_bytes() == b"mine"


def test_loser_of_a_race_leaves_the_winner_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(keyfiles, "refuse_existing", lambda _: None)
    (tmp_path / "k").write_bytes(b"winner")
    with pytest.raises(KeyFileError, match="there already"):
        keyfiles.write_secret_key(tmp_path / "k", KEY, None)
    assert os.listdir(tmp_path) == ["k"]
    assert (tmp_path / "k").read_bytes() == b"winner"


def test_directory_made_by_someone_else_meanwhile(tmp_path, monkeypatch):
    mkdir = os.mkdir

    def slower(path, mode):
        mkdir(path, mode)
        mkdir(path, mode)

    monkeypatch.setattr(os, "mkdir", slower)
    keyfiles.write_secret_key(tmp_path / "new/k", KEY, None)
    assert keyfiles.read_secret_key(tmp_path / "new/k", never).public == KEY.public


def test_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file/k", "/proc/k", tmp_path / ("x" * 300)):
        with pytest.raises(KeyFileError, match="cannot be made"):
            keyfiles.write_secret_key(path, KEY, None)
    assert os.listdir(tmp_path) == ["file"]


def test_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KeyFileError, match="No space left"):
        keyfiles.write_secret_key(tmp_path / "k", KEY, None)
    assert os.listdir(tmp_path) == []


KILLED = """
    import os, signal, sys
    from overflowd_tools.trust import keyfiles
    from overflowd_tools.trust.keys import SecretKey
    name, turn, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    real, calls = getattr(os, name), []
    def kill(*arguments, **more):
        calls.append(1)
        if len(calls) == turn:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **more)
    setattr(os, name, kill)
    keyfiles.write_secret_key(path, SecretKey.from_seed(bytes(range(32))), None)
"""


@pytest.mark.parametrize(
    ("call", "turn"),
    [
        ("open", 1),
        ("fsync", 1),
        ("link", 1),
        ("unlink", 1),
        ("fsync", 2),
        ("open", 3),
        ("link", 2),
        ("unlink", 2),
    ],
)
def test_killed_at_any_moment_there_is_a_whole_file_or_none(tmp_path, call, turn):
    path = tmp_path / "k"
    argv = [sys.executable, "-c", textwrap.dedent(KILLED), call, str(turn), str(path)]
    assert subprocess.run(argv, check=False).returncode == -signal.SIGKILL
    if path.exists():
        assert keyfiles.read_secret_key(path, never).public == KEY.public
    if os.path.exists(f"{path}.pub"):
        assert keyfiles.read_public_keys(f"{path}.pub") == [KEY.public]
        assert path.exists()
    for name in os.listdir(tmp_path):
        assert name in ("k", "k.pub") or mode_of(tmp_path / name) & 0o133 == 0


@pytest.mark.skipif(not shutil.which("minisign"), reason="minisign is not installed")
def test_minisign_uses_both_files(tmp_path):
    keyfiles.write_secret_key(tmp_path / "k", KEY, None)
    (tmp_path / "message").write_bytes(b"message")
    sign = ["minisign", "-S", "-s", "k", "-p", "k.pub", "-m", "message"]
    verify = ["minisign", "-V", "-p", "k.pub", "-m", "message"]
    for argv in (sign, verify):
        done = subprocess.run(argv, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr

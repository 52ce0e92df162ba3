"""Files of receiving keys: how they are read and written, and which are refused."""

import os
import stat

import pytest

from overflowd_tools.errors import KeyFileError
from overflowd_tools.trust import receiving
from overflowd_tools.trust.keys import SecretKey, encode_secret
from overflowd_tools.trust.sealing import ReceivingKey

KEY = ReceivingKey(bytes(range(32)))
OLD = ReceivingKey(bytes(32))
SIGNER = SecretKey.from_seed(bytes(range(32)))


def never():
    raise AssertionError("nobody should ask for a passphrase here")


def read(path):
    return [key.public for key in receiving.read_keys(path, never)]


@pytest.fixture
def place(tmp_path):
    def write(text, mode=0o600):
        path = tmp_path / "keys"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(mode)
        return path

    return write


def test_default_path(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert receiving.default_path() == str(tmp_path / "overflowd/receiving-key")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert receiving.default_path() == str(tmp_path / "overflowd/receiving-key")
    (tmp_path / receiving.CREDENTIAL).touch()
    assert receiving.default_path() == str(tmp_path / receiving.CREDENTIAL)


def test_there_and_back(tmp_path):
    path = tmp_path / "new" / "key"
    receiving.write_key(path, KEY)
    assert read(path) == [KEY.public]
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(path.parent).st_mode) == 0o700
    assert (tmp_path / "new" / "key.pub").read_text() == f"{KEY.public.text}\n"
    with pytest.raises(KeyFileError, match="never overwritten"):
        receiving.write_key(path, OLD)
    assert read(path) == [KEY.public]


def test_age_reads_what_is_written(tmp_path):
    pyrage = pytest.importorskip("pyrage")
    receiving.write_key(tmp_path / "key", KEY)
    secret = (tmp_path / "key").read_text().splitlines()[-1]
    assert str(pyrage.x25519.Identity.from_str(secret).to_public()) == KEY.public.text


def test_old_keys_stay_as_further_lines(place):
    text = f"# created: 2026-11-21\n# public key: {KEY.public.text}\n{KEY.secret_text()}\r\n\n{OLD.secret_text()}\n"
    assert read(place(text)) == [KEY.public, OLD.public]


def test_a_key_that_signs_serves_too(place):
    assert read(place(encode_secret(SIGNER, None, "c"))) == [ReceivingKey.of_signer(SIGNER).public]
    found = receiving.read_keys(place(encode_secret(SIGNER, b"pass", "c")), lambda: b"pass")
    assert [key.public for key in found] == [ReceivingKey.of_signer(SIGNER).public]
    with pytest.raises(KeyFileError, match="not a minisign secret key"):
        read(place("untrusted comment: x\nxx\n"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no receiving key in it"),
        ("# nothing\n", "no receiving key in it"),
        (f"# x\n{KEY.secret_text()[:-1]}\n", "line 2: mistyped"),
        (KEY.public.text, "line 1: not a receiving key"),
        (b"\xff\xfe\0", "line 1: not a Bech32 text"),
        ("x" * 5000, "over 4096 bytes"),
    ],
)
def test_bad_files(place, text, reason):
    with pytest.raises(KeyFileError, match=reason) as caught:
        read(place(text))
    assert KEY.secret_text()[:-1] not in str(caught.value)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_files_open_to_others(place, mode):
    with pytest.raises(KeyFileError, match=r"open to others .*chmod 600"):
        read(place(f"{KEY.secret_text()}\n", mode))


def test_no_file(tmp_path):
    with pytest.raises(KeyFileError, match=r"no such key; make one: of-key new --receiving -k .*/none"):
        read(tmp_path / "none")
    with pytest.raises(KeyFileError, match="not a regular file"):
        read(tmp_path)


def test_the_same_key_opens_files_of_age(tmp_path):
    """An archive for one recipient is age's own job; what it needs of a key is in the two files."""
    pyrage = pytest.importorskip("pyrage")
    receiving.write_key(tmp_path / "key", KEY)
    recipient = pyrage.x25519.Recipient.from_str((tmp_path / "key.pub").read_text().strip())
    (secret,) = (line for line in (tmp_path / "key").read_text().splitlines() if not line.startswith("#"))
    packed = pyrage.encrypt(b"reports", [recipient])
    assert pyrage.decrypt(packed, [pyrage.x25519.Identity.from_str(secret)]) == b"reports"

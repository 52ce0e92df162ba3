"""The settings file: what is read, what is written, and what is refused."""

import os
import stat
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overflowd_tools import config
from overflowd_tools.config import Config
from overflowd_tools.errors import KeyFileError, UsageError


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "overflowd").mkdir()
    return tmp_path / "overflowd"


def write(folder, content):
    (folder / "config.toml").write_bytes(content if isinstance(content, bytes) else content.encode())


def test_without_a_file_nothing_is_set(folder):
    assert config.load() == Config(None, None, None)
    folder.rmdir()
    assert config.load() == Config(None, None, None)


def test_everything_set(folder):
    write(folder, 'key = "/k"\n[contact]\nemail = "noc@example.net"\nidentity = "Bücher & Söhne"\n')
    assert config.load() == Config("noc@example.net", "Bücher & Söhne", "/k")


@pytest.mark.parametrize("content", ["", "# nothing\n", "[contact]\n"])
def test_nothing_set(folder, content):
    write(folder, content)
    assert config.load() == Config()


def test_key_is_relative_to_the_file_or_to_home(folder, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    write(folder, 'key = "keys/mine"')
    assert config.load().key_path == str(folder / "keys/mine")
    write(folder, 'key = "~/mine"')
    assert config.load().key_path == "/home/me/mine"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("key = \n", "line 1"),
        ("\n\nkey = 'a'\nkey = 'b'\n", "line 4"),
        (b"key = '\xff'", "utf-8"),
        ("keys = 'a'", "unknown setting keys; known here: contact, key"),
        ("[contact]\nmail = 'a@b'", "unknown setting contact.mail; known here: email, identity"),
        ("[[contact]]\nemail = 'a@b'", "contact is a table"),
        ("contact = 'a@b'", "contact is a table"),
        ("key = 1", "key must be a string"),
        ("key = ''", "key must be text"),
        ("[contact]\nemail = ['a@b']", "contact.email must be a string"),
        ("[contact]\nemail = 'noc'", "contact.email must be a mail address"),
        ('[contact]\nidentity = "a\\nb"', "contact.identity must be text"),
        ("[contact]\nidentity = '  '", "contact.identity must be text"),
        ("key = " + "[" * 60_000, ""),
        ("#" * 70_000, "over 65536 bytes"),
    ],
)
def test_mistakes_are_named_with_the_file(folder, content, reason):
    write(folder, content)
    with pytest.raises(UsageError) as caught:
        config.load()
    assert str(caught.value).startswith(f"{folder}/config.toml: ")
    assert reason in str(caught.value)


def test_unreadable_file(folder):
    (folder / "config.toml").mkdir()
    with pytest.raises(UsageError, match=r"config\.toml: Is a directory"):
        config.load()


@given(st.binary(max_size=100))
def test_any_content_gives_settings_or_our_error(tmp_path_factory, content):
    with pytest.MonkeyPatch.context() as patch:
        base = tmp_path_factory.mktemp("any")
        patch.setenv("XDG_CONFIG_HOME", str(base))
        (base / "overflowd").mkdir()
        write(base / "overflowd", content)
        try:
            settings = config.load()
        except UsageError:
            return
        assert isinstance(settings, Config)


@pytest.mark.parametrize("key_path", [None, "/key", '/a "quoted" \\ key \N{SNOWMAN}'])
def test_what_is_written_is_read_again(folder, key_path):
    identity = 'The "Example" \\ Nét \N{PILE OF POO} \x85 \u2028 end'
    config.create("noc@example.net", identity, key_path)
    assert config.load() == Config("noc@example.net", identity, key_path)
    assert stat.S_IMODE(os.stat(config.path()).st_mode) == 0o600
    assert set(tomllib.loads((folder / "config.toml").read_text())) == ({"contact", "key"} if key_path else {"contact"})


def test_settings_are_never_overwritten(folder):
    write(folder, "# mine\n")
    with pytest.raises(KeyFileError, match="there already"):
        config.create("noc@example.net", "Example Net", None)
    assert (folder / "config.toml").read_text() == "# mine\n"


@pytest.mark.parametrize("value", ["", " ", "a\nb", "a\tb", "\x7f", "\x00", "a\udcff"])
def test_values_that_no_report_can_carry(value):
    with pytest.raises(UsageError, match="--identity must be text"):
        config.check_text("--identity", value)


@pytest.mark.parametrize("value", ["noc", "noc@", "@net", "a b@c", "NOC <noc@example.net>", "a@b@c", "a@b\n"])
def test_values_that_are_no_address(value):
    with pytest.raises(UsageError):
        config.check_email("--email", value)

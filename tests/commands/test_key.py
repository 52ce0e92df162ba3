"""of-key as people run it: pipes, terminals, files that are there already, and other people's tools."""

import fcntl
import os
import pty
import re
import select
import shutil
import signal
import stat
import subprocess
import sys
import termios
import time
import tomllib
from pathlib import Path

import pytest

from overflowd_tools.commands import key
from overflowd_tools.trust.keyfiles import read_public_keys, read_secret_key
from overflowd_tools.trust.keys import PublicKey

TOP = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "overflowd_tools.commands.key"]
CONTACT = ["--email", "noc@example.net", "--identity", "Example Net"]


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in ("XDG_CONFIG_HOME", "CREDENTIALS_DIRECTORY", "OF_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(TOP))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def of_key(*argv, stdin=b"", **more):
    return subprocess.run([*COMMAND, *argv], input=stdin, capture_output=True, timeout=60, check=False, **more)


def public_line(done) -> str:
    assert (done.returncode, done.stderr) == (0, b"")
    line = done.stdout.decode()
    assert re.fullmatch("RW[A-Za-z0-9+/]{54}\n", line)
    return line[:-1]


def complaint(done) -> str:
    assert (done.returncode, done.stdout) == (2, b"")
    text = done.stderr.decode()
    assert text.startswith("of-key: ")
    assert text.count("\n") == 1
    return text[:-1]


def never():
    raise AssertionError("nobody should ask for a passphrase here")


# --- new and show


def test_new_then_show(home):
    folder = home / ".config/overflowd"
    line = public_line(of_key("new"))
    assert read_secret_key(folder / "key", never).public.text == line
    assert read_public_keys(folder / "key.pub") == [PublicKey.parse(line)]
    assert stat.S_IMODE(os.stat(folder / "key").st_mode) == 0o600
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    assert sorted(os.listdir(folder)) == ["key", "key.pub"]
    assert public_line(of_key("show")) == line
    (folder / "key.pub").unlink()
    assert public_line(of_key("show")) == line


def test_no_second_key_in_the_same_place(home):
    public_line(of_key("new", "-k", "k"))
    before = (home / "k").read_bytes()
    assert complaint(of_key("new", "--key", "k")).endswith("k: there already, and never overwritten")
    assert (home / "k").read_bytes() == before


def test_show_without_a_key_says_how_to_make_one(home):
    assert complaint(of_key("show")).endswith("/.config/overflowd/key: no such key; make one: of-key new")
    assert complaint(of_key("show", "-k", "k")).endswith("k: no such key; make one: of-key new -k k")


def test_show_of_an_exposed_key(home):
    public_line(of_key("new", "-k", "k"))
    os.unlink("k.pub")
    os.chmod("k", 0o644)
    assert complaint(of_key("show", "-k", "k")).endswith("k: open to others (mode 0644); run: chmod 600 k")


def test_credential_of_a_service(home, monkeypatch):
    line = public_line(of_key("new", "-k", "credentials/overflowd.key"))
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(home / "credentials"))
    assert public_line(of_key("show")) == line
    assert public_line(of_key("new")) != line
    assert (home / ".config/overflowd/key").exists()


# --- receiving keys


def test_a_key_that_opens(home):
    done = of_key("-v", "new", "--receiving")
    assert done.returncode == 0
    line = done.stdout.decode().rstrip("\n")
    assert line.startswith("age1")
    path = home / ".config/overflowd/receiving-key"
    assert done.stderr.decode().startswith(f"of-key: {path}: new key\n")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert path.with_name("receiving-key.pub").read_text() == f"{line}\n"
    assert "AGE-SECRET-KEY-1" in path.read_text()
    assert of_key("show", "--receiving").stdout.decode() == f"{line}\n"
    assert "there already" in complaint(of_key("new", "--receiving"))
    assert of_key("new", "--receiving", "-k", "k").stdout != done.stdout
    with open("k", "a") as file, open(path) as first:
        file.write(first.read())
    assert of_key("show", "--receiving", "-k", "k").stdout.decode().splitlines()[1] == line
    public_line(of_key("new"))
    assert of_key("show", "--receiving", "-k", ".config/overflowd/key").stdout.startswith(b"age1")


@pytest.mark.parametrize("argv", [CONTACT, ["--passphrase-fd", "0"], ["--email", "a@b"]])
def test_settings_and_passphrases_are_for_keys_that_sign(home, argv):
    assert "--receiving goes with -k alone" in complaint(of_key("new", "--receiving", *argv))
    assert os.listdir(home) == []


# --- settings


def test_contact_is_written(home):
    public_line(of_key("new", *CONTACT))
    path = home / ".config/overflowd/config.toml"
    assert tomllib.loads(path.read_text()) == {"contact": {"email": "noc@example.net", "identity": "Example Net"}}
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_path_of_the_key_is_written_and_used(home):
    line = public_line(of_key("new", "-k", "keys/a key", *CONTACT))
    settings = tomllib.loads((home / ".config/overflowd/config.toml").read_text())
    assert settings["key"] == str(home / "keys/a key")
    assert public_line(of_key("show")) == line
    assert "there already" in complaint(of_key("new"))


def test_settings_that_agree_stay(home):
    public_line(of_key("new", "-k", "k", *CONTACT))
    before = (home / ".config/overflowd/config.toml").stat().st_ino
    for name in ("k", "k.pub"):
        os.unlink(name)
    public_line(of_key("new", "-k", "k", *CONTACT))
    for name in ("k", "k.pub"):
        os.unlink(name)
    public_line(of_key("new", *CONTACT))
    assert (home / "k").exists()
    assert (home / ".config/overflowd/config.toml").stat().st_ino == before


@pytest.mark.parametrize("content", ["", "# mine\n", '[contact]\nemail = "me@example.net"\nidentity = "Example Net"\n'])
def test_settings_that_differ_are_not_touched(home, content):
    path = home / ".config/overflowd/config.toml"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    assert complaint(of_key("new", *CONTACT)).endswith(
        "config.toml: has other settings, and is yours to change; no key was made"
    )
    assert path.read_text() == content
    assert os.listdir(path.parent) == ["config.toml"]


def test_broken_settings_are_named(home):
    path = home / ".config/overflowd/config.toml"
    path.parent.mkdir(parents=True)
    path.write_text("key = \n")
    for argv in (["new"], ["show"], ["new", "-k", "k", *CONTACT]):
        assert "config.toml: Invalid value (at line 1" in complaint(of_key(*argv))
    public_line(of_key("new", "-k", "k"))


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["--email", "noc@example.net"], "--email and --identity go together"),
        (["--identity", "Example Net"], "--email and --identity go together"),
        (["--email", "noc", "--identity", "x"], "--email must be a mail address"),
        (["--email", "a@b", "--identity", ""], "--identity must be text"),
        (["--email", "a@b", "--identity", "a\nb"], "--identity must be text"),
        (["--email", "a@b", "--identity", b"\xff"], "--identity must be text"),
        (["-k", "a\nb", *CONTACT], "--key must be text"),
    ],
)
def test_contact_that_no_report_can_carry(home, argv, reason):
    assert reason in complaint(of_key("new", *argv))
    assert os.listdir(home) == []


# --- usage


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        ([], "of-key: the following arguments are required: COMMAND"),
        (["make"], "invalid choice: 'make'"),
        (["new", "FILE"], "unrecognized arguments: FILE"),
        (["new", "--pass", "3"], "unrecognized arguments: --pass 3"),
        (["new", "--passphrase-fd", "x"], "--passphrase-fd: invalid int value: 'x'"),
        (["new", "-k", ""], "the name of the file is empty"),
        (["new", "-k", "a", "-k", "b"], "-k is given more than once"),
        (["show", "--email", "a@b"], "unrecognized arguments: --email"),
    ],
)
def test_usage_errors(home, argv, reason):
    done = of_key(*argv)
    assert (done.returncode, done.stdout) == (2, b"")
    lines = done.stderr.decode().splitlines()
    assert reason in lines[0]
    assert lines[1].startswith("usage: of-key")
    assert os.listdir(home) == []


@pytest.mark.parametrize("argv", [["-h"], ["--help"], ["new", "-h"], ["show", "--help"]])
def test_help(home, argv):
    done = of_key(*argv)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"usage: of-key")


def test_version_loads_no_libsodium(home):
    argv = [sys.executable, "-X", "importtime", *COMMAND[1:], "--version"]
    done = subprocess.run(argv, capture_output=True, check=True)
    assert done.stdout.startswith(b"of-key ")
    assert b"overflowd_tools.command" in done.stderr
    assert b"nacl" not in done.stderr


def test_verbose_names_the_files(home):
    done = of_key("-v", "new", *CONTACT)
    assert done.returncode == 0
    assert b"overflowd/key: new key\n" in done.stderr
    assert b"config.toml: new settings\n" in done.stderr


def test_output_that_cannot_be_written(home):
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*COMMAND, "new"], stdout=full, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (2, b"of-key: standard output: No space left on device\n")


def test_in_process(home, capfd):
    assert key.main(["new", "-k", "k", *CONTACT]) == 0
    assert key.main(["show", "-k", "k"]) == 0
    out, err = capfd.readouterr()
    assert (out.split("\n")[0], err) == (out.split("\n")[1], "")


# --- passphrases


def with_descriptor(*argv, passphrase: bytes):
    reading, writing = os.pipe()
    os.write(writing, passphrase)
    os.close(writing)
    try:
        return of_key(*argv, "--passphrase-fd", str(reading), pass_fds=[reading])
    finally:
        os.close(reading)


def test_passphrase_from_a_descriptor(home):
    line = public_line(with_descriptor("new", "-k", "k", passphrase=b"pass word\n"))
    assert read_secret_key("k", lambda: b"pass word").public.text == line
    os.unlink("k.pub")
    assert public_line(with_descriptor("show", "-k", "k", passphrase=b"pass word")) == line
    assert complaint(with_descriptor("show", "-k", "k", passphrase=b"password")).endswith(
        "k: wrong passphrase, or a damaged key file"
    )
    assert public_line(of_key("show", "-k", "k", "--passphrase-fd", "0", stdin=b"pass word\n")) == line


@pytest.mark.parametrize("passphrase", [b"", b"\n", b"a\0b\n", b"x" * 2000])
def test_descriptor_without_a_passphrase_makes_no_key(home, passphrase):
    assert "passphrase" in complaint(with_descriptor("new", passphrase=passphrase))
    assert not (home / ".config/overflowd/key").exists()
    assert "Bad file descriptor" in complaint(of_key("new", "--passphrase-fd", "77"))


def test_encrypted_key_without_a_terminal(home):
    public_line(with_descriptor("new", "-k", "k", passphrase=b"pass word\n"))
    os.unlink("k.pub")
    text = complaint(of_key("show", "-k", "k", start_new_session=True))
    assert text == "of-key: k: a passphrase is needed, and no terminal to ask at; use --passphrase-fd"


class Terminal:
    """A terminal with of-key at it: standard input and controlling terminal, standard output a pipe."""

    def __init__(self, *argv: str) -> None:
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [*COMMAND, *argv],
            stdin=slave,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - no threads here
        )
        self.slave = slave
        self.shown = b""

    def expect(self, text: bytes) -> None:
        deadline = time.monotonic() + 30
        while text not in self.shown:
            assert select.select([self.master], [], [], deadline - time.monotonic())[0], self.shown
            self.shown += os.read(self.master, 1000)
        self.shown = self.shown.partition(text)[2]

    def type(self, text: bytes) -> None:
        os.write(self.master, text)

    def echoes(self) -> bool:
        return bool(termios.tcgetattr(self.slave)[3] & termios.ECHO)

    def end(self) -> tuple[int, bytes, bytes]:
        out, err = self.process.communicate(timeout=30)
        while select.select([self.master], [], [], 0)[0]:
            self.shown += os.read(self.master, 1000)
        return self.process.returncode, out, err

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def terminal(home):
    opened = []

    def run(*argv):
        opened.append(Terminal(*argv))
        return opened[-1]

    yield run
    for one in opened:
        one.close()


def test_passphrase_from_the_terminal(terminal):
    at = terminal("new", "-k", "k")
    at.expect(b"Passphrase (empty for none): ")
    assert not at.echoes()
    at.type(b"pass word\n")
    at.expect(b"The same again: ")
    at.type(b"pass word\n")
    status, out, err = at.end()
    assert (status, err) == (0, b"")
    assert b"pass" not in at.shown
    assert at.echoes()
    assert read_secret_key("k", lambda: b"pass word").public.text.encode() + b"\n" == out

    os.unlink("k.pub")
    at = terminal("show", "-k", "k")
    at.expect(b"Passphrase of k: ")
    at.type(b"pass word\n")
    assert at.end() == (0, out, b"")


def test_empty_passphrase_is_asked_once_and_means_none(terminal):
    at = terminal("new", "-k", "k")
    at.expect(b"Passphrase (empty for none): ")
    at.type(b"\n")
    status, out, err = at.end()
    assert (status, err) == (0, b"")
    assert b"again" not in at.shown
    assert read_secret_key("k", never).public.text.encode() + b"\n" == out


def test_passphrases_that_differ(terminal, home):
    at = terminal("new", "-k", "k")
    at.expect(b"Passphrase (empty for none): ")
    at.type(b"one\n")
    at.expect(b"The same again: ")
    at.type(b"another\n")
    assert at.end() == (2, b"", b"of-key: the two passphrases differ; no key was made\n")
    assert os.listdir(home) == []


def test_end_of_input_at_the_prompt(terminal, home):
    at = terminal("new", "-k", "k")
    at.expect(b"Passphrase (empty for none): ")
    at.type(b"\x04")
    assert at.end() == (2, b"", b"of-key: no passphrase was given\n")
    assert os.listdir(home) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_at_the_prompt_ends_it_with_the_echo_on(terminal, home, number):
    at = terminal("new", "-k", "k")
    at.expect(b"Passphrase (empty for none): ")
    if number == signal.SIGINT:
        at.type(b"\x03")
    else:
        at.process.send_signal(number)
    assert at.end() == (-number, b"", b"")
    assert at.echoes()
    assert os.listdir(home) == []


# --- the manual


def test_manual_and_help_have_the_same_options(home):
    page = (TOP / "man/of-key.1").read_text()
    described = set(re.findall(r"^\.It.*$", page, re.M))
    manual = {f"-{name}" for line in described for name in re.findall(r"Fl (\S+)", line)}
    nested = [subcommand.prog for subcommand in key.options().subcommands]
    texts = [of_key(*argv, "-h").stdout.decode() for argv in ([], *([name] for name in nested))]
    shown = {name for text in texts for name in re.findall(r"^  (?:  )?(-\S+?),? ", text, re.M)}
    shown |= {name for text in texts for name in re.findall(r", (--\S+)", text)}
    assert manual == shown


@pytest.mark.skipif(not shutil.which("minisign"), reason="minisign is not installed")
def test_examples_of_the_manual(home, monkeypatch):
    examples = (TOP / "man/of-key.1").read_text().partition(".Sh EXAMPLES")[2].partition(".Sh ")[0]
    script = "\n".join(line[2:] for line in examples.splitlines() if line.startswith("$ "))
    monkeypatch.setenv("PATH", f"{TOP}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("OF_PYTHON", sys.executable)
    done = subprocess.run(["sh", "-ec", script], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    lines = [line for line in done.stdout.decode().splitlines() if re.fullmatch("RW.{54}", line)]
    assert len(lines) == 6
    assert lines[0] == lines[1]
    assert PublicKey.parse(lines[3]) == read_public_keys("my.key.pub")[0]

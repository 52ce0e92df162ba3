"""What commands share, on a probe that copies lines: options, complaints, counts, progress, and every way to end."""

import errno
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path
from types import ModuleType

import pytest

from overflowd_tools import command, stream
from overflowd_tools.errors import KeyFileError, UsageError

TOP = Path(__file__).resolve().parents[1]
SECONDS = 60
HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


def copy(context):
    """Copy lines; those that begin with "bad" are rejected for the reason that follows."""
    context.counts["lines"] = 0
    for source in context.inputs():
        for number, line in source.lines():
            context.counts["lines"] += 1
            if line.startswith(b"bad "):
                context.reject(source.name, f"line {number}", line[4:].decode())
            else:
                context.output.write(line + b"\n")


def probe_options(**more):
    options = command.options("of-probe", "Copy lines.", **more)
    options.add("-r", "--rate", type=int, default=5)
    return options


@pytest.fixture
def call(capfdbinary, tmp_path, monkeypatch):
    """Run the probe in this process; the result is (status, output, complaints)."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("OF_DEBUG", raising=False)
    monkeypatch.chdir(tmp_path)
    before = [signal.getsignal(number) for number in HANDLED]
    stdin = os.dup(0)

    def run(*argv, body=copy, stdin=b"", options=None, **more):
        Path("stdin").write_bytes(stdin)
        descriptor = os.open("stdin", os.O_RDONLY)
        os.dup2(descriptor, 0)
        os.close(descriptor)
        try:
            status = command.run(options or probe_options(), body, argv, **more)
        except SystemExit as end:
            status = end.code
        told = capfdbinary.readouterr()
        return status, told.out, told.err.decode()

    yield run
    os.dup2(stdin, 0)
    os.close(stdin)
    for number, handler in zip(HANDLED, before, strict=True):
        signal.signal(number, handler)


PROGRAM = """
import os, sys, signal
sys.path[:0] = sys.argv[1:3]
import test_command as test
from overflowd_tools import command, stream
sys.exit(command.run(test.probe_options(progress=True), getattr(test, sys.argv[3]), sys.argv[4:]))
"""


def arguments(*argv, body="copy"):
    return [sys.executable, "-c", PROGRAM, str(TOP), str(TOP / "tests"), body, *argv]


def program(*argv, body="copy", **more):
    """Run the probe in a process of its own."""
    more.setdefault("stdin", subprocess.DEVNULL)
    more.setdefault("stdout", subprocess.PIPE)
    more.setdefault("stderr", subprocess.PIPE)
    return subprocess.run(arguments(*argv, body=body), timeout=SECONDS, check=False, **more)


def open_terminal(columns=80) -> tuple[int, int]:
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    return controller, terminal


# --- options


def test_lines_are_copied(call):
    assert call(stdin=b"a\n\nb") == (0, b"a\nb\n", "")
    Path("one").write_bytes(b"1\n")
    Path("two").write_bytes(b"2\n")
    assert call("one", "-", "two", "-", stdin=b"in\n") == (0, b"1\nin\n2\n", "")
    assert call("one", "one") == (0, b"1\n1\n", "")


@pytest.mark.parametrize(
    ("argv", "files", "quiet"),
    [
        (["a", "-q", "b"], ["a", "b"], True),
        (["-q", "a", "b"], ["a", "b"], True),
        (["a", "b", "-q"], ["a", "b"], True),
        (["a", "-r", "3", "b", "-vq", "c"], ["a", "b", "c"], True),
        (["--", "-q"], ["-q"], False),
        (["-q", "--", "-v", "--", "-r"], ["-v", "--", "-r"], True),
        (["a", "--", "-q", "b"], ["a", "-q", "b"], False),
        (["a", "-q", "--", "-v"], ["a", "-v"], True),
        (["--"], [], False),
        (["-", "-q", "-"], ["-", "-"], True),
        (["--rate=3", "a"], ["a"], False),
        ([], [], False),
    ],
)
def test_options_and_files_in_any_order(call, argv, files, quiet):
    seen = []
    assert call(*argv, body=lambda context: seen.append(context.args))[0] == 0
    assert (seen[0].files, seen[0].quiet) == (files, quiet)


def test_arguments_come_from_the_command_line_by_default(call, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["x", "--", "-q"])
    seen = []
    assert command.run(probe_options(), lambda context: seen.append(context.args)) == 0
    assert seen[0].files == ["-q"]


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["--nonsense"], "unrecognized arguments: --nonsense"),
        (["--stat"], "unrecognized arguments: --stat"),
        (["-r"], "argument -r/--rate: expected one argument"),
        (["-r", "x"], "argument -r/--rate: invalid int value: 'x'"),
        (["-r", "3", "file", "--rate", "4"], "--rate is given more than once"),
        (["-r", "5", "-r", "6"], "-r is given more than once"),
        (["--\x1b[31m\nfine"], r"unrecognized arguments: --\x1b[31m\nfine"),
        (["--\udcff"], r"unrecognized arguments: --\udcff"),
    ],
)
def test_wrong_usage(call, argv, complaint):
    status, out, said = call(*argv)
    assert (status, out) == (2, b"")
    first, rest = said.split("\n", 1)
    assert first == f"of-probe: {complaint}"
    assert rest.startswith("usage: of-probe [-h] ")
    assert "FILE" in rest


def test_a_command_without_files_takes_none(call):
    options = probe_options(files=False)
    for argv in (["x"], ["--", "x", "y"]):
        status, _, said = call(*argv, options=options)
        assert status == 2
        assert said.startswith(f"of-probe: unrecognized arguments: {' '.join(argv).removeprefix('-- ')}\n")
    seen = []
    assert call("--", options=options, body=lambda context: seen.append(context.args)) == (0, b"", "")
    assert not hasattr(seen[0], "files")


def test_subcommands(call):
    options = probe_options(files=False)
    options.subcommand("new", "make a key", action="new").add("-k")
    seen = []
    assert call("-q", "new", "-k", "x", options=options, body=lambda context: seen.append(context.args))[0] == 0
    assert (seen[0].action, seen[0].k, seen[0].quiet) == ("new", "x", True)
    status, _, said = call("new", "-k", "x", "-k", "y", options=options)
    assert (status, said.startswith("of-probe new: -k is given more than once\n")) == (2, True)


def test_help_and_version(call):
    status, out, said = call("-h")
    assert (status, said) == (0, "")
    assert out.startswith(b"usage: of-probe [-h] ")
    assert b"--progress" not in out
    assert b"--progress" in call("--help", options=probe_options(progress=True))[1]
    assert call("-V") == (0, b"of-probe %s\n" % command.__version__.encode(), "")


@pytest.mark.parametrize(
    ("columns", "width"), [("60", 58), ("1000", 998), ("1", 38), ("", 78), ("-1", 78), ("many", 78)]
)
def test_help_is_as_wide_as_told(call, monkeypatch, columns, width):
    monkeypatch.setenv("COLUMNS", columns)
    options = command.options("of-probe", "word " * 400)
    out = call("-h", options=options)[1].decode()
    longest = max(map(len, out.splitlines()))
    assert width - 5 < longest <= width


def test_help_is_as_wide_as_the_terminal():
    controller, terminal = open_terminal(46)
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    with subprocess.Popen(
        arguments("-h"), stdin=terminal, stdout=terminal, stderr=terminal, env=environment
    ) as process:
        os.close(terminal)
        shown = read_terminal(controller)
        assert process.wait(SECONDS) == 0
    assert 36 < max(map(len, shown.splitlines())) <= 44


@pytest.mark.parametrize("option", ["-h", "-V"])
@pytest.mark.parametrize(
    ("how", "complaint"),
    [
        (">/dev/full", "of-probe: standard output: No space left on device\n"),
        (">&-", "of-probe: standard output: Bad file descriptor\n"),
        (">&- 2>&-", ""),
        (">&- 2>&- <&-", ""),
        (">/dev/full 2>&-", ""),
    ],
)
def test_help_that_cannot_be_written(option, how, complaint):
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {how}', "sh", *arguments(option)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr.decode()) == (2, b"", complaint)


# --- complaints


def test_a_bad_line_is_told_counted_and_passed_over(call):
    assert call(stdin=b"a\nbad taste\nb\n") == (1, b"a\nb\n", "of-probe: -: line 2: taste\n")


def test_ten_of_a_kind(call):
    status, out, said = call(stdin=b"bad apple\n" * 12 + b"bad pear\n" * 10 + b"bad fig\n" * 11 + b"good\n")
    assert (status, out) == (1, b"good\n")
    lines = said.splitlines()
    assert [line.rpartition(": ")[2] for line in lines[:-2]] == ["apple"] * 10 + ["pear"] * 10 + ["fig"] * 10
    assert lines[-2:] == ["of-probe: 2 more not shown: apple", "of-probe: 1 more not shown: fig"]


def test_numbers_do_not_make_a_kind(call):
    status, _, said = call(stdin=b"".join(b"bad length %d of 7\n" % number for number in range(1000)))
    lines = said.splitlines()
    assert (status, len(lines)) == (1, 11)
    assert lines[9] == "of-probe: -: line 10: length 9 of 7"
    assert lines[10] == "of-probe: 990 more not shown: length # of #"


def test_kinds_without_end_are_bounded(call):
    seen = []

    def body(context):
        seen.append(context)
        for number in range(30_000):
            name = "".join(chr(97 + int(digit)) for digit in str(number))
            context.reject("-", "", f"unknown {name}")

    status, _, said = call(body=body)
    assert status == 1
    lines = said.splitlines()
    assert len(lines) == command.KINDS + command.REPORTS_OF_ONE_KIND + 1
    assert lines[-1] == f"of-probe: {30_000 - command.KINDS - 10} more not shown: other reasons"
    assert len(seen[0]._kinds) == command.KINDS + 1


def test_a_kind_of_their_own(call):
    def body(context):
        for number in range(12):
            context.reject("f", "packet 1", f"{number} apples", "fruit")

    said = call(body=body)[2].splitlines()
    assert said[0] == "of-probe: f: packet 1: 0 apples"
    assert said[10:] == ["of-probe: 2 more not shown: fruit"]


def test_strict(call):
    Path("two").write_bytes(b"2\n")
    assert call("--strict", "-", "two", stdin=b"a\nbad x\nb\nbad y\n") == (1, b"a\n", "of-probe: -: line 2: x\n")
    assert call("--strict", "-q", stdin=b"bad x\n") == (1, b"", "")


def test_quiet_hides_the_text_alone(call):
    assert call("-q", "missing", "-", stdin=b"bad x\na\n") == (2, b"a\n", "")
    assert call("-qv", "--stats", stdin=b"bad x\n") == (
        1,
        b"",
        'of-probe: 1 lines, 1 rejected\n{"command":"of-probe","lines":1,"rejected":1}\n',
    )


def test_verbose_and_stats(call):
    def body(context):
        context.counts["bad_keys"] = 3
        context.note("here")

    assert call(body=body) == (0, b"", "")
    assert call("-v", body=body)[2] == "of-probe: here\nof-probe: 3 bad keys, 0 rejected\n"
    assert json.loads(call("--stats", body=body)[2]) == {"command": "of-probe", "bad_keys": 3, "rejected": 0}


def test_files_that_cannot_be_read(call):
    Path("a").write_bytes(b"a\n")
    Path("folder").mkdir()
    status, out, said = call("missing", "a", "folder", "-", "x" * 300, stdin=b"bad x\nb\n")
    assert (status, out) == (2, b"a\nb\n")
    assert said.splitlines() == [
        "of-probe: missing: No such file or directory",
        "of-probe: folder: Is a directory",
        "of-probe: -: line 1: x",
        f"of-probe: {'x' * 300}: File name too long",
    ]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("a\nof-probe: b", r"a\nof-probe: b"),
        ("\x7f\x9b\u2028\u200f", r"\x7f\x9b\u2028\u200f"),
        ("caf\xe9 \u6d41", "caf\xe9 \u6d41"),
        ("\udcff\udcc3", r"\udcff\udcc3"),
    ],
)
def test_names_cannot_move_the_cursor(call, name, shown):
    assert call(name)[2] == f"of-probe: {shown}: No such file or directory\n"
    Path(name).write_bytes(b"bad x\r\x1b\n")
    assert call(name)[2] == f"of-probe: {shown}: line 1: x\\r\\x1b\n"


@pytest.mark.parametrize("locale", ["C", "POSIX", "C.UTF-8", "en_US.ISO-8859-1"])
def test_locale_is_irrelevant(tmp_path, locale):
    name = b"caf\xc3\xa9-\xff"
    (Path(os.fsdecode(bytes(tmp_path) + b"/" + name))).write_bytes(b"\xff\nbad \xc3\xa9\n")
    environment = {"PATH": os.environ["PATH"], "LC_ALL": locale, "HOME": str(tmp_path)}
    done = program(name, cwd=tmp_path, env=environment)
    assert (done.returncode, done.stdout) == (1, b"\xff\n")
    assert done.stderr == b"of-probe: caf\xc3\xa9-\\udcff: line 2: \xc3\xa9\n"


# --- errors


@pytest.mark.parametrize(
    ("error", "complaint"),
    [
        (UsageError("no key; make one"), "no key; make one"),
        (KeyFileError("key: open to others"), "key: open to others"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "x/y"), "x/y: No such file or directory"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (
            ZeroDivisionError("division by zero"),
            "internal error (ZeroDivisionError: division by zero); OF_DEBUG=1 shows where",
        ),
        (MemoryError(), "internal error (MemoryError: ); OF_DEBUG=1 shows where"),
        (RecursionError("deep\nly"), r"internal error (RecursionError: deep\nly); OF_DEBUG=1 shows where"),
    ],
)
def test_what_a_body_raises_is_one_line(call, error, complaint):
    def body(context):
        context.output.write(b"before\n")
        raise error

    assert call(body=body) == (2, b"before\n", f"of-probe: {complaint}\n")
    assert call("-q", body=body) == (2, b"before\n", "")


def broken(context):
    context.output.write(b"before\n")
    raise ZeroDivisionError("of a sum")


def test_debug_shows_where(call, monkeypatch):
    monkeypatch.setenv("OF_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        call(body=broken)
    done = program(body="broken", env={**os.environ, "OF_DEBUG": "1"})
    assert done.returncode == 1
    assert b"Traceback" in done.stderr
    assert b"in broken" in done.stderr
    done = program(body="broken", env={**os.environ, "OF_DEBUG": ""})
    assert (done.returncode, done.stdout, b"Traceback" in done.stderr) == (2, b"before\n", False)


def test_no_file_and_a_terminal():
    controller, terminal = pty.openpty()
    done = program(stdin=terminal)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == b"of-probe: no FILE, and standard input is a terminal; -h shows the usage\n"
    os.write(controller, b"typed\n\x04")
    done = program("-", stdin=terminal)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"typed\n", b"")
    os.close(terminal)
    os.close(controller)


def large(context):
    context.output.write(b"x\n" * 40_000)


@pytest.mark.parametrize("body", ["copy", "large"])
@pytest.mark.parametrize("how", [">/dev/full", ">&-"])
def test_output_that_cannot_be_written(tmp_path, body, how):
    (tmp_path / "file").write_bytes(b"a\nbad x\n")
    reason = "No space left on device" if "full" in how else "Bad file descriptor"
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {how}', "sh", *arguments("--stats", "file", body=body)],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.decode().splitlines()[-1] == f"of-probe: standard output: {reason}"
    assert (tmp_path / "file").read_bytes() == b"a\nbad x\n"


def test_output_error_in_process(call, monkeypatch):
    def body(context):
        raise stream.OutputError("the log: No space left on device")

    assert call(body=body) == (2, b"", "of-probe: the log: No space left on device\n")


def test_a_reader_that_has_gone(call, monkeypatch):
    def body(context):
        raise stream.OutputClosed

    monkeypatch.setattr(stream, "die_by", died)
    with pytest.raises(DeathError) as caught:
        call(body=body)
    assert caught.value.args == (signal.SIGPIPE,)
    with subprocess.Popen(arguments(body="large"), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.wait(SECONDS) == -signal.SIGPIPE
        assert process.stderr.read() == b""


def test_nobody_left_to_tell(tmp_path):
    with open("/dev/full", "wb") as full:
        done = program("missing", cwd=tmp_path, stderr=full)
    assert done.returncode == 2


# --- signals


class DeathError(Exception):
    """Stands for the end of the process."""


def died(number):
    raise DeathError(number)


@pytest.mark.parametrize(
    ("number", "normal_end", "dies"),
    [
        (signal.SIGINT, False, True),
        (signal.SIGTERM, False, True),
        (signal.SIGHUP, False, True),
        (signal.SIGINT, True, False),
        (signal.SIGTERM, True, False),
        (signal.SIGHUP, True, True),
    ],
)
def test_a_signal_ends_the_inputs_and_the_process(call, monkeypatch, capfdbinary, number, normal_end, dies):
    Path("a").write_bytes(b"1\n2\n")
    Path("b").write_bytes(b"3\n")

    def body(context):
        for source in context.inputs():
            for _, line in source.lines():
                context.output.write(line + b"\n")
                os.kill(os.getpid(), number)
                assert context.stop

    monkeypatch.setattr(stream, "die_by", died)
    monkeypatch.setattr(signal, "SIG_DFL", signal.SIG_IGN)  # the second signal would end this very process
    if dies:
        with pytest.raises(DeathError) as caught:
            call("a", "b", body=body, normal_end=normal_end)
        assert caught.value.args == (number,)
        assert capfdbinary.readouterr().out == b"1\n2\n"
    else:
        assert call("a", "b", body=body, normal_end=normal_end) == (0, b"1\n2\n", "")


def test_usr1_says_the_counts_and_goes_on(call):
    def body(context):
        context.counts["lines_read"] = 7
        os.kill(os.getpid(), signal.SIGUSR1)
        context.output.write(b"on\n")

    assert call(body=body) == (0, b"on\n", "of-probe: 7 lines read, 0 rejected\n")


def wait_for(process, text=b"ready\n"):
    assert select.select([process.stdout], [], [], SECONDS)[0]
    assert os.read(process.stdout.fileno(), 100) == text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_death_by_signal_while_idle(number):
    with subprocess.Popen(
        arguments(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    ) as process:
        process.stdin.write(b"ready\nunfini")
        wait_for(process)
        process.send_signal(number)
        assert process.wait(SECONDS) == -number
        assert (process.stdout.read(), process.stderr.read()) == (b"", b"")


def test_stopped_and_continued():
    """A stop and a continuation interrupt system calls; nothing may come of that."""
    with subprocess.Popen(
        arguments(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    ) as process:
        process.stdin.write(b"ready\n")
        wait_for(process)
        process.send_signal(signal.SIGSTOP)
        process.stdin.write(b"more\n")
        process.send_signal(signal.SIGCONT)
        wait_for(process, b"more\n")
        process.stdin.close()
        assert process.wait(SECONDS) == 0
        assert process.stderr.read() == b""


def test_nohup():
    with subprocess.Popen(
        ["nohup", *arguments()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    ) as process:
        process.stdin.write(b"ready\n")
        wait_for(process)
        process.send_signal(signal.SIGHUP)
        process.stdin.write(b"more\n")
        wait_for(process, b"more\n")
        process.stdin.close()
        assert process.wait(SECONDS) == 0


def test_a_fifo_holds_back_neither_output_nor_signals(tmp_path):
    (tmp_path / "file").write_bytes(b"ready\n")
    os.mkfifo(tmp_path / "fifo")
    with subprocess.Popen(
        arguments("file", "fifo"), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    ) as process:
        wait_for(process)
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == -signal.SIGINT
    with subprocess.Popen(arguments("fifo", "fifo"), cwd=tmp_path, stdout=subprocess.PIPE) as process:
        for text in (b"first\n", b"second\n"):
            with (tmp_path / "fifo").open("wb") as fifo:
                fifo.write(text)
            wait_for(process, text)
        assert process.wait(SECONDS) == 0


# --- progress


def read_terminal(controller: int) -> str:
    """All that was written to a terminal until its other side closed."""
    shown = b""
    try:
        while select.select([controller], [], [], SECONDS)[0]:
            data = os.read(controller, 65536)
            if not data:
                break
            shown += data
    except OSError:
        pass
    os.close(controller)
    return shown.decode().replace("\r\n", "\n")


def with_progress(*argv, body="copy", stdin=subprocess.DEVNULL, cwd=None) -> tuple[int, bytes, str]:
    controller, terminal = open_terminal()
    with subprocess.Popen(
        arguments("--progress", *argv, body=body), cwd=cwd, stdin=stdin, stdout=subprocess.PIPE, stderr=terminal
    ) as process:
        os.close(terminal)
        out = process.stdout.read()
        shown = read_terminal(controller)
        return process.wait(SECONDS), out, shown


def test_progress_on_a_terminal(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"x\n" * 51_200)
    status, out, shown = with_progress("-v", "a", "b", cwd=tmp_path)
    assert (status, len(out)) == (0, 204_800)
    assert "100%" in shown
    assert "200k/200k" in shown
    assert shown.endswith("\nof-probe: 102400 lines, 0 rejected\n")


def test_progress_of_what_has_no_size(tmp_path):
    (tmp_path / "a").write_bytes(b"x\n" * 51_200)
    for argv in (["a", "-"], ["a", "missing"], []):
        status, _, shown = with_progress(*argv, cwd=tmp_path)
        assert status == (2 if "missing" in argv else 0)
        assert "%" not in shown
        assert "B/s" in shown


def test_progress_makes_room_for_complaints(tmp_path):
    (tmp_path / "a").write_bytes(b"bad x\ngood\n")
    status, out, shown = with_progress("a", cwd=tmp_path)
    assert (status, out) == (1, b"good\n")
    (complaint,) = re.findall("[^\r\n]*line 1[^\r\n]*", shown)
    assert complaint == "of-probe: a: line 1: x"
    assert shown.endswith("\n")


def test_progress_ends_its_line_whatever_happens(tmp_path):
    (tmp_path / "a").write_bytes(b"bad x\n")
    status, _, shown = with_progress("--strict", "a", cwd=tmp_path)
    assert (status, shown.endswith("\n")) == (1, True)
    status, _, shown = with_progress("a", cwd=tmp_path, body="fails")
    assert status == 2
    assert "of-probe: no key\n" in shown
    assert shown.endswith("\n")


def fails(context):
    for _ in context.inputs():
        raise UsageError("no key")


def without_tqdm(context):
    sys.modules["tqdm"] = None
    copy(context)


def test_progress_without_its_library():
    status, out, shown = with_progress(body="without_tqdm")
    assert (status, out) == (2, b"")
    assert shown == "of-probe: --progress: install overflowd-tools[progress]\n"
    done = program("--progress", body="without_tqdm")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_progress_in_process(call, monkeypatch):
    """As above, for the eyes of coverage and of the type of what is called."""
    shown = []

    class Bar:
        def __init__(self, **options):
            shown.append(options.pop("total"))
            assert options.pop("file") is sys.stderr

        def __getattr__(self, name):
            return lambda *values: shown.append((name, *values))

    tqdm = ModuleType("tqdm")
    tqdm.tqdm = Bar
    monkeypatch.setitem(sys.modules, "tqdm", tqdm)
    monkeypatch.setattr(os, "isatty", lambda descriptor: descriptor == 2)
    Path("a").write_bytes(b"bad x\n")
    options = probe_options(progress=True)
    assert call("--progress", "a", options=options)[0] == 1
    assert shown == [6, ("update", 6), ("clear",), ("close",)]
    shown.clear()
    assert call("--progress", options=options)[0] == 0
    assert shown == [None, ("close",)]
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert call("--progress", options=options) == (2, b"", "of-probe: --progress: install overflowd-tools[progress]\n")


def test_terminal_in_process(call, monkeypatch):
    monkeypatch.setattr(os, "isatty", lambda descriptor: True)
    status, _, said = call()
    assert (status, said) == (2, "of-probe: no FILE, and standard input is a terminal; -h shows the usage\n")

"""What all commands have in common, held against every bin/of-*: options, input, output, ends and complaints.

A new command is tested as soon as its link is there. One that is not a plain filter of flow lines says so in
FACTS, beside this file in harness.py.
"""

import gzip
import importlib.util
import json
import os
import pty
import re
import shutil
import signal
import subprocess

import pytest
from harness import COMMANDS, SECONDS, facts, parsers, readable, reads_files

READERS = [command for command in COMMANDS if reads_files(command)]
LINE_READERS = [command for command in READERS if facts(command).reads_lines]
LISTENERS = [command for command in COMMANDS if facts(command).listens]
WRITERS = [command for command in COMMANDS if not facts(command).listens]
each = pytest.mark.parametrize("command", COMMANDS)
each_reader = pytest.mark.parametrize("command", READERS)
each_line_reader = pytest.mark.parametrize("command", LINE_READERS)
each_listener = pytest.mark.parametrize("command", LISTENERS)
each_writer = pytest.mark.parametrize("command", WRITERS)


def result(done: subprocess.CompletedProcess[bytes]) -> tuple[int, int, bytes]:
    return done.returncode, done.stdout.count(b"\n"), done.stderr


def complaints(command: str, done: subprocess.CompletedProcess[bytes], pattern: str, number: int = 1) -> None:
    """Require that number lines on stderr, and no others, are complaints of the usual form."""
    text = done.stderr.decode()
    assert len(text.splitlines()) == number, text
    for line in text.splitlines():
        assert re.fullmatch(f"{command}: {pattern}", line), line


# --- options


@each
def test_help_and_version(place, command):
    for name, parser in parsers(command).items():
        for option in ("-h", "--help"):
            done = place.run(command, *([name] if name else []), option)
            assert (done.returncode, done.stderr) == (0, b"")
            assert done.stdout.startswith(b"usage: ")
            assert parser.description.encode() in done.stdout
    for option in ("-V", "--version"):
        done = place.run(command, option)
        assert (done.returncode, done.stderr) == (0, b"")
        assert re.fullmatch(rf"{command} \d+\.\d+\.\d+\n", done.stdout.decode())


@each
@pytest.mark.parametrize("option", ["--no-such-option", "--versio", "--qui", "-Z"])
def test_unknown_and_abbreviated_options_are_refused(place, command, option):
    done = place.do(command, option)
    assert (done.returncode, done.stdout) == (2, b"")
    first, second = done.stderr.decode().splitlines()[:2]
    assert re.fullmatch(rf"{command}( \w+)?: .*{option}.*", first)
    assert second.startswith(f"usage: {command}")


@each
def test_common_options_mean_the_same(command):
    common = {"-h --help", "-V --version", "-q --quiet", "-v --verbose", "--stats", "--strict"}
    actions = {" ".join(action.option_strings): action.help for action in parsers(command)[""]._actions}
    assert common <= set(actions)
    reference = {" ".join(action.option_strings): action.help for action in parsers("of-decode")[""]._actions}
    assert {name: actions[name] for name in common} == {name: reference[name] for name in common}


# --- input


@each_reader
def test_good_input_is_silent(place, command):
    done = place.do(command, input=place.good(command))
    assert done.returncode == 0
    assert done.stdout
    assert done.stderr == b""


@each_reader
def test_files_and_standard_input_in_order(place, command, tmp_path):
    good = place.good(command)
    once = place.do(command, input=good).stdout.count(b"\n")
    (tmp_path / "file").write_bytes(good)
    (tmp_path / "-weird").write_bytes(good)
    assert result(place.do(command, "file", cwd=tmp_path)) == (0, once, b"")
    assert result(place.do(command, "file", "-", "file", input=good, cwd=tmp_path)) == (0, 3 * once, b"")
    assert result(place.do(command, "--", "-weird", cwd=tmp_path)) == (0, once, b"")
    assert place.do(command, "file", "--stats", cwd=tmp_path).stderr.startswith(b"{")


@each_reader
def test_a_file_that_cannot_be_read_does_not_stop_the_others(place, command, tmp_path):
    once = place.do(command, input=place.good(command)).stdout.count(b"\n")
    (tmp_path / "good").write_bytes(place.good(command))
    for name, reason in (
        ("missing", "No such file or directory"),
        (".", "Is a directory"),
        ("/proc/self/mem", "Input/output error"),
    ):
        done = place.do(command, name, "good", cwd=tmp_path)
        assert (done.returncode, done.stdout.count(b"\n")) == (2, once)
        complaints(command, done, f"{re.escape(name)}: {reason}")


@each_reader
def test_a_file_without_permission(place, command, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(place.good(command))
    secret.chmod(0)
    if os.geteuid():
        done = place.do(command, secret)
    else:
        assert shutil.which("setpriv"), "root needs setpriv(1) to be refused anything"
        script = f'exec setpriv --bounding-set=-dac_override,-dac_read_search "$@" {secret}'
        done = place.shell(command, script)
    assert (done.returncode, done.stdout) == (2, b"")
    complaints(command, done, f"{secret}: Permission denied")


@each_reader
def test_empty_input(place, command):
    done = place.do(command)
    assert done.stdout == b""
    if facts(command).empty_is_fine:
        assert (done.returncode, done.stderr) == (0, b"")
    else:
        assert done.returncode == 1
        complaints(command, done, "-: empty.*")


@each_reader
def test_closed_standard_input(place, command):
    done = place.shell(command, '"$@" <&-')
    assert (done.returncode, done.stdout) == (2, b"")
    complaints(command, done, "-: Bad file descriptor")


@each_reader
def test_terminal_without_a_file_gets_a_hint(place, command):
    controller, terminal = pty.openpty()
    try:
        done = place.do(command, stdin=terminal)
    finally:
        os.close(controller)
        os.close(terminal)
    assert (done.returncode, done.stdout) == (2, b"")
    complaints(command, done, "no FILE, and standard input is a terminal; -h shows the usage")


@each_line_reader
def test_last_line_without_newline_is_a_line(place, command):
    good = place.good(command)
    whole = place.do(command, input=good)
    assert result(place.do(command, input=good[:-1])) == result(whole)


@each_line_reader
def test_blank_lines_and_a_byte_order_mark_are_passed_over(place, command):
    good = place.good(command)
    plain = place.do(command, input=good)
    assert result(place.do(command, input=b"\xef\xbb\xbf" + good.replace(b"\n", b"\n\n  \n"))) == result(plain)


@each_reader
def test_gzip_and_zstd_are_recognised(place, command):
    good = place.good(command)
    plain = place.do(command, input=good)
    half = len(good) // 2
    assert result(place.do(command, input=gzip.compress(good[:half]) + gzip.compress(good[half:]))) == result(plain)
    assert importlib.util.find_spec("backports.zstd"), "make test installs it"
    from backports import zstd

    assert result(place.do(command, input=zstd.compress(good))) == result(plain)


@each_reader
@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_damaged_gzip_gives_what_was_whole(place, command, damage):
    packed = bytearray(gzip.compress(place.repeated(command, 100), 1))
    if damage == "cut":
        del packed[-1000:]
    else:
        packed[-4] ^= 1
    done = place.do(command, input=bytes(packed))
    assert done.returncode == 1
    assert done.stdout
    reasons = done.stderr.decode().splitlines()
    assert sum("gzip data" in reason for reason in reasons) == 1, reasons


# --- output


@each_reader
def test_output_appears_while_input_stays_open(place, command):
    with place.begin(command) as process:
        process.stdin.write(place.good(command))
        process.stdin.flush()
        assert readable(process.stdout)
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(SECONDS) == 0


@each_writer
def test_full_disk(place, command):
    with open("/dev/full", "wb") as full:
        done = place.do(command, stdout=full, input=place.good(command))
    assert done.returncode == 2
    complaints(command, done, "standard output: No space left on device")
    with open("/dev/full", "wb") as full:
        done = place.run(command, "--version", stdout=full)
    assert done.returncode == 2
    complaints(command, done, "standard output: No space left on device")


@each_writer
def test_closed_standard_output(place, command):
    done = place.shell(command, '"$@" >&-', input=place.good(command))
    assert done.returncode == 2
    complaints(command, done, "standard output: Bad file descriptor")


@each_line_reader
def test_closed_standard_error(place, command):
    done = place.shell(command, '"$@" 2>&-', input=b"{bad\n" + place.good(command))
    assert done.returncode == 1
    assert done.stdout
    assert done.stderr == b""


@each_reader
def test_reader_that_goes_away(place, command):
    with place.flowing(command) as process:
        assert process.stdout.readline()
        process.stdout.close()
        assert process.wait(SECONDS) == -signal.SIGPIPE
        assert process.stderr.read() == b""


# --- signals


@each_reader
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_in_mid_stream_leaves_whole_lines(place, command, number):
    with place.flowing(command) as process:
        output = process.stdout.readline()
        process.send_signal(number)
        rest, complaint = process.communicate(timeout=SECONDS)
        assert process.returncode == -number
    assert complaint == b""
    assert all(json.loads(line) for line in (output + rest).splitlines())
    assert rest.endswith(b"\n") or not rest


@each_reader
def test_signal_while_idle(place, command):
    with place.begin(command) as process:
        process.stdin.write(place.good(command))
        process.stdin.flush()
        assert readable(process.stdout)
        process.terminate()
        output, complaint = process.communicate(timeout=SECONDS)
    assert (process.returncode, complaint) == (-signal.SIGTERM, b"")
    assert output.count(b"\n") == place.do(command, input=place.good(command)).stdout.count(b"\n")


@each_reader
def test_ignored_signals_stay_ignored(place, command):
    done = place.shell(command, "trap '' HUP; (sleep 0.1; kill -HUP $$) & exec \"$@\"", input=place.good(command))
    assert done.returncode == 0
    assert done.stderr == b""


@each_reader
def test_usr1_prints_the_counts(place, command):
    with place.begin(command) as process:
        process.stdin.write(place.good(command))
        process.stdin.flush()
        assert readable(process.stdout)
        process.send_signal(signal.SIGUSR1)
        counts = process.stderr.readline().decode()
        assert re.fullmatch(rf"{command}: (\d+ [a-z][a-z0-9 ]*(, |$))+\n", counts)
        assert ", 0 rejected" in counts
        process.stdin.close()
        assert process.wait(SECONDS) == 0


# --- counts and complaints


@each_reader
def test_stats_are_json(place, command):
    done = place.do(command, "--stats", input=place.good(command))
    counts = json.loads(done.stderr)
    assert done.stderr.count(b"\n") == 1
    assert next(iter(counts)) == "command"
    assert counts.pop("command") == command
    assert counts.pop("rejected") == 0
    assert all(type(count) is int for count in counts.values())
    assert done.stdout.count(b"\n") in counts.values()


@each_line_reader
def test_lines_of_other_types(place, command):
    other = b'{"type":"x-unknown", "n" : 1.10,"big":1E2,"s":"\\/\\u00e9","deep":[[[[{}]]]],"n":null}\n'
    done = place.do(command, input=other)
    if facts(command).passes_others:
        assert (done.returncode, done.stdout, done.stderr) == (0, other, b"")
    else:
        assert (done.returncode, done.stdout) == (1, b"")
        done = place.do(command, "--stats", input=place.good(command) + other)
        assert done.returncode == 0
        assert json.loads(done.stderr)["other_lines"] == 1


@pytest.mark.parametrize("command", [name for name in LINE_READERS if facts(name).keeps_fields])
def test_unknown_fields_survive(place, command):
    field = b'"x_unknown":[1.10,{"a":null,"b":18446744073709551615},"\\/"]'
    line = place.flows.splitlines()[0]
    done = place.do(command, input=line[:-1] + b"," + field + b"}\n")
    assert done.returncode == 0
    assert field in done.stdout


BAD_LINES = {
    "not JSON": b"{bad",
    "a list": b"[1]",
    "a string": b'"flow"',
    "not UTF-8": b'{"type":"x","a":"\xff"}',
    "NaN": b'{"type":"flow","pcount":NaN}',
    "infinity": b'{"type":"flow","pcount":1,"bcount":-Infinity}',
    "two values": b'{"type":"flow","pcount":5}{}',
    "deep nesting": b"[" * 100_000,
    "deep nesting in a field": b'{"type":"x","a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a NUL": b'{"type":"x","a":"\0"}',
    "half a surrogate pair": b'{"type":"flow","pcount":5,"a":"\\ud800"}',
    "a long line": b'{"type":"x","a":"' + b"x" * (1 << 20) + b'"}',
}


@each_line_reader
@pytest.mark.parametrize("line", BAD_LINES.values(), ids=BAD_LINES)
def test_bad_line(place, command, line):
    good = place.good(command)
    first, rest = good.split(b"\n", 1)
    done = place.do(command, input=first + b"\n" + line + b"\n" + rest)
    assert (done.returncode, done.stdout.count(b"\n")) == (1, place.do(command, input=good).stdout.count(b"\n"))
    complaints(command, done, "-: line 2: .+")


BAD_COUNTERS = [b"18446744073709551616", b"-1", b"1.5", b'"1"', b"true", b"1e3", b"[]", b"1" + b"0" * 5000]


@pytest.mark.parametrize("command", [name for name in LINE_READERS if facts(name).input == "flows"])
@pytest.mark.parametrize("counter", BAD_COUNTERS, ids=lambda counter: counter[:20].decode())
def test_bad_counter(place, command, counter):
    line = place.flows.splitlines()[0]
    done = place.do(command, input=re.sub(rb'"pcount":\d+', b'"pcount":' + counter, line))
    assert (done.returncode, done.stdout) == (1, b"")
    complaints(command, done, "-: line 1: .+")


@each_line_reader
def test_quiet_hides_the_text_and_not_the_status(place, command):
    done = place.do(command, "-q", input=b"{bad\n" + place.good(command))
    assert done.returncode == 1
    assert done.stdout
    assert done.stderr == b""
    done = place.do(command, "-q", "missing")
    assert (done.returncode, done.stderr) == (2, b"")


@each_line_reader
def test_strict_stops_at_the_first_bad_line(place, command):
    first, rest = place.good(command).split(b"\n", 1)
    done = place.do(command, "--strict", input=first + b"\n{bad\n{worse\n" + rest)
    assert done.returncode == 1
    assert done.stdout == b"" or done.stdout.count(b"\n") == place.do(command, input=first).stdout.count(b"\n")
    complaints(command, done, "-: line 2: .+")


@each_line_reader
def test_ten_complaints_of_a_kind(place, command):
    done = place.do(command, input=b"{bad\n" * 25 + b"[]\n" * 3)
    assert done.returncode == 1
    lines = done.stderr.decode().splitlines()
    assert len(lines) <= 10 + 3 + 1
    assert sum(": -: line " in line for line in lines) >= 10
    assert re.fullmatch(rf"{command}: \d+ more not shown: .+", lines[-1])


@each_reader
def test_100_megabytes_without_a_newline_in_bounded_memory(place, command):
    with subprocess.Popen(["sh", "-c", "head -c 104857600 /dev/zero | tr '\\0' x"], stdout=subprocess.PIPE) as source:
        done = place.shell(command, 'ulimit -v 160000; exec "$@"', stdin=source.stdout)
        source.stdout.close()
    assert (done.returncode, done.stdout) == (1, b"")
    complaints(command, done, "-: .+")


# --- commands that listen


@each_listener
def test_listener_ends_well(place, command):
    for number in (signal.SIGINT, signal.SIGTERM):
        with place.begin(command, "-v", "--stats") as process:
            assert b"listening on" in process.stderr.readline()
            process.send_signal(signal.SIGUSR1)
            assert re.fullmatch(rf"{command}: 0 datagrams, .*0 rejected\n", process.stderr.readline().decode())
            process.send_signal(number)
            _, complaint = process.communicate(timeout=SECONDS)
            assert process.returncode == 0
            assert json.loads(complaint.splitlines()[-1])["datagrams"] == 0


@each_listener
def test_port_in_use(place, command):
    with place.begin(command, "-v") as process:
        port = re.search(rb"listening on UDP .*:(\d+),", process.stderr.readline())[1].decode()
        done = place.run(command, *(argument.format(port=port) for argument in facts(command).argv))
        process.terminate()
        process.communicate(timeout=SECONDS)
    assert (done.returncode, done.stdout) == (2, b"")
    complaints(command, done, "cannot listen on UDP .*: Address already in use")

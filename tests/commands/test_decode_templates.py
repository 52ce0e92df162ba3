"""of-decode with --templates, --two-pass, --split-biflow, and the line types template and stats."""

import json
import os
import pty
import signal
import struct
import subprocess
import termios

import capture_builders as layers
import pytest
from harness import BIN, SECONDS, environment, readable

from tests.hostile import builders as hostile
from tests.protocols import set_builders as build

TEMPLATE = build.ipfix(build.template(256, build.FLOW))
FLOWS = build.ipfix(build.data(256, build.flow(1) + build.flow(2)))
RATE = build.ipfix(build.template(300, [(149, 4), (34, 4)], scopes=1), build.data(300, struct.pack("!II", 1, 100)))


class Place:
    def __init__(self, path):
        self.path = path

    def write(self, name: str, *datagrams: bytes, **more) -> None:
        (self.path / name).write_bytes(build.capture(*datagrams, **more))

    def run(self, *argv: str, **more) -> subprocess.CompletedProcess:
        command = [BIN / "of-decode", *argv]
        return subprocess.run(
            command,
            cwd=self.path,
            env=environment(self.path),
            capture_output=True,
            timeout=SECONDS,
            check=False,
            **more,
        )

    def lines(self, *argv: str) -> list[dict]:
        done = self.run(*argv)
        assert (done.returncode, done.stderr) == (0, b"")
        return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def place(tmp_path) -> Place:
    return Place(tmp_path)


def test_templates_are_kept_for_the_next_run(place):
    place.write("first", TEMPLATE, RATE)
    place.write("second", FLOWS)
    assert place.run("second").returncode == 1
    assert place.lines("--templates", "t", "first") == []
    found = place.lines("--templates", "t", "second")
    assert [line["saddr"] for line in found] == ["198.51.100.1", "198.51.100.2"]
    assert [line["sampling_rate"] for line in found] == [100, 100]
    assert [name.name for name in place.path.iterdir() if name.name.startswith(".overflowd")] == []


def test_a_new_template_counts_more_than_an_old_one(place):
    place.write("first", build.ipfix(build.template(256, [(8, 4)])))
    place.write("second", TEMPLATE, FLOWS)
    place.lines("--templates", "t", "first")
    assert [line["pcount"] for line in place.lines("--templates", "t", "second")] == [2, 2]


@pytest.mark.parametrize("content", [b"important\n", b'{"overflowd_templates":9}\n'])
def test_a_file_that_is_not_ours_is_left_alone(place, content):
    (place.path / "t").write_bytes(content)
    place.write("first", TEMPLATE, FLOWS)
    done = place.run("--templates", "t", "first")
    assert done.returncode == 2
    assert done.stderr.startswith(b"of-decode: t: ")
    assert done.stderr.endswith(b"; going on without it, and leaving it as it is\n")
    assert done.stderr.count(b"\n") == 1
    assert done.stdout.count(b"\n") == 2
    assert (place.path / "t").read_bytes() == content


@pytest.mark.parametrize("kind", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_left_alone(place, kind):
    kind(place.path / "t")
    place.write("first", TEMPLATE, FLOWS)
    done = place.run("--templates", "t", "first")
    assert done.returncode == 2
    assert b"t: not a regular file" in done.stderr
    assert not (place.path / "t").is_file()


def test_a_damaged_line_is_told_of_and_the_others_are_used(place):
    place.write("first", TEMPLATE)
    place.write("second", FLOWS)
    place.lines("--templates", "t", "first")
    with (place.path / "t").open("a") as file:
        file.write("damage\n")
    done = place.run("--templates", "t", "second")
    assert done.returncode == 1
    assert done.stderr.startswith(b"of-decode: t: line 3: not JSON")
    assert done.stdout.count(b"\n") == 2
    assert place.run("--templates", "t", "second").returncode == 0


def test_a_file_that_cannot_be_written(place):
    place.write("first", TEMPLATE, FLOWS)
    done = place.run("--templates", "missing/t", "first")
    assert done.returncode == 2
    assert done.stderr == b"of-decode: missing/t: No such file or directory; the templates are not kept\n"
    assert done.stdout.count(b"\n") == 2


def test_templates_are_kept_when_the_run_is_stopped(place):
    command = [BIN / "of-decode", "--templates", "t"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=place.path, env=environment(place.path), **pipes) as process:
        process.stdin.write(build.capture(TEMPLATE, FLOWS))
        process.stdin.flush()
        assert readable(process.stdout)
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == -signal.SIGTERM
    place.write("second", FLOWS)
    assert len(place.lines("--templates", "t", "second")) == 2


def test_templates_are_kept_when_nobody_reads_on(place):
    place.write("first", TEMPLATE, *[build.ipfix(build.data(256, build.flow() * 30))] * 500)
    place.write("second", FLOWS)
    command = f"'{BIN}/of-decode' --templates t first | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=place.path,
        env=environment(place.path),
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")
    assert len(place.lines("--templates", "t", "second")) == 2


def test_two_passes(place):
    place.write("a", FLOWS)
    place.write("b", FLOWS, TEMPLATE, RATE)
    assert len(place.lines("--two-pass", "a", "b")) == 4
    assert {line["sampling_rate"] for line in place.lines("--two-pass", "a", "b")} == {100}


def test_two_passes_complain_once(place):
    place.write("a", FLOWS, b"\0\x0a\0\x14" + TEMPLATE[4:] + b"\0\7\0\1")
    done = place.run("--two-pass", "--progress", "a", "missing")
    assert done.returncode == 2
    assert done.stderr.count(b"missing: No such file") == 1
    assert done.stderr.count(b"of-decode: a: ") == done.stderr.count(b"\n") - 1
    assert done.stdout.count(b"\n") == 2


@pytest.mark.parametrize("argv", [[], ["-"], ["fifo"]])
def test_two_passes_need_files(place, argv):
    os.mkfifo(place.path / "fifo")
    done = place.run("--two-pass", *argv, input=build.capture(FLOWS))
    assert done.returncode == 2
    assert done.stderr == b"of-decode: --two-pass reads its FILEs twice, so they must be regular files\n"


def test_split_biflow(place):
    template = build.template(256, [*build.KEYS, (2, 4), (2, 4, 29305)])
    record = build.flow()[:13] + struct.pack("!II", 5, 6)
    silent = build.flow(2)[:13] + struct.pack("!II", 7, 0)
    place.write("a", build.ipfix(template, build.data(256, record + silent)))
    assert [(line["pcount"], line["r_pcount"]) for line in place.lines("a")] == [(5, 6), (7, 0)]
    split = place.lines("--split-biflow", "a")
    assert [(line["pcount"], line["saddr"], line["sport"]) for line in split] == [
        (5, "198.51.100.1", 1001),
        (6, "203.0.113.1", 80),
        (7, "198.51.100.2", 1002),
    ]
    assert not any(name.startswith("r_") for line in split for name in line)


def test_lines_of_templates(place):
    options = build.template(300, [(149, 4), (34, 65535)], scopes=1)
    gone = build.data(2, struct.pack("!HH", 256, 0))
    all_gone = build.data(3, struct.pack("!HH", 3, 0))
    changed = build.template(256, [(8, 4)])
    place.write(
        "a", TEMPLATE, TEMPLATE, build.ipfix(options), build.ipfix(changed), build.ipfix(gone), build.ipfix(all_gone)
    )
    found = place.lines("--only", "template", "a")
    assert [(line["template"], line["event"]) for line in found] == [
        (256, "learned"),
        (300, "learned"),
        (256, "learned"),
        (256, "withdrawn"),
        (300, "withdrawn"),
    ]
    assert found[1] == {
        "type": "template",
        "source": "ipfix",
        "exporter": "192.0.2.1",
        "domain": 1,
        "export_ms": build.SECOND * 1000,
        "template": 300,
        "event": "learned",
        "scope": [{"name": "observationDomainId", "length": 4}],
        "fields": [{"name": "samplingInterval"}],
    }
    assert found[2]["fields"] == [{"name": "sourceIPv4Address", "length": 4}]


def test_lines_of_statistics(place):
    netflow5 = [
        struct.pack("!HHIIIIBBH", 5, 1, 1, build.SECOND, 0, sequence, 0, engine, 0) + bytes(48)
        for sequence, engine in ((0, 1), (900, 2), (1, 1), (901, 2), (5, 1))
    ]
    place.write("a", *netflow5, TEMPLATE, FLOWS, build.ipfix(build.data(256, build.flow()), sequence=5))
    found = place.lines("--only", "stats", "a")
    counts = {"reordered": 0, "restarted": 0, "unknown": 0}
    common = {"type": "stats", "exporter": "192.0.2.1"}
    assert found == [
        {**common, "source": "netflow5", "domain": 1, "messages": 3, "lost": 3, **counts},
        {**common, "source": "netflow5", "domain": 2, "messages": 2, "lost": 0, **counts},
        {**common, "source": "ipfix", "domain": 1, "exporter_port": 4739, "messages": 3, "lost": 3, **counts},
    ]
    done = place.run("--stats", "a")
    assert json.loads(done.stderr)["lost"] == 6
    lost = [json.loads(line).get("seq_lost", 0) for line in done.stdout.splitlines()]
    assert lost == [0, 0, 0, 0, 3, 0, 0, 3]


def test_limits_are_options(place):
    """--max-exporters, --max-templates, --hold and --hold-size get to where they hold."""
    more = build.ipfix(build.template(257, build.FLOW), build.template(258, build.FLOW))
    place.write("all", FLOWS, TEMPLATE, more)
    run = [place.run("--stats", *argv, "all") for argv in ((), ("--max-templates", "2"), ("--hold-size", "9"))]
    flows = [done.stdout.count(b"\n") for done in run]
    assert (flows, [done.returncode for done in run]) == ([2, 2, 0], [0, 1, 1])
    assert b"there are more than 2 templates of a session\n" in run[1].stderr
    assert json.loads(run[1].stderr.splitlines()[-1])["forgotten"] == 1
    assert place.run("--hold", "0", "all").stdout == b""
    done = place.run("--max-exporters", "1", "all", "all")
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    "argv",
    [
        *(("--max-exporters", text) for text in ("0", "-1", "x", "1.5", "9" * 13)),
        ("--max-templates", "0"),
        ("--hold-size", "0"),
        *(("--hold", text) for text in ("-1", "nan", "inf", "x")),
    ],
)
def test_limits_that_cannot_be(place, argv):
    done = place.run(*argv, "all")
    assert done.returncode == 2
    assert argv[1].encode() in done.stderr


def test_two_passes_over_tcp(place):
    """Flows come before their template and their sampling rate in a stream."""
    stream = FLOWS + TEMPLATE + RATE + FLOWS
    segments = [layers.tcp(flags=2, sequence=99, ports=(4000, 4739))]
    pieces = [stream[at : at + 25] for at in range(0, len(stream), 25)]
    segments += [
        layers.tcp(piece, flags=0x10, sequence=100 + 25 * number, ports=(4000, 4739))
        for number, piece in enumerate(pieces)
    ]
    packets = [layers.ethernet(layers.ipv4(segment, 6)) for segment in segments]
    (place.path / "stream").write_bytes(hostile.pcap(*map(hostile.record, packets)))
    twice = place.lines("--two-pass", "stream")
    assert [line["saddr"] for line in twice] == ["198.51.100.1", "198.51.100.2"] * 2
    assert [line["sampling_rate"] for line in twice] == [100] * 4
    once = place.lines("stream")
    assert [line.get("sampling_rate") for line in once] == [None, None, 100, 100]


def test_both_passes_show_their_progress(place):
    place.write("a", FLOWS, TEMPLATE)
    controller, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    done = subprocess.Popen(
        [BIN / "of-decode", "--two-pass", "--progress", "a"],
        cwd=place.path,
        env=environment(place.path),
        stdout=subprocess.PIPE,
        stderr=terminal,
    )
    os.close(terminal)
    with done:
        assert done.stdout.read().count(b"\n") == 2
        assert done.wait(SECONDS) == 0
    shown = os.read(controller, 65536)
    os.close(controller)
    assert shown.count(b"100%") == shown.count(b"\r\n") == 2

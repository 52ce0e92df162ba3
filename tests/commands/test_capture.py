"""of-capture as people run it: on loopback, into tshark and tcpdump, and through every kind of end."""

import json
import os
import pty
import shutil
import signal
import struct
import subprocess
import time
from pathlib import Path

import pytest
from listening import argv, environment, free_port, have_ipv6, listening, run, send

from overflowd_tools.capture.fragments import Fragments
from overflowd_tools.capture.link import dissect
from overflowd_tools.capture.packet import Packet
from overflowd_tools.capture.reader import CaptureReader

LOOPBACK = bytes([127, 0, 0, 1])
LOOPBACK6 = bytes(15) + b"\1"
needs_ipv6 = pytest.mark.skipif(not have_ipv6(), reason="no IPv6 here")
needs_tshark = pytest.mark.skipif(not shutil.which("tshark"), reason="tshark is not installed")
needs_tcpdump = pytest.mark.skipif(not shutil.which("tcpdump"), reason="tcpdump is not installed")
HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)


@pytest.fixture
def port():
    return free_port()


def packets(capture):
    reader = CaptureReader()
    found = [*reader.feed(capture), *reader.close()]
    assert all(isinstance(packet, Packet) for packet in found), found
    return found


def datagrams(capture):
    found = [dissect(packet, Fragments()) for packet in packets(capture)]
    assert all(packet.missing == 0 for packet in found)
    return [(p.source, p.source_port, p.destination, p.destination_port, p.payload) for p in found]


def test_header_first_then_each_datagram_at_once(port):
    with listening("capture", "-u", str(port)) as capture:
        assert capture.read(24) == HEADER
        before = time.time_ns()
        source_port = send(b"payload", port)
        record = capture.read(16 + 14 + 20 + 8 + 7)
        (packet,) = packets(HEADER + record)
        assert before // 1000 <= packet.timestamp_ns // 1000 <= time.time_ns() // 1000
        assert datagrams(HEADER + record) == [(LOOPBACK, source_port, LOOPBACK, port, b"payload")]
        assert capture.end() == (0, b"")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_int_and_term_are_the_normal_end_with_all_that_had_arrived(port, number):
    with listening("capture", "--stats", "-u", str(port)) as capture:
        header = capture.read(24)
        capture.pause()
        sources = [send(b"%d" % index, port) for index in range(100)]
        capture.kill(signal.SIGCONT)
        status, rest = capture.end(number)
        assert status == 0
        assert datagrams(header + rest) == [
            (LOOPBACK, source, LOOPBACK, port, b"%d" % index) for index, source in enumerate(sources)
        ]
        counts, stats = capture.stderr.splitlines()
        assert counts == b"of-capture: 100 datagrams, 0 dropped by the kernel, 0 rejected"
        assert json.loads(stats) == {
            "command": "of-capture",
            "datagrams": 100,
            "dropped_by_the_kernel": 0,
            "rejected": 0,
        }


def test_hup_kills_after_the_output_is_whole(port):
    with listening("capture", "-u", str(port)) as capture:
        header = capture.read(24)
        source = send(b"x", port)
        record = capture.read(16 + 14 + 20 + 8 + 1)
        assert capture.end(signal.SIGHUP) == (-signal.SIGHUP, b"")
        assert datagrams(header + record) == [(LOOPBACK, source, LOOPBACK, port, b"x")]


def test_a_second_signal_kills_while_the_reader_of_the_output_sleeps(port):
    with listening("capture", "-u", str(port)) as capture:
        for _ in range(40):
            send(bytes(65_507), port)  # more than pipe and buffer hold, and nobody reads
        capture.kill(signal.SIGINT)
        capture.wait_until_killable_by(signal.SIGINT)
        assert capture.end(signal.SIGINT)[0] == -signal.SIGINT


def test_usr1_tells_the_counts_and_goes_on(port):
    with listening("capture", "-u", str(port)) as capture:
        capture.read(24)
        send(b"1", port)
        capture.read(16 + 14 + 20 + 8 + 1)
        capture.kill(signal.SIGUSR1)
        assert capture.say_line() == b"of-capture: 1 datagrams, 0 dropped by the kernel, 0 rejected\n"
        send(b"2", port)
        capture.read(16 + 14 + 20 + 8 + 1)
        assert capture.end()[0] == 0


def test_silent_when_all_is_well(port):
    process = subprocess.Popen(
        argv("capture", "-c", "1", "-u", str(port)),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    )
    with process:
        assert process.stdout.read(24) == HEADER
        send(b"x", port)
        rest, said = process.communicate(timeout=30)
    assert (process.returncode, said, len(rest)) == (0, b"", 16 + 14 + 20 + 8 + 1)


@pytest.mark.parametrize("wanted", [1, 3, 64, 70])
def test_count_ends_it(port, wanted):
    with listening("capture", "-c", str(wanted), "-u", str(port)) as capture:
        header = capture.read(24)
        capture.pause()
        for index in range(100):
            send(b"%d" % index, port)
        capture.kill(signal.SIGCONT)
        status, rest = capture.end(None)
        assert status == 0
        assert [found[4] for found in datagrams(header + rest)] == [b"%d" % n for n in range(wanted)]


@needs_ipv6
def test_a_bare_port_listens_on_both_families(port):
    with listening("capture", "-c", "3", "-u", str(port)) as capture:
        four = send(b"four", port, "127.0.0.77")
        six = send(b"six", port, "::1")
        large = send(bytes(65_507), port, "::1")
        status, output = capture.end(None)
    assert status == 0
    assert datagrams(output) == [
        (LOOPBACK, four, bytes([127, 0, 0, 77]), port, b"four"),
        (LOOPBACK6, six, LOOPBACK6, port, b"six"),
        (LOOPBACK6, large, LOOPBACK6, port, bytes(65_507)),
    ]


@needs_ipv6
def test_several_sockets(port):
    other = free_port()
    names = ["-u", f"127.0.0.1:{port}", f"-u[::1]:{port}", f"--udp=127.0.0.2:{other}"]
    with listening("capture", "-c3", *names, sockets=3) as capture:
        assert [line.split()[4] for line in capture.endpoints] == [
            b"127.0.0.1:%d," % port,
            b"[::1]:%d," % port,
            b"127.0.0.2:%d," % other,
        ]
        sent = {
            (LOOPBACK, send(b"a", port), LOOPBACK, port, b"a"),
            (LOOPBACK6, send(b"b", port, "::1"), LOOPBACK6, port, b"b"),
            (LOOPBACK, send(b"c", other, "127.0.0.2"), bytes([127, 0, 0, 2]), other, b"c"),
        }
        status, output = capture.end(None)
    assert status == 0
    assert set(datagrams(output)) == sent


def test_the_largest_datagram_and_the_empty_one(port):
    with listening("capture", "-c", "2", "-u", str(port)) as capture:
        payload = bytes(range(251)) * 261
        send(payload[:65_507], port)
        send(b"", port)
        status, output = capture.end(None)
    assert status == 0
    assert [found[4] for found in datagrams(output)] == [payload[:65_507], b""]


def of_capture_of_many(port):
    """A capture with datagrams of many sizes over both families."""
    sizes = [0, 1, 2, 3, 48, 1464, 65_507]
    addresses = ["127.0.0.1", "::1"] if have_ipv6() else ["127.0.0.1"]
    with listening("capture", "-c", str(len(sizes) * len(addresses)), "-u", str(port)) as capture:
        for address in addresses:
            for size in sizes:
                send(os.urandom(size), port, address)
        status, output = capture.end(None)
    assert status == 0
    return output, [8 + size for _ in addresses for size in sizes]


@needs_tshark
def test_tshark_finds_valid_checksums(port):
    output, lengths = of_capture_of_many(port)
    checks = ["-o", "udp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"]
    fields = ["udp.length", "udp.checksum.status", "udp.dstport", "_ws.malformed", "_ws.expert.severity"]
    names = [part for field in fields for part in ("-e", field)]
    seen = subprocess.run(
        ["tshark", *checks, "--disable-protocol", "cflow", "-r", "-", "-T", "fields", *names],
        input=output,
        capture_output=True,
        timeout=60,
        check=True,
    )
    rows = [line.split("\t")[:3] for line in seen.stdout.decode().splitlines()]
    assert rows == [[str(length), "1", str(port)] for length in lengths]


@needs_tcpdump
def test_tcpdump_finds_valid_checksums_and_an_empty_capture_is_one(port):
    output, lengths = of_capture_of_many(port)
    for capture, count in ((output, len(lengths)), (HEADER, 0)):
        seen = subprocess.run(
            ["tcpdump", "-nn", "-vv", "-r", "-"], input=capture, capture_output=True, timeout=60, check=True
        )
        assert seen.stdout.count(b"[udp sum ok]") == count
        assert b"bad" not in seen.stdout


def test_file(tmp_path, port):
    target = tmp_path / "out.pcap"
    target.write_bytes(b"an older capture, longer than the new one" * 100)
    with listening("capture", "-c", "1", "-w", str(target), "-u", str(port)) as capture:
        source = send(b"x", port)
        assert capture.end(None) == (0, b"")
    assert datagrams(target.read_bytes()) == [(LOOPBACK, source, LOOPBACK, port, b"x")]


def test_a_port_in_use_leaves_the_file_of_the_first_alone(tmp_path, port):
    target = tmp_path / "out.pcap"
    with listening("capture", "-w", str(target), "-u", str(port)) as first:
        send(b"x", port)
        second = run("capture", "-w", str(target), "-u", str(port))
        assert second.returncode == 2
        assert second.stderr == b"of-capture: cannot listen on UDP port %d: Address already in use\n" % port
        assert second.stdout == b""
        assert first.end() == (0, b"")
    assert len(packets(target.read_bytes())) == 1


# What a process without privilege meets; only root can give up the capabilities of its children.
UNPRIVILEGED = ["setpriv", "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]
needs_setpriv = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("setpriv"), reason="cannot give up capabilities: not root, or no setpriv"
)


@needs_setpriv
def test_a_port_without_permission():
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 9:
        pytest.skip("every user may have every port here")
    done = subprocess.run(
        [*UNPRIVILEGED, *argv("capture", "-u", "9")],
        env=environment(),
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == b"of-capture: cannot listen on UDP port 9: Permission denied\n"


@needs_setpriv
def test_a_buffer_as_large_as_the_system_allows(port):
    most = int(Path("/proc/sys/net/core/rmem_max").read_text())
    process = subprocess.Popen(
        [*UNPRIVILEGED, *argv("capture", "-v", "--rcvbuf", str(1 << 30), "-u", str(port))],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    with process:
        said = process.stderr.readline()
        process.terminate()
    granted = b"of-capture: listening on UDP port %d, with a receive buffer of %d bytes\n"
    assert said == granted % (port, most)
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["-u", "0"], b"a port is a number from 1 to 65535"),
        (["-u", "localhost:1"], b"is not an IP address"),
        (["-u", "::1"], b"is not PORT, IPV4:PORT or [IPV6]:PORT"),
        (["-c", "0"], b"is not an integer from 1 to"),
        (["-c", "-1"], b"is not an integer from 1 to"),
        (["-c", "1" * 30], b"is not an integer from 1 to"),
        (["--rcvbuf", "8M"], b"is not an integer from 1 to"),
        (["--rcvbuf", "2000000000"], b"is not an integer from 1 to"),
        (["-c", "1", "-c", "2"], b"more than once"),
        (["file.pcap"], b"unrecognized arguments"),
    ],
)
def test_wrong_usage(options, reason):
    done = run("capture", *options)
    assert (done.returncode, done.stdout) == (2, b"")
    first, second = done.stderr.split(b"\n")[:2]
    assert first.startswith(b"of-capture: ")
    assert reason in first
    assert second.startswith(b"usage: of-capture ")


def test_an_address_that_is_not_here():
    done = run("capture", "-u", f"192.0.2.1:{free_port()}")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"of-capture: cannot listen on UDP 192.0.2.1:")
    assert done.stderr.count(b"\n") == 1


def test_a_file_that_cannot_be_made(tmp_path, port):
    done = run("capture", "-w", str(tmp_path / "no" / "file"), "-u", str(port))
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == b"of-capture: %s: No such file or directory\n" % bytes(tmp_path / "no" / "file")


@pytest.mark.parametrize("name", ["-w", "stdout"])
def test_a_full_disk(name, port):
    with open("/dev/full", "wb") as full:
        if name == "-w":
            done = run("capture", "-w", "/dev/full", "-u", str(port))
        else:
            done = subprocess.run(
                argv("capture", "-u", str(port)),
                env=environment(),
                stdout=full,
                stderr=subprocess.PIPE,
                timeout=30,
                check=False,
            )
    where = b"/dev/full" if name == "-w" else b"standard output"
    assert done.returncode == 2
    assert done.stderr == b"of-capture: %s: No space left on device\n" % where


def test_a_closed_output(port):
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *argv("capture", "-u", str(port))],
        env=environment(),
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (2, b"of-capture: standard output: Bad file descriptor\n")


def test_a_reader_that_leaves_ends_it_silently(port):
    with listening("capture", "-u", str(port)) as capture:
        capture.read(24)
        send(b"x" * 100, port)
        capture.read(76)
        capture.process.stdout.close()
        send(b"x" * 100, port)
        assert capture.process.wait(timeout=30) == -signal.SIGPIPE
        assert capture.process.stderr.read() == b""


@pytest.mark.parametrize("options", [[], ["-w", "-"]])
def test_no_capture_goes_to_a_terminal(options, port):
    master, slave = pty.openpty()
    try:
        done = subprocess.run(
            argv("capture", "-u", str(port), *options),
            env=environment(),
            stdout=slave,
            stderr=subprocess.PIPE,
            timeout=30,
            check=False,
        )
    finally:
        os.close(slave)
        os.close(master)
    assert done.returncode == 2
    assert done.stderr.startswith(b"of-capture: a capture is not for a terminal;")


def test_drops_are_counted_to_the_last_one(port):
    with listening("capture", "--stats", "--rcvbuf", "4000", "-u", str(port)) as capture:
        header = capture.read(24)
        capture.pause()
        for _ in range(500):
            send(bytes(1000), port)
        capture.kill(signal.SIGCONT)
        said = capture.say_line()
        status, rest = capture.end()
    assert status == 0
    received = len(packets(header + rest))
    assert 0 < received < 500
    dropped = 500 - received
    assert said == b"of-capture: %d datagrams dropped by the kernel so far: a receive buffer was full\n" % dropped
    counts, stats = capture.stderr.splitlines()
    assert counts == b"of-capture: %d datagrams, %d dropped by the kernel, 0 rejected" % (received, dropped)
    assert json.loads(stats)["dropped_by_the_kernel"] == dropped


def test_no_loss_in_a_burst_with_the_default_buffer(port):
    sender = (
        "import socket, sys\n"
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "s.connect(('127.0.0.1', int(sys.argv[1])))\n"
        "for n in range(100): s.send(n.to_bytes(4, 'big') * 366)\n"
    )
    with listening("capture", "-c", "100", "-u", str(port)) as capture:
        subprocess.run([argv("capture")[0], "-c", sender, str(port)], check=True, timeout=30)
        status, output = capture.end(None)
    assert status == 0
    numbers = [int.from_bytes(found[4][:4], "big") for found in datagrams(output)]
    assert numbers == list(range(100))

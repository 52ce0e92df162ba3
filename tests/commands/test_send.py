"""of-send as people run it: dry runs, a collector on the loopback interface, and namespaces with no way out."""

import binascii
import json
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from overflowd_tools.commands import send
from overflowd_tools.reports import canonical, envelope, original, report, writer
from overflowd_tools.trust.keys import SecretKey

TOP = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "overflowd_tools.commands.send"]
KEY = SecretKey.generate()
CONTACT = writer.Contact("noc@example.net", "Example Net")
HOUR_MS = 3_600_000


def now_ms():
    return time.time_ns() // 1_000_000


def flow(saddr="8.8.4.4", daddr="9.9.9.9", **more):
    return {
        "type": "flow",
        "pcount": 17,
        "source": "netflow5",
        "saddr": saddr,
        "daddr": daddr,
        "sport": 53,
        "dport": 4242,
        "protocol": 17,
        "bcount": 12345,
        "p_ppt": 17_000_000,
        **more,
    }


def reports(*flows, to=("dst",), time_ms=None):
    """Return the lines of signed reports."""
    made = writer.Writer(KEY.public, CONTACT, to, HOUR_MS)
    bodies = [body for one in flows for body in made.bodies(one, now_ms() if time_ms is None else time_ms)]
    return [made.complete(body, KEY.sign(body)) for body in bodies]


def signed(members):
    """Return the line of a report with these members, whatever they are, and a true signature."""
    body = report.signable({**members, "signature": {"key": KEY.public.text}})
    return report.with_signature(body, KEY.sign(body))


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.delenv("OF_DEBUG", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(TOP))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def of_send(*argv, lines=(), before=(), **more):
    data = b"".join(line + b"\n" for line in lines)
    return subprocess.run([*before, *COMMAND, *argv], input=data, capture_output=True, timeout=60, check=False, **more)


def decisions(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def dry_run(*argv, lines):
    """Return what a dry run would have done with each report: the reason, or "send"."""
    return [entry.get("reason", entry["decision"]) for entry in decisions(of_send("-n", *argv, lines=lines))]


class Collector:
    """A socket on the loopback interface."""

    def __init__(self, family=socket.AF_INET):
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.settimeout(10)
        self.socket.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
        host, port = self.socket.getsockname()[:2]
        self.url = f"udp://{host}:{port}" if family == socket.AF_INET else f"udp://[{host}]:{port}"

    def receive(self):
        return self.socket.recv(2000)

    def is_empty(self):
        return not select.select([self.socket], [], [], 0)[0]


@pytest.fixture
def collector():
    made = Collector()
    yield made
    made.socket.close()


def test_a_dry_run_says_what_would_be_sent():
    done = of_send("-n", lines=reports(flow(), to=("src", "dst")))
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == (
        b'{"to":"8.8.4.4","via":"udp","decision":"send"}\n{"to":"9.9.9.9","via":"udp","decision":"send"}\n'
    )


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("10.0.0.1", "private"),
        ("127.0.0.1", "loopback"),
        ("169.254.169.254", "metadata"),
        ("168.63.129.16", "metadata"),
        ("224.0.0.1", "multicast"),
        ("255.255.255.255", "broadcast"),
        ("9.9.9.255", "subnet broadcast"),
        ("::1", "loopback"),
        ("::ffff:10.0.0.1", "private"),
        ("64:ff9b::a00:1", "NAT64"),
        ("2002:7f00:1::", "6to4"),
        ("::127.0.0.1", "IPv4-compatible"),
        ("ff0e::1", "multicast"),
        ("4000::1", "reserved"),
    ],
)
def test_forbidden_recipients_are_refused_with_their_reason(address, reason):
    lines = reports(flow(daddr=address))
    done = of_send("-n", "--stats", lines=lines)
    assert done.returncode == 1
    assert [entry["decision"] for entry in decisions(done)] == ["refused"]
    summary, stats = done.stderr.decode().splitlines()
    assert summary == f"of-send: 1 reports not sent: 1 {reason}"
    assert json.loads(stats) == {
        "command": "of-send",
        "send": 0,
        "refused": 1,
        "other_lines": 0,
        f"refused_{reason.replace(' ', '_')}": 1,
        "rejected": 0,
    }


def test_a_mapped_public_address_is_sent_to_as_ipv4():
    assert dry_run(lines=reports(flow(daddr="::ffff:9.9.9.9"))) == ["send"]


def test_every_refusal_is_in_the_log_and_in_the_summary():
    private = [flow(daddr=f"10.0.0.{host}") for host in range(1, 30)]
    done = of_send("-n", lines=reports(*private, flow(daddr="224.0.0.1"), flow()))
    assert done.returncode == 1
    assert Counter(entry.get("reason") for entry in decisions(done)) == {"private": 29, "multicast": 1, None: 1}
    assert done.stderr == b"of-send: 30 reports not sent: 29 private, 1 multicast\n"
    quiet = of_send("-n", "-q", lines=reports(*private))
    assert (quiet.returncode, quiet.stderr) == (1, b"")


def test_allow_opens_a_net():
    lines = reports(*(flow(daddr=address) for address in ("10.1.2.3", "10.2.2.3", "fd00::1", "fd01::1")))
    assert dry_run("--allow", "10.1.0.0/16", "--allow", "fd00::/16", lines=lines) == [
        "send",
        "private",
        "send",
        "private",
    ]


def test_deny_closes_a_net_whatever_is_allowed(tmp_path):
    (tmp_path / "ours.txt").write_text("# our own\n10.1.0.0/16\n9.9.9.9\n")
    (tmp_path / "opted-out.txt").write_text("2a00:1450::/32\n")
    lines = reports(*(flow(daddr=address) for address in ("10.1.2.3", "9.9.9.9", "2a00:1450::1", "9.9.9.8")))
    files = ("--deny", "ours.txt", "--deny", "opted-out.txt")
    assert dry_run(*files, "--allow", "10.0.0.0/8", lines=lines) == ["operator list"] * 3 + ["send"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"10.0.0.0/8\nexample.net\n", "deny.txt: line 2: 'example.net' is not an IP address"),
        (b"\n\n10.0.0.1/8", "deny.txt: line 3: '10.0.0.1/8' has bits set behind its prefix length"),
        (b"\xff" * 1000, "deny.txt: line 1: 4000 characters are not an IP prefix"),
        (None, "deny.txt: No such file or directory"),
    ],
)
def test_a_deny_file_that_is_not_understood_whole_stops_everything(tmp_path, collector, content, message):
    if content is not None:
        (tmp_path / "deny.txt").write_bytes(content)
    done = of_send("-n", "--deny", "deny.txt", lines=reports(flow()))
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode() == f"of-send: {message}\n"


def test_reports_that_are_too_old_or_too_new():
    lines = reports(flow(), time_ms=now_ms() - HOUR_MS - 1000) + reports(flow(), time_ms=now_ms() + 600_000)
    assert dry_run(lines=lines) == ["expired", "from the future"]


def test_reports_to_nobody():
    assert dry_run(lines=reports(flow(), to=())) == ["no recipient"]


def test_version_1():
    made = original.Writer(KEY.public, CONTACT)
    (body,) = made.bodies(flow(stime=1, etime=2), now_ms())
    done = of_send("-n", lines=[made.complete(body, KEY.sign(body))])
    assert done.returncode == 1
    assert done.stdout == b'{"via":"udp","decision":"refused","reason":"version 1"}\n'


@pytest.mark.parametrize(
    ("to", "role", "why"),
    [
        ("9.9.9.10", "dst", "to is not an endpoint of the flow"),
        ("example.net", "dst", "to is not an endpoint of the flow"),
        ("09.9.9.9", "dst", "to is not an endpoint of the flow"),
        ("9.9.9.9", "src", "to is not the saddr, which role src stands for"),
        ("8.8.4.4", "dst", "to is not the daddr, which role dst stands for"),
        ("9.9.9.9", "via", "role is not src or dst"),
    ],
)
def test_a_recipient_that_is_not_the_end_of_the_flow(to, role, why):
    members = json.loads(reports(flow())[0])
    members["metadata"] |= {"to": to, "role": role}
    done = of_send("-n", lines=[signed(members)])
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode() == f"of-send: -: line 1: not a report: {why}\n"


@pytest.mark.parametrize("to", ["09.9.9.9", "9.9.9", "9.9.9.9%lo", "0x9090909", "example.net", ""])
def test_what_is_not_an_address_is_refused_even_if_the_layout_let_it_pass(to):
    args = send.options().read(["--allow", "0.0.0.0/0", "--allow", "::/0"])
    read = report.read(reports(flow())[0])
    read = read._replace(ends=(*read.ends[:2], to.encode(), *read.ends[3:]))
    assert send._ToEnds(args).admit(read, b"payload") == "not an address"


def test_a_scoped_address_is_refused():
    members = json.loads(reports(flow())[0])
    members["metadata"]["to"] = members["flowdata"]["data"]["daddr"] = "fe80::1%lo"
    done = of_send("-n", "--allow", "fe80::/10", lines=[signed(members)])
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"of-send: -: line 1: not a report: daddr is not an address\n"


def test_a_flow_is_reported_to_an_end_once_in_a_while():
    again = [flow(), flow(), flow(dport=4243), flow()]
    lines = reports(*again, to=("src", "dst"))
    new = ["send", "send"]
    old = ["repeated", "repeated"]
    assert dry_run(lines=lines) == new + old + new + old
    assert dry_run("--repeat-after", "0", lines=lines) == new * 4


def test_prefix_limit():
    lines = reports(*(flow(daddr=f"9.9.9.{host}") for host in range(1, 10)))
    assert dry_run(lines=lines) == ["send"] * 5 + ["prefix limit"] * 4
    assert dry_run("--prefix-burst", "2", lines=lines) == ["send"] * 2 + ["prefix limit"] * 7
    assert dry_run("--prefix-interval", "0", "--network-rate", "inf", lines=lines) == ["send"] * 9


def test_network_limit():
    lines = reports(*(flow(daddr=f"9.9.{net}.9") for net in range(1, 10)))
    assert dry_run(lines=lines)[:5] == ["send"] * 5
    assert Counter(dry_run("--network-rate", "0.001", lines=lines)) == {"send": 1, "network limit": 8}


def test_rate_and_bit_rate_limit():
    lines = reports(*(flow(daddr=f"9.{net}.9.9") for net in range(1, 10)))
    assert dry_run("--rate", "0.001", lines=lines) == ["send"] + ["rate limit"] * 8
    assert dry_run("--bitrate", "1", lines=lines) == ["send"] + ["bit rate limit"] * 8


def test_forged_recipients_get_no_more_than_the_whole_rate():
    """The signature is not looked at, so the lines need no true one."""
    draw = random.Random(7)
    line = reports(flow(daddr="203.0.113.99"))[0]
    lines = [line.replace(b"203.0.113.99", socket.inet_ntoa(draw.randbytes(4)).encode()) for _ in range(20_000)]
    start = time.monotonic()
    done = of_send("-n", lines=lines)
    seconds = time.monotonic() - start
    verdicts = Counter(entry.get("reason") for entry in decisions(done))
    assert verdicts.total() == 20_000
    assert 100 <= verdicts[None] <= 100 * (1 + seconds)
    assert verdicts["rate limit"] > 10_000
    assert verdicts["multicast"] > 1000


def too_long():
    members = json.loads(reports(flow())[0])
    members["metadata"]["note"] = "x" * 600
    return signed(members)


def test_a_report_that_makes_too_long_a_datagram():
    assert dry_run(lines=[too_long()]) == ["size"]


def test_the_log_is_json_whatever_the_texts():
    texts = ["udp", "é", "\u2028", 'a"b', "a\\b", "a\tb", "\x7f", "\xa0"]
    assert [json.loads(send._json(text)) for text in texts] == texts
    assert send._json("no route to host") == '"no route to host"'


def test_a_collector_gets_every_report_in_the_datagram_form(collector):
    lines = reports(flow(), flow(), flow(daddr="10.0.0.1"), flow(daddr="::1"), to=("src", "dst"))
    lines += reports(flow(), to=())
    done = of_send("-v", "--to", collector.url, lines=lines)
    assert done.returncode == 0
    assert done.stderr == b"of-send: 9 sent, 0 refused, 0 other lines, 0 unreachable, 0 rejected\n"
    for line, entry in zip(lines, decisions(done), strict=True):
        datagram = collector.receive()
        _, number, signature, message = envelope.unpack(datagram)
        read = report.from_signed(message, signature)
        read.verify([KEY.public])
        assert number == KEY.public.key_number
        assert read.text == line
        to = read.members["metadata"].get("to")
        assert entry == {**({"to": to} if to else {}), "via": collector.url, "decision": "sent"}
    assert collector.is_empty()


def test_a_collector_over_ipv6():
    collector = Collector(socket.AF_INET6)
    done = of_send("--to", collector.url, lines=reports(flow()))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert report.read(reports(flow())[0]).key.text.encode() in collector.receive()
    collector.socket.close()


def test_a_collector_is_spared_what_no_receiver_would_take(collector):
    made = original.Writer(KEY.public, CONTACT)
    (body,) = made.bodies(flow(stime=1, etime=2), now_ms())
    lines = [
        *reports(flow(), time_ms=now_ms() - HOUR_MS - 1000),
        made.complete(body, KEY.sign(body)),
        too_long(),
    ]
    done = of_send("--to", collector.url, lines=lines)
    assert done.returncode == 1
    assert done.stderr == b"of-send: 3 reports not sent: 1 expired, 1 version 1, 1 size\n"
    assert collector.is_empty()


def test_a_dry_run_to_a_collector_sends_nothing(collector):
    done = of_send("-n", "--to", collector.url, "--rate", "1e-6", lines=reports(flow(), flow()))
    assert [entry["decision"] for entry in decisions(done)] == ["send", "send"]
    assert (done.returncode, done.stderr) == (0, b"")
    assert collector.is_empty()


def test_a_rate_to_a_collector_makes_reports_wait(collector):
    start = time.monotonic()
    done = of_send("--to", collector.url, "--rate", "10", lines=reports(*[flow()] * 14))
    assert (done.returncode, done.stderr) == (0, b"")
    assert time.monotonic() - start >= 0.4
    for _ in range(14):
        collector.receive()


def test_an_interrupt_ends_the_waiting(collector):
    lines = reports(*[flow()] * 3)
    running = subprocess.Popen(
        [*COMMAND, "-v", "--to", collector.url, "--rate", "0.0001"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    running.stdin.write(b"\n".join(lines) + b"\n")
    running.stdin.flush()
    # The log of the first report comes while the second one waits.
    assert json.loads(running.stdout.readline())["decision"] == "sent"
    collector.receive()
    running.send_signal(signal.SIGINT)
    output, errors = running.communicate(timeout=10)
    assert running.returncode == -signal.SIGINT
    assert [json.loads(line)["reason"] for line in output.splitlines()] == ["interrupted"]
    assert errors.startswith(b"of-send: 1 reports not sent: 1 interrupted\n")
    assert collector.is_empty()


def test_a_collector_that_does_not_listen_is_noticed(collector):
    collector.socket.close()
    done = of_send("--stats", "--to", collector.url, lines=reports(*[flow()] * 3))
    assert done.returncode == 1
    message, stats = done.stderr.decode().splitlines()
    assert message == f"of-send: {collector.url}: nobody took 3 datagrams"
    assert json.loads(stats)["unreachable"] == 3


def test_the_source_port(collector):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        taken = of_send("--source-port", str(port), "--to", collector.url, lines=reports(flow()))
    assert taken.returncode == 2
    assert taken.stderr.decode() == f"of-send: cannot send from UDP port {port}: Address already in use\n"
    assert collector.is_empty()
    done = of_send("--source-port", str(port), "--to", collector.url, lines=reports(flow()))
    assert done.returncode == 0
    assert collector.socket.recvfrom(2000)[1] == ("127.0.0.1", port)


def test_a_respaced_report_with_a_note_of_of_verify_is_sent_in_canonical_form(collector):
    (line,) = reports(flow())
    members = json.loads(line)
    spaced = json.dumps({"verified": {"format": 2}, **dict(reversed(members.items()))}, indent=1)
    done = of_send("--to", collector.url, lines=[spaced.replace("\n", " ").encode()])
    assert (done.returncode, done.stderr) == (0, b"")
    assert collector.receive().endswith(b"\n" + report.read(line).signed)


def test_the_signature_is_not_checked(collector):
    """of-send stands behind of-sign or of-verify; a broken signature is the receiver's to see."""
    members = json.loads(reports(flow())[0])
    members["signature"]["signature"] = binascii.b2a_base64(bytes(64), newline=False).decode()
    done = of_send("--to", collector.url, lines=[canonical.encode(members)])
    assert (done.returncode, done.stderr) == (0, b"")
    assert envelope.unpack(collector.receive())[2] == bytes(64)


def test_bad_lines_are_named_and_the_rest_is_sent(collector):
    (line,) = reports(flow())
    twice = line.replace(b'"protocol":17', b'"protocol":17,"protocol":17')
    bad = [
        b"nonsense",
        b"[]",
        b"{}",
        b'{"$schema":"overflowd-report/2"}',
        b'{"$schema":"overflowd-report/3"}',
        twice,
        line.replace(b'"pcount":17', b'"pcount":1e999'),
        line.replace(b'"pcount":17', b'"pcount":18446744073709551616'),
        line.replace(b'"pcount":17', b'"pcount":null'),
        b"[" * 100_000,
    ]
    done = of_send("--to", collector.url, lines=[*bad, line])
    assert done.returncode == 1
    complaints = done.stderr.decode().splitlines()
    assert [text.split(": ")[:3] for text in complaints] == [
        ["of-send", "-", f"line {number}"] for number in range(1, len(bad) + 1)
    ]
    assert max(map(len, complaints)) < 200
    assert collector.receive().endswith(report.read(line).signed)
    assert collector.is_empty()


def test_strict_stops_at_the_first_bad_line(collector):
    lines = [b"nonsense", *reports(flow())]
    done = of_send("--strict", "--to", collector.url, lines=lines)
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1
    assert collector.is_empty()


def test_strict_does_not_stop_at_a_refusal():
    lines = reports(flow(daddr="10.0.0.1"), flow())
    assert dry_run("--strict", lines=lines) == ["private", "send"]


def test_lines_for_other_commands_are_counted():
    others = [b'{"type":"flow","pcount":1}', b'{"$schema":"x-unknown/1"}', b'{"type":"note"}']
    done = of_send("-n", "--stats", lines=[*others, *reports(flow())])
    assert done.returncode == 0
    assert json.loads(done.stderr)["other_lines"] == 3


def test_a_missing_of_sign_is_noticed():
    done = of_send("-n", lines=[json.dumps(flow()).encode()] * 2)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"of-send: no report in 2 lines: of-sign makes reports\n"


def test_nothing_in_nothing_out():
    done = of_send("-n")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_the_log_does_not_wait_for_more_input():
    running = subprocess.Popen([*COMMAND, "-n"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    for _ in range(2):
        running.stdin.write(reports(flow())[0] + b"\n")
        running.stdin.flush()
        assert json.loads(running.stdout.readline())["to"] == "9.9.9.9"
    running.communicate(timeout=10)
    assert running.returncode == 1  # the second one was a repetition


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--port", "0"], "argument --port: '0' is not a port from 1 to 65535"),
        (["--port", "65536"], "argument --port: '65536' is not a port from 1 to 65535"),
        (["--port", "1" * 5000], f"argument --port: '{'1' * 5000}' is not a port from 1 to 65535"),
        (["--port", "x"], "argument --port: 'x' is not a port from 1 to 65535"),
        (["--port", "9", "--port", "9"], "--port is given more than once"),
        (["--allow", "10.0.0.1/8"], "argument --allow: '10.0.0.1/8' has bits set behind its prefix length"),
        (["--allow", "lab"], "argument --allow: 'lab' is not an IP address"),
        (["--rate", "0"], "argument --rate: '0' is not a number from 1e-06 to inf"),
        (["--rate", "-1"], "argument --rate: '-1' is not a number from 1e-06 to inf"),
        (["--rate", "nan"], "argument --rate: 'nan' is not a number from 1e-06 to inf"),
        (["--rate", "fast"], "argument --rate: 'fast' is not a number from 1e-06 to inf"),
        (["--bitrate", "1e-7"], "argument --bitrate: '1e-7' is not a number from 1e-06 to inf"),
        (["--prefix-interval", "inf"], "argument --prefix-interval: 'inf' is not a number from 0 to 1e+09"),
        (["--prefix-burst", "0"], "argument --prefix-burst: '0' is not a number from 1 to 1e+09"),
        (["--prefix-burst", "1.5"], "argument --prefix-burst: '1.5' is not an integer"),
        (["--repeat-after", "-1"], "argument --repeat-after: '-1' is not a number from 0 to 1e+09"),
        (["--to", "https://collector.example/"], "'https://collector.example/' is not udp://HOST:PORT"),
        (["--to", "127.0.0.1:9"], "'127.0.0.1:9' is not udp://HOST:PORT"),
    ],
)
def test_wrong_usage(argv, message):
    done = of_send("-n", *argv, lines=reports(flow()))
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode().splitlines()[0] == f"of-send: {message}"


@pytest.mark.parametrize(
    "argv", [["--rate", "1e9"], ["--rate", "1e-6"], ["--bitrate", "1e18"], ["--prefix-burst", "1e9"]]
)
def test_extreme_limits_do_their_job(argv):
    assert dry_run(*argv, "--prefix-interval", "1e9", lines=reports(flow())) == ["send"]


def test_memory_is_bounded(tmp_path):
    line = reports(flow(daddr="203.0.113.99"))[0]
    draw = random.Random(7)
    with open(tmp_path / "reports", "wb") as lines:
        for _ in range(40_000):
            lines.write(line.replace(b"203.0.113.99", socket.inet_ntoa(draw.randbytes(4)).encode()) + b"\n")
    endless = ["--rate", "inf", "--bitrate", "inf", "--network-rate", "1", "--prefix-interval", "1e9"]
    with open(tmp_path / "log", "wb") as log:
        command = [*COMMAND, "-n", "-q", *endless, "reports", "-"]
        running = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log)
        while (tmp_path / "log").read_bytes().count(b"\n") < 40_000:
            time.sleep(0.05)
        status = Path(f"/proc/{running.pid}/status").read_text()
        running.communicate(timeout=10)
    assert running.returncode == 1
    assert int(status.partition("VmHWM:")[2].split()[0]) < 40_000  # KiB


@pytest.mark.skipif(not shutil.which("signify-openbsd"), reason="needs signify-openbsd")
def test_signify_verifies_what_arrives(tmp_path, collector):
    (tmp_path / "key.pub").write_text(f"untrusted comment: key\n{KEY.public.text}\n")
    (line,) = reports(flow())
    of_send("--to", collector.url, lines=[line])
    command = ["signify-openbsd", "-V", "-e", "-p", "key.pub", "-x", "-", "-m", "-"]
    done = subprocess.run(command, input=collector.receive(), capture_output=True, check=False)
    assert done.returncode == 0
    assert done.stdout == b"Signature Verified\n" + report.read(line).signed


# Every frame that arrives on an interface, in hexadecimal; ends with its standard input.
SNIFF = """
import select, socket, sys
opened = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
opened.bind((sys.argv[1], 0))
print("ready", flush=True)
while opened in select.select([opened, sys.stdin], [], [])[0]:
    data, (_, _, kind, _, _) = opened.recvfrom(65536)
    if kind == socket.PACKET_HOST:
        print(data.hex(), flush=True)
"""


def ip(*argv):
    return subprocess.run(["ip", *argv], capture_output=True, check=False).returncode == 0


class Wire:
    """Two network namespaces with a wire between them and no way out: 10.77.0.1 sends, 10.77.0.2 listens."""

    def __init__(self):
        self.here, self.there = (f"of-send-{os.getpid()}-{end}" for end in ("here", "there"))
        self.inside = ["ip", "netns", "exec", self.here]

    def set_up(self):
        return (
            ip("netns", "add", self.here)
            and ip("netns", "add", self.there)
            and ip("-n", self.here, "link", "add", "w0", "type", "veth", "peer", "w1", "netns", self.there)
            and all(
                ip("-n", end, "addr", "add", f"10.77.0.{host}/24", "dev", device)
                and ip("-n", end, "addr", "add", f"fd77::{host}/64", "dev", device, "nodad")
                and ip("-n", end, "link", "set", device, "up")
                for end, device, host in ((self.here, "w0", 1), (self.there, "w1", 2))
            )
        )

    def tear_down(self):
        ip("netns", "del", self.here)
        ip("netns", "del", self.there)

    def sniff(self):
        command = ["ip", "netns", "exec", self.there, sys.executable, "-c", SNIFF, "w1"]
        running = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        assert running.stdout.readline() == b"ready\n"
        return running

    @staticmethod
    def heard(running, count):
        """Return the UDP packets, IPv4 and IPv6: those expected, and what comes shortly after them."""
        packets = []
        deadline = time.monotonic() + 10
        while select.select([running.stdout], [], [], max(0, deadline - time.monotonic()))[0]:
            packet = bytes.fromhex(running.stdout.readline().decode())
            if (packet[0] == 0x45 and packet[9] == 17) or (packet[0] >> 4 == 6 and packet[6] == 17):
                packets.append(packet)
            if len(packets) == count:
                deadline = min(deadline, time.monotonic() + 0.2)
        running.communicate(timeout=10)
        return packets


@pytest.fixture
def wire():
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("needs root and ip(8)")
    made = Wire()
    try:
        if not made.set_up():
            pytest.skip("no network namespaces here")
        yield made
    finally:
        made.tear_down()


def udp_ports(datagram):
    return int.from_bytes(datagram[:2], "big"), int.from_bytes(datagram[2:4], "big")


def test_on_a_wire_the_end_gets_its_report(wire):
    (line,) = reports(flow(daddr="10.77.0.2"))
    running = wire.sniff()
    done = of_send("-v", "--allow", "10.77.0.0/24", lines=[line], before=wire.inside)
    (packet,) = wire.heard(running, 1)
    assert done.returncode == 0
    assert decisions(done) == [{"to": "10.77.0.2", "via": "udp", "decision": "sent"}]
    assert packet[1] == 0x04  # DSCP LE
    assert packet[6] & 0xE0 == 0x40  # DF, no fragment
    assert packet[8] == 64
    assert packet[12:20] == bytes([10, 77, 0, 1, 10, 77, 0, 2])
    assert udp_ports(packet[20:]) == (65535, 65535)
    assert packet[28:] == envelope.pack(KEY.public, report.read(line).signature, report.read(line).signed)


def test_on_a_wire_the_end_gets_its_report_over_ipv6(wire):
    (line,) = reports(flow(saddr="2001:db8::1", daddr="fd77::2"))
    running = wire.sniff()
    done = of_send("--allow", "fd77::/64", "--port", "7777", lines=[line], before=wire.inside)
    (packet,) = wire.heard(running, 1)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert (packet[0] & 15) << 4 | packet[1] >> 4 == 0x04  # DSCP LE
    assert packet[7] == 64
    assert packet[24:40] == socket.inet_pton(socket.AF_INET6, "fd77::2")
    assert udp_ports(packet[40:]) == (65535, 7777)
    assert packet[48:].endswith(report.read(line).signed)


def test_on_a_wire_nothing_is_sent_that_was_refused(wire):
    refused = reports(*(flow(daddr=daddr) for daddr in ("10.77.0.2", "fd77::2", "224.0.0.1", "255.255.255.255")))
    allow = ("--allow", "10.77.0.0/24")
    running = wire.sniff()
    done = of_send("-v", lines=refused, before=wire.inside)
    dry = of_send("-n", *allow, lines=reports(flow(daddr="10.77.0.2")), before=wire.inside)
    last = reports(flow(daddr="10.77.0.2"))
    of_send(*allow, lines=last, before=wire.inside)
    (packet,) = wire.heard(running, 1)
    assert packet.endswith(report.read(last[0]).signed)
    assert [entry["reason"] for entry in decisions(done)] == ["private", "private", "multicast", "broadcast"]
    assert [entry["decision"] for entry in decisions(dry)] == ["send"]


def test_on_a_wire_forged_recipients_are_limited(wire):
    """One thousand neighbours of the victim, one burst of five for them all."""
    running = wire.sniff()
    lines = reports(*(flow(daddr="10.77.0.2", sport=port) for port in range(1000)))
    done = of_send("--stats", "--allow", "10.77.0.0/24", lines=lines, before=wire.inside)
    packets = wire.heard(running, 5)
    counts = json.loads(done.stderr.splitlines()[-1])
    assert counts["sent"] == len(packets) == 5
    assert counts["refused_prefix_limit"] == 995


def test_on_a_wire_what_cannot_leave_has_its_reason(wire):
    assert ip("-n", wire.here, "route", "add", "10.78.0.0/24", "dev", "w0", "mtu", "lock", "600")
    lines = reports(flow(daddr="10.78.0.2"), flow(daddr="10.79.0.2"), flow(daddr="10.77.0.2"))
    running = wire.sniff()
    done = of_send("-v", "--allow", "10.0.0.0/8", lines=lines, before=wire.inside)
    assert len(wire.heard(running, 1)) == 1
    assert done.returncode == 1
    assert [entry.get("reason") for entry in decisions(done)] == [
        "message too long",
        "network is unreachable",
        None,
    ]

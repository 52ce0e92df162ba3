"""of-recv as people run it: what it lets in, every reason why not, floods, and the way on to of-verify."""

import binascii
import json
import os
import random
import signal
import socket
import subprocess
import time

import pytest
from listening import argv, environment, free_port, have_ipv6, listening, run, send

from overflowd_tools.commands import recv
from overflowd_tools.delivery.addresses import parse_prefix
from overflowd_tools.delivery.admission import RefusedError, Seen
from overflowd_tools.delivery.sockets import Datagram
from overflowd_tools.errors import RecordError
from overflowd_tools.reports import canonical, envelope, report, writer
from overflowd_tools.trust.keys import SecretKey

KEY = SecretKey.generate()
OTHER_KEY = SecretKey.generate()
HOUR_MS = 3_600_000
SMALL_ORDER = binascii.b2a_base64(b"Ed" + bytes(8) + b"\1" + bytes(31), newline=False).decode()
LOOPBACK = bytes([127, 0, 0, 1])
needs_ipv6 = pytest.mark.skipif(not have_ipv6(), reason="no IPv6 here")


@pytest.fixture
def port():
    return free_port()


def now_ms():
    return time.time_ns() // 1_000_000


def body(to="127.0.0.1", role="dst", time_ms=None, lifetime_ms=HOUR_MS, key=KEY, **more):
    """Return the signed bytes of a report."""
    contact = writer.Contact("noc@example.net", "Example Net")
    roles = (role,) if role else ()
    other = "2001:db8::1" if ":" in to else "198.51.100.7"
    ends = {"saddr": to, "daddr": other} if role == "src" else {"saddr": other, "daddr": to}
    flow = {"pcount": 17, "bcount": 12345, "sport": 53, "dport": 4242, "protocol": 17, "source": "netflow5"}
    made = writer.Writer(key.public, contact, roles, lifetime_ms)
    (signed,) = made.bodies({**flow, **ends, **more}, now_ms() if time_ms is None else time_ms)
    return signed


def packed(signed, key=KEY):
    return envelope.pack(key.public, key.sign(signed), signed)


def line(signed, key=KEY):
    return report.with_signature(signed, key.sign(signed))


def arrived(payload, destination=LOOPBACK, time_ms=None):
    time_ns = (now_ms() if time_ms is None else time_ms) * 1_000_000
    return Datagram(time_ns, bytes([192, 0, 2, 1]), 4242, destination, 65535, payload)


def refusal(payload, own=(), seen=None, **more):
    """The kind of the refusal and its reason."""
    with pytest.raises(RecordError) as caught:
        recv.admit(arrived(payload, **more), [parse_prefix(text) for text in own], seen or Seen())
    error = caught.value
    return error.kind if isinstance(error, RefusedError) else "malformed", str(error)


def members(**changes):
    """The signed bytes of a report in which the named parts are changed."""
    changed = canonical.loads(body())
    for name, change in changes.items():
        changed[name] = {**changed[name], **change}
    return canonical.encode(changed)


@pytest.mark.parametrize("role", ["src", "dst"])
@pytest.mark.parametrize(
    ("to", "destination", "own"),
    [
        ("127.0.0.1", LOOPBACK, []),
        ("2001:db8::7", socket.inet_pton(socket.AF_INET6, "2001:db8::7"), []),
        ("192.0.2.7", LOOPBACK, ["192.0.2.0/24"]),
        ("2001:db8::7", LOOPBACK, ["192.0.2.0/24", "2001:db8::/48"]),
    ],
)
def test_a_report_to_us_is_let_in(to, role, destination, own):
    signed = body(to, role)
    prefixes = [parse_prefix(text) for text in own]
    assert recv.admit(arrived(packed(signed), destination), prefixes, Seen()) == line(signed)


def test_a_comment_without_the_key_is_fine():
    signed = body()
    payload = b"untrusted comment: from anybody\n" + packed(signed).partition(b"\n")[2]
    assert recv.admit(arrived(payload), (), Seen()) == line(signed)


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (b"", "wrong_size"),
        (b"x", "wrong_size"),
        (b"x" * 1201, "wrong_size"),
        (os.urandom(700), "wrong_start"),
        (line(body()), "wrong_start"),
        (packed(members(contact={"identity": "[" * 20})), "too_many_brackets"),
        (packed(body()).replace(b"\n", b" ", 1), "wrong_lines"),
        (packed(body()).replace(b"\nR", b"\n", 1), "wrong_lines"),
        (packed(body()).replace(b"comment: o", b"comment: \xc3", 1), "malformed"),
        (packed(body())[:-1], "malformed"),
        (packed(body()) + b"\n", "malformed"),
        (packed(body()).replace(b'"contact":{', b'"contact":{"a":1,"a":2,', 1), "malformed"),
        (packed(body()).replace(b'"protocol":17', b'"protocol":NaN', 1), "malformed"),
        (packed(body()).replace(b'"protocol":17', b'"protocol":1e1', 1), "malformed"),
        (packed(body()).replace(b'"protocol":17', b'"protocol":-17', 1), "malformed"),
        (packed(body()).replace(b'"pcount":17', b'"pcount":18446744073709551616', 1), "malformed"),
        (packed(body()).replace(b"Example Net", b"Example \xff\xfe", 1), "malformed"),
        (packed(members(metadata={"role": "src"})), "malformed"),
        (packed(members(metadata={"to": "192.0.2.99"})), "malformed"),
        (packed(members(metadata={"to": 5})), "malformed"),
        (packed(members(signature={"key": "RW"})), "malformed"),
        (packed(members(signature={"key": SMALL_ORDER})), "malformed"),
        (packed(members(signature={"signature": "AA=="})), "malformed"),
    ],
)
def test_what_is_no_report(payload, kind):
    assert refusal(payload)[0] == kind


def test_a_report_to_somebody_else_is_refused():
    moved = packed(body("192.0.2.7"))
    assert refusal(moved) == ("not_to_us", "to 192.0.2.7, which is not ours")
    assert refusal(packed(body()), own=["192.0.2.0/24"]) == ("not_to_us", "to 127.0.0.1, which is not ours")
    assert refusal(packed(body(role=None)), own=["0.0.0.0/0"]) == ("not_to_us", "to nobody")


def test_the_envelope_must_name_the_key_that_is_signed():
    signed = body()
    other_number = envelope.pack(OTHER_KEY.public, KEY.sign(signed), signed)
    assert refusal(other_number)[0] == "wrong_key"
    comment = other_number.partition(b"\n")[0]
    assert refusal(comment + b"\n" + packed(signed).partition(b"\n")[2])[0] == "wrong_key"


def test_times():
    now = now_ms()
    for made in (now - HOUR_MS, now, now + 120_000):
        assert recv.admit(arrived(packed(body(time_ms=made)), time_ms=now), (), Seen())
    kind, reason = refusal(packed(body(time_ms=now - HOUR_MS - 1)), time_ms=now)
    assert (kind, reason) == ("wrong_time", "expired")
    kind, reason = refusal(packed(body(time_ms=now + 120_001)), time_ms=now)
    assert kind == "wrong_time"
    assert "future" in reason


def test_a_duplicate_is_refused_and_a_forged_copy_does_not_shut_out_the_genuine_one():
    seen = Seen()
    signed = body()
    forged = envelope.pack(KEY.public, bytes(64), signed)
    assert recv.admit(arrived(forged), (), seen) == report.with_signature(signed, bytes(64))
    assert recv.admit(arrived(packed(signed)), (), seen) == line(signed)
    assert refusal(packed(signed), seen=seen) == ("duplicate", "a duplicate")
    assert refusal(b"untrusted comment: x" + packed(signed)[packed(signed).index(b"\n") :], seen=seen)[0] == (
        "duplicate"
    )


def test_what_was_refused_is_not_remembered():
    seen = Seen()
    signed = body()
    refusal(packed(signed), own=["192.0.2.0/24"], seen=seen)
    assert recv.admit(arrived(packed(signed)), (), seen) == line(signed)


def test_a_line_at_once_for_each_report(port):
    with listening("recv", "-l", f"127.0.0.1:{port}") as receiving:
        for sport in (1, 2, 3):
            signed = body(sport=sport)
            send(packed(signed), port)
            assert receiving.line() == line(signed) + b"\n"
        assert receiving.end() == (0, b"")
        assert receiving.stderr == b"of-recv: 3 datagrams, 3 reports, 0 sealed, 0 dropped by the kernel, 0 rejected\n"


@needs_ipv6
def test_all_addresses_of_both_families_and_each_takes_its_own(port):
    with listening("recv", "-l", str(port)) as receiving:
        for to in ("127.0.0.1", "127.0.0.2", "::1"):
            signed = body(to)
            send(packed(signed), port, to)
            assert receiving.line() == line(signed) + b"\n"
        send(packed(body("127.0.0.2")), port, "127.0.0.1")
        status, rest = receiving.end()
    assert (status, rest) == (0, b"")
    assert b"to 127.0.0.2, which is not ours" in receiving.stderr


def test_own_networks_take_the_place_of_the_local_address(port):
    with listening("recv", "-l", str(port), "--own", "192.0.2.0/24", "--own=2001:db8::/32") as receiving:
        for to in ("192.0.2.7", "2001:db8::7"):
            signed = body(to)
            send(packed(signed), port)
            assert receiving.line() == line(signed) + b"\n"
        send(packed(body("127.0.0.1")), port)
        assert receiving.end() == (0, b"")
    assert b"to 127.0.0.1, which is not ours" in receiving.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_garbage_of_strangers_is_counted_and_no_failure(port, number):
    with listening("recv", "--stats", "-l", str(port)) as receiving:
        receiving.pause()
        signed = body()
        source = send(b"first", port)
        for payload in [b"x"] * 99 + [os.urandom(500)] * 50 + [packed(signed)] * 20 + [packed(body("192.0.2.1"))]:
            send(payload, port)
        receiving.kill(signal.SIGCONT)
        status, output = receiving.end(number)
    assert status == 0
    assert output == line(signed) + b"\n"
    *said, counts, stats = receiving.stderr.decode().splitlines()
    assert said[0] == f"of-recv: 127.0.0.1: port {source}: datagram 1: 5 octets, not 150 to 1200"
    assert len(said) == 10 + 10 + 10 + 1 + 3
    assert said[-3:] == [
        "of-recv: 90 more not shown: wrong size",
        "of-recv: 40 more not shown: wrong start",
        "of-recv: 9 more not shown: duplicate",
    ]
    assert counts.startswith("of-recv: 171 datagrams, 1 reports, 0 sealed, 0 dropped by the kernel, 100 wrong size, ")
    assert json.loads(stats) == {
        "command": "of-recv",
        "datagrams": 171,
        "reports": 1,
        "sealed": 0,
        "dropped_by_the_kernel": 0,
        "wrong_size": 100,
        "wrong_start": 50,
        "duplicate": 19,
        "not_to_us": 1,
        "rejected": 170,
    }


def test_quiet_and_strict(port):
    process = subprocess.Popen(
        argv("recv", "-q", "--strict", "-l", f"127.0.0.1:{port}"),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    end = time.monotonic() + 30
    with process:
        while process.poll() is None and time.monotonic() < end:  # nothing says when it is ready: -q
            send(b"x", port)
            time.sleep(0.02)
        process.kill()
        assert process.communicate() == (b"", b"")
    assert process.returncode == 1


def test_a_hostile_text_reaches_neither_terminal_nor_log_raw(port):
    with listening("recv", "-l", str(port)) as receiving:
        signed = members(contact={"identity": "\u202eevil\u2028"})
        send(packed(signed), port)
        assert receiving.line() == line(signed) + b"\n"
        hostile = b"\x1b]0;evil\x07\r\n".ljust(300, b"\x9b")
        send(hostile, port)
        send(packed(body()).replace(b"Example", b"\x1b[2JExa"), port)
        assert receiving.end() == (0, b"")
    assert receiving.stderr.isascii()
    assert all(text.decode().isprintable() for text in receiving.stderr.splitlines())


def test_drops_are_told(port):
    with listening("recv", "-l", f"127.0.0.1:{port}") as receiving:
        receiving.pause()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.connect(("127.0.0.1", port))
            for _ in range(1000):
                sender.send(bytes(60_000))
        receiving.kill(signal.SIGCONT)
        assert receiving.end() == (0, b"")
    drops = [text for text in receiving.stderr.splitlines() if b"dropped by the kernel so far" in text]
    counts = receiving.stderr.splitlines()[-1]
    dropped = int(drops[-1].split()[1])
    assert counts.startswith(b"of-recv: %d datagrams, 0 reports, 0 sealed, %d dropped" % (1000 - dropped, dropped))


def test_a_flood_of_garbage_between_reports(port):
    rng = random.Random(7)
    sent = []
    with listening("recv", "-l", f"127.0.0.1:{port}") as receiving:
        for sport in range(50):
            for _ in range(20):
                send(rng.randbytes(rng.randrange(1400)), port)
            sent.append(line(body(sport=sport, time_ms=1_000 * (now_ms() // 1_000))))
            found = report.read(sent[-1])
            send(envelope.pack(found.key, found.signature, found.signed), port)
            assert receiving.line() == sent[-1] + b"\n"
        assert receiving.end() == (0, b"")
        assert b"1050 datagrams, 50 reports, 0 sealed, 0 dropped" in receiving.stderr


def test_it_never_answers(port):
    with listening("recv", "-l", f"127.0.0.1:{port}") as receiving:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.connect(("127.0.0.1", port))
            for payload in (b"", b"x", packed(body())):
                sender.send(payload)
            assert receiving.line()
            sender.setblocking(False)
            with pytest.raises(BlockingIOError):
                sender.recv(1)
        assert receiving.end() == (0, b"")


def test_on_to_of_verify(port):
    signed = body()
    forged = canonical.encode({**canonical.loads(signed), "contact": {"email": "a@b", "identity": "x"}})
    with listening("recv", "-l", f"127.0.0.1:{port}") as receiving:
        send(packed(signed), port)
        send(envelope.pack(KEY.public, KEY.sign(signed), forged), port)
        output = receiving.line() + receiving.line()
        assert receiving.end() == (0, b"")
    verified = run("verify", input=output)
    assert verified.returncode == 1
    assert verified.stderr == b"of-verify: -: line 2: bad signature\n"
    (genuine,) = verified.stdout.splitlines()
    assert json.loads(genuine)["contact"]["identity"] == "Example Net"
    assert (
        json.loads(genuine)["signature"]["signature"] == binascii.b2a_base64(KEY.sign(signed), newline=False).decode()
    )


def test_a_port_in_use_and_wrong_usage(port):
    with listening("recv", "-l", f"127.0.0.1:{port}"):
        done = run("recv", "-l", f"127.0.0.1:{port}")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == b"of-recv: cannot listen on UDP 127.0.0.1:%d: Address already in use\n" % port
    for options, reason in (
        (["-l", "example.net:1"], b"is not an IP address"),
        (["--own", "192.0.2.7/24"], b"has bits set behind its prefix length"),
        (["--own", "here"], b"is not an IP address"),
        (["file"], b"unrecognized arguments"),
    ):
        done = run("recv", *options)
        assert (done.returncode, done.stdout) == (2, b"")
        assert reason in done.stderr.splitlines()[0]
        assert done.stderr.splitlines()[1].startswith(b"usage: of-recv ")


def test_a_full_disk(port):
    with open("/dev/full", "wb") as full, listening("recv", "-l", str(port), stdout=full) as receiving:
        send(packed(body()), port)
        assert receiving.process.wait(timeout=30) == 2
        assert receiving.process.stderr.read() == b"of-recv: standard output: No space left on device\n"


def test_a_reader_that_leaves_ends_it_silently(port):
    with listening("recv", "-l", str(port)) as receiving:
        send(packed(body(sport=1)), port)
        receiving.line()
        receiving.process.stdout.close()
        send(packed(body(sport=2)), port)
        assert receiving.process.wait(timeout=30) == -signal.SIGPIPE
        assert receiving.process.stderr.read() == b""

"""Listening sockets: where they listen, what they know of each datagram, when they end."""

import errno
import os
import socket
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overflowd_tools.delivery import sockets
from overflowd_tools.delivery.sockets import Endpoint, Receiver, parse_endpoint
from overflowd_tools.errors import UsageError

V4 = bytes([127, 0, 0, 1])
V6 = bytes(15) + b"\1"


def have_ipv6():
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as trial:
            trial.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not have_ipv6(), reason="no IPv6 here")


class Stop:
    """What stream.StopSignals is to the commands."""

    def __init__(self):
        self.readable, self.writable = os.pipe()
        self.requested = False

    def request(self):
        self.requested = True
        os.write(self.writable, b"\0")

    def fileno(self):
        return self.readable

    def __bool__(self):
        return self.requested


@pytest.fixture
def stop():
    made = Stop()
    yield made
    os.close(made.readable)
    os.close(made.writable)


@pytest.fixture
def port():
    """A UDP port that was free on all addresses a moment ago."""
    with socket.socket(socket.AF_INET6 if have_ipv6() else socket.AF_INET, socket.SOCK_DGRAM) as trial:
        trial.bind(("", 0))
        return trial.getsockname()[1]


@pytest.fixture
def v4():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("127.0.0.1", 0))
        yield sender


@pytest.fixture
def v6():
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
        sender.bind(("::1", 0))
        yield sender


def silent(line):
    raise AssertionError(line)


def waiting(receiver, stop):
    """All that has arrived by now."""
    found = []
    for batch in receiver.batches(stop):
        if not batch:
            return found
        found += batch
    return found


@pytest.mark.parametrize(
    ("text", "endpoint", "shown"),
    [
        ("2055", Endpoint(None, 2055), "port 2055"),
        ("1", Endpoint(None, 1), "port 1"),
        ("65535", Endpoint(None, 65535), "port 65535"),
        ("192.0.2.1:2055", Endpoint("192.0.2.1", 2055), "192.0.2.1:2055"),
        ("0.0.0.0:9", Endpoint("0.0.0.0", 9), "0.0.0.0:9"),
        ("[::1]:2055", Endpoint("::1", 2055), "[::1]:2055"),
        ("[2001:DB8::1]:7", Endpoint("2001:DB8::1", 7), "[2001:DB8::1]:7"),
        ("[fe80::1%lo]:7", Endpoint("fe80::1%lo", 7), "[fe80::1%lo]:7"),
        ("[::ffff:192.0.2.1]:7", Endpoint("192.0.2.1", 7), "192.0.2.1:7"),
    ],
)
def test_an_endpoint(text, endpoint, shown):
    assert parse_endpoint(text) == endpoint
    assert str(endpoint) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "65536",
        "99999",
        "123456",
        "-1",
        "+1",
        " 1",
        "1 ",
        "1\n",
        "0x7f",
        "٢",
        ":1",
        "*:1",
        "localhost:1",
        "127.1:1",
        "127.0.0.01:1",
        "1.2.3.4.5:1",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1\0:1",
        "::1",
        "::1:2055",
        "[]:1",
        "[::1]",
        "[::1]1",
        "[::1:1",
        "[127.0.0.1]:1",
        "[::1%]x]:1",
    ],
)
def test_no_endpoint(text):
    with pytest.raises(ValueError, match=r"is not|a port is"):
        parse_endpoint(text)


@given(st.text() | st.from_regex(r"(\[?[0-9a-f:.%]*\]?:)?[0-9]*", fullmatch=True))
def test_an_endpoint_reads_back_or_is_refused(text):
    try:
        endpoint = parse_endpoint(text)
    except ValueError:
        return
    assert parse_endpoint(str(endpoint).removeprefix("port ")) == endpoint


def test_a_datagram_over_ipv4(port, stop, v4):
    with Receiver([Endpoint("127.0.0.1", port)], silent) as receiver:
        before = time.time_ns()
        v4.sendto(b"payload", ("127.0.0.1", port))
        (datagram,) = waiting(receiver, stop)
        assert before <= datagram.time_ns <= time.time_ns()
        assert datagram[1:] == (V4, v4.getsockname()[1], V4, port, b"payload")


@needs_ipv6
def test_a_datagram_over_ipv6(port, stop, v6):
    with Receiver([Endpoint("::1", port)], silent) as receiver:
        v6.sendto(b"payload", ("::1", port))
        (datagram,) = waiting(receiver, stop)
        assert datagram[1:] == (V6, v6.getsockname()[1], V6, port, b"payload")


@needs_ipv6
def test_a_bare_port_takes_both_families_and_names_the_address_that_was_used(port, stop, v4, v6):
    with Receiver([Endpoint(None, port)], silent) as receiver:
        v4.sendto(b"four", ("127.0.0.9", port))
        v6.sendto(b"six", ("::1", port))
        found = waiting(receiver, stop)
    assert [(d.source, d.destination, d.payload) for d in found] == [
        (V4, bytes([127, 0, 0, 9]), b"four"),
        (V6, V6, b"six"),
    ]


@needs_ipv6
def test_both_wildcards_by_name_do_not_collide(port, stop, v4, v6):
    with Receiver([Endpoint("0.0.0.0", port), Endpoint("::", port)], silent) as receiver:
        v4.sendto(b"four", ("127.0.0.1", port))
        v6.sendto(b"six", ("::1", port))
        assert sorted(d.payload for d in waiting(receiver, stop)) == [b"four", b"six"]


def test_without_ipv6_a_bare_port_is_ipv4(port, stop, v4, monkeypatch):
    real = socket.socket

    def no_ipv6(family, *rest):
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return real(family, *rest)

    monkeypatch.setattr(sockets.socket, "socket", no_ipv6)
    with Receiver([Endpoint(None, port)], silent) as receiver:
        v4.sendto(b"four", ("127.0.0.1", port))
        assert [d.payload for d in waiting(receiver, stop)] == [b"four"]


@pytest.mark.parametrize("size", [0, 1, 1472, 65_507])
def test_all_sizes_of_ipv4(size, port, stop, v4):
    with Receiver([Endpoint("127.0.0.1", port)], silent) as receiver:
        payload = bytes(range(256)) * 256
        v4.sendto(payload[:size], ("127.0.0.1", port))
        v4.sendto(b"next", ("127.0.0.1", port))
        assert [d.payload for d in waiting(receiver, stop)] == [payload[:size], b"next"]


@needs_ipv6
def test_the_largest_datagram_of_ipv6(port, stop, v6):
    with Receiver([Endpoint("::1", port)], silent) as receiver:
        v6.sendto(bytes(65_527), ("::1", port))
        assert [len(d.payload) for d in waiting(receiver, stop)] == [65_527]


def test_more_than_a_batch_keeps_its_order(port, stop, v4):
    sent = [b"%d" % number for number in range(3 * sockets.BATCH + 1)]
    with Receiver([Endpoint("127.0.0.1", port)], silent) as receiver:
        for payload in sent:
            v4.sendto(payload, ("127.0.0.1", port))
        batches = []
        for batch in receiver.batches(stop):
            if not batch:
                break
            batches.append(batch)
    assert [d.payload for batch in batches for d in batch] == sent
    assert max(map(len, batches)) == sockets.BATCH


def test_a_busy_socket_does_not_starve_another(port, stop, v4):
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trial,
        Receiver([Endpoint("127.0.0.1", port)], silent),
    ):
        trial.bind(("127.0.0.2", 0))
        other = trial.getsockname()[1]
    with Receiver([Endpoint("127.0.0.1", port), Endpoint("127.0.0.2", other)], silent) as receiver:
        for _ in range(3 * sockets.BATCH):
            v4.sendto(b"busy", ("127.0.0.1", port))
        v4.sendto(b"lone", ("127.0.0.2", other))
        payloads = [d.payload for d in waiting(receiver, stop)]
        assert payloads.index(b"lone") <= sockets.BATCH


def test_idle_is_said_before_waiting_and_the_stop_ends_the_wait(port, stop):
    with Receiver([Endpoint("127.0.0.1", port)], silent) as receiver:
        batches = receiver.batches(stop)
        assert next(batches) == []
        stop.request()
        assert list(batches) == []


def test_what_arrived_before_the_stop_is_still_taken(port, stop, v4):
    with Receiver([Endpoint("127.0.0.1", port)], silent) as receiver:
        for number in range(sockets.BATCH + 3):
            v4.sendto(b"%d" % number, ("127.0.0.1", port))
        stop.request()
        found = [d.payload for batch in receiver.batches(stop) for d in batch]
    assert found == [b"%d" % number for number in range(sockets.BATCH + 3)]


def test_a_flood_does_not_put_off_the_end(port, stop, v4):
    with Receiver([Endpoint("127.0.0.1", port)], silent) as receiver:
        v4.sendto(b"before", ("127.0.0.1", port))
        stop.request()
        taken = 0
        for batch in receiver.batches(stop):
            taken += len(batch)
            for _ in range(sockets.BATCH + 1):
                v4.sendto(b"after", ("127.0.0.1", port))
        assert 1 <= taken <= 1 + sockets.BATCH


def test_drops_are_counted_to_the_last_and_said_at_most_once_in_a_while(port, stop, v4, monkeypatch):
    said = []
    with Receiver([Endpoint("127.0.0.1", port)], said.append, 1) as receiver:
        ((_, granted),) = receiver.granted()
        assert granted < 10_000
        for _ in range(100):
            v4.sendto(bytes(1000), ("127.0.0.1", port))
        first = receiver.dropped()
        assert 0 < first < 100
        batches = receiver.batches(stop)
        assert sum(map(len, (next(batches), next(batches)))) == 100 - first
        assert said == [f"{first} datagrams dropped by the kernel so far: a receive buffer was full"]

        for _ in range(100):
            v4.sendto(bytes(1000), ("127.0.0.1", port))
        next(batches)
        next(batches)
        assert len(said) == 1
    second = int(said[1].split()[0])
    assert second > first
    assert len(said) == 2


def test_an_error_is_not_followed_by_a_count_of_drops(port, v4):
    receiver = Receiver([Endpoint("127.0.0.1", port)], silent, 1)
    for _ in range(100):
        v4.sendto(bytes(1000), ("127.0.0.1", port))
    assert receiver.dropped() > 0
    error = RuntimeError()
    receiver.__enter__()
    receiver.__exit__(RuntimeError, error, None)  # where it said so, silent() would fail
    with Receiver([Endpoint("127.0.0.1", port)], silent):
        pass


def test_the_drop_counter_of_32_bits_may_wrap(port, monkeypatch):
    counter = 0xFFFFFFFE
    with Receiver([Endpoint("127.0.0.1", port)], lambda _: None) as receiver:

        class Counting:
            def getsockopt(self, *_):
                return sockets._MEMINFO.pack(0, 0, 0, 0, 0, 0, 0, 0, counter)

        (opened,) = receiver._sockets.values()
        monkeypatch.setattr(opened, "_socket", Counting())
        assert receiver.dropped() == 0xFFFFFFFE
        counter = 3
        assert receiver.dropped() == 0x100000003


def test_the_buffer_is_what_was_asked_for_or_what_is_allowed(port, monkeypatch):
    with Receiver([Endpoint("127.0.0.1", port)], silent, 100_000) as receiver:
        assert receiver.granted() == [(Endpoint("127.0.0.1", port), 100_000)]
    real = socket.socket.setsockopt

    def refusing(self, level, option, value):
        if (level, option) == (socket.SOL_SOCKET, sockets._SO_RCVBUFFORCE):
            raise PermissionError(errno.EPERM, "Operation not permitted")
        return real(self, level, option, value)

    class Unprivileged(socket.socket):
        setsockopt = refusing

    monkeypatch.setattr(sockets.socket, "socket", Unprivileged)
    with Receiver([Endpoint("127.0.0.1", port)], silent, 100_000) as receiver:
        assert receiver.granted() == [(Endpoint("127.0.0.1", port), 100_000)]


def test_a_port_in_use_is_named_and_the_others_are_closed(port):
    with Receiver([Endpoint("127.0.0.1", port)], silent):
        with pytest.raises(UsageError, match=rf"cannot listen on UDP 127\.0\.0\.1:{port}: Address already in use"):
            Receiver([Endpoint("127.0.0.3", port), Endpoint("127.0.0.1", port)], silent)
        with Receiver([Endpoint("127.0.0.3", port)], silent):
            pass


@pytest.mark.parametrize("address", ["192.0.2.1", "fe80::1%no-such-interface"])
def test_an_address_that_is_not_here(address, port):
    with pytest.raises(UsageError, match="cannot listen on UDP "):
        Receiver([Endpoint(address, port)], silent)


def test_a_bare_port_in_use(port):
    with (
        Receiver([Endpoint(None, port)], silent),
        pytest.raises(UsageError, match=f"cannot listen on UDP port {port}: Address already in use"),
    ):
        Receiver([Endpoint(None, port)], silent)

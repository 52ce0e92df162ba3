"""Datagrams as they leave, on the loopback interface alone."""

import socket

import pytest

from overflowd_tools.delivery import udp
from overflowd_tools.errors import UsageError

IP_RECVTTL, IP_RECVTOS = 12, 13
LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


def listener(family=socket.AF_INET, port=0):
    opened = socket.socket(family, socket.SOCK_DGRAM)
    opened.settimeout(10)
    opened.bind((LOOPBACK[family], port))
    return opened


def peer_of(opened):
    return udp.Peer(opened.family, opened.getsockname())


def unused_port():
    with listener() as opened:
        return opened.getsockname()[1]


@pytest.fixture
def anywhere():
    with udp.Sender(0, insist=False) as sender:
        yield sender


@pytest.mark.parametrize(
    ("url", "peer"),
    [
        ("udp://127.0.0.1:9", udp.Peer(socket.AF_INET, ("127.0.0.1", 9))),
        ("udp://[::1]:65535", udp.Peer(socket.AF_INET6, ("::1", 65535, 0, 0))),
    ],
)
def test_collector_by_address(url, peer):
    assert udp.collector(url) == peer


def test_collector_by_name():
    assert udp.collector("udp://localhost:9").address[0] in ("127.0.0.1", "::1")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "udp://",
        "udp://127.0.0.1",
        "udp://127.0.0.1:",
        "udp://127.0.0.1:0",
        "udp://127.0.0.1:65536",
        "udp://127.0.0.1:123456",
        "udp://127.0.0.1:\u0661",
        "udp://127.0.0.1:9/",
        "udp://user@127.0.0.1:9",
        "udp://::1:9",
        "udp://[::1]",
        "udp://[]:9",
        "udp://:9",
        "127.0.0.1:9",
        "https://127.0.0.1:9",
        "UDP://127.0.0.1:9",
        "udp://127.0.0.1:9\n",
    ],
)
def test_what_is_no_collector(url):
    with pytest.raises(UsageError, match=r"is not udp://HOST:PORT"):
        udp.collector(url)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known"),
        (UnicodeError("label too long"), "label too long"),
    ],
)
def test_a_name_that_does_not_resolve(monkeypatch, error, reason):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(UsageError) as raised:
        udp.collector("udp://collector.example:9")
    assert str(raised.value) == f"udp://collector.example:9: {reason}"


def test_recipients():
    assert udp.recipient(bytes([192, 0, 2, 1]), 9) == udp.Peer(socket.AF_INET, ("192.0.2.1", 9))
    packed = socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    assert udp.recipient(packed, 9) == udp.Peer(socket.AF_INET6, ("2001:db8::1", 9))


def test_octets_on_the_wire():
    assert udp.recipient(bytes(4), 9).octets(b"x" * 1200) == 1228
    assert udp.recipient(bytes(16), 9).octets(b"x" * 1200) == 1248


def test_ipv4_datagrams_yield_to_all_others(anywhere):
    with listener() as opened:
        opened.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
        opened.setsockopt(socket.IPPROTO_IP, IP_RECVTOS, 1)
        assert anywhere.send(peer_of(opened), b"report") is None
        payload, ancillary, _, _ = opened.recvmsg(100, 100)
    assert payload == b"report"
    values = {kind: int.from_bytes(data, "little") for _, kind, data in ancillary}
    assert values == {socket.IP_TTL: 64, socket.IP_TOS: 0x04}


def test_ipv6_datagrams_yield_to_all_others(anywhere):
    with listener(socket.AF_INET6) as opened:
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
        assert anywhere.send(peer_of(opened), b"report") is None
        payload, ancillary, _, _ = opened.recvmsg(100, 100)
    assert payload == b"report"
    values = {kind: int.from_bytes(data, "little") for _, kind, data in ancillary}
    assert values == {socket.IPV6_HOPLIMIT: 64, socket.IPV6_TCLASS: 0x04}


@pytest.mark.parametrize("family", LOOPBACK)
def test_the_source_port_is_the_one_asked_for(family):
    port = unused_port()
    with listener(family) as first, listener(family) as second, udp.Sender(port, insist=True) as sender:
        for opened in (first, second, second, first):
            assert sender.send(peer_of(opened), b"report") is None
            payload, source = opened.recvfrom(100)
            assert (payload, source[:2]) == (b"report", (LOOPBACK[family], port))


def test_a_source_port_in_use_is_replaced():
    with listener() as taken, listener() as opened:
        port = taken.getsockname()[1]
        with udp.Sender(port, insist=False) as sender:
            assert sender.send(peer_of(opened), b"report") is None
            payload, source = opened.recvfrom(100)
    assert payload == b"report"
    assert source[1] != port


def test_a_source_port_in_use_is_an_error_where_it_was_asked_for():
    with listener() as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError) as raised:
            udp.Sender(port, insist=True)
    assert str(raised.value) == f"cannot send from UDP port {port}: Address already in use"


def test_a_source_port_taken_later_is_a_reason():
    port = unused_port()
    with udp.Sender(port, insist=True) as sender, listener(port=port), listener() as opened:
        assert sender.send(peer_of(opened), b"report") == "address already in use"


def test_both_families_in_turn(anywhere):
    with listener() as ipv4, listener(socket.AF_INET6) as ipv6:
        for number in range(6):
            opened = (ipv4, ipv6)[number % 2]
            assert anywhere.send(peer_of(opened), b"%d" % number) is None
            assert opened.recv(100) == b"%d" % number


@pytest.mark.parametrize("family", LOOPBACK)
def test_datagrams_that_nobody_takes_are_counted(family):
    with listener(family) as opened:
        nobody = peer_of(opened)
    with udp.Sender(0, insist=False) as sender:
        for _ in range(5):
            assert sender.send(nobody, b"report") is None
    assert sender.unreachable == 5


def test_the_error_of_one_recipient_does_not_hit_the_next(anywhere):
    with listener() as opened:
        nobody = peer_of(opened)
    with listener() as opened:
        for _ in range(5):
            assert anywhere.send(nobody, b"lost") is None
            assert anywhere.send(peer_of(opened), b"report") is None
            assert opened.recv(100) == b"report"
    assert anywhere.unreachable == 5


def test_a_datagram_never_goes_to_its_own_sender():
    port = unused_port()
    with udp.Sender(port, insist=False) as sender:
        for _ in range(3):
            assert sender.send(udp.Peer(socket.AF_INET, ("127.0.0.1", port)), b"report") is None
    assert sender.unreachable == 3


def test_what_cannot_leave_has_its_reason(anywhere):
    with listener() as opened:
        assert anywhere.send(peer_of(opened), b"x" * 70_000) == "message too long"
        assert anywhere.send(peer_of(opened), b"report") is None
        assert opened.recv(100) == b"report"
    assert anywhere.send(udp.recipient(b"\xff" * 4, 9), b"report") == "permission denied"  # broadcast
    assert anywhere.unreachable == 0


def test_answers_are_not_read_and_take_no_memory(anywhere):
    with listener() as opened:
        assert anywhere.send(peer_of(opened), b"report") is None
        _, source = opened.recvfrom(100)
        for _ in range(1000):
            opened.sendto(b"answer" * 100, source)
        assert anywhere.send(peer_of(opened), b"another") is None
        assert opened.recv(100) == b"another"
        assert anywhere._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) < 8192


def test_closing_twice_is_harmless(anywhere):
    anywhere.close()
    anywhere.close()

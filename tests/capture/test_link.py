"""Frames of each link type down to their datagrams: whole, cut, malformed and fragmented."""

import shutil
import struct
import subprocess

import capture_builders as build
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overflowd_tools.capture.fragments import Fragments
from overflowd_tools.capture.link import dissect
from overflowd_tools.capture.packet import IPPacket, Packet
from overflowd_tools.errors import DecodeError

V4 = build.ipv4(build.udp(), tos=0xB8)
V6 = build.ipv6(build.udp(), traffic_class=0xB8)
LONG = bytes(range(256)) * 12


def packet(data: bytes, link=1, original=None, now=0) -> Packet:
    return Packet(1, now, link, data, len(data) if original is None else original)


def look(data: bytes, link=1, original=None) -> IPPacket:
    found = dissect(packet(data, link, original), Fragments())
    assert isinstance(found, IPPacket), found
    return found


def complaint(data: bytes, link=1, original=None) -> str:
    found = dissect(packet(data, link, original), Fragments())
    assert isinstance(found, DecodeError)
    assert found.__traceback__ is None
    return str(found)


def expected4(**fields) -> IPPacket:
    plain = IPPacket(build.SOURCE4, build.DESTINATION4, 17, 0xB8, 46, 40_000, 2055, None, None, build.PAYLOAD, 0)
    return plain._replace(**fields)


def expected6(**fields) -> IPPacket:
    return expected4(source=build.SOURCE6, destination=build.DESTINATION6, length=66)._replace(**fields)


def sll(kind: int) -> bytes:
    return struct.pack(">HHH8sH", 0, 1, 6, b"\2" * 8, kind)


def sll2(kind: int) -> bytes:
    return struct.pack(">HHIHBB8s", kind, 0, 3, 1, 0, 6, b"\2" * 8)


LINKS = [
    (1, build.MACS + b"\x08\x00", build.MACS + b"\x86\xdd"),
    (1, build.ethernet(b"", 0x0800, [0x8100]), build.ethernet(b"", 0x86DD, [0x8100])),
    (1, build.ethernet(b"", 0x0800, [0x88A8, 0x8100]), build.ethernet(b"", 0x86DD, [0x9100, 0x8100])),
    (1, build.ethernet(b"", 0x0800, [0x9100] * 5), build.ethernet(b"", 0x86DD, [0x88A8] * 4)),
    (101, b"", b""),
    (12, b"", b""),
    (14, b"", b""),
    (228, b"", None),
    (229, None, b""),
    (0, b"\2\0\0\0", b"\x1c\0\0\0"),
    (0, b"\0\0\0\2", b"\0\0\0\x18"),
    (0, b"\2\0\0\0", b"\x1e\0\0\0"),
    (108, b"\0\0\0\2", b"\0\0\0\x1e"),
    (108, b"\0\0\0\2", b"\0\0\0\x18"),
    (113, sll(0x0800), sll(0x86DD)),
    (113, sll(0x8100) + b"\0\x07\x08\0", sll(0x8100) + b"\0\x07\x86\xdd"),
    (276, sll2(0x0800), sll2(0x86DD)),
    (276, sll2(0x8100) + b"\0\x07\x08\0", sll2(0x88A8) + b"\0\x07\x81\0\0\x08\x86\xdd"),
    (9, b"\xff\x03\0\x21", b"\xff\x03\0\x57"),
    (9, b"\0\x21", b"\0\x57"),
    (9, b"\x21", b"\x57"),
    (9, b"\xff\x03\x21", b"\xff\x03\x57"),
    (50, b"\xff\x03\0\x21", b"\xff\x03\0\x57"),
    (50, b"\x0f\0\x08\0", b"\x8f\0\x86\xdd"),
    (104, b"\x0f\0\x08\0", b"\x8f\0\x86\xdd"),
]
FRAMES = [
    (link, head + body, expected)
    for link, *heads in LINKS
    for head, body, expected in zip(heads, (V4, V6), (expected4(), expected6()), strict=True)
    if head is not None
]


@pytest.mark.parametrize(("link", "frame", "expected"), FRAMES, ids=range(len(FRAMES)))
def test_link_types(link, frame, expected):
    assert look(frame, link) == expected
    assert look(frame + b"trailer of the frame", link) == expected


@pytest.mark.parametrize(("link", "frame", "expected"), FRAMES, ids=range(len(FRAMES)))
def test_every_truncation_says_what_is_missing_or_why_not(link, frame, expected):
    payload_at = len(frame) - len(build.PAYLOAD)
    for end in range(len(frame)):
        found = dissect(packet(frame[:end], link, len(frame)), Fragments())
        if end >= payload_at:
            gone = len(frame) - end
            assert found == expected._replace(payload=build.PAYLOAD[:-gone], missing=gone)
        elif end >= payload_at - 8:
            ports = (None, None) if end < payload_at - 4 else (40_000, 2055)
            assert found == expected._replace(
                source_port=ports[0], destination_port=ports[1], payload=b"", missing=len(build.PAYLOAD)
            )
        else:
            assert isinstance(found, DecodeError)
            assert str(found) in {
                "the link-layer header is cut short",
                "the IPv4 header is cut short",
                "the IPv6 header is cut short",
                "no IP header",
            }


@pytest.mark.parametrize(
    ("link", "frame"),
    [
        (1, build.ethernet(bytes(28), 0x0806)),
        (1, build.ethernet(bytes(40), 38)),
        (1, build.ethernet(bytes(40), 0x88CC, [0x8100])),
        (0, b"\x07\0\0\0" + bytes(20)),
        (113, sll(4) + bytes(40)),
        (276, sll2(0x0806) + bytes(28)),
        (9, b"\xff\x03\xc0\x21\1\1\0\4"),
        (50, b"\xff\x03\x80\x21\1\1\0\4"),
        (104, b"\x0f\0\x80\x35" + bytes(20)),
    ],
)
def test_what_is_no_ip_is_none(link, frame):
    assert dissect(packet(frame, link), Fragments()) is None


def test_an_unknown_link_type_always_says_the_same():
    assert {complaint(data, 147) for data in (b"", V4, bytes(99))} == {"link type 147 is not supported"}


@pytest.mark.parametrize(("link", "head4", "head6"), [row for row in LINKS if row[1] and row[2]])
def test_the_version_must_be_the_one_that_the_link_layer_names(link, head4, head6):
    assert complaint(head4 + V6, link) == "IP version 6 where 4 belongs"
    assert complaint(head6 + V4, link) == "IP version 4 where 6 belongs"


def test_raw_needs_a_known_version():
    assert complaint(b"\x50" + bytes(40), 101) == "IP version 5 where 4 belongs"
    assert complaint(V6, 228) == "IP version 6 where 4 belongs"
    assert complaint(V4, 229) == "IP version 4 where 6 belongs"


@pytest.mark.parametrize("ihl", range(5, 16))
def test_ipv4_options(ihl):
    assert look(build.ethernet(build.ipv4(build.udp(), tos=0xB8, ihl=ihl))) == expected4(length=ihl * 4 + 26)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (build.ipv4(build.udp(), ihl=4), "an IPv4 header cannot be 16 bytes long"),
        (build.ipv4(build.udp(), ihl=0), "an IPv4 header cannot be 0 bytes long"),
        (build.ipv4(build.udp(), total=19), "an IPv4 packet of 19 bytes has a header of 20"),
        (build.ipv4(b"", ihl=15)[:50], "the IPv4 header is cut short"),
        (build.ipv4(build.udp()[:7]), "7 bytes are too few for a UDP header"),
        (build.ipv4(b""), "0 bytes are too few for a UDP header"),
        (build.ipv4(build.udp(length=7)), "a UDP datagram cannot be 7 bytes long"),
        (build.ipv4(build.tcp()[:19], 6), "a TCP header cannot be 20 bytes long in a segment of 19"),
        (build.ipv4(b"", 6), "a TCP header cannot be 20 bytes long in a segment of 0"),
        (build.ipv4(build.tcp(offset=8)[:24], 6), "a TCP header cannot be 32 bytes long in a segment of 24"),
        (
            build.ipv4(build.tcp()[:12] + b"\x40" + build.tcp()[13:], 6),
            "a TCP header cannot be 16 bytes long in a segment of 20",
        ),
        (build.ipv6(b"\x11", 0), "an IPv6 extension header is cut short"),
        (build.ipv6(b"\x11\x01" + bytes(13), 60), "an IPv6 extension header is cut short"),
        (build.ipv6(b"\x11\xff" + bytes(99), 51), "an IPv6 extension header is cut short"),
        (build.ipv6(build.fragment6(17, 0, True)[:7], 44), "an IPv6 fragment header is cut short"),
        (
            build.ipv6(build.fragment6(44, 0, False) + build.fragment6(17, 0, False) + build.udp(), 44),
            "an IPv6 fragment within a fragment",
        ),
        (build.ipv6(build.extension(60) * 17, 60), "more than 16 IPv6 extension headers"),
        (build.ipv6(build.extension(0) * 2000, 0), "more than 16 IPv6 extension headers"),
    ],
)
def test_malformed_packets(data, reason):
    assert complaint(data, 101) == reason


@pytest.mark.parametrize(
    ("length", "payload", "missing"),
    [(8, 0, 0), (12, 4, 0), (26, 18, 0), (27, 18, 1), (0xFFFF, 18, 0xFFFF - 26), (0, 18, 0)],
    ids=["empty", "short", "right", "long", "longest", "zero"],
)
def test_the_udp_length_may_lie(length, payload, missing):
    expected = expected4(payload=build.PAYLOAD[:payload], missing=missing)
    assert look(build.ethernet(build.ipv4(build.udp(length=length), tos=0xB8)) + bytes(3)) == expected


def test_total_length_of_zero_takes_the_frame():
    frame = build.ethernet(build.ipv4(build.udp(length=0), total=0, tos=0xB8))
    assert look(frame) == expected4()
    assert look(frame, original=len(frame) + 1000) == expected4(length=1046, missing=1000)
    assert look(build.ipv6(build.udp(), length=0, traffic_class=0xB8), 101) == expected6()
    jumbo = build.ipv6(build.extension(17) + build.udp(length=0), 0, length=0, traffic_class=0xB8)
    assert look(jumbo, 101) == expected6(length=74)


def test_no_next_header():
    empty = IPPacket(build.SOURCE6, build.DESTINATION6, 59, 0, 40, None, None, None, None, b"", 0)
    assert look(build.ipv6(b"", 59) + bytes(6), 101) == empty


def authentication(following: int) -> bytes:
    return bytes([following, 4]) + bytes(22)


@pytest.mark.parametrize(
    ("first", "chain"),
    [
        (0, build.extension(17)),
        (0, build.extension(43) + build.extension(60, 24) + build.extension(17, 2048)),
        (51, authentication(17)),
        (0, build.extension(51) + authentication(60) + build.extension(17)),
        (135, build.extension(139) + build.extension(140) + build.extension(17)),
        (44, build.fragment6(17, 0, False)),
        (60, build.extension(44) + build.fragment6(60, 0, False) + build.extension(17)),
        (60, build.extension(60) * 15 + build.extension(17)),
    ],
)
def test_ipv6_extension_headers(first, chain):
    found = look(build.ipv6(chain + build.udp(), first, traffic_class=0xB8), 101)
    assert found == expected6(length=66 + len(chain))


def test_an_ipv6_chain_cut_by_the_snapshot_length():
    whole = build.ipv6(build.extension(17, 64) + build.udp(), 0)
    assert complaint(whole[:80], 101, len(whole)) == "an IPv6 extension header is cut short"


@pytest.mark.parametrize("wrap", [build.ipv4, build.ipv6], ids=["4", "6"])
class TestOtherProtocols:
    def fields(self, found: IPPacket) -> tuple:
        return (found.protocol, *found[5:11])

    def test_tcp(self, wrap):
        frame = wrap(build.tcp(b"some data", flags=0xC2, offset=8), 6)
        assert self.fields(look(frame + bytes(6), 101)) == (6, 443, 50_000, 0xC2, None, b"some data", 0)

    def test_tcp_sequence(self, wrap):
        frame = wrap(build.tcp(b"some data"), 6)
        assert look(frame, 101).tcp_sequence == 1
        for kept in range(20):
            found = look(frame[: len(frame) - 29 + kept], 101, len(frame))
            assert found.tcp_sequence == (1 if kept >= 8 else None)
        assert look(wrap(build.udp()), 101).tcp_sequence is None

    def test_tcp_cut_at_every_byte(self, wrap):
        frame = wrap(build.tcp(b"some data", offset=8), 6)
        start = len(frame) - 41
        for end in range(start, len(frame)):
            kept = end - start
            ports = (443, 50_000) if kept >= 4 else (None, None)
            promised = 9 if kept >= 13 else 21
            payload = b"some data"[: max(0, kept - 32)]
            found = self.fields(look(frame[:end], 101, len(frame)))
            assert found == (6, *ports, 0x12 if kept >= 14 else None, None, payload, promised - len(payload))

    def test_a_short_tcp_segment_cut_shorter(self, wrap):
        frame = wrap(build.tcp()[:10], 6)
        assert self.fields(look(frame[:-5], 101, len(frame))) == (6, 443, 50_000, None, None, b"", 0)

    @pytest.mark.parametrize("protocol", [1, 58])
    def test_icmp(self, wrap, protocol):
        assert self.fields(look(wrap(b"\3\1" + bytes(30), protocol), 101)) == (
            protocol,
            None,
            None,
            None,
            (3, 1),
            b"",
            0,
        )
        assert self.fields(look(wrap(b"\3", protocol), 101)) == (protocol, None, None, None, None, b"", 0)

    @pytest.mark.parametrize("protocol", [33, 132, 136])
    def test_protocols_with_ports(self, wrap, protocol):
        body = struct.pack(">HH", 5, 6)
        assert self.fields(look(wrap(body, protocol), 101)) == (protocol, 5, 6, None, None, b"", 0)
        assert self.fields(look(wrap(body[:3], protocol), 101)) == (protocol, None, None, None, None, b"", 0)

    @pytest.mark.parametrize("protocol", [2, 47, 50, 89, 253])
    def test_the_rest(self, wrap, protocol):
        frame = wrap(bytes(40), protocol)
        assert self.fields(look(frame, 101)) == (protocol, None, None, None, None, b"", 0)
        assert self.fields(look(frame[:-10], 101, len(frame))) == (protocol, None, None, None, None, b"", 10)


DATAGRAM = build.udp(LONG)
FRAGMENTED = {
    "ipv4": (build.fragments4(DATAGRAM, 1480, tos=0xB8), expected4(length=20 + len(DATAGRAM), payload=LONG)),
    "ipv4 with options": (
        build.fragments4(DATAGRAM, 504, tos=0xB8, ihl=7),
        expected4(length=28 + len(DATAGRAM), payload=LONG),
    ),
    "ipv6": (build.fragments6(DATAGRAM, 1432), expected6(tos=0, length=40 + len(DATAGRAM), payload=LONG)),
    "ipv6 with extensions": (
        build.fragments6(build.extension(17) + DATAGRAM, 1432, before=build.extension(44), protocol=60),
        expected6(tos=0, length=40 + 8 + 8 + len(DATAGRAM), payload=LONG),
    ),
}


@pytest.mark.parametrize("name", FRAGMENTED)
@pytest.mark.parametrize("backwards", [False, True])
def test_fragments_become_one_datagram(name, backwards):
    pieces, expected = FRAGMENTED[name]
    assert len(pieces) > 2
    fragments = Fragments()
    found = [dissect(packet(piece, 101), fragments) for piece in (pieces[::-1] if backwards else pieces)]
    assert found == [None] * (len(pieces) - 1) + [expected]
    assert fragments.lost == 0


@pytest.mark.parametrize("name", FRAGMENTED)
def test_a_fragment_cut_by_the_snapshot_length_loses_the_datagram(name):
    pieces, _ = FRAGMENTED[name]
    fragments = Fragments()
    packets = [packet(piece[:100], 101, len(piece)) for piece in pieces]
    assert [dissect(one, fragments) for one in packets] == [None] * len(pieces)
    assert fragments.lost == 1


def test_fragments_of_ipv4_and_ipv6_do_not_mix():
    fragments = Fragments()
    one, two = build.fragments4(DATAGRAM[:16], 8, ident=99), build.fragments6(DATAGRAM[:16], 8)
    assert dissect(packet(one[0], 101), fragments) is None
    assert dissect(packet(two[1], 101), fragments) is None


def test_fragments_expire_in_capture_time():
    first, *_, last = pieces = build.fragments4(DATAGRAM, 1600)
    assert len(pieces) == 2
    fragments = Fragments()
    dissect(packet(first, 101, now=0), fragments)
    assert dissect(packet(last, 101, now=31 * 10**9), fragments) is None
    assert fragments.lost == 1


@pytest.mark.parametrize("fragment", [0x2000, 1, 0x2001])
def test_a_fragment_that_looks_like_a_whole_datagram_waits(fragment):
    fragments = Fragments()
    frame = build.ethernet(build.ipv4(build.udp(bytes(16)), fragment=fragment))
    assert dissect(packet(frame), fragments) is None
    fragments.close()
    assert fragments.lost == 1


def test_reserved_and_dont_fragment_bits_make_no_fragment():
    for bits in (0x4000, 0x8000, 0xC000):
        assert look(build.ethernet(build.ipv4(build.udp(), tos=0xB8, fragment=bits))) == expected4()


@given(st.sampled_from(sorted({link for link, *_ in LINKS})), st.binary(max_size=120), st.integers(0, 3000))
def test_garbage_gives_a_packet_an_error_or_nothing(link, data, original):
    found = dissect(packet(data, link, original), Fragments())
    assert found is None or isinstance(found, IPPacket | DecodeError)


@given(st.sampled_from(FRAMES), st.lists(st.tuples(st.integers(0, 90), st.integers(0, 255)), max_size=4))
def test_flipped_bytes_never_give_more_than_the_frame_holds(frame, flips):
    link, whole, _ = frame
    data = bytearray(whole)
    for at, value in flips:
        data[at % len(data)] = value
    found = dissect(packet(bytes(data), link), Fragments())
    if isinstance(found, IPPacket):
        assert found.payload in bytes(data)
        assert found.missing >= 0
        assert len(found.source) == len(found.destination) in {4, 16}


@given(st.integers(5, 15), st.binary(max_size=64), st.integers(0, 255), st.integers(0, 40), st.integers(0, 80))
def test_the_fast_way_and_the_slow_one_agree(ihl, payload, tos, trailer, cut):
    """The same datagram behind a VLAN tag never takes the fast way."""
    body = build.ipv4(build.udp(payload), tos=tos, ihl=ihl) + bytes(trailer)
    body = body[: max(len(body) - cut, 0)]
    plain, tagged = build.ethernet(body), build.ethernet(body, tags=[0x8100])
    one = dissect(packet(plain, original=len(plain) + cut), Fragments())
    two = dissect(packet(tagged, original=len(tagged) + cut), Fragments())
    assert str(one) == str(two)


@pytest.mark.skipif(not shutil.which("tshark"), reason="tshark is not installed")
class TestTshark:
    def ask(self, capture: bytes, *fields: str) -> list[list[str]]:
        arguments = ["tshark", "-n", "-r", "-", "-T", "fields", "-E", "occurrence=l"]
        for name in fields:
            arguments += ["-e", name]
        done = subprocess.run(arguments, input=capture, capture_output=True, check=True, timeout=60)
        return [line.split("\t") for line in done.stdout.decode().splitlines()]

    @pytest.mark.parametrize("link", sorted({link for link, *_ in FRAMES} - {12, 14}))
    def test_it_sees_the_same_addresses_and_ports(self, link):
        """12 and 14 are left out: what they mean depends on the system that runs tshark."""
        frames = [(frame, expected) for at, frame, expected in FRAMES if at == link]
        capture = build.pcap(*(frame for frame, _ in frames), link=link)
        rows = self.ask(capture, "ip.src", "ipv6.src", "udp.srcport", "udp.dstport", "udp.payload")
        v4, v6 = ["192.0.2.1", ""], ["", "2001:db8::1"]
        assert rows == [
            [*(v4 if len(expected.source) == 4 else v6), "40000", "2055", build.PAYLOAD.hex()] for _, expected in frames
        ]

    @pytest.mark.parametrize("name", FRAGMENTED)
    def test_it_reassembles_the_same_datagram(self, name):
        pieces, expected = FRAGMENTED[name]
        rows = self.ask(build.pcap(*pieces, link=101), "udp.srcport", "udp.length", "udp.payload")
        assert [row for row in rows if row[0]] == [["40000", str(len(DATAGRAM)), expected.payload.hex()]]

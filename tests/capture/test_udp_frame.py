"""The frames that of-capture writes: read back, checksums added up by hand, and judged by tshark."""

import shutil
import struct
import subprocess

import capture_builders as build
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overflowd_tools.capture.fragments import Fragments
from overflowd_tools.capture.link import ETHERNET, dissect, udp_frame
from overflowd_tools.capture.packet import IPPacket, Packet
from overflowd_tools.capture.pcap import file_header, record


def look(frame: bytes) -> IPPacket:
    return dissect(Packet(1, 0, ETHERNET, frame, len(frame)), Fragments())


addresses = st.one_of(*(st.tuples(*[st.binary(min_size=n, max_size=n)] * 2) for n in (4, 16)))
ports = st.integers(0, 65_535)


@given(addresses, ports, ports, st.binary(max_size=200))
def test_frames_are_read_back(both, source_port, destination_port, payload):
    source, destination = both
    frame = udp_frame(source, source_port, destination, destination_port, payload)
    length = len(frame) - 14
    assert look(frame) == IPPacket(
        source, destination, 17, 0, length, source_port, destination_port, None, None, payload, 0
    )
    size = len(source)
    pseudo = source + destination + struct.pack(">II" if size == 16 else ">HH", 17, length - (40 if size == 16 else 20))
    datagram = frame[-8 - len(payload) :]
    assert build.checksum(pseudo + datagram) == 0
    assert datagram[6:8] != b"\0\0"
    if size == 4:
        assert build.checksum(frame[14:34]) == 0


def test_a_checksum_of_zero_is_sent_as_ones():
    plain = udp_frame(b"\x0a\0\0\1", 1, b"\x0a\0\0\2", 2, b"\0\0")
    ones = udp_frame(b"\x0a\0\0\1", 1, b"\x0a\0\0\2", 2, plain[40:42])
    assert ones[40:42] == b"\xff\xff"


@pytest.mark.parametrize(("size", "most"), [(4, 65_507), (16, 65_527)])
def test_the_longest_datagram(size, most):
    payload = bytes(range(251)) * 262
    frame = udp_frame(b"\1" * size, 1, b"\2" * size, 2, payload[:most])
    assert look(frame).payload == payload[:most]
    with pytest.raises(struct.error):
        udp_frame(b"\1" * size, 1, b"\2" * size, 2, payload[: most + 1])


@pytest.mark.skipif(not shutil.which("tshark"), reason="tshark is not installed")
def test_tshark_finds_the_frames_valid():
    payloads = [b"", b"\0", b"x" * 1400, bytes(65_507), b"\xff" * 999]
    capture = file_header(1)
    for source, destination in ((build.SOURCE4, build.DESTINATION4), (build.SOURCE6, build.DESTINATION6)):
        for payload in payloads:
            capture += record(build.SECOND * 10**9, udp_frame(source, 40_000, destination, 9, payload))
    arguments = ["tshark", "-n", "-r", "-", "-T", "fields"]
    for option in ("udp.check_checksum:TRUE", "ip.check_checksum:TRUE"):
        arguments += ["-o", option]
    for field in ("udp.checksum.status", "ip.checksum.status", "udp.length", "_ws.expert"):
        arguments += ["-e", field]
    done = subprocess.run(arguments, input=capture, capture_output=True, check=True, timeout=60)
    rows = [line.split("\t") for line in done.stdout.decode().splitlines()]
    lengths = [str(8 + len(payload)) for payload in payloads]
    assert rows == [["1", "1", length, ""] for length in lengths] + [["1", "", length, ""] for length in lengths]

"""Make the captures of NetFlow 9, IPFIX and sFlow in tests/data again: python -m tests.make_exports [DIRECTORY].

They are written octet by octet, the same in every run; all fields of a record have values of their own.
"""

import socket
import struct
import sys
from pathlib import Path

from tests.protocols import set_builders as build
from tests.protocols import sflow_builders as sflow

UPTIMES = [(22, 4), (21, 4)]
COMMON = [(8, 4), (12, 4), (7, 2), (11, 2), (4, 1), (5, 1), (6, 1), (2, 4), (1, 4)]
COMMON6 = [(27, 16), (28, 16), (7, 2), (11, 2), (4, 1), (5, 1), (6, 1), (2, 8), (1, 8)]


def main() -> int:
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "data"
    (directory / "netflow9.pcap").write_bytes(build.capture(*netflow9(), port=2055))
    (directory / "ipfix.pcap").write_bytes(build.capture(*ipfix()))
    (directory / "exports.ipfix").write_bytes(b"".join(ipfix()))
    (directory / "sflow.pcap").write_bytes(build.capture(sflow5(), port=6343))
    return 0


def netflow9() -> list[bytes]:
    """Flows of two samplers, before and after a template and the options that tell the rates; one datagram is lost."""
    routed = [
        *COMMON,
        *UPTIMES,
        (10, 2),
        (14, 2),
        (16, 4),
        (17, 4),
        (9, 1),
        (13, 1),
        (15, 4),
        (48, 1),
        (58, 2),
        (61, 1),
    ]
    routed += [(56, 6), (57, 6), (70, 3), (71, 3), (33002, 2)]
    flows = [
        v4(1, packets=11)
        + struct.pack("!IIHHIIBB", 970_000, 980_000, 31, 32, 64500, 64501, 22, 23)
        + socket.inet_aton("192.0.2.254")
        + struct.pack("!BHB", sampler, 101, 1)
        + bytes.fromhex("0200000000010200000000020001400101a1")
        + struct.pack("!H", 1001)
        for sampler in (1, 2)
    ]
    samplers = struct.pack("!11H", 300, 4, 12, 1, 4, 48, 1, 49, 1, 50, 4)
    rates = struct.pack("!IBBI", 7, 1, 2, 100) + struct.pack("!IBBI", 7, 2, 2, 2000)
    six = struct.pack(
        "!16s16s", socket.inet_pton(socket.AF_INET6, "2001:db8::1"), bytes.fromhex("20010db8") + bytes(12)
    )
    six += struct.pack("!HHBBBQQ", 1234, 443, 6, 184, 27, 1 << 40, 1 << 50)
    return [
        build.netflow9(build.data(260, flows[0]), count=1, sequence=7, domain=3),
        build.netflow9(
            build.template9(260, routed),
            build.data(260, flows[1]),
            build.data(1, samplers),
            count=3,
            sequence=8,
            domain=3,
        ),
        build.netflow9(build.data(300, rates), build.data(260, flows[0]), count=3, sequence=9, domain=3),
        build.netflow9(
            build.template9(261, [*COMMON6, (152, 8), (153, 8)]),
            build.data(261, six + struct.pack("!QQ", build.SECOND * 1000 - 500, build.SECOND * 1000 - 250)),
            count=2,
            sequence=11,
            domain=3,
        ),
    ]


def v4(host: int, *, packets: int) -> bytes:
    """Return a record of COMMON."""
    addresses = bytes((198, 51, 100, host, 203, 0, 113, 100 + host))
    return addresses + struct.pack("!HHBBBII", 1024 + host, 53, 17, 16, 27, packets, 1500 * packets)


def ipfix() -> list[bytes]:
    """Both directions, NAT, lists, strings, elements of enterprises and unknown ones, sysUptime, and a withdrawal."""
    both = [*COMMON, (152, 8), (153, 8), *((number, 4, 29305) for number in (2, 1)), (6, 1, 29305), (136, 1)]
    times = struct.pack("!QQ", build.SECOND * 1000 - 3000, build.SECOND * 1000 - 2000)
    two_way = v4(2, packets=21) + times + struct.pack("!IIBB", 22, 23_000, 18, 3)
    nat = [(323, 8), (8, 4), (225, 4), (7, 2), (227, 2), (230, 1), (234, 4)]
    event = (
        struct.pack("!Q", build.SECOND * 1000 - 1) + socket.inet_aton("198.51.100.7") + socket.inet_aton("192.0.2.77")
    )
    event += struct.pack("!HHBI", 4001, 4002, 4, 9)
    odd = [*COMMON, *UPTIMES, (291, 65535), (371, 65535), (12, 3, 4242), (110, 65535, 35632), (95, 4), (95, 4)]
    autonomous_systems = struct.pack("!BHH", 4, 16, 4) + struct.pack("!II", 64501, 64502)
    strange = v4(3, packets=31) + struct.pack("!II", 600_000, 610_000)
    strange += (
        bytes([len(autonomous_systems)])
        + autonomous_systems
        + b"\5alice"
        + b"\1\2\3"
        + b"\xff\0\4GET "
        + bytes((13, 0, 1, 2, 3, 0, 0, 80))
    )
    boot = build.template(402, [(149, 4), (160, 8), (34, 4)], scopes=1)
    return [
        build.ipfix(build.template(257, both), build.data(257, two_way), domain=5),
        build.ipfix(build.template(258, nat), build.data(258, event), sequence=1, domain=5),
        build.ipfix(
            boot, build.data(402, struct.pack("!IQI", 5, build.SECOND * 1000 - 700_000, 50)), sequence=2, domain=5
        ),
        build.ipfix(build.template(259, odd), build.data(259, strange), sequence=3, domain=5),
        build.ipfix(build.data(2, struct.pack("!HH", 258, 0)), sequence=4, domain=5),
    ]


def sflow5() -> bytes:
    """A datagram with a sampled packet, a dropped one and the counters of an interface."""
    packet = sflow.ethernet(sflow.ipv4(sflow.tcp(b"data"), protocol=6), tags=[(0x8100, 3 << 13 | 10)])
    gateway = sflow.address("203.0.113.8") + sflow.words(64496, 64497, 64498, 1, 2, 2, 64499, 64500, 1, 0xFC000001, 100)
    generic = sflow.words(3, 6) + sflow.hyper(10**9) + sflow.words(1, 3) + sflow.hyper(10**12)
    generic += sflow.words(*range(101, 107)) + sflow.hyper(10**13) + sflow.words(*range(108, 114))
    return sflow.datagram5(
        sflow.flow(sflow.raw(packet), sflow.switch(), sflow.router(), sflow.record(1003, gateway)),
        sflow.drop(sflow.raw(sflow.ethernet(sflow.ipv4(sflow.icmp(), protocol=1)), stripped=0)),
        sflow.counters(sflow.record(1, generic)),
    )


if __name__ == "__main__":
    sys.exit(main())

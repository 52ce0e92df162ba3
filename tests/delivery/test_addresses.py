"""Who must never be sent to."""

import ipaddress
import random
import socket
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overflowd_tools.delivery.addresses import DenyTable, Prefix, pack_address, parse_prefix, read_prefixes
from overflowd_tools.errors import UsageError

# Every block of IANA's IPv4 and IPv6 special-purpose address registries, globally reachable or not,
# multicast, and what IANA keeps reserved.
SPECIAL = (
    "0.0.0.0/8 0.0.0.0/32 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 "
    "192.0.0.0/24 192.0.0.0/29 192.0.0.8/32 192.0.0.9/32 192.0.0.10/32 192.0.0.170/32 192.0.0.171/32 "
    "192.0.2.0/24 192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.88.99.2/32 192.168.0.0/16 "
    "192.175.48.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4 "
    "255.255.255.255/32 ::1/128 ::/128 ::/96 64:ff9b::/96 64:ff9b:1::/48 100::/64 100:0:0:1::/64 "
    "2001::/23 2001::/32 2001:1::1/128 2001:1::2/128 2001:1::3/128 2001:2::/48 2001:3::/32 "
    "2001:4:112::/48 2001:10::/28 2001:20::/28 2001:30::/28 2001:db8::/32 2002::/16 2620:4f:8000::/48 "
    "3fff::/20 5f00::/16 fc00::/7 fe80::/10 fec0::/10 ff00::/8 200::/7 400::/6 800::/5 1000::/4 "
    "4000::/3 6000::/3 8000::/3 a000::/3 c000::/3 e000::/4 f000::/5 fe00::/9"
)

REFUSED = {
    "0.0.0.0": "this network",
    "0.1.2.3": "this network",
    "10.255.255.254": "private",
    "100.64.0.1": "shared",
    "100.127.255.254": "shared",
    "127.0.0.1": "loopback",
    "127.255.255.254": "loopback",
    "169.254.1.1": "link-local",
    "172.16.0.1": "private",
    "172.31.255.254": "private",
    "192.0.0.9": "protocol assignment",
    "192.0.2.1": "documentation",
    "192.31.196.1": "anycast service",
    "192.52.193.1": "anycast service",
    "192.88.99.1": "anycast service",
    "192.168.1.1": "private",
    "192.175.48.1": "anycast service",
    "198.18.0.1": "benchmarking",
    "198.19.255.254": "benchmarking",
    "198.51.100.1": "documentation",
    "203.0.113.1": "documentation",
    "224.0.0.1": "multicast",
    "239.255.255.250": "multicast",
    "240.0.0.1": "reserved",
    "255.255.255.254": "reserved",
    "255.255.255.255": "broadcast",
    "8.8.8.0": "subnet broadcast",
    "8.8.8.255": "subnet broadcast",
    # the metadata services of clouds
    "100.100.100.200": "metadata",
    "168.63.129.16": "metadata",
    "169.254.0.23": "metadata",
    "169.254.42.42": "metadata",
    "169.254.169.254": "metadata",
    "169.254.170.2": "metadata",
    "169.254.170.23": "metadata",
    "192.0.0.192": "metadata",
    "fd00:42::42": "metadata",
    "fd00:ec2::23": "metadata",
    "fd00:ec2::254": "metadata",
    "fd20:ce::254": "metadata",
    # what ipaddress.is_global takes for global
    "ff0e::1": "multicast",
    "64:ff9b::7f00:1": "NAT64",
    "64:ff9b::808:808": "NAT64",
    "64:ff9b:1::7f00:1": "NAT64",
    "2002:7f00:1::": "6to4",
    "2002:a9fe:a9fe::": "6to4",
    "2002:808:808::1": "6to4",
    "::127.0.0.1": "IPv4-compatible",
    "fec0::1": "site-local",
    "3fff::1": "documentation",
    "5f00::1": "reserved",
    "4000::": "reserved",
    "::": "unspecified",
    "::1": "loopback",
    "100::1": "discard",
    "100:0:0:1::1": "reserved",
    "1fff:ffff:ffff:ffff::1": "reserved",
    "2001::1": "protocol assignment",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2": "protocol assignment",
    "2001:1ff:ffff::1": "protocol assignment",
    "2001:db8::1": "documentation",
    "2620:4f:8000::1": "anycast service",
    "fc00::1": "private",
    "fdff:ffff::1": "private",
    "fe80::1": "link-local",
    "febf::1": "link-local",
    "::ffff:0:127.0.0.1": "reserved",
    # IPv4 in IPv6 is judged as IPv4
    "::ffff:127.0.0.1": "loopback",
    "::ffff:7f00:1": "loopback",
    "::ffff:169.254.169.254": "metadata",
    "::ffff:a9fe:a9fe": "metadata",
    "::ffff:10.0.0.1": "private",
    "::ffff:224.0.0.1": "multicast",
    "::ffff:8.8.8.255": "subnet broadcast",
    "::ffff:0.0.0.0": "this network",
}

PUBLIC = (
    "1.1.1.1 8.8.8.8 9.255.255.254 11.0.0.1 100.63.255.254 100.128.0.1 126.255.255.254 128.0.0.1 "
    "168.63.129.15 168.63.129.17 169.253.255.254 169.255.0.1 172.15.255.254 172.32.0.1 192.0.1.1 "
    "192.0.3.1 192.31.195.254 192.31.197.1 192.88.98.254 192.88.100.1 192.167.255.254 192.169.0.1 "
    "198.17.255.254 198.20.0.1 198.51.99.254 198.51.101.1 203.0.112.254 203.0.114.1 223.255.255.254 "
    "2000::1 2001:200::1 2001:4860:4860::8888 2001:db7:ffff::1 2001:db9::1 2003::1 2400:cb00::1 "
    "2606:4700:4700::1111 2620:4f:7fff::1 2620:4f:8001::1 2a00:1450::1 3ffe:ffff::1 3fff:1000::1 "
    "::ffff:8.8.8.8 ::ffff:808:808"
)

UNPLAIN = [
    "",
    " 8.8.8.8",
    "8.8.8.8 ",
    "8.8.8",
    "8.8.8.8.8",
    "8.8.8.256",
    "8.8.8.-8",
    "08.8.8.8",
    "8.8.8.010",
    "0x8.8.8.8",
    "134744072",
    "0x08080808",
    "8.8.8.8/32",
    "8.8.8.8:80",
    "8.8.8.8\0",
    "\uff18.8.8.8",
    "\u0668.8.8.8",
    "\ud800",
    "example.net",
    "localhost",
    "2a00:1450::1%eth0",
    "2a00:1450::1%1",
    "fe80::1%eth0",
    "::1%lo",
    "[2a00:1450::1]",
    "2A00:1450::1",
    "2a00:1450:0::1",
    "2a00:1450:0:0:0:0:0:1",
    "2a00:1450::0001",
    "02a00:1450::1",
    "2a00:1450::g",
    "2a00::1450::1",
    ":",
    "::ffff:8.8.8.008",
    "::ffff:8.8.8.8%eth0",
    "2a00:1450::1\0",
    "1" * 100_000,
    ":" * 100_000,
]


BUILTIN = DenyTable()


def reason(table, text):
    packed = pack_address(text)
    return "not an address" if packed is None else table.reason(packed)


@pytest.mark.parametrize(("address", "expected"), REFUSED.items())
def test_refused_addresses_have_their_reason(address, expected):
    packed = pack_address(address)
    if packed is None:  # written in a form that is refused as such; the address behind it is refused, too
        packed = ipaddress.ip_address(address).packed
    assert BUILTIN.reason(packed) == expected


@pytest.mark.parametrize("address", PUBLIC.split())
def test_ordinary_public_addresses_pass(address):
    assert reason(BUILTIN, address) is None


@pytest.mark.parametrize("text", UNPLAIN, ids=lambda text: repr(text[:30]))
def test_what_is_not_plainly_an_address_is_none(text):
    assert pack_address(text) is None


def test_ipv4_in_ipv6_is_unwrapped():
    assert pack_address("::ffff:8.8.8.8") == pack_address("::ffff:808:808") == bytes([8, 8, 8, 8])
    assert pack_address("2a00::ffff:808:808") == ipaddress.ip_address("2a00::ffff:808:808").packed


@pytest.mark.parametrize("block", SPECIAL.split())
@settings(max_examples=20)
@given(data=st.data())
def test_no_address_of_a_special_block_passes(block, data):
    network = ipaddress.ip_network(block)
    first, last = int(network[0]), int(network[-1])
    number = data.draw(st.sampled_from([first, last]) | st.integers(first, last))
    packed = number.to_bytes(4 if network.version == 4 else 16, "big")
    assert BUILTIN.reason(packed) is not None


@given(st.binary(min_size=4, max_size=4))
def test_what_passes_in_ipv4_is_global(packed):
    if BUILTIN.reason(packed) is None:
        address = ipaddress.IPv4Address(packed)
        assert address.is_global
        assert not address.is_multicast
        assert address.packed[3] not in (0, 255)


@given(st.binary(min_size=16, max_size=16) | st.binary(min_size=15, max_size=15).map(lambda tail: b"\x20" + tail))
def test_what_passes_in_ipv6_is_global_unicast(packed):
    if BUILTIN.reason(packed) is None:
        address = ipaddress.IPv6Address(packed)
        assert address in ipaddress.ip_network("2000::/3")
        assert address.is_global
        assert (address.sixtofour, address.teredo, address.ipv4_mapped) == (None, None, None)


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6, network="2000::/3"))
def test_plain_text_is_that_of_the_standard_library(address):
    assert pack_address(str(address)) == address.packed


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_none(text):
    packed = pack_address(text)
    assert packed is None or len(packed) in (4, 16)


def test_allow_wins_over_the_builtin_table_and_deny_over_allow():
    table = DenyTable(
        allow=map(parse_prefix, ["10.0.0.0/8", "fd00::/16", "169.254.169.254"]),
        deny=map(parse_prefix, ["10.9.0.0/16", "8.8.8.8", "2a00:1450::/32"]),
    )
    assert reason(table, "10.1.2.3") is None
    assert reason(table, "10.1.2.255") is None
    assert reason(table, "::ffff:10.1.2.3") is None
    assert reason(table, "10.9.1.1") == "operator list"
    assert reason(table, "::ffff:10.9.1.1") == "operator list"
    assert reason(table, "172.16.0.1") == "private"
    assert reason(table, "169.254.169.254") is None
    assert reason(table, "169.254.169.253") == "link-local"
    assert reason(table, "8.8.8.8") == "operator list"
    assert reason(table, "8.8.8.9") is None
    assert reason(table, "fd00::1") is None
    assert reason(table, "fd01::1") == "private"
    assert reason(table, "2a00:1450:4001::1") == "operator list"


def test_prefixes_of_ipv4_in_ipv6_hold_for_ipv4():
    table = DenyTable(deny=[parse_prefix("::ffff:8.8.0.0/112")])
    assert reason(table, "8.8.4.4") == "operator list"
    assert reason(table, "8.9.4.4") is None


def test_everything_can_be_denied():
    table = DenyTable(deny=map(parse_prefix, ["0.0.0.0/0", "::/0"]))
    assert {reason(table, address) for address in PUBLIC.split()} == {"operator list"}


@given(
    st.lists(st.tuples(st.integers(0, 2**12 - 1), st.integers(20, 32)), max_size=40),
    st.integers(0, 2**12 - 1),
)
def test_a_list_of_prefixes_is_searched_as_one_by_one(drawn, low):
    base = int(ipaddress.ip_address("8.8.0.0"))
    networks = [ipaddress.ip_network((base + start, length), strict=False) for start, length in drawn]
    table = DenyTable(deny=[parse_prefix(str(network)) for network in networks])
    address = ipaddress.ip_address(base + low)
    denied = any(address in network for network in networks)
    assert (table.reason(address.packed) == "operator list") is denied


def test_a_hundred_thousand_prefixes_take_little_memory():
    draw = random.Random(1)
    lines = [b"%d.%d.%d.0/24" % tuple(draw.randrange(1, 224) for _ in range(3)) for _ in range(50_000)]
    lines += [b"2a00:%x:%x::/48" % (draw.randrange(65536), draw.randrange(65536)) for _ in range(50_000)]
    tracemalloc.start()
    try:
        table = DenyTable(deny=read_prefixes(lines, "list"))
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 8 << 20
    assert peak < 12 << 20
    for line in draw.sample(lines, 1000):
        network = ipaddress.ip_network(line.decode())
        assert table.reason(network[-1].packed) == "operator list"


def test_read_prefixes():
    lines = [
        b"# who opted out\n",
        b"\n",
        b"192.0.2.0/24\r\n",
        b"  198.51.100.7 # one address\n",
        b"2001:db8::/32\n",
        b"2001:db8::1",
    ]
    assert list(read_prefixes(lines, "list")) == [
        Prefix(bytes([192, 0, 2, 0]), 24),
        Prefix(bytes([198, 51, 100, 7]), 32),
        Prefix(socket.inet_pton(socket.AF_INET6, "2001:db8::"), 32),
        Prefix(socket.inet_pton(socket.AF_INET6, "2001:db8::1"), 128),
    ]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"example.net", "'example.net' is not an IP address"),
        (b"192.0.2.0/33", "'33' is not a prefix length from 0 to 32"),
        (b"192.0.2.0/", "'' is not a prefix length from 0 to 32"),
        (b"192.0.2.0/-1", "'-1' is not a prefix length from 0 to 32"),
        (b"192.0.2.0/24/24", "'24/24' is not a prefix length from 0 to 32"),
        (b"192.0.2.0/\xd9\xa1", "'\\\\xd9\\\\xa1' is not a prefix length from 0 to 32"),
        (b"192.0.2.0/" + b"1" * 5000, "5010 characters are not an IP prefix"),
        (b"2001:db8::/129", "'129' is not a prefix length from 0 to 128"),
        (b"192.0.2.1/24", "'192.0.2.1/24' has bits set behind its prefix length"),
        (b"192.0.2", "'192.0.2' is not an IP address"),
        (b"192.0.2.0 /24", "'192.0.2.0 ' is not an IP address"),
        (b"192.0.2.0\0", "'192.0.2.0\\x00' is not an IP address"),
        (b"2001:db8::%eth0/32", "'2001:db8::%eth0' is not an IP address"),
        (b"\xff\xfe", "'\\\\xff\\\\xfe' is not an IP address"),
    ],
)
def test_a_bad_line_is_named(line, why):
    with pytest.raises(UsageError) as raised:
        list(read_prefixes([b"192.0.2.0/24", line], "deny.txt"))
    assert str(raised.value) == f"deny.txt: line 2: {why}"

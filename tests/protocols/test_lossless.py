"""Nothing that was sent is missing from the line of a record, and no element takes the place of another."""

import ipaddress
import struct
from fractions import Fraction

import orjson
from hypothesis import given, settings
from hypothesis import strategies as some

from overflowd_tools.protocols.elements import CERT, IANA, REVERSE
from overflowd_tools.protocols.exporters import Exporters
from overflowd_tools.protocols.netflow9 import How
from overflowd_tools.records import FlowWriter
from tests.protocols.corpora import Shown
from tests.protocols.set_builders import (
    HERE,
    SECOND,
    TABLE,
    VARIABLE,
    data,
    decode_ipfix,
    decode_netflow9,
    ipfix,
    netflow9,
    template,
    variable,
)

NOW_MS = SECOND * 1000
DERIVED = {"start_ms", "end_ms", "start_ns", "end_ns", "time_src", "time_suspect", "sampling_rate", "counter"}
DERIVED |= {f"r_{name}" for name in DERIVED}
ALIASES = {"bcount": ("l2_bcount", "bcount_total"), "pcount": ("pcount_total",)}
ALIASES |= dict.fromkeys(("icmp_type", "icmp_code"), ("dport",))
SECTIONS = {104, *range(313, 318)}
OF_PACKETS = {
    *("smac", "dmac", "ethertype", "vlan", "vlan_prio", "vlans", "mpls", "pppoe_session", "saddr", "daddr"),
    *("pcount", "bcount", "sport", "dport", "flags", "protocol", "tos", "ttl", "ip_id", "frag_off", "frag_flags"),
    *("flow_label", "icmp_type", "icmp_code", "quoted", "tunnel", "outer", "carries"),
}
"""What the packets say whose beginnings are in a record."""
UNSIGNED = {"unsigned8", "unsigned16", "unsigned32", "unsigned64", "dateTimeSeconds", "dateTimeMilliseconds"}
SIGNED = {"signed8", "signed16", "signed32", "signed64"}
NTP = {"dateTimeMicroseconds": 1000, "dateTimeNanoseconds": 1}
LABELS = range(70, 80)
LISTS = {"basicList", "subTemplateList", "subTemplateMultiList"}
FIXED = {"ipv4Address": 4, "ipv6Address": 16, "macAddress": 6}


def expected(element_type: str, octets: bytes):
    """What a value is shown as, by RFC 7011 section 6 and the length; None is not shown."""
    size = len(octets)
    if element_type in UNSIGNED and 1 <= size <= 8:
        return int.from_bytes(octets)
    if element_type in SIGNED and 1 <= size <= 8:
        return int.from_bytes(octets, signed=True)
    if element_type == "unsigned256" and 1 <= size <= 32:
        return str(int.from_bytes(octets))
    if element_type in ("float32", "float64") and size in (4, 8):
        return struct.unpack("!f" if size == 4 else "!d", octets)[0]
    if element_type == "boolean" and size == 1:
        return {1: True, 2: False}.get(octets[0], octets[0])
    if FIXED.get(element_type) == size:
        return octets.hex(":") if size == 6 else str(ipaddress.ip_address(octets))
    if element_type in NTP and size == 8:
        return unix_nanoseconds(octets, NTP[element_type])
    if element_type == "string":
        try:
            return octets.rstrip(b"\0").decode()
        except UnicodeDecodeError:
            return "0x" + octets.hex()
    return octets.hex() if octets or element_type in {"octetArray", *LISTS} else None


def unix_nanoseconds(octets: bytes, unit: int) -> int:
    value = int.from_bytes(octets)
    if unit == 1000:
        value &= ~0x7FF
    part = Fraction(value & 0xFFFFFFFF, 1 << 32) * 10**9 / unit
    return ((value >> 32) - 2_208_988_800) * 10**9 + int(part + Fraction(1, 2)) * unit


def resolved(enterprise: int, number: int, *, of_netflow9: bool):
    """Name, type, field, number of IANA and direction of an element, as the registries and RFC 5103 have it."""
    key = TABLE.key(enterprise, number, netflow9=of_netflow9)
    before = "r_" if enterprise == REVERSE or (enterprise == CERT and number & 0x4000) else ""
    forward = {REVERSE: (IANA, number), CERT: (CERT, number & ~0x4000)}.get(enterprise, (enterprise, number))
    element = TABLE.lookup(*forward, netflow9=of_netflow9)
    if element is None:
        return key, "octetArray", "", 0, before
    iana = element.id if element.enterprise == IANA else 0
    return key, element.type, before + element.field if element.field else "", iana, before


def is_recovered(line: Shown, spec, octets: bytes, *, of_netflow9: bool) -> bool:
    """Find the value of one field in the line, and take it away there."""
    enterprise, number, _ = spec
    key, kind, field, iana, before = resolved(enterprise, number, of_netflow9=of_netflow9)
    value = expected(kind, octets)
    if value is None or iana == 210:
        return True
    if iana in (21, 22) and isinstance(value, int):
        # Only 32 bits of a clock that wraps have a field; more are shown beside it.
        return (value <= 0xFFFFFFFF or line.take("", key, value)) and line.take(field, key, value & 0xFFFFFFFF)
    if line.take("", key, value):
        return True
    if iana in (32, 139):
        return line.take_icmp(value, before)
    if iana in LABELS:
        return is_label(line.fields[before + "mpls"], iana - LABELS.start, octets)
    if value != value or kind in LISTS:
        return is_structure(line, key)
    if kind in NTP and field:
        field = field.replace("_ms", "_ns")
    elif kind == "dateTimeSeconds" and field:
        value *= 1000
    elif iana == 323:
        field = before + "start_ms"
    told = special(iana, octets)
    return line.take(field, key, value if told is None else told)


def special(iana: int, octets: bytes):
    """What two elements of octets are shown as."""
    if iana == 95 and octets:
        return f"{octets[0]}:{int.from_bytes(octets[1:])}"
    if iana == 497:
        return [str(ipaddress.ip_address(octets[at : at + 16])) for at in range(0, len(octets), 16)]
    return None


def is_label(labels: list, at: int, octets: bytes) -> bool:
    label, labels[at] = labels[at], None
    return label == {"label": int.from_bytes(octets) >> 4, "exp": octets[2] >> 1 & 7, "s": octets[2] & 1}


def is_structure(line: Shown, key: str) -> bool:
    """Take a list that could be read, or a float that is not a number and so not equal to itself."""
    found = next(pair for pair in line.extra if pair[0] == key and (isinstance(pair[1], dict) or pair[1] != pair[1]))
    line.extra = [pair for pair in line.extra if pair is not found]
    return True


WITH_FIELD = [element for element in TABLE if element.field and element.enterprise in (IANA, 9)]
ANY = [element for element in TABLE if element.enterprise >= 0]
NATURAL = {"8": 1, "16": 2, "32": 4, "64": 8, "ds": 8, "256": 32, "an": 1, "ss": 6}


def natural(element) -> int:
    for suffix, size in NATURAL.items():
        if element.type.endswith(suffix):
            return size
    return FIXED.get(element.type, 8)


@some.composite
def specifiers(draw, *, of_netflow9: bool):
    element = draw(some.sampled_from(WITH_FIELD) | some.sampled_from(WITH_FIELD) | some.sampled_from(ANY))
    enterprise, number = element.enterprise, element.id
    if of_netflow9:
        enterprise = IANA
        number = draw(some.just(number) | some.sampled_from([33002, 40001, 40005, 45004, 60000]))
    else:
        change = draw(some.sampled_from(["no"] * 6 + ["reverse", "unknown", "cert"]))
        if change == "reverse" and enterprise == IANA:
            enterprise = REVERSE
        elif change == "unknown":
            enterprise, number = draw(some.sampled_from([IANA, 77, 0xFFFFFFFF])), draw(some.integers(1, 0x7FFF))
        elif change == "cert":
            enterprise, number = CERT, draw(some.sampled_from([18, 18 | 0x4000, 21, 21 | 0x4000, 0x7FFF]))
    size = natural(element)
    length = draw(some.just(size) | some.just(size) | some.integers(0, 17) | some.sampled_from([size, VARIABLE]))
    return enterprise, number, length


@some.composite
def records(draw, *, of_netflow9: bool):
    specs = draw(some.lists(specifiers(of_netflow9=of_netflow9), min_size=1, max_size=14))
    if draw(some.booleans()):
        specs += draw(some.lists(some.sampled_from(specs), max_size=4))
    octets = []
    for _, _, length in specs:
        size = draw(some.integers(0, 40)) if length == VARIABLE else length
        octets.append(draw(some.binary(min_size=size, max_size=size)))
    # A record of no octets is none.
    return [*specs, (IANA, 136, 1)], [*octets, b"\3"]


def pieces(specs, octets) -> tuple[list, bytes]:
    """A template's fields and a record."""
    fields = [(number, length, *([pen] if pen else [])) for pen, number, length in specs]
    sent = [variable(one) if spec[2] == VARIABLE else one for spec, one in zip(specs, octets, strict=True)]
    return fields, b"".join(sent)


def assert_lossless(specs, octets, *, of_netflow9: bool) -> None:
    fields, content = pieces(specs, octets)
    lines = []
    for how in (How(), How(batches=True)):
        if of_netflow9:
            datagram = netflow9(template(256, fields, kind=-1), data(256, content))
            message = decode_netflow9(datagram, Exporters(TABLE), HERE, how)
        else:
            message = decode_ipfix(ipfix(template(256, fields), data(256, content)), Exporters(TABLE), HERE, how)
        assert message.problems == []
        [line] = FlowWriter().rows(message.rows)
        lines.append(orjson.loads(line))
        if not how.batches:
            [row] = message.rows
    assert lines[0] == lines[1]
    members = Shown({**row.members})
    for name in ("mpls", "r_mpls"):
        if name in members.fields:
            members.fields[name] = [*members.fields[name]]
    for spec, value in zip(specs, octets, strict=True):
        assert is_recovered(members, spec, value, of_netflow9=of_netflow9), (spec, value, row.members)
    of_packet = any(pen == IANA and number in SECTIONS for pen, number, _ in specs)
    for name, left in members.left().items():
        if of_packet and name.partition(".")[0] in OF_PACKETS:
            continue
        alias = any(each in row.members for each in ALIASES.get(name, ()))
        icmp = name in ("icmp_type", "icmp_code") and row.members.get("protocol") in (1, 58) and "dport" in row.members
        labels = name in ("mpls", "r_mpls") and not any(left)
        assert name in DERIVED or alias or icmp or labels, (name, left, row.members)


@settings(max_examples=200, deadline=None)
@given(records(of_netflow9=False))
def test_nothing_is_lost_in_ipfix(case):
    assert_lossless(*case, of_netflow9=False)


@settings(max_examples=100, deadline=None)
@given(records(of_netflow9=True))
def test_nothing_is_lost_in_netflow9(case):
    assert_lossless(*case, of_netflow9=True)


@some.composite
def sets_of_flows(draw):
    """A template as routers announce them, with counters and times, and some records of it."""
    times = draw(some.sampled_from([[(152, 8), (153, 8)], [(150, 4), (151, 4)], [(22, 4), (21, 4)]]))
    others = draw(
        some.lists(some.sampled_from(ANY), max_size=8, unique_by=lambda element: element.field or element.name)
    )
    fields = [*times, (1, draw(some.integers(1, 8))), (2, draw(some.integers(1, 8)))]
    for element in others:
        size = natural(element)
        length = draw(some.sampled_from([size, size, size, max(size - 1, 1), size + 3]))
        fields.append((element.id, length, *([element.enterprise] if element.enterprise else [])))
    fields = draw(some.permutations(fields))
    size = sum(field[1] for field in fields)
    return fields, draw(some.lists(some.binary(min_size=size, max_size=size), min_size=1, max_size=4))


@settings(max_examples=200, deadline=None)
@given(sets_of_flows())
def test_batches_say_what_records_say_one_by_one(case):
    fields, contents = case
    sets = template(256, fields), data(256, b"".join(contents))
    fields9 = [field[:2] for field in fields]
    sets9 = template(256, fields9, kind=-1), data(256, b"".join(contents))
    for decode, whole in ((decode_ipfix, ipfix(*sets)), (decode_netflow9, netflow9(*sets9))):
        lines = []
        for batches in (False, True):
            message = decode(whole, Exporters(TABLE), HERE, How(batches=batches))
            assert message.problems == []
            lines.append([orjson.loads(line) for line in FlowWriter(envelope=True).rows(message.rows)])
        assert lines[0] == lines[1]
        assert len(lines[0]) == len(contents)

"""NetFlow 1, 5, 6 and 7: a header and records of one fixed layout.

Source: Cisco, "NetFlow Export Datagram Format" (versions 1, 5, 6 and 7). All integers are in network byte order.
"""

import struct

from overflowd_tools.errors import DecodeError
from overflowd_tools.protocols.templates import Field, FlowBatch, Kind, Template

_ADDRESSES_AND_COUNTERS = (
    Field("saddr", 4, Kind.IPV4),
    Field("daddr", 4, Kind.IPV4),
    Field("nexthop", 4, Kind.IPV4),
    Field("in_if", 2),
    Field("out_if", 2),
    Field("pcount", 4),
    Field("bcount", 4),
    Field("stime", 4, Kind.UPTIME),
    Field("etime", 4, Kind.UPTIME),
    Field("sport", 2),
    Field("dport", 2),
)

_ROUTING = (Field("src_as", 2), Field("dst_as", 2), Field("src_mask", 1), Field("dst_mask", 1))

_NETFLOW1 = (
    *_ADDRESSES_AND_COUNTERS,
    Field("", 2, Kind.PADDING),
    Field("protocol", 1),
    Field("tos", 1),
    Field("flags", 1),
)

NETFLOW1 = Template((*_NETFLOW1, Field("", 7, Kind.PADDING)))
NETFLOW1_LONG = Template((*_NETFLOW1, Field("", 11, Kind.PADDING)))

_NETFLOW5 = (
    *_ADDRESSES_AND_COUNTERS,
    Field("", 1, Kind.PADDING),
    Field("flags", 1),
    Field("protocol", 1),
    Field("tos", 1),
    *_ROUTING,
)

NETFLOW5 = Template((*_NETFLOW5, Field("", 2, Kind.PADDING)))

NETFLOW6 = Template(
    (
        *_NETFLOW5,
        Field("in_encaps", 1),
        Field("out_encaps", 1),
        Field("peer_nexthop", 4, Kind.IPV4),
    )
)

NETFLOW7 = Template(
    (
        *_ADDRESSES_AND_COUNTERS,
        Field("v7_flags", 1),
        Field("flags", 1),
        Field("protocol", 1),
        Field("tos", 1),
        *_ROUTING,
        Field("v7_flags2", 2),
        Field("router_sc", 4, Kind.IPV4),
    )
)

_HEADER1 = struct.Struct("!HHIII")
_HEADER5 = struct.Struct("!HHIIIIBBH")
_MOST_OF_6 = 65_507 // NETFLOW6.length
_HEADER7 = struct.Struct("!HHIIII4x")

_YEAR_1990 = 631_152_000
_YEAR_2100 = 4_102_444_800


def decode_netflow1(datagram: bytes, missing: int = 0) -> FlowBatch | None:
    """Decode NetFlow 1; its records have 48 octets, or 52 from exporters that follow the printed format.

    Arguments and result as for decode_netflow5. A count that does not fit the length is no NetFlow 1 at all: too much
    else begins with these two octets (STUN, TFTP), and the header has nothing more to tell them apart by.
    """
    if len(datagram) < 16:
        refuse_cut_header(1, datagram, missing, 16, NETFLOW1, NETFLOW1_LONG)
        return None
    _, count, uptime, seconds, nanoseconds = _HEADER1.unpack_from(datagram)
    length = len(datagram) + missing
    for template in (NETFLOW1, NETFLOW1_LONG):
        if count and length == 16 + count * template.length:
            records, _ = whole_records(datagram, 16, template, count)
            export_ms = unix_ms(seconds, nanoseconds)
            return FlowBatch("netflow1", template, records, 0, export_ms, uptime, 1, {}, count)
    return None


def decode_netflow5(datagram: bytes, missing: int = 0) -> FlowBatch | None:
    """Decode NetFlow 5. The domain is engine_type << 8 | engine_id.

    missing: octets of the datagram that the capture lacks at its end. Returns None for a datagram of another protocol;
    raises DecodeError for one that the capture cuts inside the header, and one that holds records but announces none.
    """
    if len(datagram) < 24:
        refuse_cut_header(5, datagram, missing, 24, NETFLOW5)
        return None
    _, count, uptime, seconds, nanoseconds, sequence, engine_type, engine_id, sampling = _HEADER5.unpack_from(datagram)
    octets = len(datagram) - 24
    if not ((count and octets + missing == 48 * count) or is_credible_time(seconds, nanoseconds)):
        return None
    if datagram.find(0, 4) in (-1, len(datagram) - 1):  # the text of a TFTP error (RFC 1350), which begins alike
        return None
    if not count and octets >= 48:
        raise _nothing_announced(5, octets)
    if octets == 48 * count:
        records, surplus = datagram[24:], 0
    else:
        records, surplus = whole_records(datagram, 24, NETFLOW5, count)
    domain = engine_type << 8 | engine_id
    rate = sampling & 0x3FFF or 1  # the two bits above the interval are the sampling mode
    told = {"seq": sequence, "engine_type": engine_type, "engine_id": engine_id}
    export_ms = unix_ms(seconds, nanoseconds)
    # What FlowBatch() does, in a third of the time: nearly all that is captured in the field comes by here.
    return tuple.__new__(
        FlowBatch, ("netflow5", NETFLOW5, records, domain, export_ms, uptime, rate, told, count, surplus, 0)
    )


def decode_netflow6(datagram: bytes, missing: int = 0) -> FlowBatch | None:
    """Decode NetFlow 6: version 5, and the octets of encapsulation. Arguments and result as for decode_netflow5."""
    if len(datagram) < 24:
        refuse_cut_header(6, datagram, missing, 24, NETFLOW6)
        return None
    _, count, uptime, seconds, nanoseconds, sequence, engine_type, engine_id, _ = _HEADER5.unpack_from(datagram)
    # The text of a TFTP acknowledgement of options (RFC 2347), which begins alike, counts more than can be.
    if count > _MOST_OF_6 or not is_export(datagram, missing, 24, NETFLOW6):
        return None
    records, surplus = whole_records(datagram, 24, NETFLOW6, count)
    return FlowBatch(
        "netflow6",
        NETFLOW6,
        records,
        engine_type << 8 | engine_id,
        unix_ms(seconds, nanoseconds),
        uptime,
        1,
        {"seq": sequence, "engine_type": engine_type, "engine_id": engine_id},
        count,
        surplus,
    )


def decode_netflow7(datagram: bytes, missing: int = 0) -> FlowBatch | None:
    """Decode NetFlow 7 (Catalyst switches). Arguments and result as for decode_netflow5."""
    if len(datagram) < 24:
        refuse_cut_header(7, datagram, missing, 24, NETFLOW7)
        return None
    _, count, uptime, seconds, nanoseconds, sequence = _HEADER7.unpack_from(datagram)
    if not is_export(datagram, missing, 24, NETFLOW7):
        return None
    records, surplus = whole_records(datagram, 24, NETFLOW7, count)
    export_ms = unix_ms(seconds, nanoseconds)
    return FlowBatch("netflow7", NETFLOW7, records, 0, export_ms, uptime, 1, {"seq": sequence}, count, surplus)


def refuse_cut_header(version: int, datagram: bytes, missing: int, header_length: int, *templates: Template) -> None:
    """Raise DecodeError if a datagram cut inside its header is an export by its count and its length."""
    count = int.from_bytes(datagram[2:4])
    records = len(datagram) + missing - header_length
    if count and any(records == count * template.length for template in templates):
        raise DecodeError(f"NetFlow {version} header cut short: {len(datagram)} of {header_length} octets")


def is_export(datagram: bytes, missing: int, header_length: int, template: Template) -> bool:
    """Tell an export by its count and its length, or by its clock if the count lies.

    Raises DecodeError if it holds records, but announces none.
    """
    version, count, _, seconds, nanoseconds = _HEADER1.unpack_from(datagram)
    octets = len(datagram) - header_length
    fits = count and octets + missing == count * template.length
    if not fits and not is_credible_time(seconds, nanoseconds):
        return False
    if not count and octets >= template.length:
        raise _nothing_announced(version, octets)
    return True


def _nothing_announced(version: int, octets: int) -> DecodeError:
    return DecodeError(f"the NetFlow {version} header announces no flows; {octets} octets follow it")


def whole_records(datagram: bytes, offset: int, template: Template, count: int) -> tuple[bytes, int]:
    """Return as many whole records as the header announces and the datagram holds.

    Return also how many octets are behind all that are announced, 0 if they are zeroes.
    """
    fitting = (len(datagram) - offset) // template.length
    rest = datagram[offset + count * template.length :]
    return datagram[offset : offset + min(count, fitting) * template.length], len(rest) if any(rest) else 0


def is_credible_time(seconds: int, nanoseconds: int) -> bool:
    """Tell an exporter whose count lies from another protocol that begins alike (TFTP, DNS)."""
    return _YEAR_1990 <= seconds < _YEAR_2100 and nanoseconds < 1_000_000_000


def unix_ms(seconds: int, nanoseconds: int) -> int:
    """Return Unix milliseconds; an exporter that leaves garbage in the nanoseconds is taken at its seconds."""
    return seconds * 1000 + (nanoseconds // 1_000_000 if nanoseconds < 1_000_000_000 else 0)

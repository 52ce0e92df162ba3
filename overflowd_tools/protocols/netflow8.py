"""NetFlow 8: flows that the router has added up already, in fourteen ways, each with a record layout of its own.

Source: Cisco, "NetFlow Export Datagram Format" (version 8). Schemes 1 to 5 and 9 to 14 are those of routers, 6 to 8
those of Catalyst switches. All integers are in network byte order. What a scheme adds up has no field in its records;
no two schemes have the same fields. Where prefixes were added up, saddr and daddr are their first addresses.

Readers of NetFlow 8 disagree on two things. The mask of the destination comes first where there are two, as Cisco and
flow-tools have it and JunOS writes it or not as configured (caida-compliant); tshark reads them the other way round.
The type of service of scheme 9 stands at the end, as in flow-tools; tshark looks for it before the interfaces.
"""

import struct

from overflowd_tools.errors import DecodeError
from overflowd_tools.protocols.netflow import (
    is_credible_time,
    is_export,
    refuse_cut_header,
    unix_ms,
    whole_records,
)
from overflowd_tools.protocols.templates import Field, FlowBatch, Kind, Template

_HEADER = struct.Struct("!HHIIIIBBBB4x")
_RESERVED = slice(24, 28)

_LENGTHS = {
    **dict.fromkeys(("saddr", "daddr", "router_sc", "flows", "pcount", "bcount", "stime", "etime", "extra_pkts"), 4),
    **dict.fromkeys(("in_if", "out_if", "sport", "dport", "src_as", "dst_as"), 2),
    **dict.fromkeys(("src_mask", "dst_mask", "protocol", "tos", "marked_tos"), 1),
}
_KINDS = {
    **dict.fromkeys(("saddr", "daddr", "router_sc"), Kind.IPV4),
    **dict.fromkeys(("stime", "etime"), Kind.UPTIME),
}
_COUNTERS = "pcount bcount stime etime"


def _template(layout: str) -> Template:
    """Return the template of the fields named; a number is so many octets of padding."""
    return Template(
        tuple(
            Field("", int(name), Kind.PADDING)
            if name.isdecimal()
            else Field(name, _LENGTHS[name], _KINDS.get(name, Kind.UNSIGNED))
            for name in layout.split()
        )
    )


NETFLOW8 = {
    1: _template(f"flows {_COUNTERS} src_as dst_as in_if out_if"),
    2: _template(f"flows {_COUNTERS} protocol 3 sport dport"),
    3: _template(f"flows {_COUNTERS} saddr src_mask 1 src_as in_if 2"),
    4: _template(f"flows {_COUNTERS} daddr dst_mask 1 dst_as out_if 2"),
    5: _template(f"flows {_COUNTERS} saddr daddr dst_mask src_mask 2 src_as dst_as in_if out_if"),
    6: _template(f"daddr {_COUNTERS} out_if tos marked_tos extra_pkts router_sc"),
    7: _template(f"daddr saddr {_COUNTERS} out_if in_if tos marked_tos 2 extra_pkts router_sc"),
    8: _template(
        f"daddr saddr dport sport {_COUNTERS} out_if in_if tos protocol marked_tos 1 extra_pkts router_sc",
    ),
    9: _template(f"flows {_COUNTERS} src_as dst_as in_if out_if tos 3"),
    10: _template(f"flows {_COUNTERS} protocol tos 2 sport dport in_if out_if"),
    11: _template(f"flows {_COUNTERS} saddr src_mask tos src_as in_if 2"),
    12: _template(f"flows {_COUNTERS} daddr dst_mask tos dst_as out_if 2"),
    13: _template(f"flows {_COUNTERS} saddr daddr dst_mask src_mask tos 1 src_as dst_as in_if out_if"),
    14: _template(f"flows {_COUNTERS} saddr daddr dst_mask src_mask tos protocol sport dport in_if out_if"),
}
"""Number of the aggregation scheme -> its record layout."""


def decode_netflow8(datagram: bytes, missing: int = 0) -> FlowBatch | None:
    """Decode NetFlow 8. Arguments, result and errors as for netflow.decode_netflow5; the domain is the same too.

    Raises DecodeError also for an aggregation scheme that is none of Cisco's.
    """
    if len(datagram) < _HEADER.size:
        refuse_cut_header(8, datagram, missing, _HEADER.size, *NETFLOW8.values())
        return None
    _, count, uptime, seconds, nanoseconds, sequence, engine_type, engine_id, scheme, version = _HEADER.unpack_from(
        datagram
    )
    template = NETFLOW8.get(scheme)
    if template is None:
        if count and is_credible_time(seconds, nanoseconds) and not any(datagram[_RESERVED]):
            raise DecodeError(f"NetFlow 8 aggregation scheme {scheme} is not known")
        return None
    if not is_export(datagram, missing, _HEADER.size, template):
        return None
    records, surplus = whole_records(datagram, _HEADER.size, template, count)
    return FlowBatch(
        "netflow8",
        template,
        records,
        engine_type << 8 | engine_id,
        unix_ms(seconds, nanoseconds),
        uptime,
        1,
        {
            "seq": sequence,
            "engine_type": engine_type,
            "engine_id": engine_id,
            "aggregation": scheme,
            "agg_version": version,
        },
        count,
        surplus,
    )

"""Make overflowd_tools/protocols/elements.tsv again: python tests/make_elements.py CORPORA [FILE].

CORPORA holds the registries named below, as the repositories of NetGauze and libfds keep them, and MANIFEST.tsv, which
says where they are from. Numbers, names, types, units and semantics are taken as registered; descriptions are not.
The last column is ours: the field of a flow line.
The same registries give the same file, octet for octet.
"""

import csv
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

TABLE = Path(__file__).resolve().parent.parent / "overflowd_tools" / "protocols" / "elements.tsv"
NETGAUZE = "NetGauze+NetGauze/crates/flow-pkt/registry"
LIBFDS = "CESNET+libfds/config/system/elements"
IANA = "{http://www.iana.org/assignments}"

REGISTRIES = (
    (f"{NETGAUZE}/iana_ipfix_information_elements.xml", "0"),
    (f"{NETGAUZE}/nokia.xml", "637"),
    (f"{NETGAUZE}/huawei.xml", "2011"),
    (f"{NETGAUZE}/vmware.xml", "6876"),
    (f"{LIBFDS}/cisco.xml", "9"),
    (f"{LIBFDS}/netscaler.xml", "5951"),
    (f"{LIBFDS}/cert.xml", "6871"),
    (f"{LIBFDS}/vmware.xml", "6876"),
    (f"{LIBFDS}/cesnet.xml", "8057"),
    (f"{LIBFDS}/muni.xml", "16982"),
    (f"{LIBFDS}/flowmon.xml", "39499"),
    (f"{LIBFDS}/netflow.xml", "v9"),
    (f"{LIBFDS}/netflowExtra.xml", "v9"),
)
"""In order of trust: a later registry adds to an earlier one and must not contradict it."""

STAND_INS = {"4294967294": ("v9", 0), "4294967295": ("v9", 0x8000)}
"""The enterprises under which libfds keeps types of NetFlow 9, and what to add to its numbers."""

TYPES = (
    "octetArray",
    "unsigned8",
    "unsigned16",
    "unsigned32",
    "unsigned64",
    "signed8",
    "signed16",
    "signed32",
    "signed64",
    "float32",
    "float64",
    "boolean",
    "macAddress",
    "string",
    "dateTimeSeconds",
    "dateTimeMilliseconds",
    "dateTimeMicroseconds",
    "dateTimeNanoseconds",
    "ipv4Address",
    "ipv6Address",
    "basicList",
    "subTemplateList",
    "subTemplateMultiList",
    "unsigned256",
)

OTHERS = (
    (
        "RFC 3954 section 6.1: scope types of NetFlow 9; it gives them no data types",
        """scope 1 system octetArray
        scope 2 interface unsigned32
        scope 3 lineCard unsigned32
        scope 4 cache octetArray
        scope 5 template unsigned16""",
    ),
    (
        "Cisco ASA 8.4: earlier numbers of 225 to 228 and 233 (as nfdump has them)",
        """v9 40001 postNATSourceIPv4Address ipv4Address
        v9 40002 postNATDestinationIPv4Address ipv4Address
        v9 40003 postNAPTSourceTransportPort unsigned16
        v9 40004 postNAPTDestinationTransportPort unsigned16
        v9 40005 firewallEvent unsigned8""",
    ),
    (
        "Palo Alto Networks, PAN-OS Administrator's Guide, NetFlow Templates",
        """v9 56701 App-ID string
        v9 56702 User-ID string""",
    ),
    (
        "ntop nProbe (as the codec-netflow plugin of Logstash has them)",
        """v9 57590 L7_PROTO unsigned16
        v9 57591 L7_PROTO_NAME string""",
    ),
)
"""What no registry has: enterprise, number, name, type."""

FIELDS = """
    saddr 8 27 44 9/12236 9/12238 v9/45004 v9/45006
    daddr 12 28 45 9/12237 9/12239 v9/45005 v9/45007
    sport 7 180 182 9/12240 v9/45008
    dport 11 181 183 9/12241 v9/45009
    pcount 2 298
    bcount 1 231
    stime 22
    etime 21
    start_ms 150 152 154 156 158
    end_ms 151 153 155 157 159
    flags 6
    protocol 4
    tos 5
    agent 130 131
    sampler_id 48 302
    sampling_algo 35 304
    in_if 10 252
    out_if 14 253
    nexthop 15 62
    bgp_nexthop 18 63
    src_as 16
    dst_as 17
    next_as 128
    prev_as 129
    src_mask 9 29
    dst_mask 13 30
    vlan 58 243
    post_vlan 59 254
    cvlan 245
    post_cvlan 255
    smac 56
    dmac 80
    post_smac 81
    post_dmac 57
    ethertype 256
    ip_version 60
    icmp_type 176 178
    icmp_code 177 179
    tos_post 55
    dscp 195
    ttl 192
    ttl_min 52
    ttl_max 53
    ip_id 54
    frag_off 88
    frag_flags 197
    flow_label 31
    ext_hdrs 64
    len_min 25
    len_max 26
    mpls 70 71 72 73 74 75 76 77 78 79
    srv6.flags 492
    srv6.tag 493
    srv6.list 496 497
    srv6.segments_left 498
    direction 61
    fwd_status 89
    end_reason 136
    vrf_in 234
    vrf_out 235
    vrf_name 236
    app_id 95
    app_name 96
    nat.saddr 225 281 v9/40001
    nat.daddr 226 282 v9/40002
    nat.sport 227 v9/40003
    nat.dport 228 v9/40004
    nat.event 230
    nat.pool 283
    nat.block_start 361
    nat.block_end 362
    event 233 v9/40005
    ext_event v9/33002
    user 371 v9/40000 v9/56702
    ssid 147
    flows 3
    pcount_total 86
    bcount_total 85
    post_pcount 24
    post_bcount 23
    l2_bcount 352
    dropped_pcount 133
    dropped_bcount 132
    r_pcount 299
    r_bcount 232
    biflow_dir 239
"""
"""Fields of a flow line and the elements that may fill them; a.b is the member b of the object a."""


class Row(NamedTuple):
    enterprise: str
    id: int
    name: str
    type: str
    units: str = ""
    semantics: str = ""

    @property
    def number(self) -> str:
        """The number as FIELDS writes it."""
        return str(self.id) if self.enterprise == "0" else f"{self.enterprise}/{self.id}"


def main() -> int:
    if len(sys.argv) < 2:
        sys.exit("usage: make_elements.py CORPORA [FILE]")
    target = Path(sys.argv[2]) if len(sys.argv) > 2 else TABLE
    target.write_text(make(Path(sys.argv[1])), encoding="ascii")
    return 0


def make(corpora: Path) -> str:
    """Return the text of the table."""
    with (corpora / "MANIFEST.tsv").open(encoding="utf-8", newline="") as file:
        manifest = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    origins = {
        line["file"]: f"{line['origin_repo']} {line['origin_path']} at {line['commit'][:12]}" for line in manifest
    }
    rows: dict[tuple[str, int], Row] = {}
    header = ["Information elements. Made by tests/make_elements.py, not by hand; sources and how many each added:"]
    for path, enterprise in REGISTRIES:
        root = ET.parse(corpora / path).getroot()
        found = list(iana_rows(root, enterprise) if root.tag == f"{IANA}registry" else libfds_rows(root, enterprise))
        header.append(f"{add(rows, found):5} of {len(found):3}  {origins[path]}, {date(root)}")
    for source, text in OTHERS:
        others = [Row(words[0], int(words[1]), *words[2:]) for words in map(str.split, text.splitlines())]
        header.append(f"{add(rows, others):5} of {len(others):3}  {source}")
    header.append(f"{len(rows):5} in all. Enterprise v9: types of NetFlow 9 alone; scope: its scope types.")
    header.append("\t".join(("enterprise", "id", "name", "type", "units", "semantics", "field")))
    lines = [f"# {line}" for line in header]
    fields = {number: words[0] for words in map(str.split, FIELDS.strip().splitlines()) for number in words[1:]}
    for row in sorted(rows.values(), key=order):
        lines.append("\t".join((*map(str, row), fields.pop(row.number, ""))))
    if fields:
        sys.exit(f"no such elements: {fields}")
    return "\n".join(lines) + "\n"


def add(rows: dict[tuple[str, int], Row], found: list[Row]) -> int:
    """Add what is new, and what NetFlow 9 does not share with IANA; return how many those were."""
    before = len(rows)
    for row in found:
        if row.type not in TYPES or not re.fullmatch(r"[A-Za-z][\w.-]*", row.name, re.ASCII):
            sys.exit(f"not an element: {row}")
        known = rows.get(("0", row.id)) if row.enterprise == "v9" and row.id < 0x8000 else None
        known = known or rows.setdefault((row.enterprise, row.id), row)
        if known[2:4] != row[2:4]:
            sys.exit(f"contradiction: {row}, {known}")
    return len(rows) - before


def order(row: Row) -> tuple[bool, int, str, int]:
    """Sort numbers of enterprises before the stand-ins."""
    digits = row.enterprise.isdigit()
    return not digits, int(row.enterprise) if digits else 0, row.enterprise, row.id


def date(root: ET.Element) -> str:
    """Return the date of a registry, or of its youngest element."""
    dates = [root.findtext(f"{IANA}updated")] if root.find(f"{IANA}updated") is not None else []
    dates = dates or [element.text for element in root.iter(f"{IANA}date")]
    return max(filter(None, dates), default="undated")


def iana_rows(root: ET.Element, enterprise: str) -> Iterator[Row]:
    """Yield the elements of a registry in IANA's form; numbers without a name or a type are not elements."""
    for registry in root.iter(f"{IANA}registry"):
        if registry.get("id") != "ipfix-information-elements":
            continue
        for record in registry.findall(f"{IANA}record"):
            name, kind, number = text(record, f"{IANA}name"), text(record, f"{IANA}dataType"), f"{IANA}elementId"
            if name and kind:
                units, semantics = text(record, f"{IANA}units"), text(record, f"{IANA}dataTypeSemantics")
                yield Row(enterprise, int(text(record, number)), name, kind, units, semantics)


def libfds_rows(root: ET.Element, enterprise: str) -> Iterator[Row]:
    """Yield the elements of a registry in the form of libfds."""
    stand_in = text(root, "scope/pen")
    known, base = STAND_INS.get(stand_in, (stand_in, 0))
    if known != enterprise:
        sys.exit(f"enterprise {known} where {enterprise} was expected")
    spelling = {name.lower(): name for name in TYPES}
    for element in root.findall("element"):
        kind = spelling.get(text(element, "dataType").lower(), "")
        units = text(element, "units").replace("none", "")
        semantics = text(element, "dataSemantics")
        yield Row(enterprise, base + int(text(element, "id")), text(element, "name"), kind, units, semantics)


def text(element: ET.Element, path: str) -> str:
    return " ".join((element.findtext(path) or "").split())


if __name__ == "__main__":
    sys.exit(main())

"""Captures with something bad between good datagrams of the same exporter, and what of-decode makes of them.

The good ones, the witnesses, are of every protocol; those after the bad one need what those before it announced.
"""

import ipaddress
import json
import re
import struct
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from harness import BIN, SECONDS, environment

from overflowd_tools.capture.link import udp_frame
from tests.protocols import netflow_builders as fixed
from tests.protocols import sflow_builders as sflow
from tests.protocols.set_builders import FLOW, KEYS, SECOND, data, flow, ipfix, netflow9, template, template9

__all__ = ["FLOW", "KEYS", "SECOND", "data", "flow", "ipfix", "netflow9", "template", "template9"]

VARIABLE = 65535
EXPORTER = "192.0.2.1"
COLLECTOR = ipaddress.ip_address("198.51.100.9").packed
FIELDS9 = [*KEYS, (1, 4), (2, 4), (22, 4), (21, 4)]
WITNESS = 999
"""The template of the witnesses, in the domain that the bad datagrams are of too."""
MEMORY = 100_000_000
"""What is promised: 100 MB in all."""
LINE_OCTETS = 600
"""A line is not longer than so many times what the datagrams are: the shortest record has one octet."""


def flow9(host: int = 1) -> bytes:
    """A record of FIELDS9."""
    addresses = bytes((198, 51, 100, host, 203, 0, 113, host))
    return addresses + struct.pack("!HHBIIII", 1000 + host, 80, 6, 120, 2, 999_000, 999_500)


def variable(octets: bytes, *, long: bool = False) -> bytes:
    """A field of variable length (RFC 7011 section 7)."""
    short = len(octets) < 255 and not long
    return (bytes([len(octets)]) if short else b"\xff" + struct.pack("!H", len(octets))) + octets


def basic_list(element: int, length: int, content: bytes) -> bytes:
    """A basicList of all of these (RFC 6313 section 4.5.1)."""
    return struct.pack("!BHH", 3, element, length) + content


def options9(number: int, scopes: bytes, fields: bytes, lengths: tuple[int, int] | None = None) -> bytes:
    """An options template FlowSet of NetFlow 9, whose lengths of both parts may lie."""
    return data(1, struct.pack("!HHH", number, *(lengths or (len(scopes), len(fields)))) + scopes + fields)


def withdrawal(number: int, kind: int = 2) -> bytes:
    """A set that withdraws a template (RFC 7011 section 8.1)."""
    return data(kind, struct.pack("!HH", number, 0))


def netflow5(*hosts: int, count: int | None = None, **header: Any) -> bytes:
    """A datagram of NetFlow 5, with a record for each host."""
    records = [
        fixed.record(saddr=f"198.51.100.{host}", daddr=f"203.0.113.{host}", pcount=2, bcount=120) for host in hosts
    ]
    return fixed.datagram(*records, count=count, **header)


def calling_itself(length: int, message: bytes) -> bytes:
    """A message of IPFIX that says that it is so long."""
    return message[:2] + struct.pack("!H", length) + message[4:]


FIELDS = [(8, 4), (12, 4), (1, 4)]
"""Source, destination, octets: the template that bad messages are about, or 301 where 300 is bad itself."""
TEMPLATE, TEMPLATE9 = template(300, FIELDS), template9(300, FIELDS)
OTHER, OTHER9 = template(301, FIELDS), template9(301, FIELDS)


def row(host: int = 7) -> bytes:
    """A record of FIELDS."""
    return bytes((10, 0, 0, host, 10, 0, 1, host, 0, 0, 0, host))


def rows(*hosts: int, number: int = 300) -> bytes:
    """A data set of FIELDS."""
    return data(number, b"".join(map(row, hosts)))


def never_came(number: int = 300, sets: int = 1, source: str = "ipfix") -> str:
    """What is told at the end of data whose template is not known."""
    return f"{source} from {EXPORTER}, domain 1: no template {number} came: {sets} data sets not decoded"


# --- captures


def frame(payload: bytes, source: str = EXPORTER, port: int = 40_000) -> bytes:
    """A frame that carries an export."""
    return udp_frame(ipaddress.ip_address(source).packed, port, COLLECTOR, 2055, payload)


def record(packet: bytes, seconds: int = SECOND, original: int | None = None) -> bytes:
    """A packet in a pcap file; original: what it was longer before the capture cut it."""
    return struct.pack("<IIII", seconds, 0, len(packet), original or len(packet)) + packet


def pcap(*records: bytes, link: int = 1) -> bytes:
    """A pcap file."""
    return struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, link) + b"".join(records)


def capture(*datagrams: bytes, source: str = EXPORTER) -> bytes:
    """A capture of these datagrams."""
    return pcap(*(record(frame(datagram, source)) for datagram in datagrams))


BEFORE = (
    netflow5(1, 2),
    ipfix(template(WITNESS, FLOW), data(WITNESS, flow(1) + flow(2))),
    netflow9(template9(WITNESS, FIELDS9), data(WITNESS, flow9(1) + flow9(2)), count=3),
    sflow.datagram5(sflow.GOOD, sequence=1000),
)
AFTER = (
    netflow5(3, 4, sequence=2),
    ipfix(data(WITNESS, flow(3) + flow(4)), sequence=2),
    netflow9(data(WITNESS, flow9(3) + flow9(4)), count=2, sequence=1),
    sflow.datagram5(sflow.GOOD, sequence=1001),
)
FIRST_BAD = len(BEFORE) + 1
"""The number of the first packet that is bad."""


# --- runs


class Outcome(NamedTuple):
    """What a run gave. told: the lines on stderr without the name of the command; the file is called `in`."""

    status: int
    lines: list[dict[str, Any]]
    told: list[str]
    counts: dict[str, int]

    @property
    def reasons(self) -> list[str]:
        """What was told, without the place if that is the first bad packet."""
        return [line.removeprefix(f"in: packet {FIRST_BAD}: ") for line in self.told]

    @property
    def hosts(self) -> list[int]:
        """The last octets of the sources of the flows."""
        return [int(line["saddr"].rpartition(".")[2]) for line in self.lines]


def outcome(status: int, out: bytes, told: bytes) -> Outcome:
    """Read what a run with --stats wrote, and hold what is true of every run."""
    assert b"Traceback" not in told
    assert b"internal error" not in told
    *lines, counts = told.decode().splitlines()
    assert all(line.startswith("of-decode: ") for line in lines)
    assert status == (1 if lines else 0)
    kinds = Counter(re.sub("[0-9]+", "#", line) for line in lines)
    assert max(kinds.values(), default=0) <= 10, "more than ten of a kind"
    shown = [json.loads(line) for line in out.split(b"\n")[:-1]]
    assert out.endswith(b"\n") or not out
    return Outcome(status, shown, [line.removeprefix("of-decode: ") for line in lines], json.loads(counts))


def without_loss(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Lines without what the sequence numbers of bad datagrams do to their neighbours."""
    return [{name: value for name, value in line.items() if name != "seq_lost"} for line in lines]


def parted(done: Outcome, good: list[dict[str, Any]]) -> Outcome:
    """Hold that the witnesses are all there, and give what was between them."""
    first = len(good) // 2
    shown = without_loss(done.lines)
    assert shown[:first] == good[:first], "what came before was lost"
    assert shown[-first:] == good[first:], "what came after was lost"
    return done._replace(lines=done.lines[first:-first])


class Peak(NamedTuple):
    """A run of the real command in a process of its own, what it wrote, and the most memory it took."""

    outcome: Outcome
    raw: bytes
    kib: int


def run_command(path: Path, *argv: str) -> Peak:
    """Run of-decode on a file, and measure its memory.

    It is started by a small process in between: until it calls exec it would have the memory of this one.
    """
    code = (
        "import os,sys\n"
        "child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)\n"
        "_, status, usage = os.wait4(child, 0)\n"
        "print(os.waitstatus_to_exitcode(status), usage.ru_maxrss, file=open(sys.argv[-1] + '.usage', 'w'))\n"
    )
    with tempfile.TemporaryDirectory() as home:
        place = environment(Path(home))
        place = {name: value for name, value in place.items() if not name.startswith("COVERAGE_")}
        command = [place["OF_PYTHON"], "-S", "-c", code, str(BIN / "of-decode"), "--stats", *argv, path.name]
        done = subprocess.run(command, cwd=path.parent, env=place, capture_output=True, timeout=4 * SECONDS, check=True)
    status, kib = map(int, Path(f"{path}.usage").read_text().split())
    return Peak(outcome(status, done.stdout, done.stderr), done.stdout, kib)


def write(path: Path, *pieces: bytes) -> Path:
    """Write a file."""
    path.write_bytes(b"".join(pieces))
    return path

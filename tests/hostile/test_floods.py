"""Floods of templates, options, data without template, domains, fragments and TCP streams: from one, or from a million.

Each comes between the datagrams of a victim, which must give the same lines as without it, in 100 MB for all.
OF_FLOOD=1000000 in the environment makes the largest flood, of forged exporters, as large as that.
"""

import os
import random
import struct
from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import capture_builders as layers
import pytest
from harness import TOP

from overflowd_tools.decoding.capture_decoder import CaptureDecoder, Wanted
from overflowd_tools.protocols import accounting, announced, exporters, lists, pending
from overflowd_tools.protocols import netflow9 as messages
from tests.hostile import builders as build
from tests.hostile.builders import (
    FLOW,
    TEMPLATE,
    VARIABLE,
    basic_list,
    data,
    flow,
    frame,
    ipfix,
    netflow5,
    netflow9,
    options9,
    record,
    row,
    rows,
    sflow,
    template,
    template9,
    variable,
)

FORGED = int(os.environ.get("OF_FLOOD", "100000"))
VICTIM = "203.0.113.5"
FIELD = struct.Struct("!HH")
PARTS = 20
"""The victim is heard so many times while a flood lasts."""

Flood = Iterator[bytes]


# --- floods, as packets of a pcap file without end


def from_many(*datagrams: bytes, numbers: Iterator[int] | None = None) -> Flood:
    """Each datagram in its turn from an address of its own."""
    made = [record(frame(datagram)) for datagram in datagrams]
    for number in numbers or count(0x0A000000):
        packet = made[number % len(made)]
        yield packet[: 16 + 26] + struct.pack("!I", number & 0xFFFFFFFF) + packet[16 + 30 :]


def from_one(*datagrams: bytes) -> Flood:
    while True:
        yield from (record(frame(datagram)) for datagram in datagrams)


def forged_exporters() -> Flood:
    """A template, and data by it, of NetFlow 9 or IPFIX: from addresses that are heard once."""
    nine = netflow9(template9(300, build.FIELDS), rows(1), count=2)
    return from_many(nine, ipfix(TEMPLATE, rows(1)))


def templates_of_their_own() -> Flood:
    """No two templates are the same."""
    octets = random.Random(1)
    for number in count(0x0A000000):
        fields = [(octets.randrange(1, 500), octets.randrange(1, 9)) for _ in range(10)]
        packet = record(frame(ipfix(template(300, fields))))
        yield packet[: 16 + 26] + struct.pack("!I", number) + packet[16 + 30 :]


def templates_of_their_own_and_data() -> Flood:
    """And each is used: what is generated to decode them takes most time and memory of all."""
    octets = random.Random(1)
    elements = (1, 2, 4, 5, 6, 7, 9, 10, 11, 13, 14, 16, 17, 21, 22, 56, 57, 58, 80, 81, 82, 83, 85, 86)
    for number in count(0x0A000000):
        fields = [(element, 4) for element in octets.sample(elements, 16)]
        packet = record(frame(ipfix(template(300, [(8, 4), (12, 4), *fields]), data(300, octets.randbytes(72)))))
        yield packet[: 16 + 26] + struct.pack("!I", number) + packet[16 + 30 :]


def templates_of_one() -> Flood:
    """All numbers, in ever new domains, from one address."""
    for domain in count(2):
        for number in range(256, 65536, 100):
            sets = [template(each, [(each % 500, 4), (8, 4), (12, 4)]) for each in range(number, number + 50)]
            yield record(frame(ipfix(*sets, domain=domain)))


def oversized_templates() -> Flood:
    """As many fields as there may be, and more; no two the same."""
    for number in count():
        fields = (10_000, 9_000, 10_001, 16_000)[number % 4]
        body = struct.pack("!HH", 300, fields)
        body += b"".join(FIELD.pack(1 + (number + field) % 500, 1) for field in range(fields))
        pieces = layers.fragments4(layers.udp(ipfix(data(2, body))), 8192, ident=number & 0xFFFF)
        source = struct.pack("!I", 0x0A000000 + number)
        yield from (record(layers.ethernet(piece[:12] + source + piece[16:])) for piece in pieces)


def impossible_templates() -> Flood:
    """65,535 fields in a few octets, records of no octets, sets of no length: all that may make a reader loop."""
    return from_many(
        ipfix(data(2, struct.pack("!HHHH", 300, 65535, 8, 4))),
        netflow9(data(-1, struct.pack("!HHHH", 300, 65535, 8, 4)), data(300, bytes(1000))),
        netflow9(options9(300, b"", b"", (65532, 65532))),
        ipfix(template(300, [(8, 0)] * 300), data(300, bytes(1000))),
        netflow9(template9(300, []), data(300, bytes(1000))),
        ipfix(b"\1\0\0\0" * 300),
        netflow9(b"\0\0\0\1" * 300),
    )


def nested_lists() -> Flood:
    octets = basic_list(4, 1, b"\6" * 100)
    for _ in range(10):
        octets = basic_list(291, VARIABLE, variable(octets))
    wide = basic_list(291, VARIABLE, variable(basic_list(4, 1, b"\6")) * 150)
    itself = b""
    for _ in range(40):
        itself = variable(struct.pack("!BH", 3, 301) + itself * 1)
    learn = (template(300, [(291, VARIABLE), (8, 4)]), template(301, [(292, VARIABLE)]))
    listed = data(300, variable(octets) + row()[:4] + variable(wide) + row()[:4])
    return from_one(ipfix(*learn, listed, data(301, itself), domain=5))


def lying_samples() -> Flood:
    endless = 0xFFFFFFFF
    return from_many(
        sflow.datagram5(sflow.GOOD, count=endless),
        sflow.datagram5(sflow.flow(sflow.raw(sflow.PACKET), count=endless)),
        sflow.datagram5(*[sflow.flow(sflow.record(1, b"", 65000), length=40)] * 30),
        sflow.datagram5(sflow.flow(sflow.record(1003, sflow.address("") + sflow.words(1, 2, 3, endless)))),
        sflow.datagram5(*[sflow.sample(4300 << 12, b"")] * 150),
    )


def data_without_template() -> Flood:
    """Of many exporters, domains and numbers."""
    octets = random.Random(2)
    while True:
        message = ipfix(
            *(data(256 + octets.randrange(60_000), bytes(200)) for _ in range(6)), domain=octets.randrange(9)
        )
        yield record(frame(message, f"10.0.{octets.randrange(50)}.{octets.randrange(250)}"))


def data_without_template_of_one() -> Flood:
    """As much as an address can get held."""
    for number in count():
        yield record(frame(ipfix(data(256 + number % 60_000, bytes(1300)), domain=number // 256 % 50_000)))


def samplers_of_one() -> Flood:
    """Each tells of a sampler of its own, in many domains."""
    learn = template(300, [(302, 4), (34, 4)], scopes=1)
    for number in count():
        told = b"".join(struct.pack("!II", number * 100 + each, 7) for each in range(100))
        yield record(frame(ipfix(learn, data(300, told), domain=number % 2000)))


def samplers_of_many() -> Flood:
    learn = template(300, [(302, 4), (34, 4)], scopes=1)
    told = b"".join(struct.pack("!II", each, 7) for each in range(100))
    return from_many(ipfix(learn, data(300, told)))


def domains_of_one() -> Flood:
    """Streams of numbers without end: IPFIX, NetFlow 9, engines of NetFlow 5, agents of sFlow."""
    for number in count():
        yield record(frame(ipfix(data(300, b""), domain=number)))
        yield record(frame(netflow9(data(300, b""), domain=number)))
        yield record(frame(netflow5(9, engine=(number >> 8 & 255, number & 255))))
        yield record(frame(sflow.datagram5(agent=f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}")))


def streams_of_many() -> Flood:
    return from_many(netflow5(9), sflow.datagram5(), ipfix(), netflow9())


def fragments_without_end() -> Flood:
    octets = random.Random(3)
    for number in count():
        more = layers.ipv4(octets.randbytes(1400), fragment=0x2000 | number % 40 * 175, ident=number // 40 & 0xFFFF)
        yield record(layers.ethernet(more))


def tcp_streams() -> Flood:
    """Connections that begin, then say nothing or half a message of IPFIX, with gaps."""
    half = ipfix(TEMPLATE, data(300, bytes(1200)))[:1000]
    for number in count():
        ports = (1024 + number % 60_000, 4739)
        for segment in (
            layers.tcp(flags=2, sequence=1, ports=ports),
            layers.tcp(half, flags=0x10, sequence=2, ports=ports),
            layers.tcp(half, flags=0x10, sequence=5000, ports=ports),
        ):
            packet = layers.ethernet(layers.ipv4(segment, 6))
            yield record(packet[:26] + struct.pack("!I", 0x0A000000 + number // 60_000) + packet[30:])


FLOODS: dict[Callable[[], Flood], int] = {
    forged_exporters: FORGED,
    templates_of_their_own: 6000,
    templates_of_their_own_and_data: 4500,
    templates_of_one: 300,
    oversized_templates: 400,
    impossible_templates: 4000,
    nested_lists: 200,
    lying_samples: 1500,
    data_without_template: 10_000,
    data_without_template_of_one: 15_000,
    samplers_of_one: 300,
    samplers_of_many: 300,
    domains_of_one: 30_000,
    streams_of_many: 30_000,
    fragments_without_end: 20_000,
    tcp_streams: 20_000,
}
"""Flood -> packets."""


# --- the victim


def victim(part: int) -> bytes:
    """What the victim sends for the part-th time: templates and sampling rate first, then flows of every protocol."""
    datagrams = [
        netflow5(part, sequence=part),
        ipfix(data(999, flow(part)), sequence=1 + part),
        netflow9(data(999, build.flow9(part)), sequence=1 + part),
        sflow.datagram5(sflow.GOOD, sequence=part),
    ]
    if part == 0:
        rate = template(998, [(149, 4), (34, 4)], scopes=1), data(998, struct.pack("!II", 1, 100))
        nine = options9(998, FIELD.pack(1, 4), FIELD.pack(34, 4)), data(998, struct.pack("!II", 1, 100))
        datagrams = [
            ipfix(template(999, FLOW), *rate),
            netflow9(template9(999, build.FIELDS9), *nine, count=3),
            *datagrams,
        ]
    return b"".join(record(frame(datagram, VICTIM)) for datagram in datagrams)


def write_flood(path: Path, packets: Iterator[bytes], number: int) -> Path:
    with path.open("wb") as file:
        file.write(build.pcap())
        for part in range(PARTS):
            file.write(victim(part))
            file.writelines(packet for packet, _ in zip(packets, range(number // PARTS), strict=False))
    return path


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> list[dict]:
    """The lines of the victim, where there is no flood."""
    path = write_flood(tmp_path_factory.mktemp("calm") / "in", iter(()), 0)
    lines = build.run_command(path).outcome.lines
    assert len(lines) == 4 * PARTS
    assert {line.get("sampling_rate") for line in lines if line["source"] in ("ipfix", "netflow9")} == {100}
    return lines


@pytest.mark.parametrize("flood", FLOODS, ids=lambda flood: flood.__name__)
def test_floods(flood, undisturbed, tmp_path):
    path = write_flood(tmp_path / "in", flood(), FLOODS[flood])
    run = build.run_command(path)
    assert run.kib * 1024 <= build.MEMORY
    assert [line for line in run.outcome.lines if line.get("exporter") == VICTIM] == undisturbed
    assert run.outcome.counts["packets"] >= FLOODS[flood] // PARTS * PARTS


# --- single datagrams that become many lines


def in_fragments(datagram: bytes) -> bytes:
    pieces = layers.fragments4(layers.udp(datagram), 32_768)
    return b"".join(record(layers.ethernet(piece)) for piece in pieces)


OF_ONE_OCTET = {
    "fixed": in_fragments(ipfix(template(300, [(4, 1)]), data(300, bytes(65_000)))),
    "variable": in_fragments(ipfix(template(300, [(371, VARIABLE)]), data(300, bytes(65_000)))),
    "with empty fields": in_fragments(ipfix(template(300, [(4, 1), *[(291, 0)] * 8]), data(300, bytes(65_000)))),
    "options": in_fragments(ipfix(template(300, [(149, 1), (371, 0)], scopes=1), data(300, bytes(65_000)))),
    "held": b"".join(
        [record(frame(ipfix(data(300, bytes(1400))))) for _ in range(46)]
        + [record(frame(ipfix(template(300, [(371, VARIABLE)]))))]
    ),
}


@pytest.mark.parametrize("name", OF_ONE_OCTET)
def test_records_of_one_octet(name, tmp_path):
    """No datagram takes more memory than is promised for all."""
    path = build.write(tmp_path / "in", build.pcap(OF_ONE_OCTET[name], victim(0)))
    run = build.run_command(path, "--only", "flow,option")
    assert run.outcome.lines[-1]["source"] == "sflow5"
    assert 64_000 <= len(run.outcome.lines) <= 65_536 + 8
    assert run.kib * 1024 <= build.MEMORY


# --- what is kept


def small(monkeypatch) -> None:
    """Make all limits a hundredth, so that little fills them."""
    for module, name in (
        *((exporters, name) for name in ("SESSIONS", "ADDRESS_SESSIONS", "ADDRESS_FIELDS", "ADDRESS_RATES", "MEMORY")),
        (exporters, "_NEWCOMERS"),
        (exporters, "_MEMORY_LEFT"),
        (accounting, "STREAMS"),
        *((pending, name) for name in ("OCTETS", "SESSION_OCTETS")),
    ):
        monkeypatch.setattr(module, name, getattr(module, name) // 100)


def heard(packets: Iterator[bytes], number: int) -> CaptureDecoder:
    """A decoder that has taken so many packets, and its victim's templates before them."""
    decoder = CaptureDecoder(Wanted(), lambda _: None, lambda *_: None)
    decoder.feed(build.pcap() + victim(0))
    for packet, _ in zip(packets, range(number), strict=False):
        decoder.feed(packet)
    return decoder


@pytest.mark.parametrize(
    "flood", [flood for flood in FLOODS if flood is not nested_lists], ids=lambda flood: flood.__name__
)
def test_what_is_remembered_is_bounded(flood, monkeypatch):
    small(monkeypatch)
    decoder = heard(flood(), 500)
    known = decoder.exports.known()
    sessions = [session for _, session in known.sessions()]
    assert len(sessions) <= exporters.SESSIONS
    fields = sum({id(layout): len(layout.members) for each in sessions for layout in each.layouts.values()}.values())
    largest = announced.MAX_FIELDS if flood is oversized_templates else 150
    assert fields <= exporters.MEMORY // 400 + largest
    assert all(len(each.layouts) <= exporters.TEMPLATES for each in sessions)
    assert sum(each.pending.octets for each in sessions) <= pending.OCTETS
    assert all(len(each.pending.by_number) <= pending.TEMPLATES for each in sessions)
    assert sum(1 for _ in decoder._accounts.streams()) <= accounting.STREAMS


def answered(decoder: CaptureDecoder) -> int:
    """How many flows of the victim are decoded now."""
    before = decoder.counts["flows"]
    decoder.feed(victim(1))
    return decoder.counts["flows"] - before


def twice(packets: Iterator[bytes]) -> Flood:
    return (packet for packet in packets for _ in range(2))


@pytest.mark.parametrize("flood", [forged_exporters, templates_of_their_own, templates_of_one, domains_of_one])
def test_who_was_there_before_stays(flood, monkeypatch):
    """A victim that was heard more than once; no part of the flood was."""
    small(monkeypatch)
    decoder = heard(iter([victim(1)]), 1)
    for packet, _ in zip(flood(), range(1000), strict=False):
        decoder.feed(packet)
    assert answered(decoder) == 4


def test_who_is_heard_now_stays_though_it_has_more_templates_than_others(monkeypatch):
    """Forged exporters that are heard twice each, with a template of ten fields; the victim has six of twenty."""
    small(monkeypatch)
    many = ipfix(*(template(400 + number, [(number, 4)] * 20) for number in range(6)))
    decoder = heard(iter([record(frame(many, VICTIM)), victim(1)]), 2)
    flows = []
    packets = twice(templates_of_their_own())
    for _ in range(20):
        for packet, _ in zip(packets, range(20), strict=False):
            decoder.feed(packet)
        flows.append(answered(decoder))
    assert flows == [4] * 20


@pytest.mark.parametrize("flood", [forged_exporters, templates_of_one])
def test_what_is_forgotten_is_told(flood, monkeypatch, decode):
    small(monkeypatch)
    packets = [packet for packet, _ in zip(flood(), range(300), strict=False)]
    done = decode(build.pcap(*packets))
    assert any("forg" in line for line in done.told)
    assert any("forg" in name for name in done.counts)


class Watched(OrderedDict):
    """Templates of a session, which count how often one of them is looked at."""

    looks = 0

    def items(self):
        for item in super().items():
            Watched.looks += 1
            yield item


def test_withdrawals_of_all_templates_without_end(monkeypatch):
    """What one octet costs does not depend on what others cost before."""
    decoder = heard(iter(()), 0)
    options = [template(300 + number, [(149, 4), (82, 4)], scopes=1) for number in range(1000)]
    packets = [record(frame(ipfix(*options[at : at + 50]), VICTIM)) for at in range(0, 1000, 50)]
    decoder.feed(b"".join(packets))
    (session,) = [session for _, session in decoder.exports.known().sessions() if len(session.layouts) >= 1000]
    monkeypatch.setattr(session, "layouts", Watched(session.layouts))
    all_of_the_other_kind = data(2, struct.pack("!HH", 2, 0) * 300)
    decoder.feed(record(frame(ipfix(all_of_the_other_kind), VICTIM)))
    assert Watched.looks <= 10_000


def test_what_waited_comes_within_bounds(decode):
    """A megabyte of records of one octet waits for its template: more than a message may bring is not shown."""
    waiting = [record(frame(ipfix(data(300, bytes(1400))))) for _ in range(500)]
    learn = record(frame(ipfix(template(300, [(4, 1)]))))
    done = decode(build.pcap(*waiting, learn, record(frame(netflow5(9)))))
    assert done.counts["flows"] == 65_536 // 1400 * 1400 + 1
    assert done.lines[-1]["source"] == "netflow5"
    assert any("more than 65536 records at once" in line for line in done.told)


def test_poisoned_templates(decode):
    """A forger who knows the address, but not the port or domain, does not change how the victim is read.

    One who knows them all cannot be told from the victim: the order of the capture decides.
    """
    poison = template(999, [(12, 4), (8, 4), (7, 2), (11, 2), (4, 1), (1, 4), (2, 4), (152, 8), (153, 8)])
    packets = [frame(ipfix(poison, domain=2), VICTIM), frame(ipfix(poison), VICTIM, 41_000)]
    packets += [frame(ipfix(poison, domain=1), "203.0.113.6"), frame(netflow9(b"\0\0" + poison[2:]), VICTIM)]
    done = decode(build.pcap(victim(0), *map(record, packets), victim(1)))
    addresses = [(line["saddr"], line["daddr"]) for line in done.lines if line["source"] == "ipfix"]
    assert addresses == [("198.51.100.0", "203.0.113.0"), ("198.51.100.1", "203.0.113.1")]


def test_limits_are_in_the_manual():
    manual = (TOP / "man" / "of-decode.1").read_text()
    for limit in ("10,000", "65,536", "4096", "16 MiB", "256", "10 minutes"):
        assert limit in manual


def test_limits_are_those_that_were_asked_for():
    """research/flow.md, end of section 5: README.md of this folder says where they differ."""
    assert announced.MAX_FIELDS == 10_000
    assert announced.MAX_RECORD == 65_535
    assert messages.MAX_RECORDS == 65_536
    assert (lists.MAX_DEPTH, lists.MAX_ELEMENTS) == (4, 4096)
    assert (exporters.TEMPLATES, exporters.SESSIONS) == (4096, 10_000)
    assert (pending.OCTETS, pending.TEMPLATES, pending.AGE_NS) == (16 << 20, 256, 600 * 10**9)

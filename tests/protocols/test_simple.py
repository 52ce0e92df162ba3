"""Records that render many at a time give the lines that they give one by one, whatever their template."""

import json
import struct

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as some

from overflowd_tools.protocols import simple
from overflowd_tools.protocols.exporters import Batch, Exporters
from overflowd_tools.protocols.netflow9 import How
from overflowd_tools.records import FlowWriter
from tests.protocols import corpora
from tests.protocols.set_builders import (
    FLOW,
    HERE,
    KEYS,
    SECOND,
    VARIABLE,
    data,
    decode_ipfix,
    decode_netflow9,
    ipfix,
    netflow9,
    options9,
    send,
    send9,
    template,
    template9,
)

NOW = SECOND * 1000
MANY, ONE = How(batches=True), How()


def members(line: bytes) -> dict:
    """The members of a line, none of which is there twice."""
    pairs = json.loads(line, object_pairs_hook=lambda pairs: (len(dict(pairs)) == len(pairs), dict(pairs)))
    return unpacked(pairs)


def unpacked(value):
    if isinstance(value, list):
        return [unpacked(one) for one in value]
    if not isinstance(value, tuple):
        return value
    right, pairs = value
    assert right, pairs
    return {name: unpacked(one) for name, one in pairs.items()}


def both_ways(message: bytes, *before: bytes, envelope: bool = True) -> tuple[list, list[dict]]:
    """The rows with batches and the lines of the last of some messages, which must be the same without batches."""
    lines = []
    for how in (MANY, ONE):
        exporters = Exporters()
        decode = decode_ipfix if message[1] == 10 else decode_netflow9
        for one in before:
            decode(one, exporters, HERE, how)
        rows = decode(message, exporters, HERE, how).rows
        lines.append([members(line) for line in FlowWriter(envelope=envelope).rows(rows)])
        if how is MANY:
            batched = rows
    assert lines[0] == lines[1]
    return batched, lines[0]


def in_batches(rows: list) -> bool:
    return bool(rows) and all(isinstance(row, Batch) for row in rows)


def records(fields, *, seed: bytes = bytes(range(1, 250)), count: int = 3) -> bytes:
    """Records of different octets, twice."""
    size = sum(field[1] for field in fields)
    return (seed * (size * count // len(seed) + 1))[: size * count] * 2


# --- what needs thought


UPTIMES = [(22, 4), (21, 4)]
LABELS = [(number, 3) for number in range(70, 76)]
NAT = [(225, 4), (226, 4), (227, 2), (228, 2), (230, 1)]
ASA = [(40001, 4), (40002, 4), (40003, 2), (40004, 2), (33002, 2), (323, 8), (40005, 1), (33000, 12)]


@pytest.mark.parametrize(
    "fields",
    [
        [*FLOW, (34, 4)],
        [*FLOW, (305, 4), (306, 4)],
        [*FLOW, (302, 4), (10, 4)],
        [*FLOW, (48, 1), (49, 1), (50, 4)],
        [*FLOW, *LABELS],
        [*FLOW, (70, 3), (9, 1), (71, 3)],
        [*FLOW, (71, 3), (70, 3)],
        [*FLOW, (32, 2)],
        [*FLOW, (139, 2)],
        [*FLOW, (32, 2), (139, 2)],
        [*FLOW, (225, 4), (4, 1), (227, 2), (225, 4)],
        [*FLOW, (32, 4)],
        [*FLOW, (95, 4)],
        [*FLOW, (95, 0)],
        [*FLOW, (27, 16), (28, 16), (62, 16), (15, 4)],
        [*FLOW, (60, 1), (27, 16), (28, 16)],
        [(27, 16), (28, 16), (7, 2), (180, 2), (11, 2), (181, 2), (1, 4), (2, 4), (152, 8), (153, 8)],
        [*FLOW, (58, 2), (243, 2)],
        [*FLOW, (58, 2), (16, 4), (243, 2)],
        [*FLOW, (10, 4), (252, 4), (14, 4), (253, 4)],
        [*FLOW, *NAT],
        [*KEYS, (225, 4), (226, 4), (148, 4), (227, 2), (228, 2), (323, 8)],
        [*KEYS, (85, 8), (86, 8), (152, 8), (153, 8)],
        [*KEYS, (352, 8), (2, 4), (152, 8), (153, 8)],
        [*KEYS, (352, 8), (85, 8), (152, 8), (153, 8)],
        [*FLOW, (85, 8), (86, 8), (352, 8)],
        [*KEYS, (1, 3), (2, 7), (152, 8), (153, 8)],
        [*KEYS, (1, 9), (2, 16), (152, 8), (153, 8)],
        [(8, 5), (12, 3), (7, 9), (4, 9), (1, 4), (2, 4), (152, 8), (153, 8)],
        [*FLOW, (82, 16), (83, 0), (56, 5), (89, 4)],
        [*FLOW, (497, 32)],
        [*FLOW, (497, 33), (492, 1), (276, 1), (320, 8), (321, 4)],
        [*FLOW, (210, 3), (210, 3), (5000, 3, 77)],
        [*FLOW, (5000, 3, 77), (5001, 0, 77)],
        KEYS,
        [(233, 1), (82, 8)],
        [(210, 4), (4, 1)],
        [(210, 4)],
    ],
)
def test_templates_that_need_thought(fields):
    content = records(fields)
    for few in (content, bytes(len(content)), content + b"\0"):
        sets = template(256, fields), data(256, few)
        batched, lines = both_ways(ipfix(*sets))
        assert in_batches(batched)
        assert len(lines) == 6


@pytest.mark.parametrize("fields", [[*KEYS, *ASA], [*FLOW, (95, 9), (33000, 12)]])
def test_templates_of_netflow9(fields):
    batched, _ = both_ways(netflow9(template9(256, fields), data(256, records(fields))))
    assert in_batches(batched)


@pytest.mark.parametrize(
    "fields",
    [
        [*FLOW, (82, VARIABLE)],
        [*FLOW, (315, 40)],
        [*FLOW, (1, 4, 29305)],
        [*FLOW, (231, 4), (232, 4)],
        [*FLOW, (22, 8)],
        [*KEYS, (150, 8), (151, 8)],
        [*FLOW, (291, 9)],
        [*FLOW, (5000, 3, 77), (5000, 3, 77)],
        [*FLOW, (176, 1), (32, 2), (177, 1)],
    ],
)
def test_templates_whose_records_are_looked_at_one_by_one(fields):
    batched, lines = both_ways(ipfix(template(256, fields), data(256, b"\1" * 200)))
    assert lines
    assert not any(isinstance(row, Batch) for row in batched)


# --- times


@pytest.mark.parametrize(
    "elements",
    [
        [(152, 8), (153, 8)],
        [(150, 4), (151, 4)],
        [(150, 3), (151, 6)],
        [(154, 8), (155, 8)],
        [(156, 8), (157, 8)],
        [(156, 4), (157, 4)],
        [(158, 4), (159, 4)],
        [(22, 4), (21, 4)],
        [(22, 4), (21, 4), (22, 4)],
        [(22, 2), (21, 2)],
        [(22, 4), (21, 4), (152, 8), (153, 8)],
        [(22, 4), (153, 8)],
        [(22, 4)],
        [(21, 4), (161, 4)],
        [(152, 8), (161, 4)],
        [(152, 8), (152, 8), (153, 8)],
        [(152, 9), (152, 8), (153, 8)],
        [(323, 8)],
        [(324, 8), (21, 4)],
        [(258, 8)],
        [(162, 4), (160, 8)],
        [(22, 4), (21, 4), (160, 8)],
        [],
    ],
)
@pytest.mark.parametrize("boot", [None, NOW - 100_000])
def test_times(elements, boot):
    fields = [(8, 4), *elements, (2, 4)]
    told = [(144, 4), (160, 8)]
    options = ipfix(template(300, told, scopes=1), data(300, struct.pack("!IQ", 1, boot or 0))) if boot else ipfix()
    options_of_netflow9 = netflow9(options9(300, [(1, 4)], [(160, 8)]), data(300, struct.pack("!IQ", 1, boot or 0)))
    now = struct.pack("!II", 1000, 2000) + struct.pack("!QQ", NOW, NOW - 5) * 3
    for content in (records(fields), records(fields, seed=now), bytes(200)):
        batched, _ = both_ways(ipfix(template(256, fields), data(256, content)), options)
        assert in_batches(batched)
        of_netflow9 = netflow9(template9(256, fields), data(256, content), sequence=1)
        batched, _ = both_ways(of_netflow9, options_of_netflow9 if boot else netflow9())
        assert in_batches(batched)


def test_the_boot_of_records_and_of_options():
    fields = [(8, 4), *UPTIMES, (160, 8), (2, 4)]
    content = b"".join(struct.pack("!IIIQI", 1, 5000, 6000, NOW - boot, 2) for boot in (9000, 9000, 8000, 2**40))
    batched, lines = both_ways(ipfix(template(256, fields), data(256, content)))
    assert [row.flows.announced for row in batched] == [2, 1, 1]
    assert [line["start_ms"] - NOW for line in lines[:3]] == [-4000, -4000, -3000]
    assert {line["time_src"] for line in lines} == {"init160"}
    assert not any("uptime_ms" in line for line in lines)


# --- sampling rates


def test_rates_in_records():
    fields = [*FLOW, (34, 4)]
    rates = (1, 1, 100, 0, 100)
    size = sum(field[1] for field in FLOW)
    content = b"".join(bytes(size) + struct.pack("!I", rate) for rate in rates)
    batched, lines = both_ways(ipfix(template(256, fields), data(256, content)))
    assert [row.flows.announced for row in batched] == [2, 1, 1, 1]
    assert [line.get("sampling_rate", 1) for line in lines] == [1, 1, 100, 1, 100]


@pytest.mark.parametrize(
    ("element", "told"), [(302, [(302, 4), (34, 4)]), (48, [(48, 4), (34, 4)]), (10, [(10, 4), (34, 4)])]
)
def test_rates_of_samplers_and_interfaces(element, told):
    fields = [*FLOW, (element, 4)]
    size = sum(field[1] for field in FLOW)
    rates = struct.pack("!IIII", 5, 50, 6, 60)
    content = b"".join(bytes(size) + struct.pack("!I", number) for number in (5, 6, 6, 7, 5))
    options = ipfix(template(300, told, scopes=1), data(300, rates))
    batched, lines = both_ways(ipfix(template(256, fields), data(256, content), sequence=2), options)
    assert [row.flows.announced for row in batched] == [1, 2, 1, 1]
    assert [line.get("sampling_rate") for line in lines] == [50, 60, 60, None, 50]


def test_what_the_user_says_counts():
    fields = [*FLOW, (34, 4)]
    exporters = Exporters()
    send(exporters, template(256, fields))
    message = ipfix(data(256, records(fields)))
    rows = decode_ipfix(message, exporters, HERE, How(7, batches=True)).rows
    assert {row.flows.sampling_rate for row in rows} == {7}


# --- both versions of IP in one template


def test_each_record_is_of_one_version():
    fields = [*FLOW, (27, 16), (28, 16), (62, 16)]
    size = sum(field[1] for field in FLOW)
    version4 = bytes((192, 0, 2, 1)) + bytes(size - 4 + 48)
    version6 = bytes(size) + b"\x20\1" + bytes(46)
    content = version4 + version6 * 2 + version4 + bytes(size + 48)
    batched, lines = both_ways(ipfix(template(256, fields), data(256, content)))
    assert [row.flows.announced for row in batched] == [1, 2, 2]
    assert [line["saddr"] for line in lines] == ["192.0.2.1", "2001::", "2001::", "192.0.2.1", "0.0.0.0"]


# --- anything


ELEMENTS = some.sampled_from(
    [
        *range(1, 100),
        *range(128, 180),
        *range(180, 184),
        *(210, 225, 226, 227, 228, 230, 231, 233, 234, 252, 253, 256, 258, 276, 281, 298, 302, 304, 320, 321),
        *range(304, 312),
        *(322, 323, 324, 325, 352, 361, 371, 408, 433, 497, 500),
    ]
)
LENGTHS = some.sampled_from([1, 2, 4, 8]) | some.integers(0, 17)
NATURAL = {8: 4, 12: 4, 27: 16, 28: 16, **dict.fromkeys(range(70, 80), 3), **dict.fromkeys(range(150, 158), 8)}
NATURAL |= {150: 4, 151: 4, 22: 4, 21: 4, 1: 8, 2: 8, 4: 1, 7: 2, 11: 2, 32: 2, 139: 2, 34: 4, 302: 4, 160: 8}


@some.composite
def specifiers(draw):
    element = draw(ELEMENTS | some.sampled_from(sorted(NATURAL)))
    return element, draw(LENGTHS) if draw(some.integers(0, 3)) == 0 else NATURAL.get(element, draw(LENGTHS))


templates = some.lists(specifiers(), min_size=1, max_size=14).map(lambda fields: [*fields, (136, 1)])


@given(templates, some.binary(min_size=1, max_size=60), some.booleans(), some.sampled_from([None, "rate", "boot"]))
@settings(max_examples=120, deadline=None)
@example([(8, 4), (27, 16), (22, 4), (34, 4), (136, 1)], b"\1\0", True, "boot")
def test_any_template(fields, octets, of_netflow9, told):
    content = records(fields, seed=octets + bytes(3))
    content += records(fields, seed=struct.pack("!Q", NOW) * 3 + octets)
    told_fields = {"rate": [(10, 2), (34, 4)], "boot": [(144, 2), (160, 4)]}.get(told, [(144, 2), (34, 4)])
    option = data(300, struct.pack("!HI", 1, 77)) if told else b""
    if of_netflow9:
        before = netflow9(options9(300, told_fields[:1], told_fields[1:]), option)
        both_ways(netflow9(template9(256, fields), data(256, content), sequence=1), before)
    else:
        before = ipfix(template(300, told_fields, scopes=1), option)
        both_ways(ipfix(template(256, fields), data(256, content), sequence=bool(option)), before)


@pytest.mark.parametrize("row", corpora.manifest(), ids=lambda row: row["file"])
def test_captures_of_real_exporters(row):
    path = corpora.ROOT / row["file"]
    writers = FlowWriter(), FlowWriter()
    messages = (corpora.messages(path, Exporters(), how) for how in (MANY, ONE))
    for pair in zip(*messages, strict=True):
        many, one = (writer.rows(message.rows) for writer, message in zip(writers, pair, strict=True))
        assert list(map(members, many)) == list(map(members, one))


def test_a_renderer_is_made_when_there_are_enough_records(monkeypatch):
    monkeypatch.setattr(simple, "PATIENCE", 24)
    exporters = Exporters()
    send(exporters, template(256, FLOW))
    batched = []
    for sequence, count in ((0, 20), (20, 3), (23, 1), (24, 1)):
        message = ipfix(data(256, b"\1" * (37 * count)), sequence=sequence)
        batched.append(in_batches(decode_ipfix(message, exporters, HERE, MANY).rows))
    assert batched == [False, False, True, True]
    send(exporters, template(257, [*FLOW, (4, 1)]), sequence=25)
    message = ipfix(data(257, records([*FLOW, (4, 1)], count=12)), sequence=25)
    assert in_batches(decode_ipfix(message, exporters, HERE, MANY).rows)


def test_templates_are_made_when_records_come():
    exporters = Exporters()
    send9(exporters, template9(256, FLOW))
    [(_, session)] = exporters.sessions()
    made = session.layouts[256].simple
    assert made is not None
    assert not made._templates
    send9(exporters, data(256, records(FLOW)), sequence=1)
    assert not made._templates
    decode_netflow9(netflow9(data(256, records(FLOW)), sequence=2), exporters, HERE, MANY)
    assert len(made._templates) == 1

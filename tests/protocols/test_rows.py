"""Rows of options and templates, and which data sets are flows that come in batches."""

import json
import struct

import pytest

from overflowd_tools.protocols.elements import REVERSE
from overflowd_tools.protocols.exporters import Batch, Exporters
from overflowd_tools.protocols.netflow9 import How
from overflowd_tools.records import FlowWriter
from tests.protocols.set_builders import (
    FLOW,
    HERE,
    SECOND,
    VARIABLE,
    data,
    decode_ipfix,
    decode_netflow9,
    flow,
    ipfix,
    netflow9,
    options9,
    send,
    send9,
    shown,
    template,
    template9,
    variable,
)


def option(fields, octets: bytes, *, scopes: int) -> dict:
    [members] = shown(template(256, fields, scopes=scopes), data(256, octets))
    return members


def test_options():
    fields = [(149, 4), (10, 2), (82, VARIABLE), (34, 2), (9, 2, 77)]
    octets = struct.pack("!IH", 1, 5) + variable(b"eth0") + b"\0\x40\1\2"
    assert option(fields, octets, scopes=2) == {
        "template": 256,
        "scope": {"observationDomainId": 1, "ingressInterface": 5},
        "option": {"interfaceName": "eth0", "samplingInterval": 64, "77/9": "0102"},
    }


def test_an_option_that_comes_again_is_not_lost():
    members = option([(10, 1), (10, 1), (82, 1), (82, 1)], b"\1\2ab", scopes=2)
    assert members["scope"] == {"ingressInterface": 1, "ingressInterface#1": 2}
    assert members["option"] == {"interfaceName": "a", "interfaceName#3": "b"}


def test_options_of_netflow_9():
    """Scopes have types of their own: 3 is a line card there, and a number of flows elsewhere."""
    told = options9(257, [(1, 4), (3, 2), (9, 0)], [(41, 2)])
    [row] = send9(Exporters(), told, data(257, struct.pack("!IHH", 7, 5, 300))).rows
    assert row.members["scope"] == {"scope:system": "00000007", "scope:lineCard": 5, "scope/9": ""}
    assert row.members["option"] == {"exportedMessageTotalCount": 300}


def test_an_option_of_no_octets_is_not_shown():
    members = option([(10, 1), (14, 0), (34, 0), (82, 0)], b"\1", scopes=2)
    assert (members["scope"], members["option"]) == ({"ingressInterface": 1}, {"interfaceName": ""})


def test_options_with_lists():
    octets = b"\1" + variable(b"\3\0\x04\0\1\6\x11")
    members = option([(149, 1), (291, VARIABLE)], octets, scopes=1)
    expected = {"semantic": "allOf", "element": "protocolIdentifier", "values": [6, 17]}
    assert members["option"] == {"basicList": expected}


def test_lines_of_templates():
    exporters = Exporters()
    options = template(257, [(149, 4), (82, VARIABLE), (34, 4)], scopes=1)
    message = decode_ipfix(
        ipfix(template(256, [(8, 4), (82, VARIABLE), (5, 2, 77)]), options), exporters, HERE, How(templates=True)
    )
    assert [row.members for row in message.rows] == [
        {
            "template": 256,
            "event": "learned",
            "fields": [
                {"name": "sourceIPv4Address", "length": 4},
                {"name": "interfaceName"},
                {"name": "77/5", "length": 2},
            ],
        },
        {
            "template": 257,
            "event": "learned",
            "scope": [{"name": "observationDomainId", "length": 4}],
            "fields": [{"name": "interfaceName"}, {"name": "samplingInterval", "length": 4}],
        },
    ]


def test_the_boot_in_the_record_counts_for_both_directions():
    fields = [(22, 4), (21, 4), (22, 4, REVERSE), (21, 4, REVERSE), (160, 8)]
    octets = struct.pack("!IIIIQ", 1, 2, 3, 4, SECOND * 1000 - 5000)
    [members] = shown(template(256, fields), data(256, octets))
    assert (members["start_ms"], members["end_ms"]) == (SECOND * 1000 - 4999, SECOND * 1000 - 4998)
    assert (members["r_start_ms"], members["r_end_ms"]) == (SECOND * 1000 - 4997, SECOND * 1000 - 4996)
    assert members["ie"] == {"systemInitTimeMilliseconds": SECOND * 1000 - 5000}


UPTIMES = [(8, 4), (12, 4), (1, 4), (2, 4), (22, 4), (21, 4)]
UPTIME_RECORD = flow()[:8] + struct.pack("!IIII", 120, 2, 999_000, 999_500)


def of_ipfix(*sets: bytes, exporters: Exporters | None = None, **how) -> list:
    return decode_ipfix(ipfix(*sets), exporters or Exporters(), HERE, How(**{"batches": True, **how})).rows


def lines(rows: list) -> list[dict]:
    return [json.loads(line) for line in FlowWriter().rows(rows)]


@pytest.mark.parametrize(
    "fields",
    [
        FLOW,
        [*FLOW, (210, 3)],
        [*FLOW, (10, 4), (14, 2), (56, 6), (16, 3)],
        [*FLOW, (5000, 6, 77), (82, 5)],
        [(27, 16), (28, 16), (1, 8), (2, 8), (150, 4), (151, 4)],
    ],
)
def test_templates_whose_flows_come_in_batches(fields):
    content = bytes(range(1, 100)) * 4
    size = sum(field[1] for field in fields)
    sets = template(256, fields), data(256, content[: 2 * size + 1])
    [batch] = of_ipfix(*sets)
    assert isinstance(batch, Batch)
    assert (batch.flows.records, batch.flows.announced) == (content[: 2 * size], 2)
    assert lines([batch]) == lines(of_ipfix(*sets, batches=False))


@pytest.mark.parametrize("fields", [[*FLOW, (82, VARIABLE)], [*FLOW, (1, 4, REVERSE)], [*FLOW, (315, 40)]])
def test_templates_whose_records_are_looked_at_one_by_one(fields):
    rows = of_ipfix(template(256, fields), data(256, b"\1" * 200))
    assert rows
    assert not any(isinstance(row, Batch) for row in rows)


@pytest.mark.parametrize(
    "fields",
    [
        [*FLOW, (58, 2), (243, 2)],
        [*FLOW, (27, 16)],
        [*FLOW, (10, 9)],
        FLOW[:-1],
        [*FLOW, (34, 4)],
        [*FLOW, (302, 1)],
        [*FLOW, (225, 4)],
        [*FLOW, (32, 2)],
        [*FLOW, (70, 3), (71, 3), (95, 4)],
        [(8, 4), (233, 1)],
    ],
)
@pytest.mark.parametrize("user", [None, 50])
def test_lines_are_the_same_however_flows_come(fields, user):
    size = sum(field[1] for field in fields)
    content = b"\1" * size + bytes(size) + bytes(range(1, size + 1)) * 2 + b"\6" * size
    known = template(257, [(10, 4), (34, 4)], scopes=1), data(257, struct.pack("!II", 0x01010101, 64))
    for options in ((), known):
        sets = template(256, fields), *options, data(256, content)
        found = [lines(of_ipfix(*sets, rate=user, batches=batches)) for batches in (False, True)]
        assert found[0] == found[1]
        assert sum(line["type"] == "flow" for line in found[0]) == 5


def test_sys_uptime_in_batches():
    sets = data(256, UPTIME_RECORD)
    [batch] = decode_netflow9(netflow9(template9(256, UPTIMES), sets), Exporters(), HERE, How(batches=True)).rows
    assert batch.flows.uptime_ms == 1_000_000
    [line] = lines([batch])
    assert (line["start_ms"], line["end_ms"]) == (SECOND * 1000 - 1000, SECOND * 1000 - 500)
    assert "time_src" not in line
    # IPFIX has no clock for it but that of options.
    [line] = lines(of_ipfix(template(256, UPTIMES), sets))
    assert (line["stime"], line["start_ms"], line["time_src"]) == (999_000, SECOND * 1000, "export")
    told = template(257, [(149, 4), (160, 8)], scopes=1), data(257, struct.pack("!IQ", 1, SECOND * 1000 - 10**6))
    [_, line] = lines(of_ipfix(template(256, UPTIMES), sets, *told))
    assert (line["start_ms"], line["time_src"]) == (SECOND * 1000 - 1000, "init160")


@pytest.mark.parametrize(
    ("told", "rate"),
    [
        ([(149, 4), (34, 4)], 64),
        ([(145, 4), (34, 4)], 64),
        ([(302, 4), (34, 4)], 64),
        # Of an interface that no record names.
        ([(10, 4), (34, 4)], None),
        # Not the rate, but a clock.
        ([(149, 4), (21, 4)], None),
    ],
)
def test_rates_of_batches(told, rate):
    exporters = Exporters()
    send(exporters, template(256, FLOW), template(257, told, scopes=1), data(257, struct.pack("!II", 256, 64)))
    for user in (None, 7):
        [line] = lines(of_ipfix(data(256, flow()), exporters=exporters, rate=user))
        assert line.get("sampling_rate") == (user or rate)

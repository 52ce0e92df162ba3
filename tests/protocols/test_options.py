"""Sampling rates: every encoding of one, what it is about, and which of several decides."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as some

from overflowd_tools.protocols.exporters import Exporters
from overflowd_tools.protocols.netflow9 import How
from overflowd_tools.protocols.options import Options, rate
from tests.protocols.set_builders import (
    HERE,
    data,
    decode_ipfix,
    ipfix,
    options9,
    send,
    send9,
    template,
    template9,
)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, None),
        ({34: 100}, 100),
        ({34: 1}, 1),
        ({34: 0}, None),
        ({50: 1000}, 1000),
        ({34: 7, 50: 1000}, 7),
        ({305: 1, 306: 99}, 100),
        ({305: 10, 306: 0}, 1),
        ({305: 2, 306: 3}, 2.5),
        ({305: 0, 306: 9}, None),
        ({307: 10, 308: 90}, 10),
        ({309: 1, 310: 256}, 256),
        ({309: 2, 310: 5}, 2.5),
        ({309: 0, 310: 5}, None),
        ({309: 5, 310: 0}, None),
        ({310: 5}, None),
        ({311: 0.25}, 4),
        ({311: 0}, None),
        ({311: 1.5}, None),
        ({311: float("nan")}, None),
        # Alone, 305 is one of so many to some; 1 says nothing.
        ({305: 1000}, 1000),
        ({305: 1}, None),
        # As Cisco's IOS XR has it: 305 without 306 beside 309 and 310, where 305 alone would say 1.
        ({305: 1, 309: 1, 310: 256}, 256),
        ({305: 1, 34: 512}, 512),
        # Absurd ones.
        ({34: 1 << 60}, None),
        ({309: 10, 310: 5}, None),
        ({311: 1e-300}, None),
        ({305: 1e-300, 306: 1e300}, None),
        # A selection of flows says nothing about packets (RFC 7014); one of packets does.
        ({304: 9, 34: 10}, None),
        ({304: 1, 34: 10}, 10),
    ],
)
def test_rates(values, expected):
    told = rate(values)
    assert told == expected
    assert type(told) is type(expected)


numbers = some.integers(0, 2**64 - 1) | some.floats() | some.integers(0, 300)


@given(some.dictionaries(some.sampled_from([34, 50, 304, *range(305, 312)]), numbers))
def test_no_rate_is_absurd(values):
    told = rate(values)
    assert told is None or 1 <= told <= 1 << 53


def learned(*records: tuple[dict, set]) -> Options:
    known = Options()
    for values, scopes in records:
        known.learn(values, frozenset(scopes))
    return known


SAMPLER, INTERFACE = ({302: 5, 34: 10}, {302}), ({10: 3, 34: 20}, {10})
TEMPLATE, DOMAIN = ({145: 256, 34: 30}, {145}), ({149: 1, 34: 40}, {149})


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({302: 5, 10: 3}, 10),
        ({48: 5}, 10),
        ({10: 3}, 20),
        ({14: 3}, 20),
        ({10: 9, 14: 3}, 20),
        ({302: 9, 10: 3}, 20),
        ({10: 9}, 30),
        ({}, 30),
    ],
)
def test_which_one_decides(values, expected, order):
    known = learned(*[SAMPLER, INTERFACE, TEMPLATE, DOMAIN][::order])
    assert known.rate(values, 256) == expected
    assert known.by_interface


def test_the_domain_comes_before_a_lone_sampler():
    assert learned(SAMPLER, DOMAIN).rate({}, 256) == 40
    assert learned(SAMPLER).rate({}, 256) == 10
    assert learned(SAMPLER, ({302: 6, 34: 10}, {302})).rate({}, 256) == 10
    assert learned(SAMPLER, ({302: 6, 34: 11}, {302})).rate({}, 256) is None
    assert learned(SAMPLER, ({302: 6, 34: 11}, {302})).rate({302: 6}, 256) == 11
    assert Options().rate({302: 6}, 256) is None
    assert not learned(SAMPLER, DOMAIN).by_interface


def test_what_a_rate_is_about():
    # 302 is preferred to 48, and needs not be a scope; interfaces and templates do.
    assert list(learned(({48: 1, 302: 2, 34: 9}, {149})).rates()) == [("sampler", 2, 9)]
    assert list(learned(({10: 1, 34: 9}, {149})).rates()) == [("domain", 0, 9)]
    assert list(learned(({145: 1, 34: 9}, {149})).rates()) == [("domain", 0, 9)]
    assert list(learned(({10: 1, 14: 2, 34: 9}, {10, 14})).rates()) == [("interface", 1, 9), ("interface", 2, 9)]
    assert list(learned(({302: 1, 10: 2, 145: 3, 34: 9}, {10, 145})).rates()) == [
        ("sampler", 1, 9),
        ("interface", 2, 9),
    ]
    assert list(learned(({302: 1}, {302})).rates()) == []


def test_a_rate_that_changes():
    known = learned(SAMPLER, ({302: 5, 34: 99}, {302}))
    assert (known.rate({302: 5}, 256), known.rate({}, 256), len(known)) == (99, 99, 1)
    known = learned(SAMPLER, ({302: 6, 34: 10}, {302}), ({302: 5, 34: 99}, {302}))
    assert known.rate({}, 256) is None


def test_when_the_exporter_began():
    known = learned(({149: 1, 160: 77}, {149}))
    assert (known.boot_ms, len(known)) == (77, 0)
    known.clear()
    assert known.boot_ms is None


def test_what_is_known_from_elsewhere_gives_way():
    known = learned(SAMPLER, ({160: 1}, set()))
    known.complete([("sampler", 5, 999), ("interface", 3, 20)], 2)
    assert (known.rate({302: 5}, 0), known.rate({10: 3}, 0), known.boot_ms) == (10, 20, 1)
    known = Options()
    known.restored_s = 5
    known.complete([], 2)
    assert (known.boot_ms, known.restored_s) == (2, 5)
    known.learn({}, frozenset())
    assert known.restored_s is None


def test_bounds():
    known = Options()
    for number in range(5000):
        known.learn({302: number, 34: number + 2}, frozenset({302}))
        known.learn({10: number, 34: 7}, frozenset({10}))
    assert len(known) == 4096
    assert known.rate({302: 0}, 0) is None
    assert known.rate({302: 4999}, 0) == 5001
    known.clear()
    assert len(known) == 0
    assert not known.by_interface
    assert known.rate({}, 0) is None


def test_interfaces_that_are_forgotten():
    known = learned(INTERFACE)
    for number in range(4096):
        known.learn({302: number, 34: 2}, frozenset({302}))
    assert not known.by_interface


# In messages

FLOW = [(8, 4), (2, 4), (1, 4), (152, 8), (153, 8)]
RECORD = b"\xc0\0\2\7" + bytes(7) + b"\1" + bytes(16)


def rates_of(message) -> list:
    return [row.members.get("sampling_rate") for row in message.rows if row.type == "flow"]


def test_options_after_the_flows_of_their_message():
    """akvorado#89: routers send both in one message, the flows first."""
    options = template(257, [(149, 4), (34, 4)], scopes=1) + data(257, struct.pack("!II", 1, 64))
    exporters = Exporters()
    assert rates_of(send(exporters, template(256, FLOW), data(256, RECORD), options)) == [64]
    assert rates_of(send(exporters, data(256, RECORD))) == [64]
    assert rates_of(send(exporters, template(256, FLOW), data(256, RECORD), domain=7)) == [None]
    assert rates_of(send(exporters, template(256, FLOW), data(256, RECORD), source=(b"\xc0\0\2\x63", 4739, 0))) == [
        None
    ]


def test_an_exporter_whose_port_changes():
    exporters = Exporters()
    send(exporters, template(257, [(149, 4), (34, 4)], scopes=1), data(257, struct.pack("!II", 1, 64)))
    again = send(exporters, template(256, FLOW), data(256, RECORD), source=(HERE[0], 9999, 0))
    assert rates_of(again) == [64]


@pytest.mark.parametrize("batches", [False, True])
def test_precedence_in_messages(batches):
    """The user, the record, its sampler, its interface, the template, the domain."""
    fields = [*FLOW, (302, 4), (10, 4)]
    samplers = template(257, [(302, 4), (34, 4)], scopes=1) + data(257, struct.pack("!II", 5, 10))
    interfaces = template(258, [(10, 4), (34, 4)], scopes=1) + data(258, struct.pack("!II", 3, 20))
    domains = template(259, [(149, 4), (34, 4)], scopes=1) + data(259, struct.pack("!II", 1, 40))
    own = template(260, [*fields, (34, 4)])
    known = [template(256, fields), samplers, interfaces, domains, own]

    def rate_of(record: bytes, number: int = 256, user: float | None = None) -> float | None:
        exporters = Exporters()
        message = decode_ipfix(ipfix(*known, data(number, record)), exporters, HERE, How(user, batches=batches))
        [flow] = [row for row in message.rows if row.type == "flow"]
        return flow.flows.sampling_rate if hasattr(flow, "flows") else flow.members.get("sampling_rate")

    assert rate_of(RECORD + struct.pack("!III", 5, 3, 2), 260, 999) == 999
    assert rate_of(RECORD + struct.pack("!III", 5, 3, 2), 260) == 2
    assert rate_of(RECORD + struct.pack("!III", 5, 3, 0), 260) == 10
    assert rate_of(RECORD + struct.pack("!II", 5, 3)) == 10
    assert rate_of(RECORD + struct.pack("!II", 6, 3)) == 20
    assert rate_of(RECORD + struct.pack("!II", 6, 4)) == 40


def test_the_rate_1_is_not_shown():
    options = template(257, [(149, 4), (34, 4)], scopes=1) + data(257, struct.pack("!II", 1, 1))
    assert rates_of(send(Exporters(), template(256, FLOW), data(256, RECORD), options)) == [None]


@pytest.mark.parametrize(
    ("scope", "number", "records"),
    [
        ((1, 4), 1, [64, 64]),
        ((2, 4), 3, [64, None]),
        ((2, 2), 3, [64, None]),
        ((5, 2), 256, [64, 64]),
        ((5, 2), 300, [None, None]),
        ((1, 0), 0, [64, 64]),
    ],
)
def test_scopes_of_netflow_9(scope, number, records):
    """System, interface and template; scopes of no octets are what Juniper sends."""
    fields = [(8, 4), (10, 4), (2, 4)]
    told = options9(257, [scope], [(34, 4)])
    options = number.to_bytes(scope[1]) + struct.pack("!I", 64)
    flows = b"".join(b"\xc0\0\2\7" + struct.pack("!II", interface, 1) for interface in (3, 4))
    message = send9(Exporters(), template9(256, fields), data(256, flows), told, data(257, options))
    assert rates_of(message) == records


def test_samplers_of_netflow_9():
    """FLOW_SAMPLER_ID, of one octet in the record and of two in the option."""
    told = options9(257, [(1, 4)], [(48, 2), (49, 1), (50, 4)])
    options = data(257, struct.pack("!IHBI", 0, 9, 2, 500) + struct.pack("!IHBI", 0, 8, 2, 7))
    flows = data(256, b"\xc0\0\2\7\x09" + b"\xc0\0\2\7\x08" + b"\xc0\0\2\7\x01")
    message = send9(Exporters(), template9(256, [(8, 4), (48, 1)]), flows, told, options)
    assert rates_of(message) == [500, 7, None]

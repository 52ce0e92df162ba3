"""Any bytes give lines, problems or a DecodeError, of a size in keeping with what came in."""

from collections.abc import Iterable

import pytest

from overflowd_tools.errors import DecodeError
from overflowd_tools.protocols import sflow
from overflowd_tools.protocols.headers import decode_header
from overflowd_tools.protocols.lines import WRITTEN, Kind, Line
from overflowd_tools.protocols.sflow import decode_sflow
from tests.protocols import sflow_builders as build

TYPES = {"flow", "counter", "drop"}
SIZES = {Kind.ADDRESS: (4, 16), Kind.MAC: (6,)}
PYTHON = {Kind.INTEGER: int, Kind.TEXT: str, Kind.HEX: bytes, Kind.JSON: dict | list | bool}


def check_json(value: object, depth: int = 0) -> None:
    assert depth < 30
    if isinstance(value, dict):
        for name, member in value.items():
            assert type(name) is str
            check_json(member, depth + 1)
    elif isinstance(value, list):
        for member in value:
            check_json(member, depth + 1)
    else:
        assert type(value) in {int, float, str, bool}


def check_line(line: Line) -> None:
    assert line.type in TYPES
    assert len(set(line.shape.names)) == len(line.shape.names)
    for kind, value in zip(line.shape.kinds, line.values, strict=True):
        if kind in SIZES:
            assert type(value) is bytes
            assert len(value) in SIZES[kind]
        else:
            assert isinstance(value, PYTHON[kind])
        if kind is Kind.JSON:
            check_json(value)


def one_input(data: bytes) -> None:
    for protocol in range(15):
        decode_header(protocol, data)
    try:
        decoded = decode_sflow(data)
    except DecodeError:
        return
    for line in decoded.lines:
        if line.shape is not WRITTEN:
            check_line(line)
    assert all(problem.isprintable() for problem in decoded.problems)
    assert len(decoded.problems) <= len(data)
    assert sum(len(str(line.values)) for line in decoded.lines) <= 60 * len(data) + 1000
    texts = [text for line in decoded.lines if line.shape is WRITTEN for text in line.values[0]]
    assert sum(map(len, texts)) <= 20 * len(data)
    quick = list(build.unpacked(decoded.lines))
    quick_without = list(build.unpacked(decode_sflow(data, headers=False).lines))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sflow, "common_samples", lambda *_, **__: None)
        careful = decode_sflow(data)
        assert quick == list(build.unpacked(careful.lines))
        assert quick_without == list(build.unpacked(decode_sflow(data, headers=False).lines))
    assert decoded._replace(lines=[]) == careful._replace(lines=[])
    wanted = list(build.unpacked(line for line in decoded.lines if line.type != "counter"))
    fewer = decode_sflow(data, counters=False).lines
    assert list(build.unpacked(line for line in fewer if line.type != "counter")) == wanted


def seeds() -> Iterable[bytes]:
    yield build.WHOLE
    common = build.flow(build.raw(build.PACKET), build.switch()), build.flow(build.switch(), build.raw(build.TAGGED))
    yield build.datagram5(*common, build.expanded_flow(build.raw(build.V6), build.router()))
    yield build.datagram4(*build.OLD_SAMPLES)
    yield build.datagram4(*build.OLD_SAMPLES, version=2)
    inner = build.ethernet(build.ipv4(build.gre(build.ipv6(build.tcp(), 6), 0x86DD), 47), tags=[(0x8100, 5)])
    tunnel = build.ipv4(build.udp(build.vxlan(inner), dport=4789))
    quoting = build.ipv4(build.icmp(3, 1, build.ipv4(build.udp())), 1)
    labelled = build.ethernet(build.labels(5, 6) + quoting, 0x8847)
    yield build.datagram5(build.flow(build.raw(build.ethernet(tunnel))), build.flow(build.raw(labelled)))
    yield build.datagram5(build.flow(build.raw(tunnel, protocol=11)), build.drop(build.raw(inner)))

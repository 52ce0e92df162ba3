"""Lines that come as values of a shape, or as text, to text."""

import json

import pytest

from overflowd_tools import shapes
from overflowd_tools.protocols.lines import WRITTEN, Decoded, Kind, Line, Shape
from overflowd_tools.shapes import ShapeWriter

EXPORTER = bytes([192, 0, 2, 1])
SHAPE = Shape(
    ("pcount", Kind.INTEGER),
    ("saddr", Kind.ADDRESS),
    ("daddr", Kind.ADDRESS),
    ("smac", Kind.MAC),
    ("header", Kind.HEX),
    ("url", Kind.TEXT),
    ("load", Kind.FLOAT),
    ("as_path", Kind.JSON),
)
VALUES = (1, bytes([10, 0, 0, 1]), bytes(15) + b"\1", bytes(6), b"\xab", 'a"\n', float("nan"), [1, [2]])
TEXT = (
    b'"saddr":"10.0.0.1","daddr":"::1","smac":"00:00:00:00:00:00","header":"ab","url":"a\\"\\n","load":null,'
    b'"as_path":[1,[2]]}\n'
)


def decoded(*lines, agent="192.0.2.9"):
    head = {"agent": agent} if agent else {}
    return Decoded("sflow5", 7, head, {"seq": 8, "uptime_ms": 9}, list(lines), [])


def texts(*lines, envelope=False, received_ns=0, agent="192.0.2.9"):
    told = decoded(*lines, agent=agent)
    return ShapeWriter(envelope=envelope).texts(told, told.lines, EXPORTER, 6343, received_ns)


ORIGIN = b'"source":"sflow5","exporter":"192.0.2.1","domain":7,"agent":"192.0.2.9",'


def test_every_kind_of_value():
    assert texts(Line("flow", SHAPE, VALUES)) == [b'{"type":"flow","pcount":1,' + ORIGIN + TEXT]


def test_lines_without_packets():
    (text,) = texts(Line("counter", Shape(("sample_seq", Kind.INTEGER)), (5,)))
    assert text == b'{"type":"counter",' + ORIGIN + b'"sample_seq":5}\n'


def test_lines_that_are_written_already():
    first, second = texts(Line("flow", WRITTEN, ([b',"tos":1}\n', b',"tos":2}\n'],)))
    assert first == b'{"type":"flow","pcount":1,' + ORIGIN + b'"tos":1}\n'
    assert second == first.replace(b'"tos":1', b'"tos":2')


@pytest.mark.parametrize(
    "line", [Line("flow", WRITTEN, ([b',"tos":1}\n'],)), Line("flow", Shape(("tos", Kind.INTEGER)), (1,))]
)
def test_what_the_datagram_says(line):
    def told(**how):
        (text,) = texts(line, **how)
        return json.loads(text)

    assert "start_ms" not in told()
    assert "agent" not in told(agent="")
    moment = {"start_ms": 1_700_000_000_123, "end_ms": 1_700_000_000_123, "time_src": "recv"}
    assert told(received_ns=1_700_000_000_123_999_999).items() >= moment.items()
    assert told(envelope=True).items() >= {"exporter_port": 6343, "seq": 8, "uptime_ms": 9}.items()


def test_formats_are_bounded(monkeypatch):
    monkeypatch.setattr(shapes, "FRAGMENTS_KEPT", 4)
    writer = ShapeWriter()
    for number in range(20):
        line = Line("flow", Shape(("pcount", Kind.INTEGER), (f"field{number}", Kind.INTEGER)), (2, number))
        (text,) = writer.texts(decoded(line), [line], EXPORTER, 6343, 0)
        assert json.loads(text)[f"field{number}"] == number
    assert len(writer._formats) <= 4

"""Lines as they come: reports of both versions, lines of other types, and what only looks like either."""

import json

import make_vectors
import pytest

from overflowd_tools.errors import RecordError
from overflowd_tools.reports.reader import read_line

LINE = (make_vectors.VECTORS / "every-field.report").read_bytes().rstrip(b"\n")
ORIGINAL = (make_vectors.VECTORS / "overflowd-2016.txt").read_bytes().splitlines()[0]


def test_both_versions():
    assert read_line(LINE).version == 2
    assert read_line(ORIGINAL).version == 1
    assert read_line(read_line(ORIGINAL).text).version == 1


@pytest.mark.parametrize(
    "line",
    [
        b'{"type":"flow","pcount":1.50}',
        b'{"type":"option"}',
        b'{"type":null}',
        b'{"$schema":"overflowd-sealed/1","to":"x"}',
        b'{"type":"x","type":"y"}',
        b' {"type" : "x", "a" : [[[[[[[null]]]]]]]}',
    ],
)
def test_lines_of_other_types(line):
    assert read_line(line) is None


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"x",
        b"[]",
        b"1",
        b"{}",
        b"{'",
        b'{"a":1}',
        b'{"$schema":null}',
        b"\xff",
        b'{"a":1',
        b"[" * 5000,
        b"{'a':" * 5000,
    ],
)
def test_lines_that_are_nothing(line):
    with pytest.raises(RecordError, match=r"^not a report"):
        read_line(line)


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "flow"},
        {"$schema": "overflowd-report/3"},
        {"$schema": "overflowd-report/"},
        {"$schema": "overflowd-sealed/1", "verified": {}},
        {"$schema": 2},
    ],
)
def test_nothing_that_passes_for_a_report_is_passed_on_unjudged(changes):
    members = {**json.loads(LINE), **changes}
    if changes == {"$schema": 2}:
        assert read_line(json.dumps(members).encode()) is None  # as much a report as any other object
        return
    with pytest.raises(RecordError, match=r"^not a report"):
        read_line(json.dumps(members).encode())


@pytest.mark.parametrize(
    "line", [b'{"type":"flow","verified":{}}', b'{"$schema":"x","verified":null}', b'{"verified":{}}']
)
def test_nothing_else_is_verified(line):
    with pytest.raises(RecordError, match=r"^not a report$"):
        read_line(line)


def test_version_2_in_python_text_is_no_report():
    """However little is wrong with it otherwise."""
    members = json.loads((make_vectors.VECTORS / "every-field.report").read_bytes())
    with pytest.raises(RecordError, match="not a report: not JSON"):
        read_line(repr(members).encode())

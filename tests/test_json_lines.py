"""Lines of JSON: what is written is one line and no more, and what is read is an object or refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overflowd_tools.errors import RecordError
from overflowd_tools.json_lines import FLOW_PREFIX, flow_line, json_text, parse_line


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("plain", b'"plain"'),
        ("\x00\n\x7f", rb'"\u0000\n\u007f"'),
        ("\x80\x9f\xa0", rb'"\u0080\u009f' + "\xa0".encode() + b'"'),
        ("\u2028\u2029\u2030", rb'"\u2028\u2029' + "\u2030".encode() + b'"'),
        ("caf\xe9", b'"caf\xc3\xa9"'),
    ],
)
def test_controls_and_ends_of_lines_are_escaped(text, written):
    assert json_text(text) == written
    assert json.loads(written) == text


@given(st.text())
def test_any_text_is_one_line_and_survives(text):
    written = json_text(text.encode("utf-8", "replace").decode())
    assert len(written.decode().splitlines()) == 1
    assert json.loads(written) == text.encode("utf-8", "replace").decode()


def test_flow_line_writes_members_in_their_order():
    assert flow_line({"type": "flow", "pcount": 2**64 - 1, "saddr": "::1"}) == (
        b'{"type":"flow","pcount":18446744073709551615,"saddr":"::1"}\n'
    )
    assert flow_line({"type": "flow", "pcount": 1}).startswith(FLOW_PREFIX)


def test_parse_line():
    assert parse_line(b'{"type":"flow","pcount":3} \n') == {"type": "flow", "pcount": 3}


@pytest.mark.parametrize(
    "line",
    [b"", b"{", b"[]", b"3", b"null", b'"flow"', b"\xff", b'{"a":NaN}', b'{"a":"\xff"}', b"{}{}", b"[" * 5000, b"\0"],
)
def test_lines_that_are_no_record(line):
    with pytest.raises(RecordError, match=r"^not (JSON|a JSON object)"):
        parse_line(line)


@given(st.binary(max_size=60))
def test_any_line_gives_an_object_or_our_error(line):
    try:
        record = parse_line(line)
    except RecordError:
        return
    assert isinstance(record, dict)

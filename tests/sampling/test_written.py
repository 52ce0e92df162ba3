"""Where and how the probability is written into a line, of which no other octet is changed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sampling_tools import Told, sampled, sampler

from overflowd_tools.sampling.law import PPT, composed


@pytest.mark.parametrize(
    ("line", "after"),
    [
        (b'{"type":"flow" } \t\r\n', b'{"type":"flow" ,"p_ppt":1000000000000} \t\r\n'),
        (b' {"type":"flow","a":{"b":[{}]}}\n', b' {"type":"flow","a":{"b":[{}]},"p_ppt":1000000000000}\n'),
        (b'{"p_ppt":500,"type":"flow"}\n', b'{"p_ppt":500,"type":"flow"}\n'),
        (b'{"a":{"p_ppt":7},"type":"flow"}\n', b'{"a":{"p_ppt":7},"type":"flow","p_ppt":1000000000000}\n'),
    ],
)
def test_where_the_probability_is_written(line, after):
    assert sampled(line) == [after]


@pytest.mark.parametrize(
    "form",
    [
        b'{"type":"flow","p_ppt":%d}\n',
        b'{"type":"flow","p_ppt" \t:  %d , "x":1.50}\r\n',
        b'{"p_ppt":%d,"type":"flow","s":"\\"p_ppt\\":5"}\n',
        b'{"type":"flow","s":"p_ppt","t":["p_ppt",{"p_ppt":5}],"p_ppt":%d,"u":{"p_ppt":6}}\n',
        b'{"type":"flow","p_\\u0070pt":%d,"x":123456789012345678901234567890}\n',
        b'{"p_ppt":3,"type":"flow","p_ppt":%d}\n',
        b'{"p_ppt":"x","p_ppt":[1],"type":"flow","p\\u005fppt":%d,"q":"p_ppt"}\n',
        b'{"type":"flow","\\u007b":"}","p_ppt":%d,"\\\\":"{"}\n',
        b'{"type":"flow","p_ppt ":4,"xp_ppt":5,"p_ppt":%d}\n',
        b'{"type":"flow","\\\\p_ppt":4,"a":[[[]]],"p_ppt":%d}\n',
    ],
)
def test_a_recorded_probability_is_replaced_in_place(form):
    assert sampled(form % 1000, 0.5, draws=Told()) == [form % 500]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["p_ppt", '"p_ppt":5', "{", "}", "\\", '\\"'])
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["p_ppt", "type", "x", '"', "é"]), inner)
    ),
    max_leaves=8,
)
HOLE = "\0"  # which stands in no JSON
SPACE = st.sampled_from(["", " ", "\t", "  "])


@st.composite
def odd_flows(draw):
    """Draw the text of a flow line in any spelling, with a hole for its last p_ppt, and say if it has one."""

    def spelled(text):
        escaped = draw(st.lists(st.integers(0, len(text) - 1), max_size=2)) if text else []
        return "".join(f"\\u{ord(letter):04x}" if at in escaped else letter for at, letter in enumerate(text))

    def ascii_or_not(value):
        return json.dumps(value, ensure_ascii=draw(st.booleans()))

    members = [(f'"{spelled("type")}"', f'"{spelled("flow")}"')]
    members += [(f'"{spelled("pcount")}"', str(draw(st.integers(1, 999))))] * draw(st.integers(0, 2))
    others = st.tuples(st.sampled_from(["s", "P_PPT", "p_ppt ", "é", "\\", '"', "{"]), JSON)
    members += [(ascii_or_not(name), ascii_or_not(value)) for name, value in draw(st.lists(others, max_size=4))]
    members = list(draw(st.permutations(members)))
    is_recorded = draw(st.booleans())
    if is_recorded:
        at = draw(st.integers(0, len(members)))
        members.insert(at, (f'"{spelled("p_ppt")}"', HOLE))
        for value in draw(st.lists(JSON, max_size=2)):
            members.insert(draw(st.integers(0, at)), (f'"{spelled("p_ppt")}"', ascii_or_not(value)))
            at += 1
    text = ",".join(f"{draw(SPACE)}{name}{draw(SPACE)}:{draw(SPACE)}{value}" for name, value in members)
    form = f"{draw(SPACE)}{{{text}{draw(SPACE)}}}{draw(SPACE)}{draw(st.sampled_from(['', chr(13)]))}\n"
    return form, is_recorded


@given(odd_flows(), st.integers(2, PPT))
def test_no_other_octet_is_changed(odd, before):
    form, is_recorded = odd
    line = form.replace(HOLE, str(before), 1).encode() if is_recorded else form.encode()
    made, rejected = sampler(0.5, draws=Told())
    kept = list(made.sample(line))
    assert rejected == []
    ppt = made._law.ppt(json.loads(line).get("pcount", 1))
    if is_recorded:
        assert kept == [form.replace(HOLE, str(composed(before, ppt)), 1).encode()]
    else:
        end = line.rindex(b"}")
        assert kept == [b'%s,"p_ppt":%d%s' % (line[:end], ppt, line[end:])]
    after = json.loads(kept[0])
    assert after.pop("p_ppt") <= PPT
    unchanged = json.loads(line)
    unchanged.pop("p_ppt", None)
    assert after == unchanged

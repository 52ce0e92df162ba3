"""The canonical form: three independent encoders agree on it, and what is outside its profile is refused."""

import json
import shutil
import subprocess

import orjson
import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from overflowd_tools.errors import RecordError
from overflowd_tools.reports import canonical

MOST = 2**53 - 1
KEYS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=8)
TEXTS = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=20)
SCALARS = st.integers(-MOST, MOST) | TEXTS


def nested(levels):
    """Objects of the profile, with at most this many levels of objects and lists."""
    members = SCALARS
    for _ in range(levels - 1):
        members = SCALARS | st.lists(members, max_size=4) | st.dictionaries(KEYS, members, max_size=4)
    return st.dictionaries(KEYS, members, max_size=6)


OBJECTS = nested(canonical.MAX_DEPTH)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


def in_profile(value, levels=canonical.MAX_DEPTH):
    """An oracle that is written the obvious way."""
    if type(value) is str:
        return not any(ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 or 0xD800 <= ord(c) < 0xE000 for c in value)
    if type(value) is int:
        return abs(value) <= MOST
    if type(value) is list:
        return levels > 0 and all(in_profile(member, levels - 1) for member in value)
    if type(value) is dict:
        return levels > 0 and all(
            all(0x20 <= ord(c) < 0x7F for c in key) and in_profile(member, levels - 1) for key, member in value.items()
        )
    return False


@given(OBJECTS)
def test_orjson_and_rfc8785_agree(value):
    text = canonical.encode(value)
    assert text == rfc8785.dumps(value)
    assert text == json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert canonical.decode(text) == value


@given(TEXTS | st.text('"\\/ä\U0001f393\u2028'))
def test_one_text_alone(text):
    assert b'{"x":%s}' % canonical.encode_text(text) == canonical.encode({"x": text})


@pytest.mark.parametrize("text", ["\0", "\x1f", "\x7f", "\x80", "a\ud800", "\n"])
def test_one_text_outside_the_profile(text):
    with pytest.raises(RecordError, match=r"^not canonical: control character in a string$"):
        canonical.encode_text(text)


@pytest.mark.skipif(not shutil.which("jq"), reason="jq is not installed")
@settings(max_examples=60, deadline=None)
@given(st.lists(OBJECTS, min_size=1, max_size=8))
def test_jq_agrees(values):
    lines = b"".join(canonical.encode(value) + b"\n" for value in values)
    for program in ("jq -cS .", "jq -c ."):
        assert subprocess.run(program.split(), input=lines, capture_output=True, check=True).stdout == lines


@pytest.mark.skipif(not shutil.which("jq"), reason="jq is not installed")
def test_every_character_that_is_allowed():
    allowed = [chr(code) for code in range(0x20, 0x110000) if in_profile(chr(code))]
    value = {str(at): "".join(allowed[at : at + 512]) for at in range(0, len(allowed), 512)}
    text = canonical.encode(value)
    assert text == rfc8785.dumps(value)
    done = subprocess.run(["jq", "-jcS", "."], input=text, capture_output=True, check=True)
    assert done.stdout == text


@given(st.dictionaries(st.text(max_size=3), ANY_JSON, max_size=4))
def test_the_profile_and_nothing_else_is_encoded(value):
    if in_profile(value):
        assert canonical.decode(canonical.encode(value)) == value
    else:
        with pytest.raises(RecordError, match=r"^not canonical: "):
            canonical.encode(value)


@given(OBJECTS, st.randoms(use_true_random=False))
def test_other_spellings_are_read_but_are_not_canonical(value, random):
    spellings = [
        json.dumps(value).encode(),
        json.dumps(value, separators=(",", ":"), sort_keys=True).encode(),
        json.dumps(value, indent=1, ensure_ascii=False).encode(),
        json.dumps(dict(random.sample(sorted(value.items()), len(value)))).encode(),
        b" " + canonical.encode(value),
    ]
    for text in spellings:
        read = canonical.loads(text)
        canonical.check_unique(text)
        assert canonical.encode(read) == canonical.encode(value)
        if text != canonical.encode(value):
            with pytest.raises(RecordError, match=r"^not canonical: spaces, the order of keys, or escapes$"):
                canonical.decode(text)


@given(st.binary(max_size=60) | st.text(alphabet='{}[]":,\\u0deE+-.1ntf a', max_size=60).map(str.encode))
def test_any_bytes_are_decoded_or_refused(data):
    try:
        value = canonical.decode(data)
    except RecordError:
        return
    assert canonical.encode(value) == data


REFUSED = {
    '{"a":null}': "null",
    '{"a":[1,{"b":null}]}': "null",
    '{"a":true}': "true or false",
    '{"a":[false]}': "true or false",
    '{"a":1.5}': "a number that is no integer up to 2^53-1",
    '{"a":1.0}': "a number that is no integer up to 2^53-1",
    '{"a":-0.0}': "a number that is no integer up to 2^53-1",
    '{"a":1e3}': "a number that is no integer up to 2^53-1",
    '{"a":18446744073709551616}': "a number that is no integer up to 2^53-1",
    '{"a":9007199254740992}': "integer beyond 2^53-1",
    '{"a":[-9007199254740992]}': "integer beyond 2^53-1",
    '{"a":18446744073709551615}': "integer beyond 2^53-1",
    '{"a":[[[[[]]]]]}': "nested deeper than 5",
    '{"a":{"a":{"a":{"a":{"a":{}}}}}}': "nested deeper than 5",
    '{"a":"\\u001f"}': "control character in a string",
    '{"a":"\\n"}': "control character in a string",
    '{"a":"\x7f"}': "control character in a string",
    '{"a":"\u0080"}': "control character in a string",
    '{"a":{"b":["\u009b"]}}': "control character in a string",
    '{"ä":1}': "a key that is not printable ASCII",
    '{"a":[{"\\t":1}]}': "a key that is not printable ASCII",
    '{"\x7f":1}': "a key that is not printable ASCII",
    '{"a":1,"a":1}': "duplicate key",
    '{"a":1,"a":2}': "duplicate key",
    '{"a":2,"\\u0061":1}': "duplicate key",
    '{"a":{"b":1,"c":2,"b":1}}': "duplicate key",
    '{"a":[[[[[[]]]]]],"a":1}': "duplicate key",
    '{"b":1,"a":1}': "spaces, the order of keys, or escapes",
    '{"a": 1}': "spaces, the order of keys, or escapes",
    '{"a":1}\n': "spaces, the order of keys, or escapes",
    '{"a":"\\u0041"}': "spaces, the order of keys, or escapes",
    '{"a":"\\/"}': "spaces, the order of keys, or escapes",
    '{"a":-0}': "spaces, the order of keys, or escapes",
}


@pytest.mark.parametrize(("text", "reason"), REFUSED.items())
def test_refused_for_a_reason(text, reason):
    with pytest.raises(RecordError) as caught:
        canonical.decode(text.encode())
    assert str(caught.value) == f"not canonical: {reason}"


NOT_JSON = ["", "{", "[1]", "1", '"a"', "null", '{"a":NaN}', '{"a":Infinity}', '{"a":1e999}', '{"a":01}', "{'a':1}"]
NOT_JSON += [
    '{"a":1}{"a":1}',
    '{"a":"\\ud800"}',
    '\ufeff{"a":1}',
    "[" * 100_000,
    '{"a":' * 100_000,
    '{"a":1' + "1" * 400 + "}",
]


@pytest.mark.parametrize("text", NOT_JSON, ids=lambda text: text[:12])
def test_not_json(text):
    with pytest.raises(RecordError, match=r"^not (JSON: .* at character [0-9]+|a JSON object)$"):
        canonical.decode(text.encode())


@pytest.mark.parametrize("data", [b'{"a":"\xff"}', b'{"a":"\xed\xa0\x80"}', '{"a":1}'.encode("utf-16")])
def test_not_utf8(data):
    with pytest.raises(RecordError, match=r"^not JSON"):
        canonical.decode(data)


def test_the_bounds_are_allowed():
    value = {"a": [[[[MOST]]]], "b": {"b": {"b": {"b": -MOST}}}, "c": '\u00a0\uffff\U0010ffff\\"/', " ~": {}}
    assert canonical.decode(canonical.encode(value)) == value
    assert canonical.encode({}) == b"{}"


def test_deep_nesting_behind_a_duplicate_key_is_refused_too():
    """orjson never shows the first of two members, so only the second reading meets its depth."""
    text = b'{"a":' + b"[" * 1000 + b"]" * 1000 + b',"a":1}'
    assert canonical.loads(text) == {"a": 1}
    with pytest.raises(RecordError, match=r"^not canonical: (nested deeper than 5|duplicate key)$"):
        canonical.check_unique(text)


def test_huge_numbers_behind_a_duplicate_key_are_refused_fast():
    text = b'{"a":' + b"1" * 300 + b',"a":1}'
    assert canonical.loads(text) == {"a": 1}
    with pytest.raises(RecordError, match="duplicate key"):
        canonical.check_unique(text)


@pytest.mark.parametrize("value", [{1: 2}, {"a": (1,)}, {"a": b"x"}, {"a": "\ud800"}, {"\ud800": 1}, {"a": 2**100}])
def test_values_that_json_cannot_give(value):
    with pytest.raises(RecordError, match=r"^not canonical: "):
        canonical.encode(value)


class Text(str):
    """Not exactly a str, so another encoder may treat it in another way."""

    __slots__ = ()


def test_subclasses_are_refused():
    with pytest.raises(RecordError, match="a value of type Text"):
        canonical.encode({"a": Text("x")})


def test_a_wide_line_is_no_trouble():
    value = {"a": [[] for _ in range(200_000)]}
    text = orjson.dumps(value)
    assert canonical.decode(text) == value

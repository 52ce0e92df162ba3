"""Reports of 2016: the four that its README shows, those written here, and what is neither."""

import base64
import json
import time

import make_vectors
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overflowd_tools.errors import RecordError
from overflowd_tools.reports import original, writer
from overflowd_tools.trust.keys import PublicKey, SecretKey

LINES = (make_vectors.VECTORS / "overflowd-2016.txt").read_bytes().splitlines()
README_KEY = PublicKey.from_hex("d52b9644ba6ffd2bdaa6505e649fd80ca80fad72baf2f46f5c83ab8a2a354df3")
KEY = SecretKey.from_seed(bytes(range(32)))
CONTACT = writer.Contact("noc@example.net", 'Net "Ö"')
NOW = 1_795_219_200_123
FLOW = {
    "type": "flow",
    "source": "netflow5",
    "saddr": "192.0.2.7",
    "daddr": "198.51.100.1",
    "pcount": 17001,
    "bcount": 682512,
    "stime": 2**32 - 1,
    "etime": 5,
    "sport": 53,
    "dport": 40000,
    "flags": 16,
    "protocol": 6,
    "tos": 0,
    "start_ms": NOW,
    "nexthop": "192.0.2.254",
    "p_ppt": 5,
}


def written(flow=FLOW):
    made = original.Writer(KEY.public, CONTACT)
    (body,) = made.bodies(flow, NOW)
    return made.complete(body, KEY.sign(body))


def signed_again(body, key=KEY):
    """Return a report of anything at all, rightly signed."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    outer = json.loads(text) if not isinstance(body, bytes) else {}
    message = base64.b64encode(key.sign(text) + text).decode()
    return {**outer, "signature": {"key": key.public.raw.hex(), "signature": message}}


def refusal(line):
    with pytest.raises(RecordError) as caught:
        original.read(line).verify()
    return str(caught.value)


# --- the README of 2016


@pytest.mark.parametrize("line", LINES)
def test_the_reports_of_the_readme_are_genuine(line):
    read = original.read(line)
    read.verify([README_KEY])
    read.check_time(time.time_ns() // 1_000_000)
    assert (read.version, read.expires_ms) == (1, None)
    assert read.members == eval(line)
    assert read.time_ms == round(read.members["metadata"]["time"] * 1000)


@pytest.mark.parametrize("line", LINES)
def test_they_become_json_and_stay_genuine(line):
    read = original.read(line)
    members = json.loads(read.text)
    assert members == eval(line)
    for text in (read.text, json.dumps(members, indent=1).encode(), read.with_verified(NOW)):
        again = original.read(text)
        again.verify([README_KEY])
        assert again == read
    assert json.loads(read.with_verified(NOW))["verified"] == {"format": 1, "key": README_KEY.text, "time_ms": NOW}


def test_no_flipped_bit_is_accepted():
    line = LINES[0]
    genuine = original.read(line)
    for at in range(len(line)):
        for bit in range(8):
            changed = bytearray(line)
            changed[at] ^= 1 << bit
            try:
                read = original.read(bytes(changed))
                read.verify()
            except RecordError:
                continue
            # A digit of the key may change from small to capital, a space to another: the same report.
            assert read == genuine, (at, bit)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"'bcount': 682512", b"'bcount': 682513", "the signed text says something else than the rest of the report"),
        (b"'bcount': 682512, ", b"", "the signed text says something else than the rest of the report"),
        (b"'bcount'", b"'x': 1, 'bcount'", "the signed text says something else than the rest of the report"),
        (
            b"'metadata': {",
            b"'contact': {}, 'metadata': {",
            "the signed text says something else than the rest of the report",
        ),
        (b"'z5yMEHH0", b"'z5yMEHH1", "bad signature"),
        (b"d52b9644", b"d52b9645", "not a report: signature.key: not a valid Ed25519 public key"),
        (b"d52b9644ba6f", b"", "not a report: signature.key: not a public key: 64 hexadecimal digits are expected"),
        (b"'z5yMEHH0", b"'z5yMEHH", "not a report: signature.signature is not base64"),
        (b"'key'", b"'kex'", "not a report: signature does not have the members key and signature"),
        (b"'signature': {", b"'signature': 1, 'x': {", "not a report: signature is not an object"),
    ],
)
def test_changed_reports(old, new, reason):
    assert LINES[0].count(old) == 1
    assert refusal(LINES[0].replace(old, new)) == reason


def test_types_come_from_what_was_signed():
    """For Python 1 == 1.0 == True; what is passed on is what was signed."""
    line = LINES[0].replace(b"'tos': 0", b"'tos': 0.0").replace(b"'protocol': 6", b"'protocol': 6.0")
    assert original.read(line).text == original.read(LINES[0]).text


# --- Python's repr


@pytest.mark.parametrize(
    "text",
    [
        "{'a': 1}",
        "{'a': -1.5e-07, 'b': [1, {'c': 'x'}], 'd': {}}",
        """{'a': "it's", 'b': 'say "so"', 'c': ''}""",
        "{'a': {'b': 'x: {\"y\"}'}}",
    ],
)
def test_repr_is_read_as_python_reads_it(text):
    assert original.loads(text.encode()) == eval(text)


@given(
    st.dictionaries(
        st.text("abc'\"{}: ", max_size=4),
        st.recursive(
            st.integers(-(2**63), 2**63) | st.floats(-1e9, 1e9) | st.text(max_size=5), lambda x: st.lists(x, max_size=3)
        ),
        min_size=1,
        max_size=4,
    )
)
def test_any_repr_without_escapes_is_read(value):
    text = repr({"first": 1, **value})
    if "\\" in text:
        with pytest.raises(RecordError, match="Python text with an escape in it"):
            original.loads(text.encode())
    elif not any(ord(character) < 0x20 for character in text):
        assert original.loads(text.encode()) == {"first": 1, **value}


@pytest.mark.parametrize(
    "line",
    [
        b"{'",
        b"{'a'",
        b"{'a': __import__('os').system('true')}",
        b"{'a': (1, 2)}",
        b"{'a': None}",
        b"{'a': True}",
        b"{'a': 1L}",
        b"{'a': 1 if 1 else 2}",
        b"{'a': 'x' 'y'}",
        b"{'a': '\\d'}",
        b"{'a': 0x10}",
        b"{'a', 'b'}",
        b"{'a': u'x'}",
        b"{'a': 9" + b"9" * 5000 + b"}",
        b"{'a': " + b"[" * 20_000 + b"]" * 20_000 + b"}",
        b"{'a': " + b"-" * 20_000 + b"1}",
        b"{'a': '" + b"'" * 99_999,
        b"{'a': '\0'}",
        b"{'\xff': 1}",
    ],
    ids=lambda line: line[:20].decode("latin-1"),
)
def test_other_python_is_not_read(line):
    assert refusal(line)


# --- written here


def test_what_is_written_is_what_overflowd_wrote():
    line = written()
    read = original.read(line)
    read.verify([KEY.public])
    assert read.text == line
    assert read.time_ms == NOW
    assert read.signed == json.dumps(json.loads(read.signed)).encode()
    members = read.members
    old = eval(LINES[0])
    assert members.keys() == old.keys() | {"contact"}
    for name in ("flowdata", "metadata", "signature"):
        assert members[name].keys() == old[name].keys()
    assert members["flowdata"]["data"].keys() == old["flowdata"]["data"].keys()
    assert members["flowdata"] == {
        "data": {name: FLOW[name] for name in old["flowdata"]["data"]},
        "sourcetype": {"type": "Netflow", "version": 5},
    }
    assert members["metadata"] == {"class": "INFORMATIONAL", "info": "FLOWSEEN", "time": NOW / 1000}
    assert members["contact"] == CONTACT.members()


def test_what_is_absent_stays_absent():
    members = original.read(written({"saddr": "::1", "daddr": "::2"})).members
    assert members["flowdata"] == {"data": {"saddr": "::1", "daddr": "::2"}}


@pytest.mark.parametrize("changes", [{"saddr": "x"}, {"pcount": 2**53}, {"stime": 2**32}, {"source": 1}])
def test_flows_that_cannot_be_signed(changes):
    with pytest.raises(RecordError):
        written({**FLOW, **changes})


# --- signed, and still no report


def changed(path, value):
    body = json.loads(original.read(written()).signed)
    part = body
    for name in path[:-1]:
        part = part[name]
    if value is ...:
        del part[path[-1]]
    else:
        part[path[-1]] = value
    return body


def test_signed_again_is_right():
    original.read(json.dumps(signed_again(changed(("metadata", "time"), 5))).encode()).verify()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("note",), 1),
        (("flowdata",), ...),
        (("flowdata",), []),
        (("flowdata", "note"), 1),
        (("flowdata", "data"), "x"),
        (("flowdata", "data", "note"), 1),
        (("flowdata", "data", "saddr"), ...),
        (("flowdata", "data", "saddr"), "192.0.2.007"),
        (("flowdata", "data", "pcount"), 2**53),
        (("flowdata", "data", "pcount"), None),
        (("flowdata", "data", "etime"), -1),
        (("flowdata", "sourcetype"), 1),
        (("flowdata", "sourcetype", "type"), 1),
        (("flowdata", "sourcetype", "note"), 1),
        (("metadata",), ...),
        (("metadata", "class"), "ALARM"),
        (("metadata", "note"), 1),
        (("metadata", "time"), ...),
        (("metadata", "time"), "1"),
        (("metadata", "time"), True),
        (("metadata", "time"), -1),
        (("metadata", "time"), 1e300),
        (("contact",), 1),
        (("contact", "email"), 1),
        (("contact", "identity"), "\x1b[2J"),
        (("contact", "note"), 1),
    ],
)
def test_a_signed_text_that_is_no_report(path, value):
    line = json.dumps(signed_again(changed(path, value))).encode()
    assert refusal(line).startswith(("not a report: ", "not canonical: "))


@pytest.mark.parametrize("text", [b"", b"x", b"[]", b'"x"', b'{"a":NaN}', b"[" * 9999, b'{"flowdata":' * 999])
def test_a_signed_text_that_is_nothing(text):
    line = json.dumps({**signed_again(text), "flowdata": {}, "metadata": {}}).encode()
    assert refusal(line).startswith("not a report: not ")


def test_a_signed_message_that_is_too_short():
    members = signed_again({})
    members["signature"]["signature"] = base64.b64encode(bytes(63)).decode()
    assert refusal(json.dumps(members).encode()).startswith("not a report: not JSON")


def test_a_deep_outer_object_is_just_another_report():
    members = signed_again(changed(("metadata", "time"), 5))
    deep = json.dumps(members["flowdata"])[:-1] + ',"x":' + "[" * 900 + "]" * 900 + "}"
    line = json.dumps(members).replace(json.dumps(members["flowdata"]), deep, 1)
    assert refusal(line.encode()) == "the signed text says something else than the rest of the report"


def test_the_future():
    read = original.read(written())
    read.check_time(NOW - 120_000)
    with pytest.raises(RecordError, match="from the future"):
        read.check_time(NOW - 120_001)

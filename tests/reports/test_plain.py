"""Reports recognised without parsing: whatever the line, the same report as by reading it with care, or none."""

import json
import random

import make_vectors
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from overflowd_tools.errors import RecordError
from overflowd_tools.reports import batch, plain, report, writer
from overflowd_tools.trust.keys import SecretKey

VECTORS = make_vectors.VECTORS
KEY = SecretKey.from_seed(make_vectors.SEED)
LINES = [path.read_bytes().rstrip(b"\n") for path in sorted(VECTORS.glob("*.report"))]
EVERY_FIELD = (VECTORS / "every-field.report").read_bytes().rstrip(b"\n")
CONTACT = writer.Contact("noc@example.net", "Example Net")


def with_care(line):
    try:
        return report.read(line)
    except RecordError:
        return None


def agree(line):
    """Require that a line is what it is, if it is recognised at all; say if it is."""
    found = plain.read(line)
    if found is not None:
        assert found == with_care(line)
        assert found.key.text == with_care(line).key.text
        assert found.members == json.loads(line)
    return found is not None


def written(flow, contact=CONTACT, roles=("src", "dst")):
    made = writer.Writer(KEY.public, contact, roles, 3_600_000)
    return [made.complete(body, KEY.sign(body)) for body in made.bodies(flow, make_vectors.TIME_MS)]


# --- what is recognised: all that of-sign writes, but for the unusual

IPV4 = st.ip_addresses(v=4).map(str)
IPV6 = st.ip_addresses(v=6).map(str) | st.sampled_from(
    ["::", "::1", "2001:db8::", "::ffff:192.0.2.1", "1:2:3:4:5:6:7:8"]
)


@st.composite
def flows(draw):
    flow = {"type": "flow", "saddr": draw(IPV4 | IPV6), "daddr": draw(IPV4 | IPV6)}
    for name, (least, most) in {**report.FLOW_FIELDS, **report.SAMPLING_FIELDS}.items():
        if draw(st.booleans()):
            edges = [edge for edge in (0, 9, 10, 99, 100, 255, 256, 9999, 10**4, 65534, 65535) if least <= edge <= most]
            flow[name] = draw(st.integers(least, most) | st.sampled_from([least, most, *edges]))
    if draw(st.booleans()):
        flow["why"] = draw(st.lists(st.sampled_from(["frag", "tcp-null", "!", "~" * 32, '"', "\\"]), max_size=3))
    if draw(st.booleans()):
        flow["source"] = draw(st.sampled_from(["netflow5", "ipfix", "sflow5", "packet", "netflow", "own-probe_x7"]))
    return flow


def is_usual(flow):
    """Say if of-sign writes this flow in the form that is recognised."""
    numbers = [value for value in flow.values() if type(value) is int]
    rules = "".join(flow.get("why", ["x"]))
    return all(0 <= number < 10**15 for number in numbers) and rules and '"' not in rules and "\\" not in rules


@given(flows())
def test_what_is_written_is_recognised(flow):
    for line in written(flow):
        totals = json.loads(line)["metadata"]["total"].values()
        assert agree(line) == bool(is_usual(flow) and max(totals) < 10**15)


@pytest.mark.parametrize("identity", ["Example Net", "Zoë's Ñetwork 網", "'", "{}[],:", "\u2028", "a" * 64])
def test_contacts(identity):
    for line in written({"saddr": "192.0.2.7", "daddr": "2001:db8::1"}, writer.Contact("a@b", identity)):
        assert agree(line)


@pytest.mark.parametrize("identity", ["", '"', "\\", "\t", "\x7f", "\x85", "a" * 65, "é" * 33])
def test_contacts_that_are_none_or_unusual(identity):
    members = json.loads(EVERY_FIELD)
    members["contact"]["identity"] = identity
    assert not agree(json.dumps(members, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())


def test_many_senders_by_turns(monkeypatch):
    """What is remembered of one sender counts for no other, whatever the two have in common, nor for itself later."""
    monkeypatch.setattr(plain, "_SENDERS", 3)
    flow = {"saddr": "192.0.2.7", "daddr": "192.0.2.8"}
    secrets = [SecretKey.from_seed(bytes([number]) * 32) for number in range(6)]
    for secret, identity in [*zip(secrets, "abcdef", strict=True), (secrets[0], "b"), (secrets[0], "a")] * 3:
        made = writer.Writer(secret.public, writer.Contact("a@b", identity), ("dst",), 3_600_000)
        (body,) = made.bodies(flow, make_vectors.TIME_MS)
        line = made.complete(body, secret.sign(body))
        assert agree(line)
        assert plain.read(line).key == secret.public
        assert plain.read(line).members["contact"]["identity"] == identity
        assert len(plain._senders) <= 3


def test_batches():
    flow = {"saddr": "192.0.2.7", "daddr": "2001:db8::1"}
    made = writer.Writer(KEY.public, CONTACT, ("src", "dst"), 3_600_000)
    bodies = [body for _ in range(4) for body in made.bodies(flow, make_vectors.TIME_MS)]
    for body, proof in zip(bodies, batch.sign(bodies, KEY), strict=True):
        line = report.with_proof(body, proof)
        assert agree(line)
        assert plain.read(line).proof == proof
        for old, new in [
            (b'"count":8', b'"count":08'),
            (b'"count":8', b'"count":2000'),
            (b'"index":', b'"index":1'),
            (b'"path":"', b'"path":"A'),
        ]:
            assert not agree(line.replace(old, new))


@pytest.mark.parametrize("name", make_vectors.REPORTS)
def test_vectors(name):
    """Left out are a report to nobody, one with the largest numbers, and one with escapes."""
    assert agree((VECTORS / f"{name}.report").read_bytes().rstrip(b"\n")) == (name in ("every-field", "total"))


# --- what is not


def replaced(old, new):
    assert EVERY_FIELD.count(old) == 1
    return EVERY_FIELD.replace(old, new)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        EVERY_FIELD + b" ",
        b" " + EVERY_FIELD,
        EVERY_FIELD + b"\n",
        EVERY_FIELD.replace(b",", b", "),
        EVERY_FIELD[:-1] + b',"verified":{}}',
        replaced(b'"$schema":"overflowd-report/2"', b'"$schema":"overflowd-report/3"'),
        replaced(b'"epoch":', b'"epoch":0'),
        replaced(b'"epoch":', b'"epoch":-'),
        replaced(b'"epoch":', b'"epoch":9999999999'),
        replaced(b'"metadata":{', b'"metadata":{"a":1,'),
        replaced(b'"role":"dst"', b'"role":"src"'),
        replaced(b'"role":"dst",', b""),
        replaced(b'"identity":"', b'"identity":"\\u0041'),
        replaced(b'"identity":"', b'"identity":"\x01'),
        replaced(b'"identity":"', b'"identity":"\x7f'),
        replaced(b'"identity":"', b'"identity":"\xc2\x85'),
        replaced(b'"identity":"', b'"identity":"\xff'),
        replaced(b'"identity":"', b'"identity":"\xed\xa0\x80'),
        replaced(b'"identity":"', b'"identity":"' + 64 * b"x"),
        replaced(b"noc@", b"noc"),
        replaced(b"noc@", b'noc@"'),
        replaced(b'"dport":', b'"dport":9999'),
        replaced(b'"protocol":', b'"protocol":25'),
        replaced(b'"key":"RW', b'"key":"RX'),
        replaced(b'"signature":"', b'"signature":"A'),
        replaced(b'=="}}', b'="}}'),
        replaced(EVERY_FIELD[-7:-4], b"h=="),
        EVERY_FIELD[:-91] + b"=" + EVERY_FIELD[-90:],
        EVERY_FIELD[:-91] + b"\n" + EVERY_FIELD[-90:],
        EVERY_FIELD[:-91] + b"-" + EVERY_FIELD[-90:],
        EVERY_FIELD[:-91] + b'"' + EVERY_FIELD[-90:],
        EVERY_FIELD[:-89] + b"=====" + EVERY_FIELD[-84:],
        EVERY_FIELD[:-8] + b"A===" + EVERY_FIELD[-4:],
        EVERY_FIELD[:-91] + b"A" * 88 + b'"}}',
    ],
)
def test_what_is_left_to_those_who_read_with_care(line):
    assert not agree(line)


@pytest.mark.parametrize(
    "address",
    [
        *("192.0.2.07", "192.0.2", "192.0.2.256", "1.2.3.4.5", "2001:DB8::1", "2001:db8:0::1", "::ffff:c000:201"),
        *("1::2::3", ":", "::1%lo", "f" * 39, "12345::", "::1.2.3", "\u0661.0.0.1", "0x7f000001", "localhost", ""),
    ],
)
@pytest.mark.parametrize("name", ["saddr", "daddr"])
def test_addresses_in_another_form(address, name):
    members = json.loads(EVERY_FIELD)
    role = {"saddr": "src", "daddr": "dst"}[name]
    members["flowdata"]["data"][name] = members["metadata"]["to"] = address
    members["metadata"]["role"] = role
    line = json.dumps(members, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert not agree(line)
    assert with_care(line) is None


@pytest.mark.parametrize("key", ["RW" + "A" * 54, "RW" + KEY.public.text[2:-1] + "/", KEY.public.text[:10] + "A" * 46])
def test_keys_that_are_none(key):
    line = EVERY_FIELD.replace(KEY.public.text.encode(), key.encode())
    assert not agree(line)


def test_one_octet_changed_anywhere():
    """Every octet, by those that mean something in JSON or in the fields."""
    for at in range(len(EVERY_FIELD)):
        for octet in b'"\\,:{}[]-+.0159aAz \n\x00\x7f\xc3':
            agree(EVERY_FIELD[:at] + bytes([octet]) + EVERY_FIELD[at + 1 :])
            agree(EVERY_FIELD[:at] + bytes([octet]) + EVERY_FIELD[at:])
        agree(EVERY_FIELD[:at] + EVERY_FIELD[at + 1 :])


PIECES = [
    b'"',
    b",",
    b"}",
    b"{",
    b":",
    b"0",
    b"-1",
    b"1e3",
    b"null",
    b'"why":["x"]',
    b'"dport":1',
    b'"to":"::"',
    b"\\u0041",
]


@given(
    st.sampled_from(LINES),
    st.lists(st.tuples(st.integers(0, 800), st.integers(0, 12), st.sampled_from(PIECES)), min_size=1, max_size=3),
)
@example(EVERY_FIELD, [(0, 0, b"")])
def test_spliced_lines(line, changes):
    for at, length, piece in changes:
        line = line[:at] + piece + line[at + length :]
    agree(line)


@given(st.sampled_from(LINES), st.randoms(use_true_random=False))
def test_shuffled_members(line, rng: random.Random):
    def shuffled(value):
        if isinstance(value, dict):
            members = [(name, shuffled(member)) for name, member in value.items() if rng.random() < 0.95]
            rng.shuffle(members)
            return dict(members)
        return value

    agree(json.dumps(shuffled(json.loads(line)), separators=(",", ":"), ensure_ascii=False).encode())

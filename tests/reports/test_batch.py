"""Batches: one signature for many reports, and everything that could be done to make it fit another one."""

import base64
import hashlib
import json

import make_vectors
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overflowd_tools.errors import RecordError
from overflowd_tools.reports import batch, canonical, envelope, plain, report, writer
from overflowd_tools.reports.reader import read_line
from overflowd_tools.trust.keys import PublicKey, SecretKey

KEY = SecretKey.from_seed(make_vectors.SEED)
OTHER = SecretKey.from_seed(bytes(32))
CONTACT = writer.Contact("noc@example.net", "Example Net")


def bodies(count):
    made = writer.Writer(KEY.public, CONTACT, ("dst",), 3_600_000)
    flow = {"saddr": "192.0.2.7", "daddr": "198.51.100.1", "sport": 53, "pcount": 9}
    return [made.bodies({**flow, "dport": number}, make_vectors.TIME_MS)[0] for number in range(count)]


def lines(count):
    signed = bodies(count)
    return [report.with_proof(body, proof) for body, proof in zip(signed, batch.sign(signed, KEY), strict=True)]


def merkle_tree_hash(leaves):
    """RFC 9162, section 2.1.1, word by word."""
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return hashlib.sha256(b"\1" + merkle_tree_hash(leaves[:k]) + merkle_tree_hash(leaves[k:])).digest()


def inclusion_path(m, leaves):
    """RFC 9162, section 2.1.3.1, word by word."""
    if len(leaves) == 1:
        return b""
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    if m < k:
        return inclusion_path(m, leaves[:k]) + merkle_tree_hash(leaves[k:])
    return inclusion_path(m - k, leaves[k:]) + merkle_tree_hash(leaves[:k])


def is_genuine(line):
    """Say if a line is a genuine report, for both readers alike."""
    try:
        found = report.read(line)
    except RecordError:
        assert plain.read(line) is None
        return False
    assert plain.read(line) in (None, found)
    try:
        found.verify([KEY.public])
    except RecordError:
        return False
    return True


# --- what is made


@pytest.mark.parametrize("count", [*range(2, 20), 31, 32, 33, 63, 64, 65, 127, 1023, 1024])
def test_the_tree_is_that_of_the_rfc(count):
    leaves = [b"%d" % number for number in range(count)]
    proofs = batch.sign(leaves, KEY)
    signed = batch.statement(KEY.public, count, merkle_tree_hash(leaves))
    assert len({proof.signature for proof in proofs}) == 1
    assert KEY.public.verify(signed, proofs[0].signature)
    for number in {0, 1, count // 2, count - 2, count - 1}:
        proof = proofs[number]
        assert (proof.leaves, proof.place) == (count, number)
        assert proof.path == inclusion_path(number, leaves)
        assert proof.verify(KEY.public, leaves[number])
        assert not proof.verify(KEY.public, leaves[number] + b" ")
        assert not proof.verify(OTHER.public, leaves[number])


@pytest.mark.parametrize("count", [2, 3, 7, 64])
def test_every_line_verifies_by_itself(count):
    made = lines(count)
    assert len(set(made)) == count
    for line in made:
        assert canonical.encode(json.loads(line)) == line
        found = read_line(line)
        assert found == report.read(line) == plain.read(line)
        assert found.signature == b""
        found.verify([KEY.public])
        spaced = json.dumps(dict(reversed(json.loads(line).items())), indent=1).encode()
        assert report.read(spaced) == found
        assert read_line(found.with_verified(5)) == found


def test_what_is_said_is_the_same_as_signed_alone():
    body, other = bodies(2)
    proof = batch.sign([body, other], KEY)[0]
    found, alone = report.read(report.with_proof(body, proof)), report.read(report.with_signature(body, KEY.sign(body)))
    assert found == alone._replace(signature=b"", text=found.text, proof=proof)


def test_the_largest_line_of_a_batch():
    proof = batch.sign(bodies(1024), KEY)[-1]
    assert len(report.with_proof(b"x" * writer.MAX_SIGNED, proof)) == 1577  # as overflowd-report(5) says


def test_no_datagram_has_a_report_of_a_batch():
    found = report.read(lines(2)[0])
    with pytest.raises(RecordError, match="no datagram"):
        envelope.pack(found.key, found.signature, found.signed)


def test_one_signature_check_for_a_batch(monkeypatch):
    checked = []
    genuine = PublicKey.verify

    def verify(key, message, signature):
        checked.append(message)
        return genuine(key, message, signature)

    monkeypatch.setattr(PublicKey, "verify", verify)
    for line in lines(64):
        read_line(line).verify([KEY.public])
    assert len(checked) == 1
    assert checked[0].startswith(b'{"$schema":"overflowd-root/1",')


# --- attacks


def changed(line, **members):
    """Return a line whose batch has these members instead; None takes one away."""
    value = json.loads(line)
    value["signature"]["batch"] |= members
    for name, member in members.items():
        if member is None:
            del value["signature"]["batch"][name]
    return json.dumps(value).encode()


def path(line):
    return base64.b64decode(json.loads(line)["signature"]["batch"]["path"])


def text(octets):
    return base64.b64encode(octets).decode()


@pytest.mark.parametrize("count", [2, 3, 5, 8, 13])
def test_no_other_place_path_or_count(count):
    made = lines(count)
    for number, line in enumerate(made):
        assert is_genuine(line)
        for other in range(-1, count + 2):
            assert is_genuine(changed(line, index=other)) == (other == number)
            assert is_genuine(changed(line, path=text(path(made[other % count])))) == (other % count == number)
        for lie in (*range(-1, 20), 1023, 1024, 1025, 2**53):
            assert is_genuine(changed(line, count=lie)) == (lie == count)


@pytest.mark.parametrize(
    "members",
    [
        {"path": ""},
        {"path": text(bytes(32))},
        {"path": text(bytes(31))},
        {"path": text(bytes(64))},
        {"path": text(bytes(32 * 11))},
        {"path": "A" * 100_000},
        {"path": text(bytes(64)) + "\n"},
        {"path": text(bytes(64))[:-2]},
        {"path": 0},
        {"path": [""]},
        {"path": None},
        {"index": None},
        {"index": "0"},
        {"index": True},
        {"index": 2**64},
        {"index": 10**400},
        {"index": -1},
        {"count": None},
        {"count": 4.0},
        {"count": 1, "index": 0, "path": ""},
        {"count": 0, "index": 0, "path": ""},
        {"count": 10**9, "path": text(bytes(30 * 32))},
        {"root": text(bytes(32))},
        {"note": 1},
    ],
)
def test_bad_members(members):
    assert not is_genuine(changed(lines(4)[0], **members))


def test_spare_bits_of_the_path():
    line = lines(2)[0]
    member = json.loads(line)["signature"]["batch"]["path"]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    other = member[:-2] + alphabet[alphabet.index(member[-2]) ^ 1] + "="
    assert base64.b64decode(other) == base64.b64decode(member)
    assert not is_genuine(changed(line, path=other))
    assert not is_genuine(line.replace(member.encode(), other.encode()))


@pytest.mark.parametrize("member", [None, 1, "x", [], {}])
def test_what_is_no_batch(member):
    value = json.loads(lines(2)[0])
    value["signature"]["batch"] = member
    assert not is_genuine(json.dumps(value).encode())


def test_an_inner_node_is_no_leaf():
    """Second preimages: what was hashed for a node of the tree cannot stand as a leaf of a smaller tree."""
    leaves = [b"a", b"b", b"c", b"d"]
    proof = batch.sign(leaves, KEY)[0]
    left, right = (hashlib.sha256(b"\0" + leaf).digest() for leaf in leaves[:2])
    for message in (left + right, b"\1" + left + right, b"\0" + left + right):
        for count in (2, 4):
            assert not proof._replace(leaves=count, path=proof.path[32:]).verify(KEY.public, message)
            assert not proof._replace(leaves=count).verify(KEY.public, message)


def test_equal_leaves():
    proofs = batch.sign([b"a", b"a", b"b", b"a"], KEY)
    assert proofs[0].path == proofs[1].path
    assert proofs[0]._replace(place=1).verify(KEY.public, b"a")
    assert not proofs[0]._replace(place=3).verify(KEY.public, b"a")
    assert not proofs[2]._replace(place=3).verify(KEY.public, b"b")


def test_a_signature_of_one_kind_is_none_of_the_other():
    body, other = bodies(2)
    proof = batch.sign([body, other], KEY)[0]
    assert is_genuine(report.with_proof(body, proof))
    assert not is_genuine(report.with_signature(body, proof.signature))  # that of the root, without the path
    alone = KEY.sign(body)
    assert not is_genuine(report.with_proof(body, proof._replace(signature=alone)))
    root = batch.statement(KEY.public, 2, merkle_tree_hash([body, other]))
    assert KEY.public.verify(root, proof.signature)
    with pytest.raises(RecordError, match="not a report"):
        report.from_signed(root, proof.signature)
    whole = root[:-1] + b',"signature":"%s"}' % base64.b64encode(proof.signature)
    assert not is_genuine(whole)


def test_another_key():
    signed = bodies(2)
    foreign = [report.with_proof(body, proof) for body, proof in zip(signed, batch.sign(signed, OTHER), strict=True)]
    assert not any(map(is_genuine, foreign))
    moved = lines(2)[0].replace(KEY.public.text.encode(), OTHER.public.text.encode())
    assert not is_genuine(moved)
    with pytest.raises(RecordError, match="wrong key"):
        report.read(lines(2)[0]).verify([OTHER.public])
    renumbered = PublicKey(KEY.public.raw, bytes(8)).text.encode()
    assert not is_genuine(lines(2)[0].replace(KEY.public.text.encode(), renumbered))


def test_a_proof_that_does_not_fit_its_place():
    proof = batch.sign([b"a", b"b", b"c"], KEY)[0]
    for wrong in ({"path": b""}, {"place": 2}, {"leaves": 1, "place": 0, "path": b""}, {"leaves": 2000}, {"place": -1}):
        assert not proof._replace(**wrong).verify(KEY.public, b"a")


LINE = lines(13)[5]


@given(st.integers(0, 8 * len(LINE) - 1))
def test_any_flipped_bit(bit):
    line = bytearray(LINE)
    line[bit // 8] ^= 1 << bit % 8
    assert not is_genuine(bytes(line))


@given(st.integers(0, len(LINE)), st.integers(0, 50), st.binary(max_size=50))
def test_any_replaced_piece(at, size, piece):
    line = LINE[:at] + piece + LINE[at + size :]
    if is_genuine(line):
        assert report.read(line).text == LINE

"""Sealing for one receiver: keys good and bad, padding, and boxes that were tampered with."""

import os
import shutil
import subprocess

import nacl.public
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overflowd_tools.errors import KeyFileError, RecordError
from overflowd_tools.trust import bech32, sealing
from overflowd_tools.trust.keys import PublicKey, SecretKey
from overflowd_tools.trust.sealing import ReceivingKey, RecipientKey

KEY = ReceivingKey(bytes(range(32)))
OTHER = ReceivingKey(bytes(32))
PRIME = (1 << 255) - 19
# Alice's keys of RFC 7748 section 6.1.
ALICE = (
    "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
    "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
)
SMALL_ORDER = [
    bytes(32),
    b"\1" + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    (PRIME - 1).to_bytes(32, "little"),
]
NOT_CANONICAL = [number.to_bytes(32, "little") for number in (PRIME, PRIME + 1, PRIME + 9, 1 << 255, (1 << 256) - 1)]


# --- keys


def test_public_half_is_that_of_rfc_7748():
    assert ReceivingKey(bytes.fromhex(ALICE[0])).public.raw.hex() == ALICE[1]


def test_public_half_is_that_of_openssl(tmp_path):
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    secret = os.urandom(32)
    der = bytes.fromhex("302e020100300506032b656e04220420") + secret  # RFC 8410 section 7
    command = ["openssl", "pkey", "-inform", "DER", "-pubout", "-outform", "DER"]
    done = subprocess.run(command, input=der, capture_output=True, check=True, timeout=60)
    assert done.stdout[-32:] == ReceivingKey(secret).public.raw


def test_texts_are_those_of_age():
    pyrage = pytest.importorskip("pyrage")
    identity = pyrage.x25519.Identity.generate()
    key = ReceivingKey.parse(str(identity))
    assert key.secret_text() == str(identity)
    assert key.public.text == str(identity.to_public())
    assert RecipientKey.parse(key.public.text) == key.public
    assert pyrage.x25519.Recipient.from_str(KEY.public.text)


@pytest.mark.parametrize("raw", [*SMALL_ORDER, *NOT_CANONICAL, b"", bytes(31), b"\x09" + bytes(32)])
def test_bad_public_keys(raw):
    with pytest.raises(KeyFileError, match="not a valid X25519 public key"):
        RecipientKey(raw)
    with pytest.raises(KeyFileError):
        RecipientKey.parse(bech32.encode("age", raw))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not a key to seal to"),
        ("x25519:AAAA", "not a key to seal to"),
        ("age1", "not a Bech32 text"),
        (KEY.public.text[:-1], "mistyped"),
        (KEY.public.text.upper(), "not a key to seal to"),
        (KEY.secret_text(), "a secret key"),
        ("RWxx", "not a public key"),
        (bech32.encode("age1x", bytes(32)), "."),
    ],
)
def test_bad_public_texts(text, reason):
    with pytest.raises(KeyFileError, match=reason) as caught:
        RecipientKey.parse(text)
    assert KEY.secret_text()[20:] not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["", "RWxx", KEY.public.text, KEY.secret_text()[:-1] + "Q", bech32.encode("age-secret-key-", bytes(31)).upper()],
)
def test_bad_secret_texts(text):
    with pytest.raises(KeyFileError) as caught:
        ReceivingKey.parse(text)
    assert not text or text not in str(caught.value)


def test_nothing_shows_a_secret():
    assert KEY.secret_text() not in repr(KEY)
    assert bytes(range(32)).hex() not in repr(KEY)
    assert KEY.public.text in repr(KEY)
    assert KEY.public.text in repr(KEY.public)
    with pytest.raises(KeyFileError, match="32 octets"):
        ReceivingKey(bytes(31))


def test_keys_are_equal_by_their_octets():
    assert KEY.public == RecipientKey(KEY.public.raw)
    assert len({KEY.public, RecipientKey(KEY.public.raw), OTHER.public}) == 2
    assert KEY.public != KEY.public.raw


def test_a_key_that_signs_serves_for_want_of_another():
    signer = SecretKey.from_seed(bytes(range(32)))
    key = ReceivingKey.of_signer(signer)
    assert RecipientKey.parse(signer.public.text) == key.public == RecipientKey.of_signer(signer.public)
    assert key.open(RecipientKey.parse(signer.public.text).seal(b"contents")) == b"contents"
    with pytest.raises(KeyFileError):
        PublicKey(b"\1" + bytes(31))  # what has small order never gets so far as to be converted


# --- padding


@given(st.binary(max_size=2500))
def test_padding(contents):
    padded = sealing.pad(contents)
    assert sealing.unpad(padded) == contents
    assert len(padded) % 64 == 0 or len(padded) == sealing.LARGEST_IN_DATAGRAM
    assert len(contents) < len(padded) <= len(contents) + 64
    assert sealing.unpad(padded + bytes(1000)) == contents  # more padding hides more


@pytest.mark.parametrize(
    ("length", "padded"),
    [(0, 64), (63, 64), (64, 128), (1087, 1088), (1088, 1144), (1143, 1144), (1144, 1152), (1151, 1152), (1152, 1216)],
)
def test_lengths(length, padded):
    assert len(sealing.pad(bytes(length))) == padded


@pytest.mark.parametrize("padded", [b"", bytes(64), b"x" * 64, b"x\x80\1"])
def test_what_is_not_padded(padded):
    with pytest.raises(RecordError, match="not padded"):
        sealing.unpad(padded)


def test_padding_is_that_of_libsodium():
    from nacl.bindings import sodium_pad, sodium_unpad

    for length in (0, 1, 63, 64, 700):
        assert sealing.pad(b"x" * length) == sodium_pad(b"x" * length, 64)
        assert sodium_unpad(sealing.pad(b"x" * length), 64) == b"x" * length


# --- boxes


def test_boxes_are_those_of_libsodium():
    box = KEY.public.seal(b"contents")
    assert len(box) == sealing.BOX_OVERHEAD + 64
    theirs = nacl.public.PrivateKey(bytes(range(32)))
    assert sealing.unpad(nacl.public.SealedBox(theirs).decrypt(box)) == b"contents"
    box = nacl.public.SealedBox(theirs.public_key).encrypt(sealing.pad(b"from there"))
    assert KEY.open(box) == b"from there"
    assert OTHER.open(box) is None


def test_every_changed_octet_is_found():
    box = KEY.public.seal(b"contents")
    for place in range(len(box)):
        for bit in (1, 0x80):
            changed = box[:place] + bytes([box[place] ^ bit]) + box[place + 1 :]
            # X25519 takes no notice of the highest bit of a public key, but the nonce hangs on it (RFC 7748, 5).
            assert KEY.open(changed) is None


@pytest.mark.parametrize("length", [0, 1, 47, 48, 111])
def test_cut_boxes(length):
    assert KEY.open(KEY.public.seal(b"contents")[:length]) is None


def test_ephemeral_keys_of_small_order():
    for point in SMALL_ORDER:
        assert KEY.open(point + bytes(80)) is None


def test_a_box_without_padding():
    theirs = nacl.public.SealedBox(nacl.public.PublicKey(KEY.public.raw))
    with pytest.raises(RecordError, match="not padded"):
        KEY.open(theirs.encrypt(b"contents"))

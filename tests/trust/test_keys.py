"""Keys: RFC 8032 vectors, bad points, forged signatures, and the files of minisign, signify and openssl."""

import base64
import hashlib
import resource
import shutil
import struct
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl import bindings

from overflowd_tools.errors import KeyFileError
from overflowd_tools.trust import keys
from overflowd_tools.trust.keys import PublicKey, SecretKey, decode_secret, encode_secret

SEED = bytes(range(32))
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493
PRIME = 2**255 - 19

# RFC 8032 section 7.1: seed, public key, message, signature.
VECTORS = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555"
        "fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da0"
        "85ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
]

IDENTITY = b"\x01" + bytes(31)
ORDER_EIGHT = [
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
]
# The y of every point of small order, where it has one also in the form that is not reduced (y + p < 2^255).
SMALL_ORDER_Y = [
    *(y.to_bytes(32, "little") for y in (0, 1, PRIME - 1, PRIME, PRIME + 1)),
    *ORDER_EIGHT,
]


def with_sign_bit(point: bytes) -> bytes:
    return point[:31] + bytes([point[31] | 0x80])


needs_minisign = pytest.mark.skipif(not shutil.which("minisign"), reason="minisign is not installed")
needs_signify = pytest.mark.skipif(not shutil.which("signify-openbsd"), reason="signify is not installed")
needs_openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")


@pytest.fixture(scope="module")
def key() -> SecretKey:
    return SecretKey.from_seed(SEED)


def run(*argv, stdin=b"", **more):
    return subprocess.run(argv, input=stdin, capture_output=True, timeout=60, check=False, **more)


def never():
    raise AssertionError("nobody should ask for a passphrase here")


# --- public keys


@pytest.mark.parametrize(("seed", "public", "message", "signature"), VECTORS)
def test_rfc8032_vectors(seed, public, message, signature):
    key = SecretKey.from_seed(bytes.fromhex(seed))
    assert key.public.raw.hex() == public
    assert key.sign(bytes.fromhex(message)).hex() == signature
    assert PublicKey.from_hex(public).verify(bytes.fromhex(message), bytes.fromhex(signature))


def test_text_is_that_of_minisign_and_signify(key):
    number = hashlib.sha256(key.public.raw).digest()[:8]
    assert key.public.key_number == number
    assert key.public.text == base64.b64encode(b"Ed" + number + key.public.raw).decode()
    assert len(key.public.text) == 56
    assert key.public.text.startswith("RW")


@given(st.binary(min_size=8, max_size=8))
def test_any_key_number_is_kept_and_proves_nothing(number):
    public = SecretKey.from_seed(SEED).public
    other = PublicKey.parse(base64.b64encode(b"Ed" + number + public.raw).decode())
    assert other.key_number == number
    assert PublicKey.parse(other.text).text == other.text
    assert other == public
    assert hash(other) == hash(public)


def test_key_of_overflowd_2016_is_taken():
    public = PublicKey.from_hex("d52b9644ba6ffd2bdaa6505e649fd80ca80fad72baf2f46f5c83ab8a2a354df3")
    assert public.text == "RWQUect2/LzlUdUrlkS6b/0r2qZQXmSf2AyoD61yuvL0b1yDq4oqNU3z"


@pytest.mark.parametrize(
    "text", ["", "d5", "g" * 64, "d5 " * 21 + "d", "d5" * 33, "d" * 63, "\N{FULLWIDTH DIGIT ONE}" * 64]
)
def test_bad_hex_is_refused(text):
    with pytest.raises(KeyFileError):
        PublicKey.from_hex(text)


def test_bad_texts_are_refused(key):
    text = key.public.text
    blob = base64.b64decode(text)
    bad = [
        "",
        "RW",
        text[:-1],
        text + "A",
        text + "\n",
        " " + text,
        text[:20] + "\n" + text[20:],
        text[:-1] + "=",
        text.replace(text[30], "*"),
        text[:-1] + "é",
        text[:-1] + "\ud800",
        "-" + text[1:],
        base64.b64encode(b"ED" + blob[2:]).decode(),
        base64.b64encode(b"Ed" + blob[3:]).decode(),
        base64.b64encode(blob + b"\0\0\0").decode(),
    ]
    for candidate in bad:
        with pytest.raises(KeyFileError):
            PublicKey.parse(candidate)


@given(st.text(max_size=80))
def test_text_from_anywhere_gives_a_key_or_our_error(text):
    try:
        parsed = PublicKey.parse(text)
    except KeyFileError:
        return
    assert parsed.text == text


@pytest.mark.parametrize("point", [*SMALL_ORDER_Y, *map(with_sign_bit, SMALL_ORDER_Y)], ids=bytes.hex)
def test_points_of_small_order_are_refused(point):
    with pytest.raises(KeyFileError):
        PublicKey(point)
    with pytest.raises(KeyFileError):
        PublicKey.parse(base64.b64encode(b"Ed" + bytes(8) + point).decode())
    with pytest.raises(KeyFileError):
        PublicKey.from_hex(point.hex())


def test_small_order_points_of_this_test_are_what_they_should_be():
    """Eight of them are canonical and on the curve, and eight times each of these is the identity."""
    on_curve = {
        point
        for point in [*SMALL_ORDER_Y, *map(with_sign_bit, SMALL_ORDER_Y)]
        if int.from_bytes(point, "little") % 2**255 < PRIME
        and point not in (with_sign_bit(IDENTITY), with_sign_bit((PRIME - 1).to_bytes(32, "little")))
    }
    assert len(on_curve) == 8
    for point in on_curve:
        total = IDENTITY
        for _ in range(8):
            total = bindings.crypto_core_ed25519_add(total, point)
        assert total == IDENTITY


def test_point_outside_the_prime_order_subgroup_is_refused(key):
    mixed = bindings.crypto_core_ed25519_add(key.public.raw, ORDER_EIGHT[0])
    with pytest.raises(KeyFileError):
        PublicKey(mixed)


@pytest.mark.parametrize("y", range(PRIME, 2**255))
def test_encodings_that_are_not_canonical_are_refused(y):
    for sign in (0, 1 << 255):
        with pytest.raises(KeyFileError):
            PublicKey((y | sign).to_bytes(32, "little"))


@pytest.mark.parametrize("raw", [b"", bytes(31), bytes(33), b"\x02" + bytes(31)])
def test_other_bytes_are_no_key(raw):
    with pytest.raises(KeyFileError):
        PublicKey(raw)


def test_key_number_has_eight_octets(key):
    with pytest.raises(KeyFileError):
        PublicKey(key.public.raw, b"1234567")


# --- signatures


@given(st.binary(max_size=300))
def test_what_is_signed_verifies_and_nothing_else(message):
    key = SecretKey.from_seed(SEED)
    signature = key.sign(message)
    assert len(signature) == 64
    assert key.public.verify(message, signature)
    assert not key.public.verify(message + b"\0", signature)
    assert not SecretKey.from_seed(bytes(32)).public.verify(message, signature)


def test_every_flipped_bit_is_noticed(key):
    message = b'{"a":1}'
    signature = key.sign(message)
    for bit in range(512):
        flipped = bytearray(signature)
        flipped[bit >> 3] ^= 1 << (bit & 7)
        assert not key.public.verify(message, bytes(flipped))
    for bit in range(len(message) * 8):
        flipped = bytearray(message)
        flipped[bit >> 3] ^= 1 << (bit & 7)
        assert not key.public.verify(bytes(flipped), signature)


@given(st.binary(max_size=80), st.binary(max_size=80) | st.binary(min_size=64, max_size=64))
def test_any_bytes_may_be_asked_about(message, signature):
    assert SecretKey.from_seed(SEED).public.verify(message, signature) is False


def test_second_form_of_a_signature_is_refused(key):
    signature = key.sign(b"message")
    scalar = int.from_bytes(signature[32:], "little") + GROUP_ORDER
    assert not key.public.verify(b"message", signature[:32] + scalar.to_bytes(32, "little"))


@pytest.mark.parametrize("point", [*SMALL_ORDER_Y, *map(with_sign_bit, SMALL_ORDER_Y)], ids=bytes.hex)
def test_signature_with_a_commitment_of_small_order_is_refused(key, point):
    assert not key.public.verify(b"message", point + bytes(32))


# --- secret keys


def test_generated_keys_differ():
    assert SecretKey.generate().public != SecretKey.generate().public


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_seed_has_32_octets(size):
    with pytest.raises(KeyFileError):
        SecretKey.from_seed(bytes(size))


def test_nothing_shows_the_secret(key):
    secret_forms = (SEED.hex(), base64.b64encode(SEED).decode(), repr(SEED)[2:-1])
    shown = [repr(key), str(key), f"{key}", repr(key.public), repr(vars(type(key)))]
    data = encode_secret(key, None, "comment")
    for damaged in (data[:-9], data.replace(b"RW", b"RX"), data + b"more", data[:-20] + b"A" * 20):
        try:
            shown.append(repr(decode_secret(damaged, never)))
        except KeyFileError as error:
            shown.append(repr(error))
    assert len(shown) == 9
    for text in shown:
        assert not any(form in text for form in secret_forms)
        assert data.split(b"\n")[1][-150:-120].decode() not in text


@pytest.mark.parametrize("passphrase", [None, b"", b"correct horse", "pässword".encode(), b"x" * 1023])
def test_secret_file_round_trip(key, passphrase):
    data = encode_secret(key, passphrase, "a comment")
    assert data.startswith(b"untrusted comment: a comment\nRW")
    asked = []

    def answer():
        asked.append(1)
        return passphrase

    again = decode_secret(data, answer if passphrase else never)
    assert again.public == key.public
    assert again.public.key_number == key.public.key_number
    assert again.sign(b"x") == key.sign(b"x")
    assert len(asked) == bool(passphrase)


def test_encrypted_file_shows_nothing_of_the_key_and_takes_64_mib(key):
    blob = base64.b64decode(encode_secret(key, b"secret", "c").split(b"\n")[1])
    assert len(blob) == 158
    assert blob[:6] == b"EdScB2"
    assert struct.unpack("<QQ", blob[38:54]) == (1 << 22, 64 << 20)
    assert not any(part in blob for part in (key.public.raw, SEED, key.public.key_number))
    assert base64.b64decode(encode_secret(key, b"secret", "c").split(b"\n")[1]) != blob


def test_wrong_passphrase(key):
    data = encode_secret(key, b"right", "c")
    with pytest.raises(KeyFileError, match="wrong passphrase"):
        decode_secret(data, lambda: b"wrong")


def test_every_damaged_octet_of_an_encrypted_key_is_noticed(key, monkeypatch):
    monkeypatch.setattr(keys, "_keystream", lambda *_: bytes(range(104)))
    blob = base64.b64decode(encode_secret(key, b"p", "c").split(b"\n")[1])
    for place in [*range(6), *range(54, 158)]:
        damaged = bytearray(blob)
        damaged[place] ^= 1
        with pytest.raises(KeyFileError):
            decode_secret(b"untrusted comment: c\n" + base64.b64encode(damaged) + b"\n", lambda: b"p")


def test_public_half_of_another_key_is_refused(key):
    """Signing with halves that do not belong together would give the secret away."""
    blob = bytearray(base64.b64decode(encode_secret(key, None, "c").split(b"\n")[1]))
    blob[94:126] = SecretKey.from_seed(bytes(32)).public.raw
    with pytest.raises(KeyFileError, match="public half"):
        decode_secret(b"untrusted comment: c\n" + base64.b64encode(blob) + b"\n", never)


@pytest.mark.parametrize(
    ("operations", "memory"),
    [
        (1 << 22, (1 << 30) + 1),
        (1 << 22, 1 << 63),
        (1 << 22, 2**64 - 1),
        ((1 << 25) + 1, 1 << 26),
        (2**64 - 1, 1 << 26),
        (1 << 25, 0),
        (1 << 25, (1 << 24) - 1),
        (0, 1 << 26),
        ((1 << 15) - 1, 1 << 26),
    ],
)
def test_costs_that_a_file_may_not_demand(key, operations, memory):
    blob = bytearray(base64.b64decode(encode_secret(key, None, "c").split(b"\n")[1]))
    blob[2:4] = b"Sc"
    blob[38:54] = struct.pack("<QQ", operations, memory)
    with pytest.raises(KeyFileError, match="time or memory"):
        decode_secret(b"untrusted comment: c\n" + base64.b64encode(blob) + b"\n", never)


def test_extreme_costs_within_the_range_derive_something(key):
    for operations, memory in ((1 << 15, 1 << 24), (1 << 15, 1 << 30), (1 << 19, (1 << 24) + 12345)):
        stream = keys._keystream(b"p", bytes(32), operations, memory)
        assert len(stream) == 104
        assert any(stream)


def test_too_little_memory_is_said(key, monkeypatch):
    def fails(*_, **__):
        raise RuntimeError("Unexpected failure in key derivation")

    monkeypatch.setattr(keys, "crypto_pwhash_scryptsalsa208sha256_ll", fails)
    with pytest.raises(KeyFileError, match="64 MiB"):
        encode_secret(key, b"p", "c")


@pytest.mark.parametrize("comment", ["two\nlines", "tab\t", "\x7f"])
def test_comment_of_a_key_file_is_one_line(key, comment):
    with pytest.raises(KeyFileError):
        encode_secret(key, None, comment)


def test_lines_may_end_as_on_windows(key):
    data = encode_secret(key, None, "c").replace(b"\n", b"\r\n")
    assert decode_secret(data, never).public == key.public


@given(st.binary(max_size=400))
def test_secret_file_of_any_bytes(data):
    with pytest.raises(KeyFileError):
        decode_secret(data, never)


@given(st.binary(min_size=158, max_size=158), st.sampled_from([b"\0\0", b"Sc", b"BK"]))
def test_secret_file_of_any_content(blob, kdf):
    data = b"untrusted comment: c\n" + base64.b64encode(b"Ed" + kdf + b"B2" + blob[6:]) + b"\n"
    with pytest.raises(KeyFileError):
        decode_secret(data, never if kdf != b"Sc" else lambda: b"p")


# --- other people's tools


@needs_minisign
def test_key_made_by_minisign_is_read(tmp_path):
    assert run("minisign", "-G", "-W", "-p", "m.pub", "-s", "m.key", cwd=tmp_path).returncode == 0
    key = decode_secret((tmp_path / "m.key").read_bytes(), never)
    assert key.public.text == (tmp_path / "m.pub").read_text().split("\n")[1]


@needs_minisign
def test_key_encrypted_by_minisign_is_read(tmp_path):
    little = 160 << 20  # minisign then halves its limits until they fit, here to 64 MiB

    def with_little_memory():
        resource.setrlimit(resource.RLIMIT_AS, (little, little))

    argv = ["minisign", "-G", "-p", "m.pub", "-s", "m.key"]
    assert run(*argv, stdin=b"pass word\npass word\n", cwd=tmp_path, preexec_fn=with_little_memory).returncode == 0
    data = (tmp_path / "m.key").read_bytes()
    key = decode_secret(data, lambda: b"pass word")
    assert key.public.text == (tmp_path / "m.pub").read_text().split("\n")[1]
    with pytest.raises(KeyFileError, match="wrong passphrase"):
        decode_secret(data, lambda: b"password")


@needs_minisign
@pytest.mark.parametrize("passphrase", [None, b"pass word"])
def test_key_made_here_is_used_by_minisign(key, tmp_path, passphrase):
    (tmp_path / "k").write_bytes(encode_secret(key, passphrase, "overflowd secret key"))
    (tmp_path / "message").write_bytes(b'{"a":1}')
    typed = (passphrase or b"") + b"\n"
    signed = run("minisign", "-S", "-l", "-s", "k", "-m", "message", "-x", "sig", cwd=tmp_path, stdin=typed)
    assert signed.returncode == 0, signed.stderr
    verified = run("minisign", "-V", "-P", key.public.text, "-m", "message", "-x", "sig", cwd=tmp_path)
    assert verified.returncode == 0, verified.stderr
    signature = base64.b64decode((tmp_path / "sig").read_text().split("\n")[1])
    assert signature == b"Ed" + key.public.key_number + key.sign(b'{"a":1}')


@needs_minisign
def test_signature_made_here_is_verified_by_minisign(key, tmp_path):
    signature = key.sign(b"message\n")
    comment = b"made here"
    (tmp_path / "message").write_bytes(b"message\n")
    (tmp_path / "sig").write_bytes(
        b"untrusted comment: x\n%s\ntrusted comment: %s\n%s\n"
        % (
            base64.b64encode(b"Ed" + key.public.key_number + signature),
            comment,
            base64.b64encode(key.sign(signature + comment)),
        )
    )
    argv = ["minisign", "-V", "-P", key.public.text, "-m", "message", "-x", "sig"]
    assert run(*argv, cwd=tmp_path).returncode == 0
    (tmp_path / "message").write_bytes(b"massage\n")
    assert run(*argv, cwd=tmp_path).returncode == 1


@needs_signify
def test_key_and_signature_of_signify(tmp_path):
    assert run("signify-openbsd", "-G", "-n", "-p", "s.pub", "-s", "s.sec", cwd=tmp_path).returncode == 0
    (tmp_path / "message").write_bytes(b"message")
    argv = ["signify-openbsd", "-S", "-s", "s.sec", "-m", "message", "-x", "sig"]
    assert run(*argv, cwd=tmp_path).returncode == 0
    public = PublicKey.parse((tmp_path / "s.pub").read_text().split("\n")[1])
    signature = base64.b64decode((tmp_path / "sig").read_text().split("\n")[1])
    assert signature[:10] == b"Ed" + public.key_number
    assert public.verify(b"message", signature[10:])


@needs_openssl
def test_openssl_agrees_both_ways(key, tmp_path):
    spki = bytes.fromhex("302a300506032b6570032100") + key.public.raw  # RFC 8410 section 4
    pkcs8 = bytes.fromhex("302e020100300506032b657004220420") + SEED  # RFC 8410 section 7
    for name, label, der in (("pub", b"PUBLIC", spki), ("key", b"PRIVATE", pkcs8)):
        text = b"-----BEGIN %s KEY-----\n%s\n-----END %s KEY-----\n" % (label, base64.b64encode(der), label)
        (tmp_path / name).write_bytes(text)
    (tmp_path / "message").write_bytes(b"message")
    (tmp_path / "sig").write_bytes(key.sign(b"message"))
    verify = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "pub", "-rawin", "-in", "message"]
    assert run(*verify, "-sigfile", "sig", cwd=tmp_path).returncode == 0
    sign = ["openssl", "pkeyutl", "-sign", "-inkey", "key", "-rawin", "-in", "message", "-out", "theirs"]
    assert run(*sign, cwd=tmp_path).returncode == 0
    assert key.public.verify(b"message", (tmp_path / "theirs").read_bytes())


@needs_signify
def test_the_trap_that_small_order_keys_set_for_other_tools(tmp_path):
    """Under the identity key, signify takes one signature for any message: so such a key is refused."""
    (tmp_path / "k.pub").write_bytes(b"untrusted comment: x\n%s\n" % base64.b64encode(b"Ed" + bytes(8) + IDENTITY))
    (tmp_path / "sig").write_bytes(
        b"untrusted comment: x\n%s\n" % base64.b64encode(b"Ed" + bytes(8) + IDENTITY + bytes(32))
    )
    for message in (b"one", b"another"):
        (tmp_path / "m").write_bytes(message)
        argv = ["signify-openbsd", "-V", "-p", "k.pub", "-x", "sig", "-m", "m"]
        assert run(*argv, cwd=tmp_path).returncode == 0
    with pytest.raises(KeyFileError):
        PublicKey.parse((tmp_path / "k.pub").read_text().split("\n")[1])

"""The datagram form: ours, signify's, and everything that is neither."""

import base64
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overflowd_tools.errors import RecordError
from overflowd_tools.reports.envelope import MAX_DATAGRAM, pack, unpack
from overflowd_tools.trust.keys import PublicKey, SecretKey

KEY = SecretKey.from_seed(bytes(range(32)))
OTHER_NUMBER = PublicKey(KEY.public.raw, b"8 octets")
MESSAGE = b'{"$schema":"overflowd-report/2"}'
SIGNATURE = KEY.sign(MESSAGE)
DATAGRAM = pack(KEY.public, SIGNATURE, MESSAGE)
COMMENT, SIGNATURE_LINE, _ = DATAGRAM.split(b"\n")

needs_signify = pytest.mark.skipif(not shutil.which("signify-openbsd"), reason="signify is not installed")


def run(*argv, stdin=b"", cwd=None):
    return subprocess.run(argv, input=stdin, cwd=cwd, capture_output=True, timeout=60, check=False)


def signify(datagram: bytes, public: PublicKey, folder) -> subprocess.CompletedProcess:
    (folder / "k.pub").write_text(f"untrusted comment: key\n{public.text}\n")
    return run("signify-openbsd", "-V", "-q", "-e", "-p", "k.pub", "-x", "-", "-m", "-", stdin=datagram, cwd=folder)


def test_the_three_parts():
    assert b"untrusted comment: overflowd report, key " + KEY.public.text.encode() == COMMENT
    assert base64.b64decode(SIGNATURE_LINE) == b"Ed" + KEY.public.key_number + SIGNATURE
    assert DATAGRAM == COMMENT + b"\n" + SIGNATURE_LINE + b"\n" + MESSAGE
    assert unpack(DATAGRAM) == (KEY.public.text, KEY.public.key_number, SIGNATURE, MESSAGE)


@given(st.binary(min_size=1, max_size=1063), st.binary(min_size=64, max_size=64))
def test_unpack_undoes_pack(message, signature):
    datagram = pack(OTHER_NUMBER, signature, message)
    text = OTHER_NUMBER.text if len(message) <= 1001 else None
    assert unpack(datagram) == (text, b"8 octets", signature, message)
    assert len(datagram) <= MAX_DATAGRAM


def test_the_comment_gives_way_to_the_message():
    assert len(pack(KEY.public, SIGNATURE, b"x" * 1001)) == MAX_DATAGRAM
    without = pack(KEY.public, SIGNATURE, b"x" * 1002)
    assert without.startswith(b"untrusted comment: overflowd report\n")
    assert len(pack(KEY.public, SIGNATURE, b"x" * 1063)) == MAX_DATAGRAM
    with pytest.raises(RecordError, match="over the 1200 bytes"):
        pack(KEY.public, SIGNATURE, b"x" * 1064)


@pytest.mark.parametrize(
    ("signature", "message"), [(b"", b"m"), (bytes(63), b"m"), (bytes(65), b"m"), (bytes(64), b"")]
)
def test_what_cannot_be_packed(signature, message):
    with pytest.raises(RecordError):
        pack(KEY.public, signature, message)


@pytest.mark.parametrize(
    "comment",
    [
        b"untrusted comment: signature from signify secret key",
        b"untrusted comment: overflowd report",
        b"untrusted comment: overflowd report, key " + KEY.public.text.encode()[:-1],
        b"untrusted comment: overflowd report, key " + KEY.public.text.encode() + b"A",
        b"untrusted comment: overflowd report, key " + KEY.public.text.encode()[:-1] + b"!",
        b"untrusted comment: overflowd report, key AA" + KEY.public.text.encode()[2:],
        b"untrusted comment: x",
    ],
)
def test_other_comments_claim_no_key(comment):
    assert unpack(comment + b"\n" + SIGNATURE_LINE + b"\n" + MESSAGE)[0] is None


NOT_DATAGRAMS = {
    "empty": (b"", "comment"),
    "too long": (DATAGRAM + b"x" * 1200, "over the 1200"),
    "no comment": (SIGNATURE_LINE + b"\n" + MESSAGE, "comment"),
    "empty comment": (b"untrusted comment: \n" + SIGNATURE_LINE + b"\n" + MESSAGE, "comment"),
    "other prefix": (b"trusted comment: x\n" + SIGNATURE_LINE + b"\n" + MESSAGE, "comment"),
    "Latin 1": (b"untrusted comment: caf\xe9\n" + SIGNATURE_LINE + b"\n" + MESSAGE, "ASCII"),
    "carriage return": (COMMENT + b"\r\n" + SIGNATURE_LINE + b"\n" + MESSAGE, "ASCII"),
    "NUL": (COMMENT + b"\0\n" + SIGNATURE_LINE + b"\n" + MESSAGE, "ASCII"),
    "long comment": (b"untrusted comment: %s\n%s\nm" % (b"x" * 1024, SIGNATURE_LINE), "longer than 1023"),
    "comment alone": (COMMENT, "second line"),
    "comment line alone": (COMMENT + b"\n", "second line"),
    "no end of the signature": (COMMENT + b"\n" + SIGNATURE_LINE, "no message"),
    "no message": (COMMENT + b"\n" + SIGNATURE_LINE + b"\n", "no message"),
    "blank line between": (COMMENT + b"\n\n" + SIGNATURE_LINE + b"\n" + MESSAGE, "second line"),
    "carriage return after it": (COMMENT + b"\n" + SIGNATURE_LINE + b"\r\n" + MESSAGE, "second line"),
    "space in it": (COMMENT + b"\n " + SIGNATURE_LINE[1:] + b"\n" + MESSAGE, "second line"),
    "short signature": (COMMENT + b"\n" + SIGNATURE_LINE[4:] + b"\n" + MESSAGE, "second line"),
    "long signature": (COMMENT + b"\nAAAA" + SIGNATURE_LINE + b"\n" + MESSAGE, "second line"),
    "no padding": (COMMENT + b"\n" + SIGNATURE_LINE[:-1] + b"A\n" + MESSAGE, "second line"),
    "prehashed": (
        COMMENT + b"\n" + base64.b64encode(b"ED" + bytes(8) + SIGNATURE) + b"\n" + MESSAGE,
        "not an Ed25519",
    ),
}


@pytest.mark.parametrize("name", NOT_DATAGRAMS)
def test_what_is_no_datagram(name):
    data, reason = NOT_DATAGRAMS[name]
    with pytest.raises(RecordError, match=reason):
        unpack(data)


def test_dropped_bits_make_no_second_text_of_a_signature():
    last = SIGNATURE_LINE[-2:-1]
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    others = [bytes([octet]) for octet in alphabet if bytes([octet]) != last]
    same_bytes = [
        other
        for other in others
        if base64.b64decode(SIGNATURE_LINE[:-2] + other + b"=") == base64.b64decode(SIGNATURE_LINE)
    ]
    assert len(same_bytes) == 3
    for other in same_bytes:
        with pytest.raises(RecordError):
            unpack(COMMENT + b"\n" + SIGNATURE_LINE[:-2] + other + b"=\n" + MESSAGE)


@given(st.binary(max_size=1300) | st.binary(max_size=200).map(lambda rest: COMMENT + b"\n" + rest))
def test_any_bytes_give_parts_or_our_error(data):
    try:
        claim, number, signature, message = unpack(data)
    except RecordError:
        return
    assert (len(number), len(signature)) == (8, 64)
    assert data.endswith(b"\n" + message)
    assert claim is None or len(claim) == 56


@given(st.integers(0, len(DATAGRAM) * 8 - 1))
def test_a_flipped_bit_is_never_a_good_signature_of_something_else(bit):
    flipped = bytearray(DATAGRAM)
    flipped[bit >> 3] ^= 1 << (bit & 7)
    try:
        _, number, signature, message = unpack(bytes(flipped))
    except RecordError:
        return
    if KEY.public.verify(message, signature):
        assert (message, signature) == (MESSAGE, SIGNATURE)
        assert number != KEY.public.key_number or bit < len(COMMENT) * 8 + 8


# --- other people's tools


@needs_signify
@pytest.mark.parametrize("public", [KEY.public, OTHER_NUMBER], ids=["derived number", "own number"])
@pytest.mark.parametrize("message", [MESSAGE, b"x" * 1001, b"x" * 1063, b"line\nanother\n", b"\xff\0\n\n", b"\n"])
def test_signify_verifies_and_gives_the_message_back(public, message, tmp_path):
    done = signify(pack(public, KEY.sign(message), message), public, tmp_path)
    assert (done.returncode, done.stdout) == (0, message), done.stderr


@needs_signify
@pytest.mark.parametrize("place", [50, 105, 130, 199, 210, -1])
def test_signify_and_we_notice_the_same_damage(place, tmp_path):
    damaged = bytearray(DATAGRAM)
    damaged[place] ^= 1
    try:
        _, number, signature, message = unpack(bytes(damaged))
        ours = number == KEY.public.key_number and KEY.public.verify(message, signature)
    except RecordError:
        ours = False
    assert (signify(bytes(damaged), KEY.public, tmp_path).returncode == 0) == ours
    assert ours == (place == 50)  # in the comment, which nobody signed


@needs_signify
def test_datagram_made_by_signify_is_read(tmp_path):
    assert run("signify-openbsd", "-G", "-n", "-p", "s.pub", "-s", "s.sec", cwd=tmp_path).returncode == 0
    (tmp_path / "message").write_bytes(MESSAGE)
    argv = ["signify-openbsd", "-S", "-e", "-s", "s.sec", "-m", "message", "-x", "-"]
    made = run(*argv, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    public = PublicKey.parse((tmp_path / "s.pub").read_text().split("\n")[1])
    claim, number, signature, message = unpack(made.stdout)
    assert (claim, number, message) == (None, public.key_number, MESSAGE)
    assert public.verify(message, signature)


@needs_signify
def test_the_claimed_key_is_two_shell_words_away(tmp_path):
    """A stranger who trusts the first datagram makes the .pub file of its first line."""
    (tmp_path / "datagram").write_bytes(DATAGRAM)
    script = """
        { echo 'untrusted comment: first seen'; sed 's/.* //;q' datagram; } >k.pub
        signify-openbsd -V -q -e -p k.pub -x - -m - <datagram
    """
    done = run("sh", "-ec", script, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, MESSAGE), done.stderr


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
def test_openssl_verifies_the_parts(tmp_path):
    _, _, signature, message = unpack(DATAGRAM)
    spki = bytes.fromhex("302a300506032b6570032100") + KEY.public.raw  # RFC 8410 section 4
    pem = b"-----BEGIN PUBLIC KEY-----\n%s\n-----END PUBLIC KEY-----\n" % base64.b64encode(spki)
    for name, content in (("k.pem", pem), ("message", message), ("sig", signature)):
        (tmp_path / name).write_bytes(content)
    argv = [
        "openssl",
        "pkeyutl",
        "-verify",
        "-pubin",
        "-inkey",
        "k.pem",
        "-rawin",
        "-in",
        "message",
        "-sigfile",
        "sig",
    ]
    assert run(*argv, cwd=tmp_path).returncode == 0
    (tmp_path / "message").write_bytes(message + b"\n")
    assert run(*argv, cwd=tmp_path).returncode == 1

"""Ed25519 keys (RFC 8032) in the text and file forms of minisign and signify; libsodium is the judge.

A public key travels as the 56 characters beginning RW that both tools read: base64 of "Ed", an 8-octet key
number and the 32 octets of the key. A secret key is kept as a minisign secret-key file.
This module imports nacl, as sealing.py alone does beside it; that takes some 5 ms: import it where it is used.
"""

import binascii
import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from struct import Struct

from nacl.bindings import (
    crypto_core_ed25519_is_valid_point,
    crypto_generichash_blake2b_salt_personal,
    crypto_hash_sha256,
    crypto_pwhash_scryptsalsa208sha256_ll,
    crypto_sign,
    crypto_sign_ed25519_sk_to_curve25519,
    crypto_sign_open,
    crypto_sign_seed_keypair,
    nacl_bindings_pick_scrypt_params,
)
from nacl.exceptions import BadSignatureError

from overflowd_tools.errors import KeyFileError

ALGORITHM = b"Ed"
SIGNATURE_SIZE = 64

# Algorithm, KDF, checksum algorithm, salt, operations limit, memory limit; then key number, secret key and
# checksum, all three encrypted.
_SECRET_FILE = Struct("<2s2s2s32sQQ104s")
_KDF_NONE = b"\0\0"
_KDF_SCRYPT = b"Sc"
_CHECKSUM_BLAKE2B = b"B2"
_COMMENT = b"untrusted comment: "

# scrypt with N = 2^16, r = 8, p = 2: 64 MiB and a fraction of a second.
_OPERATIONS = 1 << 22
_MEMORY = 1 << 26
# The range of libsodium's own constants: the most is what minisign writes by default.
_OPERATIONS_RANGE = range(1 << 15, (1 << 25) + 1)
_MEMORY_RANGE = range(1 << 24, (1 << 30) + 1)


class PublicKey:
    """A valid public key: 32 octets, and the 8-octet number by which stock tools match signatures to keys.

    By default the number is the first 8 octets of the SHA-256 digest of the key; minisign and signify draw
    theirs at random. It proves nothing, so two keys are equal when their 32 octets are.
    Raises KeyFileError for anything that libsodium does not take as a point of the prime-order subgroup in
    canonical encoding: under a key of small order, one signature fits every message.
    """

    __slots__ = ("key_number", "raw", "text")

    def __init__(self, raw: bytes, key_number: bytes = b"") -> None:
        if len(raw) != 32 or not crypto_core_ed25519_is_valid_point(raw):
            raise KeyFileError("not a valid Ed25519 public key")
        if key_number and len(key_number) != 8:
            raise KeyFileError("a key number has 8 octets")
        self.raw = raw
        self.key_number = key_number or crypto_hash_sha256(raw)[:8]
        self.text = _base64(ALGORITHM + self.key_number + raw)
        """The key as minisign and signify print it, 56 characters beginning RW."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"<PublicKey {self.text}>"

    @classmethod
    def parse(cls, text: str) -> "PublicKey":
        """Return the key of a RW... text, whatever its key number is. Raises KeyFileError."""
        return _parsed(text)

    @classmethod
    def from_hex(cls, text: str) -> "PublicKey":
        """Return the key of 64 hexadecimal digits, as overflowd wrote it in 2016. Raises KeyFileError."""
        try:
            raw = bytes.fromhex(text)
        except ValueError:
            raw = b""
        if len(text) != 64 or len(raw) != 32:
            raise KeyFileError("not a public key: 64 hexadecimal digits are expected")
        return cls(raw)

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Tell whether this key made this signature of exactly this message; any bytes may be asked about."""
        if len(signature) != SIGNATURE_SIZE:
            return False
        try:
            crypto_sign_open(signature + message, self.raw)
        except BadSignatureError:
            return False
        return True


@lru_cache(maxsize=4096)
def _parsed(text: str) -> PublicKey:
    """Parse once what thousands of reports of one sender repeat: the check of the point costs 50 us."""
    data = _from_base64(text)
    if len(text) != 56 or len(data) != 42:
        raise KeyFileError("not a public key: 56 base64 characters beginning RW are expected")
    if not data.startswith(ALGORITHM):
        raise KeyFileError("not an Ed25519 public key: its text begins RW")
    return PublicKey(data[10:], data[2:10])


class SecretKey:
    """A key that signs. Neither its text form nor any error shows the secret."""

    __slots__ = ("_secret", "public")

    def __init__(self, public: PublicKey, secret: bytes) -> None:
        """Take both halves as libsodium has them: secret is the 32-octet seed, then the public key."""
        self.public = public
        self._secret = secret

    def __repr__(self) -> str:
        return f"<SecretKey of {self.public.text}>"

    @classmethod
    def generate(cls) -> "SecretKey":
        """Return a new key."""
        return cls.from_seed(os.urandom(32))

    @classmethod
    def from_seed(cls, seed: bytes, key_number: bytes = b"") -> "SecretKey":
        """Return the key of a 32-octet seed (RFC 8032 section 5.1.5 calls it the private key)."""
        if len(seed) != 32:
            raise KeyFileError("the seed of a key has 32 octets")
        raw, secret = crypto_sign_seed_keypair(seed)
        return cls(PublicKey(raw, key_number), secret)

    def sign(self, message: bytes) -> bytes:
        """Return the 64-octet Ed25519 signature of the message."""
        return crypto_sign(message, self._secret)[:SIGNATURE_SIZE]

    def sign_all(self, messages: Sequence[bytes]) -> list[bytes]:
        """Return what sign() does of each message, in order."""
        secret = self._secret
        return [crypto_sign(message, secret)[:SIGNATURE_SIZE] for message in messages]

    def to_curve25519(self) -> bytes:
        """Return the 32-octet secret key of X25519 (RFC 7748) that goes with this one."""
        return crypto_sign_ed25519_sk_to_curve25519(self._secret)


def encode_secret(key: SecretKey, passphrase: bytes | None, comment: str) -> bytes:
    """Return the contents of a minisign secret-key file; without a passphrase it is not encrypted.

    Raises KeyFileError for a comment that is not one line, and where there is no memory for the encryption.
    """
    if not comment.isprintable():
        raise KeyFileError("the comment of a key file is one line of printable text")
    body = key.public.key_number + key._secret
    body += _checksum(body)
    if passphrase:
        salt = os.urandom(32)
        body = _xor(body, _keystream(passphrase, salt, _OPERATIONS, _MEMORY))
        head = (ALGORITHM, _KDF_SCRYPT, _CHECKSUM_BLAKE2B, salt, _OPERATIONS, _MEMORY)
    else:
        head = (ALGORITHM, _KDF_NONE, _CHECKSUM_BLAKE2B, bytes(32), 0, 0)
    return _COMMENT + comment.encode() + b"\n" + _base64(_SECRET_FILE.pack(*head, body)).encode() + b"\n"


def decode_secret(data: bytes, passphrase: Callable[[], bytes]) -> SecretKey:
    """Return the key in the contents of a minisign secret-key file.

    passphrase is called once, and only for an encrypted key. Whatever the file demands, no more than 1 GiB of
    memory and a few seconds are spent. Raises KeyFileError.
    """
    comment, _, rest = data.partition(b"\n")
    text, _, trailer = rest.partition(b"\n")
    blob = _from_base64(text.rstrip(b"\r"))
    if not comment.startswith(_COMMENT) or len(blob) != _SECRET_FILE.size or trailer.strip():
        raise KeyFileError("not a minisign secret key")
    algorithm, kdf, checksum, salt, operations, memory, body = _SECRET_FILE.unpack(blob)
    if (algorithm, checksum) != (ALGORITHM, _CHECKSUM_BLAKE2B) or kdf not in (_KDF_NONE, _KDF_SCRYPT):
        raise KeyFileError("not a kind of minisign secret key that is known here")
    if kdf == _KDF_SCRYPT:
        if operations not in _OPERATIONS_RANGE or memory not in _MEMORY_RANGE:
            raise KeyFileError("its encryption asks for more time or memory than minisign's, or too little")
        body = _xor(body, _keystream(passphrase(), salt, operations, memory))
        # minisign 0.11 leaves the checksum of an unencrypted key at zero, so it counts here alone.
        if _checksum(body[:72]) != body[72:]:
            raise KeyFileError("wrong passphrase, or a damaged key file")
    key = SecretKey.from_seed(body[8:40], body[:8])
    if key.public.raw != body[40:72]:
        raise KeyFileError("damaged: its public half does not belong to its secret half")
    return key


def _keystream(passphrase: bytes, salt: bytes, operations: int, memory: int) -> bytes:
    log_n, r, p = nacl_bindings_pick_scrypt_params(operations, memory)
    try:
        # The limit of PyNaCl's own is 32 MiB; the parameters were checked against ours.
        return crypto_pwhash_scryptsalsa208sha256_ll(passphrase, salt, 1 << log_n, r, p, 104, maxmem=1 << 31)
    except RuntimeError:
        raise KeyFileError(f"the encryption takes {memory >> 20} MiB of memory, which is not there") from None


def _checksum(body: bytes) -> bytes:
    return crypto_generichash_blake2b_salt_personal(ALGORITHM + body, digest_size=32)


def _xor(left: bytes, right: bytes) -> bytes:
    return (int.from_bytes(left, "big") ^ int.from_bytes(right, "big")).to_bytes(len(left), "big")


def _base64(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode()


def _from_base64(text: str | bytes) -> bytes:
    """Return the bytes that have exactly this base64 text (RFC 4648 section 4), or none."""
    try:
        data = binascii.a2b_base64(text)
    except ValueError:
        return b""
    encoded = binascii.b2a_base64(data, newline=False)
    return data if encoded == (text.encode() if isinstance(text, str) else text) else b""

"""Sealing for one receiver: libsodium's sealed boxes, to X25519 keys (RFC 7748) in the text form of age(1).

A sealed box is an ephemeral public key and an XSalsa20-Poly1305 box: 48 octets more than its contents, which are
padded first so that their length tells little. Anybody can seal; a box does not tell who did.
Beside keys.py, this is the only module that imports nacl: import it where it is used.
"""

from functools import lru_cache

from nacl.bindings import (
    crypto_box_seal,
    crypto_box_seal_open,
    crypto_hash_sha256,
    crypto_scalarmult,
    crypto_scalarmult_base,
    crypto_sign_ed25519_pk_to_curve25519,
)
from nacl.exceptions import CryptoError

from overflowd_tools.errors import KeyFileError, RecordError
from overflowd_tools.trust import bech32
from overflowd_tools.trust.keys import PublicKey, SecretKey

BOX_OVERHEAD = 48
BLOCK = 64
LARGEST_IN_DATAGRAM = 1144
"""Octets of padded contents for which a datagram of 1200 octets has room, beside its own 8 and those of the box."""

PUBLIC_PREFIX = "age1"
SECRET_PREFIX = "AGE-SECRET-KEY-1"  # noqa: S105 - how the text of every secret key begins

_FIELD_PRIME = (1 << 255) - 19


class RecipientKey:
    """The public key of a receiver: 32 octets, and the 4-octet hint by which the receiver finds its secret key.

    Raises KeyFileError for encodings that are not canonical, and for points of small order: what is sealed to
    such a key, everybody can open.
    """

    __slots__ = ("hint", "raw", "text")

    def __init__(self, raw: bytes) -> None:
        if len(raw) != 32 or int.from_bytes(raw, "little") >= _FIELD_PRIME:
            raise KeyFileError("not a valid X25519 public key")
        try:
            crypto_scalarmult(bytes(32), raw)  # libsodium fails where the secret would be the same for every key
        except RuntimeError:
            raise KeyFileError("not a valid X25519 public key: a point of small order") from None
        self.raw = raw
        self.hint = crypto_hash_sha256(raw)[:4]
        self.text = bech32.encode(PUBLIC_PREFIX[:-1], raw)
        """The key as age prints it, 62 characters beginning age1."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RecipientKey) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"<RecipientKey {self.text}>"

    @classmethod
    def parse(cls, text: str) -> "RecipientKey":
        """Return the key of an age1... text, or the one that goes with the RW... text of a key that signs.

        Raises KeyFileError.
        """
        return _parsed(text)

    @classmethod
    def of_signer(cls, key: PublicKey) -> "RecipientKey":
        """Return the receiving key of somebody who published no other key than the one that signs."""
        return cls(crypto_sign_ed25519_pk_to_curve25519(key.raw))

    def seal(self, contents: bytes) -> bytes:
        """Return a sealed box of the contents, padded."""
        return crypto_box_seal(pad(contents), self.raw)


@lru_cache(maxsize=4096)
def _parsed(text: str) -> RecipientKey:
    if text.startswith("RW"):
        return RecipientKey.of_signer(PublicKey.parse(text))
    if text.upper().startswith(SECRET_PREFIX):
        raise KeyFileError("a secret key, where a public one is expected; do not show it to others")
    if not text.startswith(PUBLIC_PREFIX):
        raise KeyFileError("not a key to seal to: its text begins age1, or RW as that of a key that signs")
    return RecipientKey(bech32.decode(text)[1])


class ReceivingKey:
    """The secret key of a receiver. Neither its representation nor any error shows the secret."""

    __slots__ = ("_secret", "public")

    def __init__(self, secret: bytes) -> None:
        if len(secret) != 32:
            raise KeyFileError("a receiving key has 32 octets")
        self._secret = secret
        self.public = RecipientKey(crypto_scalarmult_base(secret))

    def __repr__(self) -> str:
        return f"<ReceivingKey of {self.public.text}>"

    @classmethod
    def parse(cls, text: str) -> "ReceivingKey":
        """Return the key of an AGE-SECRET-KEY-1... text. Raises KeyFileError, without the text."""
        prefix, secret = bech32.decode(text)
        if f"{prefix}1".upper() != SECRET_PREFIX:
            raise KeyFileError("not a receiving key: its text begins AGE-SECRET-KEY-1")
        return cls(secret)

    @classmethod
    def of_signer(cls, key: SecretKey) -> "ReceivingKey":
        """Return the receiving key that goes with a key that signs."""
        return cls(key.to_curve25519())

    def secret_text(self) -> str:
        """Return the text of the secret, as age-keygen(1) writes it."""
        return bech32.encode(SECRET_PREFIX[:-1].lower(), self._secret).upper()

    def open(self, box: bytes) -> bytes | None:
        """Return the contents of a sealed box without their padding; None if it is no box for this key.

        Raises RecordError if it is one whose contents are not padded.
        """
        if len(box) < BOX_OVERHEAD:
            return None
        try:
            padded = crypto_box_seal_open(box, self.public.raw, self._secret)
        except CryptoError:
            return None
        return unpad(padded)


def pad(contents: bytes) -> bytes:
    """Return the contents with the octet 0x80 and as many zeros (ISO/IEC 7816-4) as make the length tell little.

    The length becomes a multiple of 64 octets. Only where a datagram could not take that any more does it
    become the greatest that a datagram can take.
    """
    length = len(contents) // BLOCK * BLOCK + BLOCK
    if len(contents) < LARGEST_IN_DATAGRAM < length:
        length = LARGEST_IN_DATAGRAM
    return (contents + b"\x80").ljust(length, b"\0")


def unpad(padded: bytes) -> bytes:
    """Return the contents of a padded text, however much padding there is. Raises RecordError if there is none."""
    contents = padded.rstrip(b"\0")
    if not contents.endswith(b"\x80"):
        raise RecordError("what was sealed is not padded")
    return contents[:-1]

"""Secret keys of signify(1), as far as they are not encrypted: signify encrypts by bcrypt, which libsodium has not."""

import binascii
from struct import Struct

from overflowd_tools.errors import KeyFileError
from overflowd_tools.trust.keys import ALGORITHM, SecretKey

# Algorithm, KDF, rounds, salt, checksum, key number, seed, public key.
_SECRET_FILE = Struct(">2s2sL16s8s8s32s32s")
_KDF = b"BK"


def decode_secret(data: bytes) -> SecretKey | None:
    """Return the key in the contents of a secret-key file of signify; None for a file of another form.

    Raises KeyFileError for one that is encrypted or damaged.
    """
    lines = data.split(b"\n")
    try:
        blob = binascii.a2b_base64(lines[1], strict_mode=True) if len(lines) > 1 else b""
    except ValueError:
        return None
    if len(blob) != _SECRET_FILE.size or not blob.startswith(ALGORITHM + _KDF):
        return None
    _, _, rounds, _, checksum, number, seed, public = _SECRET_FILE.unpack(blob)
    from hashlib import sha512  # only now, as it takes 3 ms to import

    if rounds:
        raise KeyFileError("a key of signify with a passphrase; signify -G -n makes one without")
    key = SecretKey.from_seed(seed, number)
    if sha512(seed + public).digest()[:8] != checksum or key.public.raw != public:
        raise KeyFileError("a damaged key of signify")
    return key

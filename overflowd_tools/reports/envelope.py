"""The datagram form of a report: a file with an embedded signature as signify(1) of OpenBSD writes it.

    untrusted comment: overflowd report, key RW...
    base64 of "Ed", key number, signature
    the signed bytes, and nothing else

So `signify -V -e -p reporter.pub -x - -m -` checks a datagram as it came from the wire.
"""

import binascii
import re
from typing import TYPE_CHECKING

from overflowd_tools.errors import RecordError

if TYPE_CHECKING:
    from overflowd_tools.trust.keys import PublicKey, SecretKey

MAX_DATAGRAM = 1200

_COMMENT = b"untrusted comment: "
_OURS = _COMMENT + b"overflowd report"
_WITH_KEY = _OURS + b", key "
_CLAIM = re.compile(_WITH_KEY + rb"(RW[A-Za-z0-9+/]{54})")
_COMMENT_LIMIT = 1023  # signify(1): what follows the prefix fits 1024 octets with its NUL
_ALGORITHM = b"Ed"
_SIGNATURE_SIZE = 64
_PRINTABLE = bytes(range(0x20, 0x7F))


def pack(public: "PublicKey", signature: bytes, message: bytes) -> bytes:
    """Return the datagram of a signed message.

    The comment names the key if there is room for it. Raises RecordError for more than 1200 bytes, for a report of a
    batch, which has no signature of its own, and for what is no signature or no message.
    """
    if not signature:
        raise RecordError("no datagram carries a report that was signed in a batch")
    if len(signature) != _SIGNATURE_SIZE or not message:
        raise RecordError(f"a signature of {_SIGNATURE_SIZE} bytes and a message are needed")
    signature_line = binascii.b2a_base64(_ALGORITHM + public.key_number + signature)
    datagram = b"%s%s\n%s%s" % (_WITH_KEY, public.text.encode(), signature_line, message)
    if len(datagram) > MAX_DATAGRAM:
        datagram = b"%s\n%s%s" % (_OURS, signature_line, message)
    if len(datagram) > MAX_DATAGRAM:
        raise RecordError(f"over the {MAX_DATAGRAM} bytes of a datagram")
    return datagram


def minisig(key: "SecretKey", signature: bytes) -> bytes:
    """Return the signature file of minisign(1), in the form that does not hash before, for what this key signed.

    The global signature in it is over the signature, whose 64 octets come first, and the trusted comment: so it is over
    nothing that a report, a statement or a root could be.
    """
    comment = b"overflowd report"
    return b"%s, key %s\n%strusted comment: %s\n%s" % (
        _OURS,
        key.public.text.encode(),
        binascii.b2a_base64(_ALGORITHM + key.public.key_number + signature),
        comment,
        binascii.b2a_base64(key.sign(signature + comment)),
    )


def unpack(datagram: bytes) -> tuple[str | None, bytes, bytes, bytes]:
    """Return (key text that the comment claims or None, key number, signature, message) of a datagram.

    Nothing is verified, and the comment is no more than a claim. Raises RecordError for any other form.
    """
    if len(datagram) > MAX_DATAGRAM:
        raise RecordError(f"over the {MAX_DATAGRAM} bytes of a datagram")
    comment, _, rest = datagram.partition(b"\n")
    if not comment.startswith(_COMMENT) or comment == _COMMENT:
        raise RecordError("not a signed datagram: no untrusted comment at its start")
    if comment.translate(None, _PRINTABLE):
        raise RecordError("its comment is not ASCII text")
    if len(comment) - len(_COMMENT) > _COMMENT_LIMIT:
        raise RecordError(f"its comment is longer than {_COMMENT_LIMIT} bytes")
    line, newline, message = rest.partition(b"\n")
    key_number, signature = _decoded(line)
    if not newline or not message:
        raise RecordError("no message after the signature")
    claim = _CLAIM.fullmatch(comment)
    return claim[1].decode() if claim else None, key_number, signature, message


def _decoded(line: bytes) -> tuple[bytes, bytes]:
    try:
        data = binascii.a2b_base64(line)
    except ValueError:
        data = b""
    # Encoded again, lest characters that decoders skip, or bits that they drop, give one signature two texts.
    if len(data) != 10 + _SIGNATURE_SIZE or binascii.b2a_base64(data, newline=False) != line:
        raise RecordError("its second line is not the base64 of a signature")
    if not data.startswith(_ALGORITHM):
        raise RecordError("not an Ed25519 signature")
    return data[2:10], data[10:]

"""One signature for many reports: a Merkle tree of them as in RFC 9162, section 2.1, whose root is signed.

The leaves are the signed bytes of the reports, in order. A report carries how many there are, which one it is and its
inclusion path, so it is checked by itself. Leaves and nodes are hashed with different first octets, and what is signed
begins like no report does, so nothing of one kind can be taken for another.
"""

import binascii
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from overflowd_tools.errors import RecordError
from overflowd_tools.trust.keys import PublicKey, SecretKey

SCHEMA = "overflowd-root/1"
COUNTS = range(2, 1024 + 1)
"""How many reports a batch may have; one by itself is signed by itself."""

_HASH_SIZE = 32
_ROOTS = 1024
_MEMBERS = {"count", "index", "path"}


class Proof(NamedTuple):
    """What shows that a report is in a batch that was signed."""

    leaves: int
    place: int
    """Which report of the batch it is, from 0."""
    path: bytes
    """The hashes beside the way from the leaf to the root, 32 octets each, the lowest first (RFC 9162, 2.1.3)."""
    signature: bytes
    """Of statement(), which has the root in it."""

    def verify(self, key: PublicKey, signed: bytes) -> bool:
        """Tell whether this key signed the batch with these signed bytes of a report at this place of it.

        The signature of a batch is checked once: the roots that were checked last are remembered.
        """
        root = _root(signed, self)
        return root is not None and _is_good(key, statement(key, self.leaves, root), self.signature)


def read(member: dict[str, Any], signature: bytes) -> Proof:
    """Take over the member `batch` of the signature of a report. Raises RecordError."""
    if member.keys() != _MEMBERS:
        raise RecordError("batch does not have the members count, index and path")
    count, index, text = member["count"], member["index"], member["path"]
    if type(count) is not int or count not in COUNTS:
        raise RecordError(f"batch.count is not an integer from {COUNTS[0]} to {COUNTS[-1]}")
    if type(index) is not int or not 0 <= index < count:
        raise RecordError("batch.index is not an integer from 0 to less than batch.count")
    try:
        path = binascii.a2b_base64(text) if type(text) is str else b""
    except ValueError:
        path = b""
    if _base64(path) != text or len(path) != _HASH_SIZE * sum(side is not None for side in _sides(index, count)):
        raise RecordError("batch.path is not the base64 of as many hashes as there are beside the way to the root")
    return Proof(count, index, path, signature)


def statement(key: PublicKey, count: int, root: bytes) -> bytes:
    """Return the bytes that are signed for a batch, in the canonical form."""
    return b'{"$schema":"%s","count":%d,"key":"%s","root":"%s"}' % (
        SCHEMA.encode(),
        count,
        key.text.encode(),
        _base64(root).encode(),
    )


def sign(bodies: Sequence[bytes], key: SecretKey) -> list[Proof]:
    """Sign the signed bytes of 2 to 1024 reports at once, and return the proof of each."""
    from hashlib import sha256

    count = len(bodies)
    levels = [[sha256(b"\0" + body).digest() for body in bodies]]
    while len(levels[-1]) > 1:
        below = levels[-1]
        pairs = zip(below[::2], below[1::2], strict=False)
        level = [sha256(b"\1" + left + right).digest() for left, right in pairs]
        levels.append(level + below[-1:] if len(below) % 2 else level)
    signature = key.sign(statement(key.public, count, levels[-1][0]))
    return [Proof(count, index, path, signature) for index, path in enumerate(_paths(levels))]


def _paths(levels: list[list[bytes]]) -> list[bytes]:
    """Return the path of each leaf: beside each node lies its sibling, and then the path of its parent goes on."""
    paths = [b""]
    for level in levels[-2::-1]:
        below: list[bytes] = []
        for parent, (left, right) in zip(paths, zip(level[::2], level[1::2], strict=False), strict=False):
            below += (right + parent, left + parent)
        if len(level) % 2:  # the last node, without a sibling, goes up as it is
            below.append(paths[-1])
        paths = below
    return paths


def _sides(index: int, count: int) -> list[bool | None]:
    """Return, for each level from the leaf up, whether the sibling lies on the left; None where there is none."""
    sides: list[bool | None] = []
    last = count - 1
    while last:
        sides.append(True if index & 1 else False if index < last else None)
        index >>= 1
        last >>= 1
    return sides


def _root(signed: bytes, proof: Proof) -> bytes | None:
    """Return the root that follows from a leaf and its path; None for a path that does not fit the place."""
    from hashlib import sha256

    path = [proof.path[at : at + _HASH_SIZE] for at in range(0, len(proof.path), _HASH_SIZE)]
    sides = [side for side in _sides(proof.place, proof.leaves) if side is not None]
    if len(path) != len(sides) or proof.leaves not in COUNTS or not 0 <= proof.place < proof.leaves:
        return None
    node = sha256(b"\0" + signed).digest()
    for sibling, on_the_left in zip(path, sides, strict=True):
        node = sha256(b"\1" + (sibling + node if on_the_left else node + sibling)).digest()
    return node


@lru_cache(maxsize=_ROOTS)
def _is_good(key: PublicKey, signed: bytes, signature: bytes) -> bool:
    return key.verify(signed, signature)


def _base64(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode()

"""Tables of the texts of small numbers, from which numpy puts together the text of large ones."""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

COLON, NOTHING = 1 << 16, (1 << 16) + 1
"""What stands for the groups of IPv6 addresses that :: leaves out: the first or last of them, and others."""


def table(texts: Sequence[bytes], suffix: bytes) -> tuple[Array, Array]:
    """Return texts as items of one width, each with the suffix at its end, and their lengths without it."""
    lengths = [*map(len, texts)]
    longest = max(lengths)
    if min(lengths) < longest:
        texts = [text.rjust(longest) for text in texts]
    octets = suffix.join(texts) + suffix
    return np.frombuffer(octets, f"V{longest + len(suffix)}"), np.array(lengths)


@cache
def four_digits() -> Array:
    """Return four decimal digits in four octets, for every number that has no more."""
    return _text_of(np.arange(10_000)[:, None] // [1000, 100, 10, 1] % 10 + ord("0"))


@cache
def of_octets() -> Array:
    """Return up to three decimal digits at the end of four octets, for every octet; the first one says how many."""
    return _told(four_digits()[:256])


@cache
def of_octet_pairs() -> Array:
    """Return up to five decimal digits at the end of eight octets, for every 16 bits; the first one says how many."""
    numbers = np.arange(1 << 16)
    four = four_digits()
    return _told(np.stack([four[numbers // 10_000], four[numbers % 10_000]], axis=1))


def _told(digits: Array) -> Array:
    """Return numbers from 0 on with how many digits they have in the first octet."""
    octets = np.array(digits).view(np.uint8).reshape(len(digits), -1)
    octets[:, 0] = lengths(np.arange(len(digits)), 0, len(digits) - 1)
    return _text_of(octets)


def lengths(values: Array, least: int, most: int) -> Array:
    """Return how many decimal digits each number has. least, most: of the numbers."""
    shortest, longest = len(str(least)), len(str(most))
    found = np.full(len(values), shortest, np.uint8)
    for digits in range(shortest, longest):
        found += (values >= 10**digits).view(np.uint8)
    return found


@cache
def hex_octets() -> Array:
    """Return two hexadecimal digits in two octets, for every octet."""
    return np.frombuffer(bytes(range(256)).hex().encode(), "u2")


@cache
def dotted_pairs() -> Array:
    """Return "a.b" at the end of eight octets for every two octets a, b; the first one says how many these are."""
    highs, high_lengths = table([b"%d" % octet for octet in range(256)], b"")
    lows, low_lengths = table([b".%d" % octet for octet in range(256)], b"")
    pairs = np.zeros((256, 256, 8), np.uint8)
    for length in (2, 3, 4):
        low = np.flatnonzero(low_lengths == length)
        pairs[:, low, 5 - length : 8 - length] = highs.view(np.uint8).reshape(256, 1, 3)
        pairs[:, low, 8 - length :] = lows.view(np.uint8).reshape(256, 4)[low, 4 - length :]
    pairs[:, :, 0] = high_lengths[:, None] + low_lengths
    return _text_of(pairs.reshape(-1, 8))


@cache
def hex_groups() -> tuple[Array, Array]:
    """Return ":" and a number of 16 bits in hexadecimal at the end of eight octets, and its length.

    Two more stand for what :: leaves out: ":" for the first and last groups of it, and nothing for the others.
    """
    texts = [b":%x" % number for number in range(1 << 16)] + [b":", b""]
    octets = b"".join([text.rjust(8) for text in texts])
    return np.frombuffer(octets, "u8"), np.array([len(text) for text in texts], np.uint8)


@cache
def elisions() -> Array:
    """Return what stands for each of eight groups, or 0 for its digits, by the bits of those that are zero.

    The longest run of two or more is left out, the first of several (RFC 5952 section 4.2).
    """
    table = np.zeros((256, 8), np.intp)
    for zeros in range(256):
        runs = [(-len(run.group()), run.start()) for run in re.finditer("11+", f"{zeros:08b}")]
        if runs:
            length, start = min(runs)
            end = start - length
            table[zeros, start:end] = NOTHING
            table[zeros, start] = COLON
            if end == 8:
                table[zeros, 7] = COLON
    return table


def _text_of(octets: Array) -> Array:
    """Return rows of 4 or 8 octets as an integer each, which numpy moves in one."""
    octets = np.ascontiguousarray(octets, octets.dtype if octets.dtype == np.uint32 else np.uint8)
    return octets.view(f"u{octets.nbytes // len(octets)}")[:, 0]

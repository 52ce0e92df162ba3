"""The text form of age's keys: BIP 173's own vectors, age's keys, and slips of the pen."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overflowd_tools.errors import KeyFileError
from overflowd_tools.trust import bech32

PREFIXES = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12).map(str.lower)


@pytest.mark.parametrize(
    ("text", "prefix", "octets"),
    [
        ("A12UEL5L", "a", b""),
        ("a12uel5l", "a", b""),
        # Of BIP 173; the data are 0 to 31 in groups of 5 bits.
        (
            "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw",
            "abcdef",
            bytes.fromhex("00443214c74254b635cf84653a56d7c675be77df"),
        ),
    ],
)
def test_vectors(text, prefix, octets):
    assert bech32.decode(text) == (prefix, octets)
    assert bech32.encode(prefix, octets) == text.lower()


@pytest.mark.parametrize(
    "text",
    [
        *("", "1", "a", "age1", "\x201nwldj5"[1:], "1qzzfhee", "10a06t8", "A1G7SGD8", "a1lqfn3a", "de1lg7wt\xff"),
        *("a12uel5L", "A12uEL5L", "a12uel5m", "b12uel5l", "a1b2uel5l", "x1b4n0q5v", "pzry9x0s0muk", "\xe412uel5l"),
        "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqx",
        bech32.encode("a" * 100, bytes(32)),
    ],
)
def test_other_texts(text):
    with pytest.raises(KeyFileError):
        bech32.decode(text)


def test_bits_that_mean_nothing():
    """A text with a right checksum whose last group is not all zeros, or is too much: BIP 173 allows neither."""
    for values in ([1], [0, 1], [0, 0, 0]):
        checksum = bech32._fives(bech32._remainder("a", [*values, *[0] * 6]) ^ 1, 6)
        text = "a1" + "".join(bech32._ALPHABET[value] for value in values + checksum)
        with pytest.raises(KeyFileError, match="mean nothing"):
            bech32.decode(text)


@given(PREFIXES, st.binary(max_size=40))
def test_there_and_back(prefix, octets):
    assert bech32.decode(bech32.encode(prefix, octets)) == (prefix, octets)
    assert bech32.decode(bech32.encode(prefix, octets).upper()) == (prefix, octets)


@given(st.binary(min_size=32, max_size=32), st.integers(0, 1 << 32))
def test_every_slip_is_found(octets, seed):
    """Up to four wrong characters are always found."""
    rng = random.Random(seed)
    text = list(bech32.encode("age", octets))
    for place in rng.sample(range(4, len(text)), rng.randint(1, 4)):
        text[place] = rng.choice([character for character in bech32._ALPHABET if character != text[place]])
    with pytest.raises(KeyFileError, match="mistyped"):
        bech32.decode("".join(text))

"""Bech32 (BIP 173), the text form of the keys of age(1): letters and digits, with a checksum against slips.

BIP 173 limits a text to 90 characters, for the addresses that it was made for. The limit here is wider.
"""

from overflowd_tools.errors import KeyFileError

_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUES = {character: value for value, character in enumerate(_ALPHABET)}
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM_LENGTH = 6
_LONGEST = 128


def encode(prefix: str, data: bytes) -> str:
    """Return the text of these octets, in small letters: prefix, "1", data and checksum."""
    length = -(-8 * len(data) // 5)
    number = int.from_bytes(data, "big") << (5 * length - 8 * len(data))
    values = _fives(number, length)
    checksum = _fives(_remainder(prefix, values + [0] * _CHECKSUM_LENGTH) ^ 1, _CHECKSUM_LENGTH)
    return f"{prefix}1{''.join(_ALPHABET[value] for value in values + checksum)}"


def decode(text: str) -> tuple[str, bytes]:
    """Return the prefix, in small letters, and the octets of a text in small or in capital letters.

    Raises KeyFileError.
    """
    lower = text.lower()
    prefix, _, rest = lower.rpartition("1")
    values = [_VALUES[character] for character in rest if character in _VALUES]
    if not prefix.isascii() or not prefix or len(values) != len(rest) or len(values) < _CHECKSUM_LENGTH:
        raise KeyFileError("not a Bech32 text")
    if text not in (lower, text.upper()) or len(text) > _LONGEST or _remainder(prefix, values) != 1:
        raise KeyFileError("mistyped: the checksum of the text is wrong")
    del values[-_CHECKSUM_LENGTH:]
    octets, filling = divmod(5 * len(values), 8)
    number = 0
    for value in values:
        number = number << 5 | value
    if filling >= 5 or number & ((1 << filling) - 1):
        raise KeyFileError("not a Bech32 text: it ends with bits that mean nothing")
    return prefix, (number >> filling).to_bytes(octets, "big")


def _fives(number: int, length: int) -> list[int]:
    """Return so many groups of 5 bits."""
    return [number >> 5 * (length - 1 - place) & 31 for place in range(length)]


def _remainder(prefix: str, values: list[int]) -> int:
    """Return the remainder of the polynomial over GF(32); 1 for a text with the right checksum."""
    codes = [ord(character) for character in prefix]
    remainder = 1
    for value in [*(code >> 5 for code in codes), 0, *(code & 31 for code in codes), *values]:
        top = remainder >> 25
        remainder = (remainder & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATOR):
            if top >> bit & 1:
                remainder ^= generator
    return remainder

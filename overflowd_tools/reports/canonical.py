"""The canonical form of a report: the one sequence of bytes that is signed (overflowd-report(5)).

It is RFC 8785 (JCS) kept to a profile on which independent encoders agree: one object; keys of printable
ASCII, sorted, none twice; values are objects, lists, integers of at most 2^53-1 in magnitude and strings
without control characters (C0, DEL, C1) or lone surrogates; at most five levels of objects and lists. No
null, true, false or fraction. On it, orjson with sorted keys, rfc8785 and `jq -cS` write the same bytes.
"""

import re
from typing import Any

from overflowd_tools.errors import RecordError

MAX_INTEGER = 2**53 - 1
MAX_DEPTH = 5

_REFUSED_IN_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_WHY_NOT = {type(None): "null", bool: "true or false", float: "a number that is no integer up to 2^53-1"}


def encode(value: dict[str, Any]) -> bytes:
    """Return the canonical form. Raises RecordError with the reason for a value outside the profile."""
    import orjson

    _check_types(value)
    try:
        text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER)
    except orjson.JSONEncodeError as error:
        _check_scalars(value)
        raise _not_canonical(str(error)) from error
    # Only a string with something special in it makes the text contain one of these.
    if b"\\" in text or not text.isascii() or b"\x7f" in text:
        _check_scalars(value)
    return text


def encode_text(text: str) -> bytes:
    """Return the canonical form of one string, as encode() has it inside, without the JSON library that takes 15 ms.

    Raises RecordError for a text outside the profile.
    """
    _check_scalars(text)
    return b'"%s"' % text.replace("\\", "\\\\").replace('"', '\\"').encode()


def decode(data: bytes) -> dict[str, Any]:
    """Return the object whose canonical form the data are.

    Raises RecordError with the reason: not JSON, outside the profile, or an object in another spelling.
    """
    value = loads(data)
    if encode(value) != data:
        check_unique(data)
        raise _not_canonical("spaces, the order of keys, or escapes")
    return value


def loads(text: bytes) -> dict[str, Any]:
    """Return the JSON object (RFC 8259) of any spelling; of equal keys, the last one counts.

    Nothing else is checked. Raises RecordError for anything that is no JSON object.
    """
    import orjson

    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise RecordError(f"not JSON: {error.msg} at character {error.pos + 1}") from None
    if type(value) is not dict:
        raise RecordError("not a JSON object")
    return value


def check_unique(text: bytes) -> None:
    """Check that no key is there twice in a text that loads() took, and whose canonical form is another.

    A signature must not cover one of two members while another program reads the other. Raises RecordError.
    """
    import json

    try:
        json.loads(text.decode(), object_pairs_hook=_unique, parse_int=str)
    except RecursionError:
        raise _too_deep() from None


def _unique(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) != len(pairs):
        raise _not_canonical("duplicate key")


def _check_types(value: dict[str, Any]) -> None:
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        below = []
        for container in level:
            for member in container.values() if type(container) is dict else container:
                kind = type(member)
                if kind is str or kind is int:
                    continue
                if kind is not dict and kind is not list:
                    raise _not_canonical(_WHY_NOT.get(kind, f"a value of type {kind.__name__}"))
                below.append(member)
        if not below:
            return
        level = below
    raise _too_deep()


def _check_scalars(value: Any) -> None:
    """Check integers, strings and keys. The depth is known to be bounded."""
    match value:
        case int():
            if not -MAX_INTEGER <= value <= MAX_INTEGER:
                raise _not_canonical("integer beyond 2^53-1")
        case str():
            if _REFUSED_IN_TEXT.search(value):
                raise _not_canonical("control character in a string")
        case dict():
            for key, member in value.items():
                if not (type(key) is str and key.isascii() and key.isprintable()):
                    raise _not_canonical("a key that is not printable ASCII")
                _check_scalars(member)
        case list():
            for member in value:
                _check_scalars(member)


def _too_deep() -> RecordError:
    return _not_canonical(f"nested deeper than {MAX_DEPTH}")


def _not_canonical(reason: str) -> RecordError:
    return RecordError(f"not canonical: {reason}")

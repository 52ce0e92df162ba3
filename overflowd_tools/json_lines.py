"""Lines of JSON, the form of all that goes through the pipe: how they are written and read.

A flow line begins {"type":"flow","pcount":N so that of-sample finds the packet count without parsing the line.
"""

from __future__ import annotations

from overflowd_tools.errors import RecordError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FLOW_PREFIX = b'{"type":"flow","pcount":'

_UNSAFE = rb"\x7f|\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]"
"""DEL, the controls of C1, U+2028 and U+2029 as UTF-8: JSON may have them, but no line of ours may."""


def json_text(value: Any) -> bytes:
    """Return a value as JSON, all controls and ends of lines escaped."""
    import orjson

    text = orjson.dumps(value)
    if text.isascii() and b"\x7f" not in text:
        return text
    import re

    return re.sub(_UNSAFE, lambda found: b"\\u%04x" % ord(found.group().decode()), text)


def flow_line(fields: dict[str, Any]) -> bytes:
    """Return the line of one flow, given by name of field with type and pcount first."""
    return json_text(fields) + b"\n"


def parse_line(line: bytes) -> dict[str, Any]:
    """Return the JSON object of a line. Raises RecordError for anything else."""
    import orjson

    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise RecordError(f"not JSON: {error}") from None
    if not isinstance(record, dict):
        raise RecordError("not a JSON object")
    return record

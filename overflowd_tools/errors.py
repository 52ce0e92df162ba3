"""The one family of errors, split by whose fault it is."""


class OverflowdError(Exception):
    """Base of every error that this package raises on purpose; its text is one line for a person."""


class DecodeError(OverflowdError):
    """Bytes that are not what their format demands (captures, export datagrams, compressed data)."""


class RecordError(OverflowdError):
    """A line that is not the record or report it should be."""


class KeyFileError(OverflowdError):
    """A key, or a file holding one, that must not be used."""


class UsageError(OverflowdError):
    """Options, settings or an environment with which the job cannot be done."""


def printable(text: str) -> str:
    """Return the text with everything escaped that could move a terminal's cursor or is not text at all."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)

"""The settings file: who reports, and with which key.

$XDG_CONFIG_HOME/overflowd/config.toml (by default in ~/.config), all of it optional:

    key = "/etc/overflowd/key"

    [contact]
    email = "noc@example.net"
    identity = "Example Net"
"""

import os
import re
from typing import Any, NamedTuple

from overflowd_tools.errors import UsageError
from overflowd_tools.trust.keyfiles import config_directory, create_file

SIZE_LIMIT = 1 << 16

_ADDRESS = re.compile(r"[^\s@<>]+@[^\s@<>]+")
_NOT_TEXT = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


class Config(NamedTuple):
    """The settings; None is what the file does not say. key_path is absolute."""

    email: str | None = None
    identity: str | None = None
    key_path: str | None = None


def path() -> str:
    """Return the path of the settings file, whether there is one or not."""
    return os.path.join(config_directory(), "config.toml")


def load() -> Config:
    """Read the settings file; where there is none, every setting is None.

    Raises UsageError, naming the file and the line or the setting, for anything that has no meaning here.
    """
    name = path()
    try:
        with open(name, "rb") as file:
            data = file.read(SIZE_LIMIT + 1)
    except FileNotFoundError:
        return Config()
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror}") from None
    if len(data) > SIZE_LIMIT:
        raise UsageError(f"{name}: over {SIZE_LIMIT} bytes")
    settings = _settings(name, data)
    contact = settings.get("contact", {})
    if not isinstance(contact, dict):
        raise UsageError(f"{name}: contact is a table: [contact]")
    _refuse_unknown(name, "", settings, ("contact", "key"))
    _refuse_unknown(name, "contact.", contact, ("email", "identity"))
    key = _text(name, "key", settings.get("key"))
    email = _text(name, "contact.email", contact.get("email"))
    if email:
        check_email(f"{name}: contact.email", email)
    return Config(
        email,
        _text(name, "contact.identity", contact.get("identity")),
        os.path.join(os.path.dirname(name), os.path.expanduser(key)) if key else None,
    )


def _settings(name: str, data: bytes) -> dict[str, Any]:
    import tomllib  # only for those who have a file, as it takes 3 ms to import

    try:
        return tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{name}: {error}") from None


def is_to_be_made(email: str | None, identity: str | None, key_path: str | None) -> bool:
    """Tell whether there are settings to write down that the file does not have.

    Raises UsageError for values that no report can carry, and if the file has other ones: it is the user's to change.
    """
    if email is None and identity is None:
        return False
    if email is None or identity is None:
        raise UsageError("--email and --identity go together")
    check_email("--email", email)
    check_text("--identity", identity)
    found = load()
    if key_path:
        check_text("--key", key_path)
    if found == Config(email, identity, key_path or found.key_path):
        return False
    if os.path.lexists(path()):
        raise UsageError(f"{path()}: has other settings, and is yours to change; no key was made")
    return True


def create(email: str, identity: str, key_path: str | None) -> None:
    """Write a new settings file (mode 0600) of values that passed check_text. Raises KeyFileError."""
    key = f"key = {_toml(key_path)}\n\n" if key_path else ""
    text = f"{key}[contact]\nemail = {_toml(email)}\nidentity = {_toml(identity)}\n"
    create_file(path(), text.encode(), 0o600)


def check_text(name: str, value: str) -> None:
    """Raise UsageError unless a report can carry this value: text, not empty, without control characters."""
    if not value.strip() or _NOT_TEXT.search(value):
        raise UsageError(f"{name} must be text, not empty and without control characters")


def check_email(name: str, value: str) -> None:
    """Raise UsageError unless a report can carry this value as the address to write to."""
    check_text(name, value)
    if not _ADDRESS.fullmatch(value):
        raise UsageError(f"{name} must be a mail address, name@domain")


def _refuse_unknown(name: str, prefix: str, table: dict[str, Any], known: tuple[str, ...]) -> None:
    for key in table:
        if key not in known:
            raise UsageError(f"{name}: unknown setting {prefix}{key}; known here: {', '.join(known)}")


def _text(name: str, key: str, value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise UsageError(f"{name}: {key} must be a string")
    check_text(f"{name}: {key}", value)
    return value


def _toml(text: str) -> str:
    """Return a basic string of TOML; of what needs an escape, check_text leaves only these two."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

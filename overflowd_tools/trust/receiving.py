"""Files of receiving keys, in the form of age-keygen(1): one key a line, and comments.

What is sealed for us may come for as long as the key is known somewhere, so old keys stay: further lines in the
file, or further files. Who may read them, and how they are written, is as for the keys that sign.
"""

import os
from collections.abc import Callable

from overflowd_tools.errors import KeyFileError
from overflowd_tools.trust import keyfiles
from overflowd_tools.trust.keyfiles import StrPath
from overflowd_tools.trust.sealing import SECRET_PREFIX, ReceivingKey

CREDENTIAL = "overflowd.receiving-key"


def default_path() -> str:
    """Return the path of the receiving keys to use where none is named.

    That is the systemd credential overflowd.receiving-key if there is one, else the file receiving-key beside
    the key that signs.
    """
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    if credentials and os.path.exists(os.path.join(credentials, CREDENTIAL)):
        return os.path.join(credentials, CREDENTIAL)
    return os.path.join(keyfiles.config_directory(), "receiving-key")


def read_keys(path: StrPath, passphrase: Callable[[], bytes]) -> list[ReceivingKey]:
    """Read a file of receiving keys, or make one of the key in a secret-key file of minisign or signify.

    passphrase is called only for an encrypted key of the latter kind. Raises KeyFileError as
    keyfiles.read_private_file does, and for anything else than keys in the file; no error shows a secret.
    """
    option = "" if os.fspath(path) == default_path() else f" -k {keyfiles.quoted(path)}"
    data = keyfiles.read_private_file(path, f"of-key new --receiving{option}")
    if data.startswith(b"untrusted comment:"):
        return [ReceivingKey.of_signer(keyfiles.read_secret_key(path, passphrase))]
    keys = []
    for number, line in enumerate(data.decode("utf-8", "replace").split("\n"), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        try:
            keys.append(ReceivingKey.parse(text))
        except KeyFileError as error:
            raise KeyFileError(f"{path}: line {number}: {error}") from None
    if not keys:
        raise KeyFileError(f"{path}: no receiving key in it; its line begins {SECRET_PREFIX}")
    return keys


def write_key(path: StrPath, key: ReceivingKey) -> None:
    """Write a receiving key (mode 0600), then its public half beside it, as keyfiles.write_secret_key does.

    Raises KeyFileError.
    """
    keyfiles.refuse_existing(path)
    secret = f"# public key: {key.public.text}\n{key.secret_text()}\n"
    keyfiles.create_file(path, secret.encode(), 0o600)
    keyfiles.create_file(keyfiles.public_path(path), f"{key.public.text}\n".encode(), 0o644)

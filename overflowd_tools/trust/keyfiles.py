"""Where keys lie, and the rules for their files: who may read them, and how they are written.

A secret key is a minisign file that its owner alone can read. Beside it, with .pub added to its name, lies
the public key in the form that minisign and signify share.
"""

import os
import stat
from collections.abc import Callable
from contextlib import suppress

from overflowd_tools.errors import KeyFileError
from overflowd_tools.trust import signify
from overflowd_tools.trust.keys import PublicKey, SecretKey, decode_secret, encode_secret

SECRET_FILE_LIMIT = 4096
PUBLIC_FILE_LIMIT = 1 << 20
CREDENTIAL = "overflowd.key"

StrPath = str | os.PathLike[str]


def config_directory() -> str:
    """Return the directory of settings and keys: overflowd in $XDG_CONFIG_HOME, by default ~/.config."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(base):  # the XDG specification: a relative path is invalid, and ignored
        base = os.path.expanduser("~/.config")
    return os.path.join(base, "overflowd")


def default_path() -> str:
    """Return the path of the secret key to use where none is named.

    That is the systemd credential overflowd.key if there is one, else the file key in config_directory().
    """
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    if credentials and os.path.exists(os.path.join(credentials, CREDENTIAL)):
        return os.path.join(credentials, CREDENTIAL)
    return os.path.join(config_directory(), "key")


def public_path(path: StrPath) -> str:
    """Return the path of the public half that lies beside a secret key."""
    return f"{os.fspath(path)}.pub"


def read_secret_key(path: StrPath, passphrase: Callable[[], bytes]) -> SecretKey:
    """Read a secret-key file of minisign, or one of signify; passphrase is called only for an encrypted one.

    Raises KeyFileError as read_private_file does, and for a file that holds no usable key.
    """
    data = read_private_file(path, f"of-key new{_option(path)}")
    try:
        return signify.decode_secret(data) or decode_secret(data, passphrase)
    except KeyFileError as error:
        raise KeyFileError(f"{path}: {error}") from None


def read_private_file(path: StrPath, maker: str) -> bytes:
    """Return what a file with a secret has in it. maker: the command that makes this file.

    Raises KeyFileError for a file that is not there or that others may read (both with the command that mends
    it), that belongs to another user, is no regular file or is over 4 KiB.
    """
    try:
        # Not to wait for the writer of a FIFO: it is refused a moment later.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            _refuse_exposed(path, os.fstat(descriptor))
            data = os.read(descriptor, SECRET_FILE_LIMIT + 1)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise KeyFileError(f"{path}: no such key; make one: {maker}") from None
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from None
    if len(data) > SECRET_FILE_LIMIT:
        raise KeyFileError(f"{path}: over {SECRET_FILE_LIMIT} bytes, which no key file is")
    return data


def read_public_keys(path: StrPath) -> list[PublicKey]:
    """Read a .pub file of minisign or signify, or any text file with one RW... text a line.

    Comments (# or "untrusted comment:") and blank lines are passed over. Raises KeyFileError with the line.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(PUBLIC_FILE_LIMIT + 1)
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from None
    if len(data) > PUBLIC_FILE_LIMIT:
        raise KeyFileError(f"{path}: over {PUBLIC_FILE_LIMIT} bytes, too many for a file of keys")
    keys = []
    for number, line in enumerate(data.split(b"\n"), 1):
        text = line.strip().decode("utf-8", "replace")
        if not text or text.startswith(("#", "untrusted comment:")):
            continue
        try:
            keys.append(PublicKey.parse(text))
        except KeyFileError as error:
            raise KeyFileError(f"{path}: line {number}: {error}") from None
    if not keys:
        raise KeyFileError(f"{path}: no public key in it")
    return keys


def read_public_half(path: StrPath, passphrase: Callable[[], bytes]) -> PublicKey:
    """Return the public half of the secret key at path: from the .pub beside it, else by reading the secret.

    Raises KeyFileError.
    """
    beside = public_path(path)
    if not os.path.exists(beside):
        return read_secret_key(path, passphrase).public
    keys = read_public_keys(beside)
    if len(keys) != 1:
        raise KeyFileError(f"{beside}: {len(keys)} keys, where one is expected")
    return keys[0]


def refuse_existing(path: StrPath) -> None:
    """Raise KeyFileError if a secret key or its public half is there already."""
    for existing in (os.fspath(path), public_path(path)):
        if os.path.lexists(existing):
            raise KeyFileError(f"{existing}: there already, and never overwritten")


def write_secret_key(path: StrPath, key: SecretKey, passphrase: bytes | None) -> None:
    """Write a secret key (mode 0600), then its public half beside it.

    Both come into being whole or not at all, survive a crash of the machine, and replace nothing. Missing
    directories are made with mode 0700. Raises KeyFileError.
    """
    refuse_existing(path)
    create_file(path, encode_secret(key, passphrase, "overflowd secret key"), 0o600)
    public = f"untrusted comment: overflowd public key\n{key.public.text}\n"
    create_file(public_path(path), public.encode(), 0o644)


def create_file(path: StrPath, data: bytes, mode: int) -> None:
    """Make a new file with these contents, at once and durably; mode is narrowed by the umask.

    Raises KeyFileError if there is such a file, or if it cannot be made.
    """
    directory = os.path.dirname(path) or "."
    temporary = os.path.join(directory, f".overflowd-{os.urandom(8).hex()}")
    try:
        make_directories(directory)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            with open(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            os.link(temporary, path)  # a rename would replace what is there
        finally:
            os.unlink(temporary)
        sync_directory(directory)
    except FileExistsError:
        raise KeyFileError(f"{path}: there already, and never overwritten") from None
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be made: {error.strerror}") from None


def make_directories(path: str) -> None:
    """Make a directory (mode 0700) and those above it, where they are missing. Raises OSError."""
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path) or "."
    make_directories(parent)
    with suppress(FileExistsError):  # another process was faster
        os.mkdir(path, 0o700)
    sync_directory(parent)


def sync_directory(path: str) -> None:
    """Bring the names in a directory to the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refuse_exposed(path: StrPath, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise KeyFileError(f"{path}: not a regular file")
    mode = stat.S_IMODE(status.st_mode)
    owners, exposed = {os.geteuid()}, 0o077
    if _is_credential(path):
        # systemd leaves a credential to root with mode 0400 and lets the service's user read it by an ACL,
        # whose mask appears as the mode of the group; on file systems without ACLs that user owns it.
        owners, exposed = {0, os.geteuid()}, 0o037
    if status.st_uid not in owners:
        raise KeyFileError(f"{path}: belongs to another user (uid {status.st_uid}, not {os.geteuid()})")
    if mode & exposed:
        raise KeyFileError(f"{path}: open to others (mode {mode:04o}); run: chmod 600 {quoted(path)}")


def _is_credential(path: StrPath) -> bool:
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    return bool(directory) and os.path.realpath(os.path.dirname(path)) == os.path.realpath(str(directory))


def _option(path: StrPath) -> str:
    return "" if os.fspath(path) == default_path() else f" -k {quoted(path)}"


def quoted(path: StrPath) -> str:
    """Return a path as it is written in a command of sh(1)."""
    from shlex import quote

    return quote(os.fspath(path))

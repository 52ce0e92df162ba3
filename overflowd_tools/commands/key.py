"""of-key: the keys that sign reports, and what is known about those of others."""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager
from itertools import islice

from overflowd_tools import command, passphrase
from overflowd_tools.errors import KeyFileError, RecordError, UsageError
from overflowd_tools.options import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from overflowd_tools.reports.statements import Evidence, Statement
    from overflowd_tools.trust.keyring import Keyring
    from overflowd_tools.trust.keys import PublicKey, SecretKey
    from overflowd_tools.trust.update import Update

    _Option = tuple[tuple[str, ...], dict[str, Any]]

_DAY_MS = 86_400_000
_LINES_AT_ONCE = 1000


def options() -> Options:
    """Return the options of of-key and its subcommands."""
    made = command.options("of-key", "Make and show keys, and judge those of others.", files=False)

    def add(title: str, summary: str, action: Callable[..., None], *more: _Option, **defaults: str) -> None:
        subcommand = made.subcommand(title, summary, action=action, name="", **defaults)
        for names, settings in more:
            subcommand.add(*names, **settings)

    secret = (
        _option("FILE", "secret-key file, in minisign's format", "-k", "--key", type=_path),
        _option("N", "take the passphrase from this descriptor", "--passphrase-fd", type=int),
    )
    ring = _option("FILE", "file of what is known about keys", "--keyring", type=_path)
    key = _operand("KEY", "a public key, or a file with one", "public")
    maybe_key = _operand("KEY", "a public key, or a file with one", "public", nargs="?")
    email = _option("ADDR", "contact address of the reporter", "--email")
    identity = _option("NAME", "name of the reporter", "--identity")
    opening = ("--receiving",), {"action": "store_true", "help": "a key that opens what is sealed, not one that signs"}
    add("new", "make a key and print its public half", _new, *secret, email, identity, opening)
    shown = "print the public half of a key, or what is known about KEY"
    add("show", shown, _show, *secret, opening, ring, maybe_key)
    add("list", "print what is known about every key", _list, ring)
    add("trust", "take KEY for known from now on", _decide, ring, key, decision="trusted")
    add("distrust", "refuse what KEY signs", _decide, ring, key, decision="distrusted")
    name = _operand("NAME", "whose key it is", "name")
    add("pin", "say whose KEY is", _decide, ring, key, name, decision="pinned")
    remark = _operand("TEXT", "the remark; an empty one takes it back", "text")
    add("note", "keep a remark about KEY", _note, ring, key, remark)
    new = _operand("NEW", "secret-key file of the key that follows", "new", type=_path)
    overlap = _option("DAYS", "how long the old key goes on (30)", "--overlap", type=_days, default=30)
    add("rotate", "print the statement that the key in NEW follows the key", _rotate, *secret, overlap, new)
    since = _option("TIME", "when it became unsafe: 2026-11-21T12:00Z", "--since", type=_time)
    reason = _option("TEXT", "why", "--reason", default="")
    add("revoke", "print the statement that a key is not to be used", _revoke, *secret, since, reason, maybe_key)
    recovery = _option("KEY", "announce this key as the one that may revoke it", "--recovery")
    expires = _option("DAYS", "announce for how long the key is good", "--expires", type=_days)
    keys = _operand("KEY", "public keys, or files with one", "publics", nargs="*")
    announced = "print the announcement of the key, or what proves something about KEY"
    add("export", announced, _export, *secret, ring, recovery, expires, keys)
    files = _operand("FILE", "input files; - or none: standard input", "files", nargs="*")
    add("import", "take in keys and statements about keys", _import, ring, files)
    policy = _option("FILE", "policy of of-verify", "--policy", type=_path)
    add("check", "check the key, the keyring and the policy", _check, *secret, ring, policy)
    return made


def _option(metavar: str, summary: str, *flags: str, **settings: Any) -> _Option:
    return flags, {"metavar": metavar, "help": summary, **settings}


def _operand(metavar: str, summary: str, name: str, **settings: Any) -> _Option:
    return (name,), {"metavar": metavar, "help": summary, **settings}


def _path(text: str) -> str:
    if not text:  # an unset variable of a script, which must not mean the default
        raise UsageError("the name of the file is empty")
    return text


def _days(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 36_500:
        raise UsageError(f"not a number of days from 1 to 36500: {text}")
    return int(text)


def _time(text: str) -> int:
    from datetime import UTC, datetime

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"not a time such as 2026-11-21T12:00Z: {text}") from None
    milliseconds = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    if milliseconds < 0:
        raise UsageError(f"before 1970: {text}")
    return milliseconds


def run(context: command.Context) -> None:
    """Do what the subcommand says."""
    context.args.action(context)


# --- the key of our own


def _new(context: command.Context) -> None:
    from overflowd_tools import config
    from overflowd_tools.trust import keyfiles
    from overflowd_tools.trust.keys import SecretKey

    args = context.args
    if args.receiving:
        _new_receiving(context)
        return
    path = args.key or config.load().key_path or os.path.join(keyfiles.config_directory(), "key")
    keyfiles.refuse_existing(path)
    key_path = os.path.abspath(args.key) if args.key else None
    write_contact = config.is_to_be_made(args.email, args.identity, key_path)
    key = SecretKey.generate()
    keyfiles.write_secret_key(path, key, passphrase.choose(args.passphrase_fd))
    _print(context, key.public.text.encode())
    context.note(f"{path}: new key")
    if write_contact:
        config.create(args.email, args.identity, key_path)
        context.note(f"{config.path()}: new settings")


def _new_receiving(context: command.Context) -> None:
    from overflowd_tools.trust import keyfiles, receiving
    from overflowd_tools.trust.sealing import ReceivingKey

    args = context.args
    if args.email is not None or args.identity is not None or args.passphrase_fd is not None:
        raise UsageError("--receiving goes with -k alone: no settings name such a key, and it is not encrypted")
    path = args.key or os.path.join(keyfiles.config_directory(), "receiving-key")
    key = ReceivingKey(os.urandom(32))
    receiving.write_key(path, key)
    _print(context, key.public.text.encode())
    context.note(f"{path}: new key")


def _key_path(context: command.Context) -> str:
    from overflowd_tools import config
    from overflowd_tools.trust import keyfiles

    return str(context.args.key or config.load().key_path or keyfiles.default_path())


def _secret_key(context: command.Context, path: str) -> SecretKey:
    from overflowd_tools.trust import keyfiles

    return keyfiles.read_secret_key(path, _asking(context, path))


def _asking(context: command.Context, path: str) -> Callable[[], bytes]:
    return lambda: passphrase.read(context.args.passphrase_fd, f"Passphrase of {path}: ")


def _rotate(context: command.Context) -> None:
    from overflowd_tools.reports import statements

    old = _secret_key(context, _key_path(context))
    new = _secret_key(context, context.args.new)
    now_ms = _now_ms()
    _print(context, statements.rotation(old, new, now_ms, now_ms + context.args.overlap * _DAY_MS))


def _revoke(context: command.Context) -> None:
    from overflowd_tools.reports import statements

    args, now_ms = context.args, _now_ms()
    signer = _secret_key(context, _key_path(context))
    key = _public(args.public) if args.public else signer.public
    _print(
        context, statements.revocation(key, signer, now_ms, now_ms if args.since is None else args.since, args.reason)
    )


def _export(context: command.Context) -> None:
    if context.args.publics:
        _export_proofs(context)
        return
    from overflowd_tools import config
    from overflowd_tools.reports import statements

    args, now_ms, found = context.args, _now_ms(), config.load()
    contact = {"email": found.email, "identity": found.identity} if found.email and found.identity else None
    recovery = _public(args.recovery) if args.recovery else None
    expires_ms = now_ms + args.expires * _DAY_MS if args.expires else None
    key = _secret_key(context, _key_path(context))
    _print(context, statements.announcement(key, now_ms, contact, expires_ms, recovery))


# --- what is known about the keys of others


@contextmanager
def _keyring(context: command.Context) -> Iterator[Keyring]:
    """Open the keyring; an empty one is made only where something is to be written."""
    from overflowd_tools.trust.keyring import Keyring

    path = _ring_path(context)
    if context.args.action in (_list, _show, _export) and not os.path.exists(path):
        raise KeyFileError(f"{path}: no such keyring")
    checking = context.args.action is _check
    keyring = Keyring(path, (lambda message: context.reject("", "", message, "keyring")) if checking else context.say)
    try:
        yield keyring
    finally:
        keyring.close()


def _ring_path(context: command.Context) -> str:
    from overflowd_tools.trust.keyfiles import config_directory

    return context.args.keyring or os.path.join(config_directory(), "keyring")


def _public(value: str) -> PublicKey:
    """Return the key of its text, or of a file with one. Raises KeyFileError."""
    from overflowd_tools.trust.keyfiles import read_public_keys
    from overflowd_tools.trust.keys import PublicKey

    if not os.path.exists(value):
        try:
            return PublicKey.parse(value)
        except KeyFileError as error:
            raise KeyFileError(f"{value}: {error}") from None
    keys = read_public_keys(value)
    if len(keys) != 1:
        raise KeyFileError(f"{value}: {len(keys)} keys, where one is expected")
    return keys[0]


def _show(context: command.Context) -> None:
    from overflowd_tools.trust import keyfiles, receiving

    if context.args.public:
        _show_known(context)
        return
    if context.args.receiving:
        path = context.args.key or receiving.default_path()
        for key in receiving.read_keys(path, _asking(context, path)):
            _print(context, key.public.text.encode())
        return
    path = _key_path(context)
    _print(context, keyfiles.read_public_half(path, _asking(context, path)).text.encode())


def _show_known(context: command.Context) -> None:
    key = _public(context.args.public)
    with _keyring(context) as keyring:
        known = keyring.about(key)
    if known is None:
        raise KeyFileError(f"{key.text}: not in the keyring")
    _print_json(context, known)


def _list(context: command.Context) -> None:
    from overflowd_tools.trust.reputation import RANK

    with _keyring(context) as keyring, keyring.reading() as index:
        records = sorted(index.records(), key=lambda record: (-RANK[record.state], -record.last_ms, record.text))
    for record in records:
        _print_json(context, record.summary())


def _decide(context: command.Context) -> None:
    from overflowd_tools import config

    args = context.args
    key = _public(args.public)
    if args.decision == "pinned":
        config.check_text("NAME", args.name)
    with _keyring(context) as keyring, keyring.update(_now_ms()) as update:
        if update.record(key).revoked_ms:
            context.say(f"{key.text}: revoked, and stays so")
        update.decide(key, args.decision, args.name)


def _note(context: command.Context) -> None:
    from overflowd_tools import config

    text = context.args.text
    key = _public(context.args.public)
    if text:
        config.check_text("TEXT", text)
    with _keyring(context) as keyring, keyring.update(_now_ms()) as update:
        update.note(key, text)


def _import(context: command.Context) -> None:
    context.counts["imported"] = 0
    with _keyring(context) as keyring:
        for source in context.inputs():
            lines = source.lines()
            while some := list(islice(lines, _LINES_AT_ONCE)):  # nobody waits for our input with the lock in hand
                with keyring.update(_now_ms()) as update:
                    for number, line in some:
                        _take_in(context, update, source.name, number, line)


def _take_in(context: command.Context, update: Update, name: str, number: int, line: bytes) -> None:
    from overflowd_tools.reports import statements
    from overflowd_tools.trust.keys import PublicKey

    if line.startswith((b"#", b"untrusted comment:")):
        return
    try:
        if line.startswith(b"RW"):
            key = PublicKey.parse(line.strip().decode("utf-8", "replace"))
            update.note(key, update.record(key).note)
        elif statement := statements.read(line):
            _apply(update, statement)
        else:
            raise RecordError("neither a key nor a statement about one")
    except (KeyFileError, RecordError) as error:
        context.reject(name, f"line {number}", str(error))
    else:
        context.counts["imported"] += 1


def _apply(update: Update, statement: Statement | Evidence) -> None:
    from overflowd_tools.reports import statements

    if isinstance(statement, statements.Evidence):
        update.prove(statement.key, statement.first, statement.second)
        return
    statements.check_time(statement, _now_ms())
    keys, members = statement.keys, statement.members
    if statement.schema == statements.ANNOUNCEMENT:
        update.announce(keys["key"], members)
    elif statement.schema == statements.ROTATION:
        update.rotate(keys["old"], keys["new"], members)
    else:
        update.revoke(keys["key"], keys.get("recovery"), members)


def _export_proofs(context: command.Context) -> None:
    """Print what others can check by themselves: the statements about keys, and the evidence against them."""
    if context.args.recovery or context.args.expires:
        raise UsageError("--recovery and --expires are for the announcement of your own key")
    with _keyring(context) as keyring, keyring.reading() as index:
        for value in context.args.publics:
            for _, text in sorted(index.statements(_public(value).raw).items()):
                _print(context, text)


# --- check


def _check(context: command.Context) -> None:
    from overflowd_tools.stream import read_text
    from overflowd_tools.trust import policy

    _check_key(context)
    if context.args.policy:
        policy.parse(read_text(context.args.policy), context.args.policy)
    if context.args.keyring or os.path.exists(_ring_path(context)):
        with _keyring(context) as keyring:
            context.counts["events"] = keyring.check()


def _check_key(context: command.Context) -> None:
    from overflowd_tools.trust import keyfiles

    path = _key_path(context)
    if not context.args.key and not os.path.exists(path):
        return
    public = keyfiles.read_secret_key(path, _asking(context, path)).public
    if public != keyfiles.read_public_half(path, _asking(context, path)):
        raise KeyFileError(f"{keyfiles.public_path(path)}: not the public half of {path}")


def _print_json(context: command.Context, value: dict[str, Any]) -> None:
    import json

    _print(context, json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def _print(context: command.Context, line: bytes) -> None:
    context.output.write(line + b"\n")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def main(argv: Sequence[str] | None = None) -> int:
    """Run of-key and return its exit status."""
    return command.run(options(), run, argv)


if __name__ == "__main__":
    sys.exit(main())

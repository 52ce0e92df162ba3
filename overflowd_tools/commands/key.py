"""of-key: make and show the key that signs reports."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from overflowd_tools import command, passphrase
from overflowd_tools.errors import UsageError


def options() -> command.Parser:
    """Return the parser of of-key and its subcommands."""
    parser = command.parser("of-key", "Make and show the key that signs reports.", files=False)
    subcommands = parser.add_subparsers(metavar="COMMAND", required=True)
    _subcommand(subcommands, "new", "make a key and print its public half", _new, _new_options)
    _subcommand(subcommands, "show", "print the public half of a key", _show)
    return parser


def _subcommand(
    subcommands: "argparse._SubParsersAction[command.Parser]",
    name: str,
    summary: str,
    action: Callable[[command.Context], None],
    more: Callable[[command.Parser], None] | None = None,
) -> None:
    parser = subcommands.add_parser(name, help=summary, description=f"{summary.capitalize()}.", allow_abbrev=False)
    add = parser.add_argument
    add("-k", "--key", metavar="FILE", type=_path, action=command.Once, help="secret-key file, in minisign's format")
    add("--passphrase-fd", metavar="N", type=int, action=command.Once, help="take the passphrase from this descriptor")
    if more:
        more(parser)
    parser.set_defaults(action=action)


def _new_options(parser: command.Parser) -> None:
    add = parser.add_argument
    add("--email", metavar="ADDR", action=command.Once, help="contact address of the reporter")
    add("--identity", metavar="NAME", action=command.Once, help="name of the reporter")


def _path(text: str) -> str:
    if not text:  # an unset variable of a script, which must not mean the default
        raise argparse.ArgumentTypeError("the name of the file is empty")
    return text


def run(context: command.Context) -> None:
    """Do what the subcommand says."""
    context.args.action(context)


def _new(context: command.Context) -> None:
    from overflowd_tools import config
    from overflowd_tools.trust import keyfiles
    from overflowd_tools.trust.keys import SecretKey

    args = context.args
    path = args.key or config.load().key_path or os.path.join(keyfiles.config_directory(), "key")
    keyfiles.refuse_existing(path)
    write_contact = _contact_is_new(args)
    key = SecretKey.generate()
    keyfiles.write_secret_key(path, key, _new_passphrase(args.passphrase_fd))
    context.output.write(f"{key.public.text}\n".encode())
    context.note(f"{path}: new key")
    if write_contact:
        config.create(args.email, args.identity, _absolute(args.key))
        context.note(f"{config.path()}: new settings")


def _contact_is_new(args: argparse.Namespace) -> bool:
    """Tell whether to write --email and --identity down; settings that differ are the user's to change."""
    from overflowd_tools import config

    if args.email is None and args.identity is None:
        return False
    if args.email is None or args.identity is None:
        raise UsageError("--email and --identity go together")
    config.check_email("--email", args.email)
    config.check_text("--identity", args.identity)
    found = config.load()
    key_path = _absolute(args.key)
    if key_path:
        config.check_text("--key", key_path)
    if found == config.Config(args.email, args.identity, key_path or found.key_path):
        return False
    if os.path.lexists(config.path()):
        raise UsageError(f"{config.path()}: has other settings, and is yours to change; no key was made")
    return True


def _absolute(path: str | None) -> str | None:
    return os.path.abspath(path) if path else None


def _new_passphrase(descriptor: int | None) -> bytes | None:
    if descriptor is not None:
        return passphrase.read(descriptor, "")
    if not os.isatty(0):
        return None
    first = passphrase.ask("Passphrase (empty for none): ")
    if first and passphrase.ask("The same again: ") != first:
        raise UsageError("the two passphrases differ; no key was made")
    return first or None


def _show(context: command.Context) -> None:
    from overflowd_tools import config
    from overflowd_tools.trust import keyfiles

    path = context.args.key or config.load().key_path or keyfiles.default_path()
    public = keyfiles.read_public_half(
        path, lambda: passphrase.read(context.args.passphrase_fd, f"Passphrase of {path}: ")
    )
    context.output.write(f"{public.text}\n".encode())


def main(argv: Sequence[str] | None = None) -> int:
    """Run of-key and return its exit status."""
    return command.run(options(), run, argv)


if __name__ == "__main__":
    sys.exit(main())

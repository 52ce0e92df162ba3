"""The options of a command, declared once as plain data; a plain command line is read here, any other by argparse.

To import and set up argparse takes longer than all else that a command does before its first line (see usage.py).
"""

from __future__ import annotations

from types import SimpleNamespace

from overflowd_tools.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any


class Argument:
    """An option or an operand: its names, its group in the help, and its settings, which are those of argparse."""

    def __init__(self, names: tuple[str, ...], group: str | None, settings: dict[str, Any]) -> None:
        self.names = names
        self.group = group
        self.settings = settings
        longest = next((name for name in names if name.startswith("--")), names[0])
        self.dest = longest.lstrip("-").replace("-", "_")
        self.action = settings.get("action")
        self.default = settings.get("default", False if self.action == "store_true" else None)

    def value(self, text: str) -> Any:
        """Return what this word on the command line means. Raises UsageError, TypeError or ValueError."""
        convert = self.settings.get("type")
        value = convert(text) if convert else text
        if value not in self.settings.get("choices", (value,)):
            raise UsageError(f"invalid choice: {text}")
        return value


class Options:
    """What may stand on the command line of a command, or of one of its subcommands."""

    def __init__(self, prog: str, summary: str) -> None:
        self.prog = prog
        self.summary = summary
        self.arguments: list[Argument] = []
        self.subcommands: list[Options] = []
        self.defaults: dict[str, Any] = {}
        """What a subcommand sets, whatever its options."""

    def add(self, *names: str, group: str | None = None, **settings: Any) -> None:
        """Declare an option or an operand; the usage shows them in this order.

        An option that takes a value may be given once only: a second rate or key file is a mistake, not a correction.
        action="append" is for those that may be repeated. A type raises UsageError with the reason that a user is told.
        """
        if names[0].startswith("-"):
            settings.setdefault("action", "once")
        self.arguments.append(Argument(names, group, settings))

    def subcommand(self, name: str, summary: str, /, **defaults: Any) -> Options:
        """Declare a subcommand, and return what takes its options."""
        made = Options(name, summary)
        made.defaults = defaults
        self.subcommands.append(made)
        return made

    def read(self, argv: Sequence[str]) -> SimpleNamespace | None:
        """Return what argparse would make of a plain command line, and None for any other.

        Plain are options, each a word of its own, their values and FILEs. Help, subcommands and mistakes are not.
        """
        if self.subcommands:
            return None
        try:
            return _read(self.arguments, argv)
        except (_NotPlainError, UsageError, TypeError, ValueError):
            return None


class _NotPlainError(Exception):
    """This command line is for argparse."""


def _read(arguments: list[Argument], argv: Sequence[str]) -> SimpleNamespace:
    options = {name: argument for argument in arguments for name in argument.names}
    values = {argument.dest: argument.default for argument in arguments if argument.action not in ("help", "version")}
    operands: list[str] = []
    given: set[str] = set()
    end = argv.index("--") if "--" in argv else len(argv)
    words = iter(argv[:end])
    for word in words:
        if _is_operand(word):
            operands.append(word)
            continue
        name, equals, text = word.partition("=")
        option = options.get(name)
        if option is None or (equals and not name.startswith("--")):
            raise _NotPlainError
        if option.action == "store_true" and not equals:
            values[option.dest] = True
        elif option.action == "append":
            values[option.dest] = [*(values[option.dest] or ()), option.value(text if equals else _next(words))]
        elif option.action == "once" and option.dest not in given:
            values[option.dest] = option.value(text if equals else _next(words))
        else:
            raise _NotPlainError
        given.add(option.dest)
    operands += argv[end + 1 :]
    if "files" in values:
        values["files"] = operands
    elif operands:
        raise _NotPlainError
    return SimpleNamespace(**values)


def _is_operand(word: str) -> bool:
    return word == "-" or not word.startswith("-")


def _next(words: Iterator[str]) -> str:
    """Return the word after an option that wants one."""
    word = next(words, "--")
    if not _is_operand(word):
        raise _NotPlainError
    return word

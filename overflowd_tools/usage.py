"""Help, and what is wrong with a command line: argparse, set up from the same options that plain lines are read by."""

from __future__ import annotations

import argparse
import os
from types import SimpleNamespace

from overflowd_tools import stream
from overflowd_tools.errors import UsageError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, NoReturn

    from overflowd_tools.options import Argument, Options


def parse(options: Options, argv: Sequence[str]) -> SimpleNamespace:
    """Parse with options and FILEs in any order, FILEs alone after --; subcommands have an order of their own.

    Help and mistakes end the process: SystemExit with status 0 or 2.
    """
    made = parser(options)
    args = SimpleNamespace()
    if options.subcommands:
        made.parse_args(argv, args)
    else:
        end = argv.index("--") if "--" in argv else len(argv)
        made.parse_intermixed_args(argv[:end], args)
        operands = argv[end + 1 :]
        if operands and not hasattr(args, "files"):
            made.error(f"unrecognized arguments: {' '.join(operands)}")
        elif operands:
            args.files = [*args.files, *operands]
    vars(args).pop(_GIVEN, None)
    return args


def parser(options: Options) -> Parser:
    """Return an argument parser for these options."""
    made = Parser(
        prog=options.prog,
        description=options.summary,
        allow_abbrev=False,
        add_help=False,
        formatter_class=_HelpFormatter,
    )
    _add(made, options.arguments)
    if options.subcommands:
        subparsers = made.add_subparsers(metavar="COMMAND", required=True)
        for nested in options.subcommands:
            summary = nested.summary
            under = subparsers.add_parser(
                nested.prog, help=summary, description=f"{summary.capitalize()}.", allow_abbrev=False
            )
            _add(under, nested.arguments)
            under.set_defaults(**nested.defaults)
    return made


class Parser(argparse.ArgumentParser):
    """An argument parser with the manners of the suite: one line and the usage on stderr, exit status 2."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the command line, and exit with status 2."""
        stream.tell(f"{self.prog}: {printable(message)}\n{self.format_usage()}")
        self.exit(2)

    def _print_message(self, message: str, file: Any = None) -> None:  # noqa: ARG002 - help and version are all of it
        stream.print_all(message.encode())


class _HelpFormatter(argparse.HelpFormatter):
    """As wide as the terminal; told so here, because argparse would import shutil to find out, at every start."""

    def __init__(self, prog: str) -> None:
        columns = os.environ.get("COLUMNS", "")
        try:
            width = int(columns) if columns.isdecimal() else os.get_terminal_size(1).columns
        except OSError:
            width = 80
        super().__init__(prog, width=max(width, 40) - 2)


class _Once(argparse.Action):
    """An option that may be given once only."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: Any,
        values: Any,
        option: str | None = None,
    ) -> None:
        """Store the value; a second one is a usage error."""
        given = vars(namespace).setdefault(_GIVEN, set())
        if self.dest in given:
            parser.error(f"{option} is given more than once")
        given.add(self.dest)
        setattr(namespace, self.dest, values)


_GIVEN = "options given once"


def _add(made: Parser, arguments: list[Argument]) -> None:
    made.register("action", "once", _Once)
    groups: dict[str | None, Any] = {None: made}
    for argument in arguments:
        if argument.group not in groups:
            groups[argument.group] = made.add_argument_group(argument.group)
        settings = dict(argument.settings)
        if "type" in settings:
            settings["type"] = _told(settings["type"])
        groups[argument.group].add_argument(*argument.names, **settings)


def _told(convert: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a type of which argparse tells the user the reason."""

    def told(text: str) -> Any:
        try:
            return convert(text)
        except UsageError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    told.__name__ = convert.__name__  # which the complaint about what int or float refuses names
    return told

"""The house: every command has its link, module, entry point and man page, and the pages say what the options are."""

import re
import subprocess
import tomllib
from datetime import datetime
from pathlib import Path

import pytest
from harness import BIN, COMMANDS, TOP, parsers

MAN = TOP / "man"
PAGES = sorted(MAN.iterdir())
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())
COMMAND_SECTIONS = ("NAME", "SYNOPSIS", "DESCRIPTION", "EXIT STATUS", "EXAMPLES", "SEE ALSO")
OTHER_SECTIONS = ("NAME", "DESCRIPTION", "SEE ALSO")
LONGEST = 420
LONGEST_TEST = 520
LONG_FOR_A_REASON = {
    "man/overflowd-record.5": "a reference of every field, to be read in parts",
    "man/overflowd-report.5": "a reference of every field, to be read in parts",
    "tests/commands/test_decode.py": "every protocol, container and way of being cut, against independent oracles",
    "tests/commands/test_send.py": "each reason for a refusal needs a report, and each limit a clock",
    "tests/test_command.py": "what commands share, each part alone",
    "tests/test_stream.py": "one owner of pipes and files, against all their moods",
}


def test_a_command_is_in_all_four_places():
    modules = {path.stem for path in (TOP / "overflowd_tools" / "commands").glob("*.py")} - {"__init__"}
    assert {f"of-{name}" for name in modules} == set(COMMANDS)
    assert {page.stem for page in PAGES if page.suffix == ".1"} == set(COMMANDS)
    assert PROJECT["project"]["scripts"] == {
        command: f"overflowd_tools.commands.{command.removeprefix('of-')}:main" for command in COMMANDS
    }
    assert all((BIN / command).readlink() == Path("of") for command in COMMANDS)


def test_man_pages_are_installed_by_pip():
    shared = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    assert shared == {f"man/{page.name}": f"share/man/man{page.suffix[1:]}/{page.name}" for page in PAGES}


def test_readme_names_every_command():
    rows = re.findall(r"^\| `(of-[a-z]+)` \|", (TOP / "README.md").read_text(), re.MULTILINE)
    assert sorted(rows) == COMMANDS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_man_page_form(page):
    text = page.read_text()
    assert text.startswith(".Dd ")
    datetime.strptime(text.splitlines()[0], ".Dd %B %d, %Y")
    assert f"\n.Dt {page.stem.upper()} {page.suffix[1:]}\n.Os\n.Sh NAME\n.Nm {page.stem}\n.Nd " in text
    sections = re.findall(r"^\.Sh (.+)$", text, re.MULTILINE)
    for name in COMMAND_SECTIONS if page.suffix == ".1" else OTHER_SECTIONS:
        assert name in sections
    assert re.search(r"[^\x00-\x7f]", text) is None


@pytest.mark.parametrize("command", COMMANDS)
def test_man_page_and_help_have_the_same_options(command):
    text = (MAN / f"{command}.1").read_text()
    described = {option for line in re.findall(r"^\.It (Fl .+)$", text, re.MULTILINE) for option in flags(line)}
    assert described == {
        option for parser in parsers(command).values() for action in parser._actions for option in action.option_strings
    }
    synopsis = flags(text.partition(".Sh SYNOPSIS\n")[2].partition("\n.Sh ")[0])
    assert synopsis <= described


def flags(macros: str) -> set[str]:
    """Return the options in mdoc(7) source: Fl kq is -k and -q, Fl -key is --key."""
    words = re.findall(r"\bFl (-?[A-Za-z0-9][A-Za-z0-9-]*)", macros)
    long = {f"-{word}" for word in words if word.startswith("-")}
    return long | {f"-{letter}" for word in words if not word.startswith("-") for letter in word}


@pytest.mark.parametrize("command", COMMANDS)
def test_subcommands_are_described(command):
    text = (MAN / f"{command}.1").read_text()
    described = set(re.findall(r"^\.It Cm (\S+)", text, re.MULTILINE))
    assert described == set(parsers(command)) - {""}


def test_no_file_is_empty_and_none_too_long():
    files = {str(path.relative_to(TOP)): path for path in house() if path.is_file() and not path.is_symlink()}
    assert len(files) > 100
    empty = {name for name, path in files.items() if not path.stat().st_size}
    assert not {name for name in empty if not name.startswith("tests/golden/")}
    lengths = {name: len(path.read_bytes().splitlines()) for name, path in files.items() if is_for_people(name)}
    long = {name for name, length in lengths.items() if length > (LONGEST_TEST if "/test_" in name else LONGEST)}
    assert long == set(LONG_FOR_A_REASON)


def house() -> list[Path]:
    """Return what git would commit; in a copy without git, what lies in the rooms."""
    listing = ["git", "-C", str(TOP), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listing, capture_output=True, check=False)
    if done.returncode == 0:
        return [TOP / name for name in done.stdout.decode().split("\0") if name and (TOP / name).exists()]
    rooms = [TOP / name for name in ("bin", "man", "overflowd_tools", "tests")]
    return [path for room in rooms for path in room.rglob("*") if "__pycache__" not in path.parts]


def is_for_people(name: str) -> bool:
    """Tell what people write from data and tables."""
    return not name.startswith(("tests/data/", "tests/golden/")) and not name.endswith(".tsv")

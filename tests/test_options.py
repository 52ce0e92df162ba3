"""Plain command lines are read as argparse would read them, and all others are left to it."""

from types import SimpleNamespace

import pytest
from harness import COMMANDS, module
from hypothesis import given
from hypothesis import strategies as st

from overflowd_tools import command, usage
from overflowd_tools.errors import UsageError
from overflowd_tools.options import Options

each = pytest.mark.parametrize("name", COMMANDS)


def even(text):
    number = int(text)
    if number % 2:
        raise UsageError(f"'{text}' is not even")
    return number


def probe():
    options = command.options("of-probe", "Copy lines.", progress=True)
    options.add("-r", "--rate", type=even, default=4)
    options.add("-n", "--dry-run", action="store_true")
    options.add("--count", type=int)
    options.add("--allow", action="append", default=["all"], group="limits")
    options.add("-k", "--key", action="append")
    options.add("--to", choices=("src", "dst"), group="limits")
    options.add("-x")
    return options


def by_argparse(options: Options, argv):
    """Return what argparse makes of a command line, and None where that is a complaint, or help."""
    try:
        return usage.parse(options, argv)
    except SystemExit:
        return None


def same(one: SimpleNamespace, other: SimpleNamespace) -> bool:
    return repr(sorted(vars(one).items())) == repr(sorted(vars(other).items()))


PLAIN = [
    ([], {}),
    (["a", "-", "b"], {"files": ["a", "-", "b"]}),
    (["a", "-q", "b", "--rate", "8", "c"], {"files": ["a", "b", "c"], "quiet": True, "rate": 8}),
    (["--rate=8", "--dry-run", "-n"], {"rate": 8, "dry_run": True}),
    (["-x", "-"], {"x": "-"}),
    (["-x", ""], {"x": ""}),
    (["--key="], {"key": [""]}),
    (["--key=a=b", "-k", "c"], {"key": ["a=b", "c"]}),
    (["--allow", "a", "--allow=b"], {"allow": ["all", "a", "b"]}),
    (["--to", "src"], {"to": "src"}),
    (["--count", " 7 "], {"count": 7}),
    (["", " -q"], {"files": ["", " -q"]}),
    (["-q", "--", "-v", "--", "a"], {"files": ["-v", "--", "a"], "quiet": True}),
    (["a", "--"], {"files": ["a"]}),
]


@pytest.mark.parametrize(("argv", "changed"), PLAIN)
def test_plain(argv, changed):
    options = probe()
    defaults = vars(by_argparse(options, []))
    read = options.read(argv)
    assert vars(read) == {**defaults, **changed}
    assert same(read, by_argparse(options, argv))


@pytest.mark.parametrize(
    "argv",
    [
        ["-h"],
        ["--help", "--nonsense"],
        ["-V"],
        ["--nonsense"],
        ["--rat", "8"],
        ["-r"],
        ["--rate"],
        ["-r", "-q"],
        ["-r", "--", "8"],
        ["-r", "-8"],
        ["-r", "7"],
        ["-r", "x"],
        ["-r", "8", "--rate=8"],
        ["-x", "a", "-x", "a"],
        ["--to", "all"],
        ["--quiet=yes"],
        ["--files", "a"],
    ],
)
def test_what_is_not_plain(argv):
    assert probe().read(argv) is None


@pytest.mark.parametrize(
    ("argv", "changed"),
    [
        (["-qv"], {"quiet": True, "verbose": True}),
        (["-r8"], {"rate": 8}),
        (["-nr", "8"], {"dry_run": True, "rate": 8}),
        (["-r=8"], {"rate": 8}),
        (["-r", "-8"], {"rate": -8}),
        (["-x", "-a b"], {"x": "-a b"}),
        (["-a b"], {"files": ["-a b"]}),
    ],
)
def test_what_argparse_alone_can_read(argv, changed):
    options = probe()
    assert options.read(argv) is None
    assert vars(by_argparse(options, argv)) == {**vars(by_argparse(options, [])), **changed}


def test_defaults_are_not_shared():
    options = probe()
    options.read(["--allow", "a", "-k", "b", "c"])
    read = options.read(["--allow", "d"])
    assert (read.allow, read.key, read.files) == (["all", "d"], None, [])


def test_a_command_without_files():
    options = command.options("of-probe", "Copy lines.", files=False)
    assert vars(options.read(["--stats"])) == vars(by_argparse(options, ["--stats"]))
    assert options.read(["a"]) is None
    assert options.read(["--", "a"]) is None
    assert same(options.read(["--"]), by_argparse(options, ["--"]))


def test_subcommands_are_left_to_argparse():
    options = command.options("of-probe", "Copy lines.", files=False)
    options.subcommand("new", "make one", name="", action=1).add("--key")
    assert options.read(["-q", "new", "--key", "a"]) is None
    read = by_argparse(options, ["-q", "new", "--key", "a"])
    assert (read.quiet, read.key, read.name, read.action) == (True, "a", "", 1)


WORDS = ["a", "-", "--", "", "0", "1", "2.5", "1e-6", "-1", "inf", "1/3", "x y", "-x y", "flow", "src", "2", "seen"]
WORDS += ["192.0.2.0/24", "::/0", "2055", "127.0.0.1:9", "=", "-=", "--=", "---", "\ud800", "2=3", "9" * 5000]


@st.composite
def command_lines(draw, options: Options):
    """Draw words that a person could mean, and others."""
    names = [name for argument in options.arguments for name in argument.names if name.startswith("-")]
    value = st.sampled_from(WORDS)
    name = st.sampled_from(names)
    word = st.one_of(
        value,
        name,
        st.builds("{}={}".format, name, value),
        st.builds("{}{}".format, name, value),
        st.builds(lambda name: name[:-1], name),
        st.lists(st.sampled_from("hVqvnrkupc"), max_size=3).map(lambda letters: "-" + "".join(letters)),
        st.text(max_size=4),
    )
    pair = st.tuples(name, value)
    return [word for words in draw(st.lists(pair | st.tuples(word), max_size=5)) for word in words]


def check(options: Options, argv):
    """Require that the two readers agree on a command line, and that argparse takes whatever the quick one takes."""
    read = options.read(argv)
    if read is not None:
        other = by_argparse(options, argv)
        assert other is not None
        assert same(read, other)


@each
def test_every_option_is_read_quickly(name):
    options = module(name).options()
    if options.subcommands:
        return
    for argument in options.arguments:
        if argument.action in ("help", "version"):
            continue
        values = [] if argument.action == "store_true" else WORDS
        lines = [[argument.names[-1], word] for word in values if not word.startswith("-")] or [[argument.names[0]]]
        understood = [line for line in lines if by_argparse(options, line) is not None]
        assert understood, argument.names
        assert all(options.read(line) is not None for line in understood)


@given(st.data())
def test_any_line_of_the_probe(data):
    options = probe()
    check(options, data.draw(command_lines(options)))


@each
@given(st.data())
def test_any_line_of_a_command(name, data):
    options = module(name).options()
    check(options, data.draw(command_lines(options)))

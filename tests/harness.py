"""Runs the commands of the checkout as their users do: by bin/of-*, with pipes, files and terminals."""

import contextlib
import importlib
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from overflowd_tools import usage
from overflowd_tools.trust.receiving import write_key
from overflowd_tools.trust.sealing import ReceivingKey

TOP = Path(__file__).resolve().parent.parent
BIN = TOP / "bin"
DATA = TOP / "tests" / "data"
COMMANDS = sorted(path.name for path in BIN.glob("of-*"))
SECONDS = 60


class Facts(NamedTuple):
    """How to put a command to work, and what it does with lines."""

    argv: tuple[str, ...] = ()
    input: str = "flows"  # attribute of Workplace
    passes_others: bool = True  # lines of a type that it does not handle go through
    keeps_fields: bool = True  # fields that it does not know survive
    empty_is_fine: bool = True
    reads_lines: bool = True
    listens: bool = False


FACTS = {
    "of-capture": Facts(("-u", "127.0.0.1:{port}"), listens=True),
    "of-decode": Facts(input="capture", empty_is_fine=False, reads_lines=False),
    "of-key": Facts(("show",)),
    "of-open": Facts(input="sealed", keeps_fields=False),
    "of-recv": Facts(("-l", "127.0.0.1:{port}"), listens=True),
    "of-sample": Facts(("-r", "1")),
    "of-seal": Facts(("--keys", "{home}/recipients"), input="reports", keeps_fields=False),
    "of-send": Facts(("-n", "--to", "udp://127.0.0.1:9"), input="reports", passes_others=False, keeps_fields=False),
    "of-sign": Facts(keeps_fields=False),
    "of-verify": Facts(input="reports", keeps_fields=False),
}


def facts(command: str) -> Facts:
    """Return what is special about a command; a new one is taken for a filter of flow lines."""
    return FACTS.get(command, Facts())


def module(command: str):
    """Return the module behind a command."""
    return importlib.import_module(f"overflowd_tools.commands.{command.removeprefix('of-')}")


def parsers(command: str):
    """Return the parser of a command, by the name "", and those of its subcommands."""
    parser = usage.parser(module(command).options())
    nested = [action.choices for action in parser._actions if action.nargs == "A..."]
    return {"": parser, **(nested[0] if nested else {})}


def reads_files(command: str) -> bool:
    return any(argument.dest == "files" for argument in module(command).options().arguments)


def environment(home: Path, **more: str) -> dict[str, str]:
    """Return an environment in which a run depends on nothing but itself; coverage may go on measuring."""
    kept = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
    return {
        **kept,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "OF_PYTHON": sys.executable,
        "TZ": "UTC",
        "LC_ALL": "C",
        "COLUMNS": "80",
        "NO_COLOR": "1",
        **more,
    }


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trial:
        trial.bind(("127.0.0.1", 0))
        return trial.getsockname()[1]


def readable(pipe, seconds: float = SECONDS) -> bool:
    """Wait until something can be read; say if that came to pass."""
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    return bool(poll.poll(1000 * seconds))


class Workplace(NamedTuple):
    """A home with a key and a contact, and good input of every kind."""

    home: Path
    flows: bytes = b""
    reports: bytes = b""
    sealed: bytes = b""
    capture: bytes = b""

    def good(self, command: str) -> bytes:
        """Return input for a command; none for one that reads no input."""
        return getattr(self, facts(command).input) if reads_files(command) else b""

    def repeated(self, command: str, times: int) -> bytes:
        """Return good input so many times over; a capture has its file header once."""
        good = self.good(command)
        return good + (times - 1) * (good if facts(command).reads_lines else good[24:])

    def argv(self, command: str) -> list[str]:
        """Return the arguments with which a command does something."""
        return [argument.format(port=free_port(), home=self.home) for argument in facts(command).argv]

    def run(self, command: str, *argv: object, **more) -> subprocess.CompletedProcess[bytes]:
        """Run a command with these arguments; its standard input is empty unless `input` or `stdin` is given."""
        return self._run([str(BIN / command), *map(str, argv)], **more)

    def do(self, command: str, *argv: object, **more) -> subprocess.CompletedProcess[bytes]:
        """Run a command with the arguments that it needs, and these."""
        return self.run(command, *self.argv(command), *argv, **more)

    def shell(self, command: str, script: str, **more) -> subprocess.CompletedProcess[bytes]:
        """Run a script of sh that has the command with the arguments that it needs as "$@"."""
        return self._run(["sh", "-c", script, "sh", str(BIN / command), *self.argv(command)], **more)

    def _run(self, argv: list[str], **more) -> subprocess.CompletedProcess[bytes]:
        if "input" not in more:
            more.setdefault("stdin", subprocess.DEVNULL)
        for stream in ("stdout", "stderr"):
            more.setdefault(stream, subprocess.PIPE)
        return subprocess.run(argv, env=environment(self.home), timeout=SECONDS, check=False, **more)

    def begin(self, command: str, *argv: object, arguments=None, **more) -> subprocess.Popen[bytes]:
        """Start a command, with pipes and no buffers of ours; the result is a context manager.

        arguments stand in for those that the command needs.
        """
        for stream in ("stdin", "stdout", "stderr"):
            more.setdefault(stream, subprocess.PIPE)
        argv = [str(BIN / command), *(arguments or self.argv(command)), *map(str, argv)]
        return subprocess.Popen(argv, env=environment(self.home), bufsize=0, **more)

    @contextlib.contextmanager
    def flowing(self, command: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a command with good input that does not end."""
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        done = threading.Event()
        room = select.poll()
        room.register(writer, select.POLLOUT)

        def feed() -> None:
            pending = self.good(command)
            more = self.repeated(command, 51)[len(pending) :]
            with contextlib.suppress(BrokenPipeError):
                while not done.is_set():
                    if room.poll(50):
                        pending = pending[os.write(writer, pending) :] or more

        feeder = threading.Thread(target=feed)
        with self.begin(command, stdin=reader) as process:
            os.close(reader)
            feeder.start()
            try:
                yield process
            finally:
                done.set()
                feeder.join()
                os.close(writer)
                process.kill()


def make_workplace(home: Path) -> Workplace:
    """Make keys and the input for all commands."""
    place = Workplace(home)
    place.run("of-key", "new", "--email", "noc@example.net", "--identity", "Example Net")
    flows = place.run("of-decode", DATA / "netflow5.pcap").stdout
    reports = place.run("of-sign", input=flows).stdout
    receiver = ReceivingKey(bytes(range(32)))
    write_key(home / ".config" / "overflowd" / "receiving-key", receiver)
    (home / "recipients").write_text(f"0.0.0.0/0 {receiver.public.text}\n::/0 {receiver.public.text}\n")
    sealed = place.do("of-seal", input=reports).stdout
    assert flows
    assert reports
    assert sealed
    return Workplace(home, flows, reports, sealed, (DATA / "netflow5.pcap").read_bytes())

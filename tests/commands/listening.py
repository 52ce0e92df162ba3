"""Run a command that listens on UDP, on the loopback interface, and end it whatever happens."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
SECONDS = 30


def environment():
    return {**os.environ, "PYTHONPATH": str(TOP)}


def argv(name, *options):
    return [sys.executable, "-P", "-m", f"overflowd_tools.commands.{name}", *options]


def run(name, *options, **more):
    """Run a command that ends by itself."""
    return subprocess.run(
        argv(name, *options), env=environment(), capture_output=True, timeout=SECONDS, check=False, **more
    )


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trial:
        trial.bind(("", 0))
        return trial.getsockname()[1]


def have_ipv6():
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as trial:
            trial.bind(("::1", 0))
    except OSError:
        return False
    return True


class Listening:
    """A running command whose sockets are open; its stderr after those lines is in `stderr` once it has ended."""

    def __init__(self, process, endpoints):
        self.process = process
        self.pid = process.pid
        self.endpoints = endpoints
        self.stderr = b""

    def read(self, size):
        """Read exactly this much of its output."""
        data = b""
        while len(data) < size:
            piece = os.read(self.process.stdout.fileno(), size - len(data))
            assert piece, f"the output ends after {len(data)} of {size} bytes"
            data += piece
        return data

    def line(self):
        data = b""
        while not data.endswith(b"\n"):
            data += self.read(1)
        return data

    def say_line(self):
        """Read one line of its stderr."""
        return self.process.stderr.readline()

    def kill(self, number):
        os.kill(self.pid, number)

    def pause(self):
        """Stop it with SIGSTOP, and wait until it stands still."""
        self.kill(signal.SIGSTOP)
        self._wait_for(lambda: self._status("State").startswith("T"))

    def wait_until_killable_by(self, number):
        """Wait until it catches the signal no longer."""
        self._wait_for(lambda: not int(self._status("SigCgt"), 16) >> (number - 1) & 1)

    def _status(self, name):
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith(f"{name}:"))

    def _wait_for(self, condition):
        end = time.monotonic() + SECONDS
        while not condition():
            assert time.monotonic() < end, "it does not happen"
            time.sleep(0.01)

    def end(self, number=signal.SIGTERM):
        """End it by a signal, or let it end by itself (None). Returns (exit status, rest of the output)."""
        if number is not None:
            self.kill(number)
        rest, self.stderr = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, rest


@contextmanager
def listening(name, *options, sockets=1, **more):
    """Start the command with -v and these options, and wait until it has said of each socket that it is open."""
    process = subprocess.Popen(
        argv(name, "-v", *options),
        **{
            "env": environment(),
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "bufsize": 0,
            **more,
        },
    )
    try:
        said = [process.stderr.readline() for _ in range(sockets)]
        assert all(b": listening on UDP " in line for line in said), said
        yield Listening(process, said)
    finally:
        process.kill()
        process.communicate()


def send(payload, port, address="127.0.0.1", source_port=0):
    """Send one datagram; returns the port that it came from."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        sender.bind(("", source_port))
        sender.sendto(payload, (address, port))
        return sender.getsockname()[1]

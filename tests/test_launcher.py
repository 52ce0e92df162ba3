"""bin/of: however a command is called, it finds its checkout and what that needs, and loads no more than that."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from harness import BIN, COMMANDS, DATA, SECONDS, TOP

PACKAGES = Path(orjson.__file__).parent.parent
LINE = b'{"type":"x","a":1}\n'
"""What of-sample parses, and passes on."""

SLOW = {
    *("argparse", "asyncio", "dataclasses", "gettext", "inspect", "ipaddress", "json", "logging", "pkgutil"),
    *("runpy", "site", "tempfile", "typing", "zlib"),
}
"""Modules of Python's own that start-up has no time for."""
LIBRARIES = {"backports", "nacl", "numpy", "orjson", "pyrage", "tqdm"}
"""Those of others, as test_imports.py has them."""


@pytest.fixture
def checkout(tmp_path):
    """A checkout in a place with a space in its name, with an environment as make would make it."""
    top = tmp_path / "a b" / "checkout"
    (top / ".venv" / "bin").mkdir(parents=True)
    (top / ".venv" / "bin" / "python").symlink_to(sys.executable)
    packages(top).parent.mkdir(parents=True)
    packages(top).symlink_to(PACKAGES)
    (top / "overflowd_tools").symlink_to(TOP / "overflowd_tools")
    shutil.copytree(BIN, top / "bin", symlinks=True)
    return top


def packages(top: Path) -> Path:
    return top / ".venv" / "lib" / "python{}.{}".format(*sys.version_info) / "site-packages"


def call(*argv, **more) -> subprocess.CompletedProcess[bytes]:
    environment = {"PATH": os.environ["PATH"], **more.pop("env", {})}
    return subprocess.run(argv, env=environment, input=LINE, capture_output=True, timeout=SECONDS, check=False, **more)


def works(done: subprocess.CompletedProcess[bytes]) -> bool:
    return (done.returncode, done.stdout, done.stderr) == (0, LINE, b"")


def test_called_by_its_path(checkout):
    assert works(call(checkout / "bin" / "of-sample"))
    assert works(call("bin/of-sample", cwd=checkout))
    assert works(call("./of-sample", cwd=checkout / "bin"))
    assert works(call("sh", "of-sample", cwd=checkout / "bin"))
    assert works(call("../bin/of-sample", cwd=checkout / "overflowd_tools"))


def test_found_in_the_path(checkout, tmp_path):
    path = f"{checkout / 'bin'}:{os.environ['PATH']}"
    assert works(call("sh", "-c", "of-sample", cwd=tmp_path, env={"PATH": path}))
    assert works(call("sh", "-c", "of-sample", cwd=checkout, env={"PATH": f"bin:{path}", "CDPATH": "/"}))


def test_called_by_links(checkout, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "of-sample").symlink_to(checkout / "bin" / "of-sample")
    (tmp_path / "of-sample").symlink_to("bin/of-sample")
    (tmp_path / "commands").symlink_to(checkout / "bin")
    assert works(call(tmp_path / "bin" / "of-sample"))
    assert works(call(tmp_path / "of-sample"))
    assert works(call("bin/of-sample", cwd=tmp_path))
    assert works(call(tmp_path / "commands" / "of-sample"))


def test_arguments_stay_as_they_are(checkout):
    done = call(checkout / "bin" / "of-sample", "", "a b", "$HOME", "*", "'")
    complaints = [f"of-sample: {name}: No such file or directory" for name in ("", "a b", "$HOME", "*", "'")]
    assert done.stderr.decode().splitlines() == complaints


def test_a_python_of_the_users_own(checkout, tmp_path):
    shutil.rmtree(checkout / ".venv")
    assert works(call(checkout / "bin" / "of-sample", env={"OF_PYTHON": sys.executable}))
    done = call(checkout / "bin" / "of-sample", env={"OF_PYTHON": str(tmp_path / "none")})
    assert done.returncode == 127
    assert done.stderr.startswith(b"of-sample: no Python environment at %s/none; run: make" % bytes(tmp_path))


def test_no_environment(checkout):
    shutil.rmtree(checkout / ".venv")
    done = call(checkout / "bin" / "of-sample")
    assert (done.returncode, done.stdout) == (127, b"")
    place = f"{checkout}/.venv/bin/python"
    assert done.stderr.decode() == f"of-sample: no Python environment at {place}; run: make -C '{checkout}'\n"


def test_an_environment_of_another_kind(checkout):
    """Where the packages are not where make would have them installed, Python finds them as it always does."""
    packages(checkout).unlink()
    packages(checkout).mkdir()
    (packages(checkout) / "elsewhere.pth").write_text(f"{PACKAGES}\n")
    home = Path(sys.base_prefix) / "bin"
    (checkout / ".venv" / "pyvenv.cfg").write_text(f"home = {home}\ninclude-system-site-packages = false\n")
    assert works(call(checkout / "bin" / "of-sample"))


def test_called_by_no_name(checkout):
    done = call(checkout / "bin" / "of")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode() == f"of: run one of: {' '.join(COMMANDS)}\n"


def loaded(*argv, **environment: str) -> set[str]:
    """Return the modules that a run loads, packages without what is in them."""
    done = call(*argv, env={"PYTHONPROFILEIMPORTTIME": "1", **environment})
    assert (done.returncode, bool(done.stdout)) == (0, True)
    names = set(re.findall(r"^import time:.*\| +([\w.]+)$", done.stderr.decode(), re.MULTILINE))
    assert "overflowd_tools.command" in names
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("command", COMMANDS)
def test_version_loads_little(checkout, command):
    assert not loaded(checkout / "bin" / command, "--version") & {*SLOW, *LIBRARIES}


@pytest.mark.parametrize(
    ("argv", "more"),
    [
        (("of-decode", DATA / "netflow5.pcap"), {"re", "socket", "random"}),
        (("of-decode", "-q", "--", DATA / "netflow1.pcap"), {"re", "socket", "random"}),
        (("of-decode", "-r", "1", DATA / "netflow5.pcap"), {"re", "socket"}),
    ],
)
def test_the_first_line_comes_early(checkout, argv, more):
    assert not loaded(checkout / "bin" / argv[0], *argv[1:]) & {*SLOW, *LIBRARIES, *more}


def test_reports_come_early(checkout, place, tmp_path):
    """What signs and checks by libsodium has typing from there; a JSON library is for lines that need it."""
    (tmp_path / "flow").write_bytes(place.flows.splitlines(keepends=True)[0])
    (tmp_path / "report").write_bytes(place.reports.splitlines(keepends=True)[0])
    needless = {*SLOW, *LIBRARIES} - {"typing", "nacl"}
    for command, name in (("sign", "flow"), ("verify", "report"), ("send", "report")):
        argv = ["-n", "--to", "udp://127.0.0.1:9"] if command == "send" else []
        assert not loaded(checkout / "bin" / f"of-{command}", *argv, tmp_path / name, HOME=str(place.home)) & needless

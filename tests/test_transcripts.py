"""What the documents show is run: the console blocks of README.md and the EXAMPLES of the man pages.

A line "$ COMMAND", continued by lines "> ", is run by bash with pipefail. The lines after it are its output, errors
included; "[1]" at their end is an exit status other than 0. "..." in a line stands for any text, and on a line of its
own for any lines. In man pages a command without output lines only has to succeed. "# COMMAND" is for root, or for
ever, and is not run; neither is what NOT_RUN names.

Commands run in a directory with tests/data and, for the man pages, exports.pcap and packets.pcap.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from harness import DATA, SECONDS, TOP, environment

NOT_RUN = {
    "of-capture --stats -u 127.0.0.1:7777 -u '[::1]:7777' >exports.pcap",
    "of-capture -u 2055 -c 1000 | gzip >exports.pcap.gz",
    "of-capture -u 2055 -u 4739 | of-decode | of-sample -r 1e-6 | of-sign | of-send",
    "of-capture -u 2055 | tcpdump -n -r -",
    "of-capture -u 2055 | tee exports.pcap | of-decode >flows.json",
    "of-capture -u 65535 -c 1 | tshark -r - -T fields -e udp.payload | xxd -r -p >datagram",
    "of-recv --own 192.0.2.0/24 --own 2001:db8::/32 | of-verify | jq -r --unbuffered .contact.email",
    "of-recv -l 127.0.0.1:9999 --own 0.0.0.0/0 --own ::/0",
    "of-recv | of-verify >>reports.json",
    "signify -V -e -p sender.pub -x - -m - <datagram",
}
"""Examples that wait for the network, or need what came from there."""

OTHERS = ("jq", "minisign", "tcpdump", "tcprewrite")
"""Programs that examples show ours together with."""

PAGES = sorted((TOP / "man").iterdir())
ROFF = {r"\e": "\\", r"\-": "-", r"\&": "", r"\(aq": "'", r"\(dq": '"', r"\(ti": "~", r"\(ha": "^"}


class Step(NamedTuple):
    """A command, and the lines that follow it."""

    command: str
    shown: list[str]


def steps(lines: list[str]) -> Iterator[Step]:
    step = None
    for line in lines:
        if line.startswith(("$ ", "# ")):
            if step:
                yield step
            step = Step(line[2:], []) if line.startswith("$ ") else None
        elif step and line.startswith("> ") and not step.shown:
            step = Step(f"{step.command}\n{line[2:]}", [])
        elif step:
            step.shown.append(line)
    if step:
        yield step


def readme_steps() -> list[Step]:
    blocks = re.findall(r"^```console\n(.*?)^```$", (TOP / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    return [step for block in blocks for step in steps(block.splitlines())]


def man_steps(page: Path) -> list[Step]:
    examples = page.read_text().partition("\n.Sh EXAMPLES\n")[2].partition("\n.Sh ")[0]
    found = []
    for block in re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed$", examples, re.MULTILINE | re.DOTALL):
        text = re.sub(r"\\(?:\(..|.)", lambda escape: ROFF[escape[0]], block)
        found += steps(text.splitlines())
    return found


@pytest.fixture
def home(tmp_path) -> Path:
    (tmp_path / "work" / "tests").mkdir(parents=True)
    shutil.copytree(DATA, tmp_path / "work" / "tests" / "data")
    return tmp_path


def run(home: Path, step: Step) -> list[str]:
    """Return what a terminal would show. Nothing is sent to anyone but this machine."""
    for program in OTHERS:
        if re.search(rf"\b{program} -", step.command) and not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    assert "of-send" not in step.command or re.search("of-send -n|--to udp://127\\.", step.command)
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", step.command],
        cwd=home / "work",
        env=environment(home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=SECONDS,
        check=False,
    )
    return done.stdout.decode().splitlines() + ([f"[{done.returncode}]"] if done.returncode else [])


def fits(shown: list[str], found: list[str]) -> bool:
    """Compare lines; "..." stands for any text, on a line of its own for any lines."""
    pattern = "".join("(?:.*\n)*" if line == "..." else f"{any_text(line)}\n" for line in shown)
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in found)) is not None


def any_text(line: str) -> str:
    return ".*".join(map(re.escape, line.split("...")))


def test_readme(home):
    transcript = readme_steps()
    assert len(transcript) > 5
    for step in transcript:
        found = run(home, step)
        assert fits(step.shown, found), "\n".join([f"$ {step.command}", *found])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_man_page(page, home):
    shutil.copy(DATA / "netflow5.pcap", home / "work" / "exports.pcap")
    shutil.copy(DATA / "traffic.pcap", home / "work" / "packets.pcap")
    for step in man_steps(page):
        if step.command in NOT_RUN:
            continue
        found = run(home, step)
        if step.shown:
            assert fits(step.shown, found), "\n".join([f"$ {step.command}", *found])
        else:
            assert not found or not re.fullmatch(r"\[\d+\]", found[-1]), "\n".join([f"$ {step.command}", *found])


def test_what_is_not_run_is_still_there():
    shown = {step.command for page in PAGES for step in man_steps(page)}
    assert shown >= NOT_RUN


def test_demo():
    done = subprocess.run(
        ["bash", str(TOP / "tests" / "demo.sh")],
        env=environment(Path("/nonexistent")),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    kept = int(re.search(r"of-sample: 2540 flows, (\d+) kept", done.stdout)[1])
    assert done.stdout.endswith(f"\n{2 * kept} reports were signed, sent, received and verified.\n")


@pytest.mark.parametrize(
    ("shown", "found", "answer"),
    [
        (["a", "b"], ["a", "b"], True),
        (["a"], ["a", "b"], False),
        (["a", "..."], ["a", "b", "c"], True),
        (["..."], [], True),
        (["x...z"], ["xyz"], True),
        (["x...z"], ["x", "z"], False),
        (["a.c"], ["abc"], False),
        ([], ["a"], False),
    ],
)
def test_dots_stand_for_what_varies(shown, found, answer):
    assert fits(shown, found) is answer

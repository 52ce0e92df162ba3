"""make bench: the speeds that the project promises, each beside its peer, in alternating runs.

CPU is user plus system time of the process with its children, start-up included; figures are medians. BENCH=NAME runs
one row. OF_CORPORA supplies a larger base capture than tests/data. OVERFLOWD_2016=PATH (with PYTHON2=PATH, by default
python2.7) names the original program; overflowd_2016.py beside this file stands in for it otherwise.
"""

import os
import platform
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from templates import convert

HERE = Path(__file__).resolve().parent
TOP = HERE.parents[1]
PYTHON = str(TOP / ".venv/bin/python")
ROUNDS = int(os.environ.get("ROUNDS", "5"))
FLOWS = 2_700_000
TEMPLATE_FLOWS = 320_000
SIGNED = 40_000


class Cost(NamedTuple):
    """What one run of a command took."""

    cpu: float
    wall: float
    peak_mib: float


class Row(NamedTuple):
    """One line of the table: ours beside a peer, and by how much of the peer's CPU time the goal is met."""

    name: str
    ours: list[str]
    peer: list[str]
    peer_name: str
    goal: str
    ratio: Callable[[float, float], float]
    items: int = 0


def main() -> None:
    wanted = os.environ.get("BENCH", "")
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, {cpu_model()}, Python {platform.python_version()}")
    print(f"{'row':<18} {'ours CPU s':>10} {'peer CPU s':>10} {'ratio':>7}  {'goal':<9} {'peak MiB':>8}  peer")
    with tempfile.TemporaryDirectory() as scratch:
        for row in rows(Path(scratch), wanted):
            if wanted in ("", row.name):
                print(measure(row), flush=True)


def measure(row: Row) -> str:
    """Run a row's two commands in turn and return its line of the table."""
    if not shutil.which(row.peer[0]):
        return f"{row.name:<18} skipped: {row.peer[0]} is not installed"
    ours, peer = [], []
    for round_number in range(ROUNDS + 1):
        pair = run(row.ours), run(row.peer)
        if round_number:  # the first fills the page cache and the .pyc files
            ours.append(pair[0])
            peer.append(pair[1])
    our_cpu, peer_cpu = median(ours, "cpu"), median(peer, "cpu")
    rate = f", {row.items / our_cpu:,.0f}/CPU-s" if row.items else ""
    return (
        f"{row.name:<18} {our_cpu:>10.3f} {peer_cpu:>10.3f} {row.ratio(our_cpu, peer_cpu):>7.2f}  {row.goal:<9}"
        f" {max(cost.peak_mib for cost in ours):>8.1f}  {row.peer_name}{rate}"
    )


def rows(scratch: Path, wanted: str) -> list[Row]:
    """Make the inputs and return the rows."""

    def command(name: str) -> str:
        return str(TOP / "bin" / name)

    config = scratch / "config"
    os.environ["XDG_CONFIG_HOME"] = str(config)
    start_ups = [start_up(command(f"of-{name}")) for name in ("capture", "decode", "key", "recv", "sample")]
    start_ups += [start_up(command(f"of-{name}")) for name in ("send", "sign", "verify")]
    if wanted.startswith("start"):
        return start_ups
    capture, flows, some, reports = (scratch / name for name in ("v5.pcap", "flows", "some", "reports"))
    number = repeat_capture(base_capture(), capture)
    shell(f"'{command('of-decode')}' -q '{capture}' | head -n 944000 >'{flows}'")
    shell(f"head -n {SIGNED} '{flows}' >'{some}'")
    lines = sum(chunk.count(b"\n") for chunk in iter_file(flows))
    signed = sum(chunk.count(b"\n") for chunk in iter_file(some))
    shell(f"'{command('of-key')}' new --email noc@example.net --identity 'Example Net' >'{scratch}/public'")
    shell(f"'{command('of-sign')}' --to dst '{some}' >'{reports}'")
    octets = str(reports.stat().st_size // signed - 110)
    bare = [PYTHON, str(HERE / "libsodium.py")]
    return [
        Row("decode", [command("of-decode"), "-q", str(capture)], *overflowd(capture), ">= 3", times, number),
        Row(
            "sample",
            [command("of-sample"), str(flows)],
            ["jq", "-c", "select(.pcount>1000)", str(flows)],
            "jq -c 'select(.pcount>1000)'",
            ">= 20",
            times,
            lines,
        ),
        Row(
            "sign",
            [command("of-sign"), "--to", "dst", str(some)],
            [*bare, "sign", str(signed), octets],
            "bare libsodium loop",
            ">= 0.8",
            times,
            signed,
        ),
        Row(
            "verify",
            [command("of-verify"), str(reports)],
            [*bare, "verify", str(signed), octets],
            "bare libsodium loop",
            "",
            times,
            signed,
        ),
        *template_rows(scratch, command("of-decode")),
        *start_ups,
    ]


def template_rows(scratch: Path, decode: str) -> list[Row]:
    """Return the rows of NetFlow 9, IPFIX and sFlow."""
    python_netflow = [str(TOP / ".venv/bench/bin/python"), str(HERE / "python_netflow.py")]
    made = []
    for name, version, goal in (("netflow9", 9, ">= 8"), ("ipfix", 10, ">= 20")):
        once, capture = scratch / f"{name}-once.pcap", scratch / f"{name}.pcap"
        number = convert(base_capture(), once, version)
        copies = max(1, TEMPLATE_FLOWS // number)
        copy_packets(once, capture, copies)
        peer = [*python_netflow, str(capture)]
        ours = [decode, "-q", str(capture)]
        made.append(Row(name, ours, peer, "python-netflow 0.12.2 and json.dumps", goal, times, copies * number))
    corpora = os.environ.get("OF_CORPORA")
    samples = Path(corpora, "overflowd/for_later/sflow.pcap") if corpora else TOP / "tests/data/sflow.pcap"
    capture = scratch / "sflow.pcap"
    copy_packets(samples, capture, 10 if corpora else 1000)
    fields = [
        word for name in ("frame.number", "ip.src", "ip.dst", "ip.len", "sflow_245.sampletype") for word in ("-e", name)
    ]
    tshark = ["tshark", "-r", str(capture), "-d", "udp.port==6343,sflow", "-T", "fields", *fields]
    made.append(Row("sflow", [decode, "-q", str(capture)], tshark, "tshark -T fields, of 5 fields", ">= 7", times))
    return made


def copy_packets(source: Path, target: Path, copies: int) -> None:
    """Write the packets of a capture so many times."""
    data = source.read_bytes()
    with target.open("wb") as file:
        file.write(data[:24])
        for _ in range(copies):
            file.write(data[24:])


def times(ours: float, peer: float) -> float:
    """Return how many times the peer's speed ours is."""
    return peer / ours


def start_up(path: str) -> Row:
    """Return the row that compares a command's start with Python's own."""
    name = "start " + Path(path).name
    return Row(name, [path, "--version"], [PYTHON, "-c", "pass"], "python3 -c pass", "<= 3.5", lambda a, b: a / b)


def overflowd(capture: Path) -> tuple[list[str], str]:
    """Return the command that decodes a capture as overflowd of 2016 does, and its name."""
    original = os.environ.get("OVERFLOWD_2016")
    if original:
        return [os.environ.get("PYTHON2", "python2.7"), original, "-f", str(capture)], "overflowd 2016"
    return [PYTHON, str(HERE / "overflowd_2016.py"), str(capture)], "overflowd 2016's steps in Python 3 with dpkt"


def base_capture() -> Path:
    """Return the capture that the inputs are made of."""
    corpora = os.environ.get("OF_CORPORA")
    large = Path(corpora, "overflowd/netflow_4M.pcap") if corpora else None
    return large if large and large.exists() else TOP / "tests/data/netflow5.pcap"


def repeat_capture(base: Path, target: Path) -> int:
    """Write the whole NetFlow 5 packets of a little-endian Ethernet capture until FLOWS flows are there."""
    data = base.read_bytes()
    packets, flows, offset = [], 0, 24
    while offset + 16 <= len(data):
        end = offset + 16 + struct.unpack_from("<I", data, offset + 8)[0]
        if end > len(data):
            break
        packets.append(data[offset:end])
        flows += struct.unpack_from("!H", data, offset + 16 + 44)[0]
        offset = end
    copies = -(-FLOWS // flows)
    with target.open("wb") as file:
        file.write(data[:24])
        for _ in range(copies):
            file.writelines(packets)
    return copies * flows


def iter_file(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from iter(lambda: file.read(1 << 20), b"")


def shell(script: str) -> None:
    subprocess.run(["bash", "-c", script], check=False, env=environment())


def run(command: list[str]) -> Cost:
    """Run a command to its end, its output thrown away."""
    started = os.times().elapsed
    with open(os.devnull, "r+b") as null:
        process = subprocess.Popen(command, stdin=null, stdout=null, stderr=null, env=environment())
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        sys.exit(f"{' '.join(command)}: exit status {process.returncode}")
    return Cost(usage.ru_utime + usage.ru_stime, os.times().elapsed - started, usage.ru_maxrss / 1024)


def environment() -> dict[str, str]:
    """Return the environment without the settings that make every Python program slow."""
    slow = ("PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH")
    return {name: value for name, value in os.environ.items() if name not in slow}


def median(costs: list[Cost], figure: str) -> float:
    return statistics.median(getattr(cost, figure) for cost in costs)


def cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "unknown CPU")


main()

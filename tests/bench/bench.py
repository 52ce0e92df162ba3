"""make bench: the speeds that the project promises, each beside its peer, in alternating runs.

CPU is user plus system time of all processes of a command, start-up included; wall is the time on the clock; figures
are medians, for one flow, line, report or start; MiB is the peak of the largest process, which the kernel counts from
what this program itself takes when it starts it. BENCH=NAME measures the rows whose name begins so. ROUNDS=N runs each
so often. OF_CORPORA supplies a larger base capture than tests/data. OVERFLOWD_2016=PATH (with PYTHON2=COMMAND, by
default python2.7) names the original program; overflowd_2016.py beside this file stands in for it otherwise.
"""

import os
import platform
import tempfile
from pathlib import Path

from inputs import Inputs
from latency import latency
from measure import run_race
from races import races


def main() -> None:
    name = os.environ.get("BENCH", "")
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, {cpu_model()}, Python {platform.python_version()}")
    print(f"{'row':<20} {'ours':>9} {'peer':>9} {'of':>4} {'ratio':>7}  {'goal':<8} {'MiB':>5}  peer", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        inputs = Inputs(Path(scratch))
        for race in races(inputs, lambda row: row.startswith(name)):
            run_race(race, lambda line: print(line, flush=True))
        if "latency".startswith(name):
            print(latency(inputs), flush=True)


def cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "unknown CPU")


main()

"""Runs commands in turn and compares what they cost."""

import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple


class Cost(NamedTuple):
    """What one run of a command took: seconds of CPU (user and system, children too) and of the clock."""

    cpu: float
    wall: float
    peak_mib: float


class Entrant(NamedTuple):
    """A command of a race: its name, what the shell runs, how many items that is, and the goal of its ratio."""

    name: str
    script: str
    items: int = 1
    goal: str = ""
    clock: str = "cpu"


class Race(NamedTuple):
    """Some of our commands against one peer, which all take their turns in every round.

    absent: why the peer cannot run here. files: what they read, which is read once before each run, too: the kernel may
    have dropped it while a slow peer ran.
    """

    peer: Entrant
    ours: list[Entrant]
    rounds: int
    absent: str = ""
    files: tuple[Path, ...] = ()


def run_race(race: Race, tell: Callable[[str], None]) -> None:
    """Run a race and tell the line of each of ours."""
    if race.absent:
        for entrant in race.ours:
            tell(f"{entrant.name:<20} skipped: {race.absent}")
        return
    costs: dict[Entrant, list[Cost]] = {entrant: [] for entrant in (race.peer, *race.ours)}
    for entrant in costs:
        run(entrant.script)  # fills the page cache and the .pyc files
    for _ in range(race.rounds):
        for entrant, taken in costs.items():
            for path in race.files:
                run(f"cat '{path}'")
            taken.append(run(entrant.script))
    for entrant in race.ours:
        tell(_line(entrant, costs[entrant], race.peer, costs[race.peer]))


def _line(ours: Entrant, costs: list[Cost], peer: Entrant, peer_costs: list[Cost]) -> str:
    """Return a line of the table; the ratio is of speeds, or of times where less is better."""
    seconds, peer_seconds = _median(costs, ours.clock), _median(peer_costs, ours.clock)
    ratio = (ours.items / seconds) / (peer.items / peer_seconds)
    if ours.goal.startswith("<"):
        ratio = 1 / ratio
    peak = max(cost.peak_mib for cost in costs)
    return (
        f"{ours.name:<20} {_each(seconds, ours.items):>9} {_each(peer_seconds, peer.items):>9} {ours.clock:>4}"
        f" {ratio:>7.2f}  {ours.goal:<8} {peak:>5.0f}  {peer.name}"
    )


def _each(seconds: float, items: int) -> str:
    """Return the time of one item, in the unit that fits."""
    microseconds = seconds / items * 1e6
    return f"{microseconds / 1000:.1f} ms" if microseconds >= 1000 else f"{microseconds:.3g} us"


def run(script: str) -> Cost:
    """Run a script of the shell to its end, its output thrown away unless it says otherwise."""
    started = os.times().elapsed
    with open(os.devnull, "r+b") as null:
        process = subprocess.Popen(["sh", "-c", script], stdin=null, stdout=null, stderr=null, env=environment())
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        sys.exit(f"{script}: exit status {process.returncode}")
    return Cost(usage.ru_utime + usage.ru_stime, os.times().elapsed - started, usage.ru_maxrss / 1024)


def environment() -> dict[str, str]:
    """Return the environment without the settings that make every Python program slow."""
    slow = ("PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH")
    return {name: value for name, value in os.environ.items() if name not in slow}


def _median(costs: list[Cost], clock: str) -> float:
    return statistics.median(getattr(cost, clock) for cost in costs)

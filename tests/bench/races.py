"""The rows of the table: our commands beside their peers."""

import os
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from inputs import HERE, TOP, Inputs, command
from measure import Entrant, Race

PYTHON = str(TOP / ".venv/bin/python")
ROUNDS = int(os.environ.get("ROUNDS", "5"))
RATE = "1e-6"
COMMANDS = ("capture", "decode", "key", "open", "recv", "sample", "seal", "send", "sign", "verify")
DECODE, SAMPLE, SIGN, VERIFY, SEND = (command(f"of-{name}") for name in ("decode", "sample", "sign", "verify", "send"))
MAWK = f"""BEGIN {{ srand() }} match($0, /"pcount":[0-9]+/) && \
rand() < {RATE} * substr($0, RSTART + 9, RLENGTH - 9)"""


def races(inputs: Inputs, wanted: Callable[[str], bool]) -> Iterator[Race]:
    """Yield the races in which a wanted row is, with the wanted rows alone; inputs are made for these only."""
    for rows, race in RACES:
        chosen = [name for name in rows if wanted(name)]
        if chosen:
            made = race(inputs)
            yield made._replace(ours=[entrant for entrant in made.ours if entrant.name in chosen])


def against_overflowd(inputs: Inputs) -> Race:
    capture, flows = inputs.netflow5
    captures = {"v5": inputs.netflow5, "v9": inputs.netflow9, "ipfix": inputs.ipfix}
    goals = {"v5": ">= 60", "v9": ">= 35", "ipfix": ">= 30"}
    assert inputs.key
    stages = f"'{SIGN}' -q | '{SEND}' -n"
    whole = f"'{DECODE}' -q '{capture}' | '{SAMPLE}' -r {RATE} | {stages}"
    quick = f"'{DECODE}' -q -r {RATE} '{capture}' | {stages}"
    return Race(
        _overflowd(capture, flows),
        [
            Entrant("decode", f"'{DECODE}' -q '{capture}'", flows, ">= 5.5"),
            *(
                Entrant(f"decode -r {name}", f"'{DECODE}' -q -r {RATE} '{path}'", number, goals[name])
                for name, (path, number) in captures.items()
            ),
            Entrant("pipeline", whole, flows, ">= 4.5", "wall"),
            Entrant("pipeline (CPU)", whole, flows, ">= 3.5"),
            Entrant("pipeline -r", quick, flows, ">= 50", "wall"),
            Entrant("pipeline -r (CPU)", quick, flows, ">= 40"),
        ],
        min(ROUNDS, 3),
    )


def every_flow_signed(inputs: Inputs) -> Race:
    capture, flows = inputs.signed_netflow5
    assert inputs.key
    script = f"'{DECODE}' -q '{capture}' | '{SAMPLE}' -r 1 | '{SIGN}' --to dst"
    peer = _overflowd(capture, flows)
    return Race(
        peer._replace(name=f"{peer.name} -r 1", script=f"{peer.script} -r 1"),
        [Entrant("all signed", script, flows, ">= 1.6", "wall")],
        min(ROUNDS, 3),
    )


def against_nfdump(inputs: Inputs) -> Race:
    if missing := _missing("nfcapd", "nfdump"):
        return Race(Entrant("", ""), [Entrant("decode (nfdump)", "")], 0, missing)
    capture, flows = inputs.fewer_netflow5
    stored, number = inputs.stored
    return Race(
        Entrant("nfdump -o json", f"nfdump -q -r '{stored}' -o json", number),
        [Entrant("decode (nfdump)", f"'{DECODE}' -q '{capture}'", flows, ">= 10")],
        min(ROUNDS, 3),
    )


def netflow9(inputs: Inputs) -> Race:
    return _python_netflow("netflow9", inputs.netflow9, inputs.peer_netflow9, ">= 12")


def ipfix(inputs: Inputs) -> Race:
    return _python_netflow("ipfix", inputs.ipfix, inputs.peer_ipfix, ">= 30")


def sflow(inputs: Inputs) -> Race:
    capture, flows = inputs.sflow
    fields = "-e frame.number -e ip.src -e ip.dst -e ip.len -e sflow_245.sampletype"
    return Race(
        Entrant("tshark -T fields", f"tshark -r '{capture}' -d udp.port==6343,sflow -T fields {fields}", flows),
        [Entrant("sflow", f"'{DECODE}' -q '{capture}'", flows, ">= 10")],
        ROUNDS,
        _missing("tshark"),
    )


def sample_jq(inputs: Inputs) -> Race:
    return _sample(inputs, "sample (jq)", ">= 40", "jq", "-c", "select(.pcount>1000)")


def sample_mawk(inputs: Inputs) -> Race:
    return _sample(inputs, "sample (mawk)", ">= 1.2", "mawk", MAWK)


def sign(inputs: Inputs) -> Race:
    lines, number = inputs.fewer_lines
    return _bare("sign", inputs.signed_octets, f"'{SIGN}' --to dst '{lines}'", number, ">= 0.87")


def verify(inputs: Inputs) -> Race:
    reports, number = inputs.reports
    return _bare("verify", inputs.signed_octets, f"'{VERIFY}' '{reports}'", number, ">= 0.88")


def sign_more(inputs: Inputs) -> Race:
    lines, number = inputs.fewer_lines
    assert inputs.key
    plain = f"'{SIGN}' --to dst '{lines}'"
    return Race(
        Entrant("of-sign", plain, number),
        [
            Entrant("sign --state", f"{plain} --state '{inputs.spare('state')}'", number, ">= 0.5"),
            Entrant("sign --batch 64", f"{plain} --batch 64", number, ">= 5"),
        ],
        ROUNDS,
    )


def verify_more(inputs: Inputs) -> Race:
    reports, number = inputs.reports
    keyring = inputs.spare("keyring")
    anew = f"rm -f '{keyring}' '{keyring}.index'*"
    return Race(
        Entrant("of-verify", f"'{VERIFY}' '{reports}'", number),
        [Entrant("verify --keyring", f"{anew}; '{VERIFY}' --keyring '{keyring}' '{reports}'", number, ">= 0.5")],
        ROUNDS,
    )


def seal(inputs: Inputs) -> Race:
    reports, number = inputs.reports
    script = f"'{command('of-seal')}' --keys '{inputs.recipients}' '{reports}'"
    return _bare("seal", inputs.padded_octets, script, number, ">= 0.7")


def open_sealed(inputs: Inputs) -> Race:
    sealed, number = inputs.sealed
    return _bare("open", inputs.padded_octets, f"'{command('of-open')}' '{sealed}'", number, ">= 0.6")


def send(inputs: Inputs) -> Race:
    reports, number = inputs.reports
    port = inputs.sink.getsockname()[1]
    return Race(
        Entrant("bare send loop", f"'{PYTHON}' '{HERE}/bare_send.py' '{reports}' {port}", number),
        [Entrant("send", f"'{SEND}' -q --to udp://127.0.0.1:{port} '{reports}'", number, ">= 0.9")],
        ROUNDS,
    )


def start(inputs: Inputs) -> Race:
    """Compare the time of every command to its first line with that of Python; two wait for datagrams first."""
    assert inputs.key
    arguments = {
        "capture": "--version",
        "decode": f"'{inputs.packet}'",
        "key": "show",
        "open": f"'{inputs.sealed_report}'",
        "recv": "--version",
        "sample": f"-r 1 '{inputs.line}'",
        "seal": f"--keys '{inputs.recipients}' '{inputs.report}'",
        "send": f"-n '{inputs.report}'",
        "sign": f"--to dst '{inputs.line}'",
        "verify": f"'{inputs.report}'",
    }
    return Race(
        Entrant("python3 -c pass", f"exec '{PYTHON}' -c pass"),
        [
            Entrant(f"start of-{name}", f"exec '{command(f'of-{name}')}' {arguments[name]}", 1, "<= 2.5")
            for name in COMMANDS
        ],
        4 * ROUNDS,
    )


RACES: list[tuple[list[str], Callable[[Inputs], Race]]] = [
    ([f"start of-{name}" for name in COMMANDS], start),
    (
        [
            *("decode", "decode -r v5", "decode -r v9", "decode -r ipfix"),
            *("pipeline", "pipeline (CPU)", "pipeline -r", "pipeline -r (CPU)"),
        ],
        against_overflowd,
    ),
    (["all signed"], every_flow_signed),
    (["decode (nfdump)"], against_nfdump),
    (["netflow9"], netflow9),
    (["ipfix"], ipfix),
    (["sflow"], sflow),
    (["sample (jq)"], sample_jq),
    (["sample (mawk)"], sample_mawk),
    (["sign"], sign),
    (["sign --state", "sign --batch 64"], sign_more),
    (["verify"], verify),
    (["verify --keyring"], verify_more),
    (["seal"], seal),
    (["open"], open_sealed),
    (["send"], send),
]
"""The rows of each race, and what makes it."""


def _overflowd(capture: Path, flows: int) -> Entrant:
    """Return what decodes a capture as overflowd of 2016 does."""
    original = os.environ.get("OVERFLOWD_2016")
    if original:
        python = os.environ.get("PYTHON2", "python2.7")
        return Entrant("overflowd 2016", f"{python} {shlex.quote(original)} -f '{capture}'", flows)
    return Entrant("its steps, Python 3, dpkt", f"'{PYTHON}' '{HERE}/overflowd_2016.py' '{capture}'", flows)


def _python_netflow(name: str, ours: tuple[Path, int], peers: tuple[Path, int], goal: str) -> Race:
    python = TOP / ".venv/bench/bin/python"
    path, flows = peers
    return Race(
        Entrant("python-netflow 0.12", f"'{python}' '{HERE}/python_netflow.py' '{path}'", flows),
        [Entrant(name, f"'{DECODE}' -q '{ours[0]}'", ours[1], goal)],
        min(ROUNDS, 3),
        "" if python.exists() else "python-netflow is not installed",
    )


def _sample(inputs: Inputs, name: str, goal: str, *peer: str) -> Race:
    lines, number = inputs.lines
    return Race(
        Entrant(peer[0], f"{shlex.join(peer)} '{lines}'", number),
        [Entrant(name, f"'{SAMPLE}' -r {RATE} '{lines}'", number, goal)],
        min(ROUNDS, 3),
        _missing(peer[0]),
        (lines,),
    )


def _bare(job: str, octets: int, script: str, number: int, goal: str) -> Race:
    """Return the race of a command, which does a job of libsodium, against a loop that does nothing else."""
    return Race(
        Entrant("bare libsodium loop", f"'{PYTHON}' '{HERE}/libsodium.py' {job} {number} {octets}", number),
        [Entrant(job, script, number, goal)],
        ROUNDS,
    )


def _missing(*tools: str) -> str:
    missing = [tool for tool in tools if not shutil.which(tool)]
    return f"{', '.join(missing)} not installed" if missing else ""

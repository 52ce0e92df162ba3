"""of-seal as people run it: whose reports are sealed, what goes on in clear, and what others can see."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from overflowd_tools.reports import sealed, writer
from overflowd_tools.trust import age_files
from overflowd_tools.trust.keys import SecretKey
from overflowd_tools.trust.sealing import ReceivingKey, RecipientKey

TOP = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "overflowd_tools.commands.seal"]
SIGNER = SecretKey.from_seed(bytes(range(32)))
KEY = ReceivingKey(bytes(range(32)))
OTHER = ReceivingKey(bytes(32))
NOW_MS = 1_795_219_200_000


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(TOP))
    monkeypatch.delenv("OF_DEBUG", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list").write_text(f"192.0.2.0/24 {KEY.public.text}\n2001:db8::/32 {OTHER.public.text}\n")
    return tmp_path


def report(saddr="192.0.2.7", daddr="198.51.100.1", to="src", **more):
    made = writer.Writer(SIGNER.public, writer.Contact("noc@example.net", "Example Net"), [to], 3_600_000)
    flow = {"type": "flow", "source": "netflow5", "saddr": saddr, "daddr": daddr, **more}
    (body,) = made.bodies(flow, NOW_MS)
    return made.complete(body, SIGNER.sign(body))


def of_seal(*argv, lines=(), how=("--keys", "list")):
    data = b"".join(line + b"\n" for line in lines)
    return subprocess.run([*COMMAND, *how, *argv], input=data, capture_output=True, timeout=60, check=False)


def test_each_recipient_gets_a_box_of_their_own():
    lines = [report(), report("2001:db8::1", "192.0.2.9")]
    done = of_seal(lines=lines)
    assert (done.returncode, done.stderr) == (0, b"")
    first, second = (sealed.read_line(line) for line in done.stdout.splitlines())
    assert (first.hint, first.to) == (KEY.public.hint, "192.0.2.7")
    assert (second.hint, second.to) == (OTHER.public.hint, "2001:db8::1")
    assert first.expires_ms == NOW_MS + 3_600_000
    assert [KEY.open(first.box), OTHER.open(second.box)] == lines
    assert KEY.open(second.box) is None


def test_a_line_shows_nothing_else():
    """Whoever sees the line learns the recipient, and neither sender nor flow."""
    line = of_seal(lines=[report(sport=443, pcount=17)]).stdout
    assert json.loads(line).keys() == {"$schema", "expires_ms", "flow", "hint", "sealed", "to"}
    for secret in (b"198.51.100.1", b"443", b"noc@example.net", SIGNER.public.text.encode()):
        assert secret not in line


def test_reports_of_about_the_same_length_get_boxes_of_one_length():
    lines = [report(pcount=count) for count in (1, 10**6)]
    assert len(lines[0]) != len(lines[1])
    first, second = of_seal(lines=lines).stdout.splitlines()
    assert len(first) == len(second)


def test_the_same_flow_is_known_again_within_a_run_and_not_by_others():
    lines = [report(), report(pcount=5), report(sport=1)]
    flows = [sealed.read_line(line).flow for line in of_seal(lines=lines).stdout.splitlines()]
    assert flows[0] == flows[1] != flows[2]
    again = [sealed.read_line(line).flow for line in of_seal(lines=lines).stdout.splitlines()]
    assert not set(flows) & set(again)


def test_in_clear_or_not_at_all():
    lines = [report(to="dst"), report(), b'{"type":"x", "a":1}']
    done = of_seal("--stats", lines=lines)
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == lines[0]
    assert done.stdout.splitlines()[2] == lines[2]
    counts = {"command": "of-seal", "sealed": 1, "in_clear": 1, "other_lines": 1, "rejected": 0}
    assert json.loads(done.stderr) == counts
    done = of_seal("--require", lines=lines)
    assert (done.returncode, done.stderr) == (1, b"of-seal: -: line 1: no key for 198.51.100.1\n")
    assert b"overflowd-report" not in done.stdout
    assert done.stdout.splitlines()[1:] == lines[2:]


def test_reports_in_clear_keep_their_spelling():
    line = json.dumps(json.loads(report(to="dst")), indent=None).encode()
    assert of_seal(lines=[line]).stdout == line + b"\n"


def test_what_is_sealed_is_the_canonical_text(home):
    line = report()
    spelled = json.dumps({**json.loads(line), "verified": {"format": 2}}).encode()
    (out,) = of_seal(lines=[spelled]).stdout.splitlines()
    assert KEY.open(sealed.read_line(out).box) == line


def test_bad_reports_are_not_sealed():
    done = of_seal(lines=[report().replace(b'"role":"src"', b'"role":"dst"'), b"{"])
    assert (done.returncode, done.stdout) == (1, b"")
    first, second = done.stderr.decode().splitlines()
    assert first == "of-seal: -: line 1: not a report: to is not the daddr, which role dst stands for"
    assert second.startswith("of-seal: -: line 2: not a report: not JSON")


def test_sealed_reports_are_not_sealed_again():
    done = of_seal(lines=[report()])
    assert of_seal("--require", lines=done.stdout.splitlines()).stdout == done.stdout


def test_a_key_that_signs_serves_for_want_of_another(home):
    (home / "list").write_text(f"0.0.0.0/0 {SIGNER.public.text}\n")
    sent = report()
    (line,) = of_seal(lines=[sent]).stdout.splitlines()
    found = sealed.read_line(line)
    assert found.hint == RecipientKey.of_signer(SIGNER.public).hint
    assert ReceivingKey.of_signer(SIGNER).open(found.box) == sent


@pytest.mark.parametrize("text", ["", "192.0.2.0/24", "0.0.0.0/0 age1qqq", "\xff"])
def test_with_a_bad_list_nothing_goes_on(home, text):
    (home / "list").write_text(text, "latin-1")
    done = of_seal(lines=[report()])
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"of-seal: list: ")
    assert done.stderr.count(b"\n") == 1


def test_everything_in_one_age_file():
    pytest.importorskip("pyrage")
    lines = [report(), b'{"type":"x"}', report("2001:db8::1", "192.0.2.9")] * 100
    given = {"keys": KEY.public.text, "signer": SIGNER.public.text}
    done = of_seal("--age", given["signer"], "--stats", lines=[*lines, b"{"], how=("--age", given["keys"]))
    assert done.returncode == 1
    complaint, counts = done.stderr.splitlines()
    assert complaint.startswith(b"of-seal: -: line 301: not a report: not JSON")
    assert json.loads(counts) == {"command": "of-seal", "sealed": 200, "other_lines": 100, "rejected": 1}
    for key in (KEY, ReceivingKey.of_signer(SIGNER)):
        assert b"".join(age_files.decrypted([done.stdout], lambda key=key: [key])).splitlines() == lines


@pytest.mark.parametrize("how", [(), ("--keys", "list", "--age", KEY.public.text), ("--age", "x", "--require")])
def test_one_way_of_sealing(how):
    done = of_seal(lines=[report()], how=how)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == b"of-seal: one of --keys FILE [--require] and --age KEY is needed; -h shows the usage\n"


def test_a_bad_key_of_an_age_file():
    done = of_seal(how=("--age", KEY.secret_text()))
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == b"of-seal: a secret key, where a public one is expected; do not show it to others\n"

"""of-sample as people run it: rates, seeds, jq before and after it, and the lines that it refuses."""

import gzip
import importlib.util
import json
import shutil
import signal
import subprocess
import sys

import pytest
from harness import BIN, TOP, environment, readable
from sampling_tools import flow, is_skipped

from overflowd_tools.commands import sample
from overflowd_tools.sampling.law import PPT

BOM = b"\xef\xbb\xbf"
FLOWS = b"".join(flow(count % 997, source="x", bcount=count) for count in range(20_000))
MIXED = b"".join(
    line
    for turn in range(300)
    for line in (
        flow(turn, source="x", bcount=turn * 40) * 20,
        flow(turn * 100, source="x"),
        flow(turn, source="x", sampling_rate=100) if turn % 7 == 0 else b"",
        flow(turn, source="x", name='"') if turn % 11 == 0 else b"",
        b'{"type":"option"}\n' if turn % 50 == 0 else b"",
        b"\n" if turn % 60 == 0 else b"",
    )
)

needs_jq = pytest.mark.skipif(not shutil.which("jq"), reason="jq is not installed")


def jq(program, data):
    return subprocess.run(["jq", "-c", program], input=data, capture_output=True, check=True).stdout


def records(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


# Options.


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("1e-6", 1e-6),
        ("1E-6", 1e-6),
        ("0.000001", 1e-6),
        ("1/1000000", 1e-6),
        ("3/4", 0.75),
        (".5", 0.5),
        ("0.5", 0.5),
        ("1", 1.0),
        ("1.0", 1.0),
        (" 1", 1.0),
        ("7/7", 1.0),
        ("1e-300", 1e-300),
    ],
)
def test_rates(text, rate):
    assert sample.options().read(["-r", text]).rate == rate
    assert sample.options().read(["--rate", text]).rate == rate


@pytest.mark.parametrize(
    "text",
    [
        *("1e-400", "inf", "-inf", "nan", "0", "0.0", "-0", "-1", "-1e-6", "2", "1.0000001", "1e400"),
        *(
            "1/0",
            "0/1",
            "0/0",
            "2/1",
            "-1/5",
            "1/-5",
            "1/1e6",
            "1.0/2",
            "/",
            "1/",
            "/2",
            "1/2/3",
            "",
            "x",
            "1e-6x",
            "0x1",
        ),
        *("1%", "1,5", "9" * 5000, "1/" + "9" * 5000, f"{'9' * 400}/1"),
    ],
)
def test_what_is_no_rate(place, text):
    done = place.run("of-sample", f"--rate={text}", input=FLOWS)
    assert (done.returncode, done.stdout) == (2, b"")
    message, *usage = done.stderr.decode().splitlines()
    assert message.startswith("of-sample: argument -r/--rate: ")
    assert "is not a rate over 0 and at most 1, as 1e-6 or 1/1000000" in message
    assert usage[0].startswith("usage: of-sample")


@pytest.mark.parametrize(
    "argv",
    [
        ("-r", "1e-6", "-r", "1e-6"),
        ("-r", "1e-6", "--rate", "1e-5"),
        ("--seed", "1", "--seed", "1"),
        ("--amplification", "0.01", "--amplification", "0.01"),
        ("--amplification", "0.021"),
        ("--amplification", "1"),
        ("--amplification", "0"),
        ("--amplification", "-0.01"),
        ("--amplification", "nan"),
        ("--seed", "x"),
        ("--seed", "1.5"),
        ("--seed", ""),
        ("-r",),
        ("-r", "-1"),
        ("--boost", "default"),
    ],
)
def test_usage_errors(place, argv):
    done = place.run("of-sample", *argv, input=FLOWS)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"of-sample: ")


def test_the_highest_amplification(place):
    assert sample.options().read(["--amplification", "0.02"]).amplification == 0.02
    assert sample.options().read(["--amplification", "1/50"]).amplification == 0.02
    done = place.run("of-sample", "--amplification", "0.03", input=FLOWS)
    assert b"'0.03' is over 0.02" in done.stderr


def test_the_default_rate_is_one_in_a_million(place):
    certain = flow(10**6, source="x")
    assert place.run("of-sample", input=certain * 3).stdout == flow(10**6, source="x", p_ppt=PPT) * 3
    kept = place.run("of-sample", "--seed", "1", input=flow(500_000, source="x") * 1000)
    assert 420 < len(kept.stdout.splitlines()) < 580
    assert b'"p_ppt":500000000000}' in kept.stdout


def test_the_clamp(place):
    line = flow(10**6, source="x", bcount=4 * 10**7)
    assert (
        records(place.run("of-sample", "-r", "1", "--amplification", "0.01", input=line * 3))
        == [{"type": "flow", "pcount": 10**6, "source": "x", "bcount": 4 * 10**7, "p_ppt": PPT}] * 3
    )
    line = flow(1, source="x", bcount=1500)
    done = place.run("of-sample", "-r", "1", "--amplification", "0.01", "--seed", "1", input=line * 2000)
    assert {record["p_ppt"] for record in records(done)} == {6_281_407_035}
    assert 2 <= len(records(done)) <= 27  # 12.6 expected


# What comes out.


def test_rate_1_keeps_all(place):
    done = place.run("of-sample", "-r", "1", "--stats", input=MIXED)
    assert done.returncode == 0
    before = [line for line in MIXED.splitlines() if line]
    after = done.stdout.splitlines()
    assert len(before) == len(after)
    for old, new in zip(before, after, strict=True):
        assert new == (old if b'"option"' in old else old[:-1] + b',"p_ppt":1000000000000}')
    flows = sum(b'"flow"' in line for line in before)
    assert json.loads(done.stderr) == {"command": "of-sample", "flows": flows, "kept": flows, "rejected": 0}


def test_flows_are_counted_though_they_are_not_read(place):
    done = place.run("of-sample", "--stats", "-r", "1e-9", input=b"\n" + FLOWS + b"\n\n" + FLOWS)
    assert (done.returncode, done.stdout) == (0, b"")
    assert json.loads(done.stderr)["flows"] == 40_000


def test_a_seed_gives_the_same_again(place):
    first, second, other = (
        place.run("of-sample", "-r", "1e-5", "--seed", seed, input=MIXED).stdout for seed in (7, 7, 8)
    )
    assert first == second != other
    assert len({place.run("of-sample", "-r", "1e-5", "--seed", seed, input=MIXED).stdout for seed in (5, -5, 0)}) == 3


def test_without_a_seed_no_two_runs_are_alike(place):
    assert len({place.run("of-sample", "-r", "6e-5", input=MIXED).stdout for _ in range(3)}) == 3


@pytest.mark.parametrize("rate", ["1e-5", "1e-3"])
def test_how_the_input_arrives_changes_nothing(place, tmp_path, rate):
    argv = ("of-sample", "-r", rate, "--seed", "42")
    wanted = place.run(*argv, input=MIXED).stdout
    assert wanted.count(b"\n") > 50
    lines = MIXED.splitlines(keepends=True)
    for cut in (1, 1000, len(lines) - 1):
        (tmp_path / "a").write_bytes(b"".join(lines[:cut]))
        (tmp_path / "b").write_bytes(b"".join(lines[cut:]))
        assert place.run(*argv, tmp_path / "a", tmp_path / "b").stdout == wanted
    assert place.run(*argv, input=gzip.compress(MIXED)).stdout == wanted
    for step in (997, 4096, 70_000):
        with subprocess.Popen(
            [str(BIN / argv[0]), *argv[1:]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(place.home),
            bufsize=0,
        ) as process:
            for at in range(0, len(MIXED), step):
                process.stdin.write(MIXED[at : at + step])
            assert process.communicate()[0] == wanted


@pytest.mark.skipif(not importlib.util.find_spec("numpy"), reason="numpy is not installed")
@pytest.mark.parametrize("rate", ["1e-6", "1e-3"])
def test_a_large_input_is_sampled_with_numpy_and_the_same_is_kept(place, tmp_path, rate):
    lines = MIXED.replace(b'"x"', b'"%s"' % (b"x" * 300))
    large = tmp_path / "large"
    large.write_bytes(lines * (sample.NUMPY_AFTER // len(lines) + 3))
    argv = ("--stats", "-r", rate, "--seed", "42", str(large))
    found = place.run("of-sample", *argv)
    plainly = "import sys; sys.modules['numpy'] = None; from overflowd_tools.commands.sample import main; main()"
    wanted = subprocess.run([sys.executable, "-c", plainly, *argv], cwd=TOP, capture_output=True, check=True)
    assert json.loads(found.stderr)["kept"] > 0
    assert (found.stdout, found.stderr) == (wanted.stdout, wanted.stderr)


def test_two_samplers_compose(place):
    first = place.run("of-sample", "-r", "1e-3", "--seed", "1", input=flow(500, source="x") * 2000)
    second = place.run("of-sample", "-r", "1e-3", "--seed", "2", input=first.stdout)
    assert {record["p_ppt"] for record in records(second)} == {PPT // 4}
    assert 420 < len(records(second)) < 580


def test_what_is_kept_comes_at_once(place):
    with place.begin("of-sample") as process:
        process.stdin.write(flow(5000, source="x"))
        assert readable(process.stdout)
        assert process.stdout.read(4096) == flow(5000, source="x", p_ppt=PPT)
        process.send_signal(signal.SIGTERM)
        assert process.wait() == -signal.SIGTERM


def test_what_of_decode_writes_need_not_be_parsed(place):
    lines = place.flows.splitlines(keepends=True)
    small = [line for line in lines if json.loads(line)["pcount"] < 1000 and b"sampling_rate" not in line]
    assert len(small) > 5
    assert all(is_skipped(line, 1e-6) for line in small)
    assert [json.loads(line) for line in lines] == [
        {name: value for name, value in record.items() if name != "p_ppt"}
        for record in records(place.run("of-sample", "-r", "1", input=place.flows))
    ]


# jq before and after.


@needs_jq
def test_a_sampling_rate_put_in_by_jq_counts(place):
    lines = jq(".sampling_rate=1000", flow(700, source="x") * 50 + flow(7, source="x") * 1000)
    assert b'"sampling_rate":1000}' in lines
    kept = records(place.run("of-sample", "--seed", "1", input=lines))
    assert {(record["pcount"], record["p_ppt"]) for record in kept} == {(700, 7 * PPT // 10), (7, 7 * PPT // 1000)}
    assert 20 <= sum(record["pcount"] == 700 for record in kept) <= 48


@needs_jq
def test_lines_in_another_order_are_sampled_too(place):
    lines = jq("{saddr:1,pcount,type}", flow(700, source="x") * 1000)
    kept = place.run("of-sample", "-r", "1e-3", "--seed", "1", input=lines)
    assert kept.stdout.startswith(b'{"saddr":1,"pcount":700,"type":"flow","p_ppt":700000000000}\n')
    assert 640 < len(records(kept)) < 760


@needs_jq
def test_estimates_by_jq(place):
    packets = sum(count % 997 for count in range(20_000))
    octets = sum(range(20_000))
    kept = place.run("of-sample", "-r", "6e-5", "--seed", "3", input=FLOWS).stdout
    sums = (
        "[inputs | ((.sampling_rate // 1) * 1e12 / .p_ppt) as $w | [.pcount * $w, .bcount * $w]] | transpose | map(add)"
    )
    done = subprocess.run(["jq", "-nc", sums], input=kept, capture_output=True, check=True)
    found = json.loads(done.stdout)
    assert found[0] == pytest.approx(packets, rel=0.2)
    assert found[1] == pytest.approx(octets, rel=0.3)


# Bad lines.


def test_bad_lines_by_file_and_number(place, tmp_path):
    (tmp_path / "a").write_bytes(FLOWS + b"bad\n\n" + flow(-5))
    (tmp_path / "b").write_bytes(BOM + b"\n" + flow(2000, source="x") + b'{"type":"flow","pcount":1.5}')
    done = place.run("of-sample", "-r", "1e-5", "--stats", tmp_path / "a", tmp_path / "b", "-", input=b"[]\n")
    assert done.returncode == 1
    first, second, third, fourth, stats = done.stderr.decode().splitlines()
    assert first.startswith(f"of-sample: {tmp_path}/a: line 20001: not JSON: ")
    fault = "pcount is not an integer from 0 to 2^64-1"
    assert second == f"of-sample: {tmp_path}/a: line 20003: {fault}"
    assert third == f"of-sample: {tmp_path}/b: line 3: {fault}"
    assert fourth == "of-sample: -: line 1: not a JSON object"
    assert json.loads(stats)["rejected"] == 4


def test_a_line_over_1_mib(place):
    longest = flow(5000, x="y" * ((1 << 20) - 37))
    done = place.run("of-sample", "-r", "1", input=flow(1) + b"x" * (1 << 21) + b"\n" + longest + b"x" * 2_000_000)
    assert done.stderr.decode().splitlines() == [
        "of-sample: -: line 2: longer than 1 MiB",
        "of-sample: -: line 4: longer than 1 MiB",
    ]
    assert done.returncode == 1
    assert [record["pcount"] for record in records(done)] == [1, 5000]


def test_one_octet_is_no_line_over_1_mib(place):
    for data in (b"\0", b"{}\n\0", b"\0\0"):
        done = place.run("of-sample", "-r", "1", input=data)
        assert done.returncode == 1
        assert b"not JSON" in done.stderr


@pytest.mark.parametrize("rate", ["1", "1e-6"])
def test_strict_stops_after_what_came_before(place, rate):
    lines = flow(10**6, source="x") * 3 + flow(1, source="x") + b"bad\n" + flow(10**6, source="x")
    done = place.run("of-sample", "--strict", "--stats", "-r", rate, "--seed", "1", input=lines)
    assert done.returncode == 1
    expected = [10**6] * 3 + [1] * (rate == "1")
    assert [record["pcount"] for record in records(done)] == expected
    message, stats = done.stderr.splitlines()
    assert message.startswith(b"of-sample: -: line 5: not JSON")
    counts = json.loads(stats)
    assert counts == {"command": "of-sample", "flows": 4, "kept": len(expected), "rejected": 1}


def test_ten_complaints_of_a_kind(place):
    done = place.run("of-sample", input=b"".join(b"bad%d\n" % number for number in range(30)) + flow(-1) * 12)
    said = done.stderr.decode().splitlines()
    assert sum("not JSON:" in line and ": line " in line for line in said) == 10
    assert sum("pcount" in line and ": line " in line for line in said) == 10
    assert "of-sample: 20 more not shown: not JSON" in said
    assert "of-sample: 2 more not shown: pcount is not an integer from 0 to 2^64-1" in said

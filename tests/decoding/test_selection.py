"""Sampling before rendering: the lines of of-sample, and the same whether datagrams are skimmed or all decoded."""

import json
import os
import struct
from pathlib import Path
from random import Random

import capture_builders as build
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sampled_decoding import EVERYTHING, check, decode, is_flow

from overflowd_tools.capture.plain import DOZEN
from overflowd_tools.decoding.capture_decoder import Sampling, Wanted
from overflowd_tools.protocols.detect import Rates
from overflowd_tools.protocols.series import Series
from overflowd_tools.sampling.law import PPT, Law
from overflowd_tools.sampling.sampler import Sampler

DATA = Path(__file__).parents[1] / "data"
ROOT = Path(os.environ.get("OF_CORPORA", "/nonexistent"))


def netflow5(sequence, packets, *, sampling=0, count=None, engine=0, octets=600):
    """A NetFlow 5 datagram of flows of so many packets."""
    head = struct.pack(
        "!HHIIIIBBH", 5, len(packets) if count is None else count, 1000, build.SECOND, 0, sequence, 0, engine, sampling
    )
    return head + b"".join(
        bytes(16) + struct.pack("!II", pcount, octets * pcount & 0xFFFFFFFF) + bytes(24) for pcount in packets
    )


def frame(payload):
    return build.ethernet(build.ipv4(build.udp(payload)))


def stream(rng, datagrams, most=3000, engines=2):
    """Frames of NetFlow 5 datagrams without a gap."""
    sequences = [0] * engines
    for _ in range(datagrams):
        engine = rng.randrange(engines)
        packets = [int(rng.uniform(0, most**0.25) ** 4) for _ in range(rng.randint(1, 30))]
        yield frame(netflow5(sequences[engine], packets, engine=engine))
        sequences[engine] += len(packets)


def bursts(rng, number):
    """Frames of datagrams alike, of which few are others after all, or come late, or never."""
    sequence = 0
    for _ in range(number):
        records = rng.randint(1, 30)
        for _ in range(rng.randint(10, 50)):
            packets = [int(rng.uniform(0, 5) ** 4) for _ in range(records)]
            datagram = bytearray(netflow5(sequence, packets))
            if not rng.randrange(40):
                datagram[rng.randrange(24)] ^= 1 << rng.randrange(8)
            yield frame(bytes(datagram))
            sequence += records * rng.choices((1, 0, 2), (60, 1, 1))[0]


CAPTURE = build.pcap(*stream(Random(7), 300))


@pytest.mark.parametrize("rate", [1e-6, 1e-4, 0.01, 0.3, 1.0])
@pytest.mark.parametrize("amplification", [None, 0.01])
def test_sampled_lines(rate, amplification):
    kept, _ = check(CAPTURE, Sampling(rate, amplification, 1))
    assert kept


def test_few_datagrams_are_decoded():
    _, _, counts, decoded = decode(CAPTURE, sampling=Sampling(1e-6, None, 1))
    assert counts["flows"] > 4000
    assert decoded < 10
    assert counts["datagrams"] == counts["packets"] == 300


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("rate", [1e-7, 1e-6, 1e-4])
def test_datagrams_alike(seed, rate):
    check(build.pcap(*bursts(Random(seed), 10)), Sampling(rate, None, seed))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_datagrams_alike_that_lie(count):
    """They announce more flows than there are, or fewer, all in the same way."""
    frames = [frame(netflow5(index * count, [index, 9], count=count)) for index in range(30)]
    _, decoded = check(build.pcap(*frames), Sampling(1e-7, None, 1))
    assert decoded == (30 if count else 0)


def test_datagrams_alike_are_counted_by_the_dozen(monkeypatch):
    frames = [frame(netflow5(2 * index, [3, 4])) for index in range(2 + 5 * DOZEN)]
    read = []
    packets = Series.packets
    monkeypatch.setattr(Series, "packets", lambda *told: read.append(packets(*told)) or read[-1])
    _, _, counts, decoded = decode(build.pcap(*frames), sampling=Sampling(1e-8, None, 1))
    assert (counts["datagrams"], counts["flows"], decoded) == (len(frames), 2 * len(frames), 1)
    assert read == [7 * DOZEN] * 5


def test_rate_1_is_what_of_sample_writes():
    every = decode(CAPTURE)[0]
    sampler = Sampler(Law(1.0), Random(0), Random(0), print)
    assert decode(CAPTURE, sampling=Sampling(1.0))[0] == list(sampler.sample(b"".join(every)))


def test_the_randomness_of_the_system():
    counts = decode(CAPTURE, sampling=Sampling(0.001))[2]
    assert 0 < counts["kept"] < counts["flows"]
    outcomes = {tuple(decode(CAPTURE, sampling=Sampling(0.001))[0]) for _ in range(3)}
    assert len(outcomes) == 3


def test_no_flows_no_draws():
    wanted = Wanted(only=frozenset({"stats"}))
    lines, _, counts, _ = decode(CAPTURE, wanted, sampling=Sampling(1.0))
    assert (lines, counts["flows"]) == (decode(CAPTURE, wanted)[0], 0)
    assert "kept" not in counts


@pytest.mark.parametrize("size", [1, 100, 1459, 10**6])
def test_pieces_of_the_capture_make_no_difference(size):
    whole = decode(CAPTURE, sampling=Sampling(0.001, None, 5))[:3]
    assert decode(CAPTURE, sampling=Sampling(0.001, None, 5), size=size)[:3] == whole
    assert whole[0]


def test_sampling_rates():
    packets = [5, 50, 0, 700]
    datagrams = [netflow5(4 * index, packets, sampling=0x4000 | 100, engine=1) for index in range(40)]
    capture = build.pcap(*map(frame, datagrams))
    kept, _ = check(capture, Sampling(1e-5, None, 2))
    rates = Rates(7, {build.SOURCE4: 2.5})
    known, _ = check(capture, Sampling(1e-4, None, 2), EVERYTHING._replace(rates=rates))
    assert {json.loads(line).get("sampling_rate") for line in filter(is_flow, kept)} == {100}
    assert {json.loads(line).get("sampling_rate") for line in filter(is_flow, known)} == {2.5}


def test_what_is_lost_stands_in_the_first_flow_alone():
    capture = build.pcap(frame(netflow5(0, [9])), frame(netflow5(100, [9, 9])), frame(netflow5(102, [9])))
    lines = decode(capture, Wanted(), sampling=Sampling(1.0))[0]
    assert [b'"seq_lost":99,"p_ppt":' in line for line in lines] == [False, True, False, False]
    rare = [decode(capture, Wanted(), sampling=Sampling(0.03, None, seed))[0] for seed in range(60)]
    assert {line for lines in rare for line in lines} <= {
        line.replace(b"%d}" % PPT, b"270000000000}") for line in lines
    }


ODD = [
    frame(netflow5(0, [])),
    frame(netflow5(0, [1] * 3, count=2)),
    frame(netflow5(0, [1] * 2, count=3)),
    frame(netflow5(0, [1] * 70)),
    frame(netflow5(0, [2**32 - 1, 0])),
    frame(b"\0\5" + b"\0\1" + b"text of an error of TFTP, which is as long as a flow of NetFlow five" + bytes(3)),
    frame(b"\0\5\0\1" + b"\1" * 68),
    frame(b"\0\5"),
    frame(b""),
    frame(netflow5(5, [5] * 5))[:-3],
    build.ethernet(build.ipv6(build.udp(netflow5(0, [10]))), 0x86DD),
    *map(build.ethernet, build.fragments4(build.udp(netflow5(30, [7] * 30)), 800)),
]


@given(
    st.lists(st.sampled_from([*ODD, *stream(Random(1), 12)]), max_size=20),
    st.sampled_from([1e-6, 1e-3, 0.05, 1.0]),
    st.none() | st.just(0.01),
    st.integers(0, 100),
    st.sampled_from([30, 1000, 10**6]),
    st.binary(max_size=4),
)
@settings(max_examples=100, deadline=None)
def test_odd_captures(frames, rate, amplification, seed, size, damage):
    data = bytearray(build.pcap(*frames))
    rng = Random(seed)
    for octet in damage:
        data[rng.randrange(4, len(data))] = octet
    check(bytes(data), Sampling(rate, amplification, seed), size=size)


CAPTURES = [path for path in sorted(DATA.glob("*.pcap*")) if path.suffix == ".pcap"]
CAPTURES += [path for path in sorted(ROOT.rglob("*.pcap")) if path.is_file()]


@pytest.mark.parametrize("rate", [1e-6, 0.02, 1.0])
def test_captures_of_all_protocols(rate):
    decoded = kept = 0
    for path in CAPTURES:
        found, datagrams = check(path.read_bytes(), Sampling(rate, None, 3))
        decoded += datagrams
        kept += len(found)
    assert decoded > 10
    assert kept > 10

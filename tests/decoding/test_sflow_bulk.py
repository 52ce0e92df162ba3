"""Datagrams of sFlow that are written without the decoder, among whatever else comes: nothing changes."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from run_decoding import check, decode, frame, pcap

from overflowd_tools.decoding import sflow_bulk
from overflowd_tools.decoding.capture_decoder import Wanted
from tests.hostile.builders import netflow5
from tests.protocols import sflow_builders as build
from tests.protocols.set_builders import SECOND
from tests.protocols.sflow_builders import PACKET, TAGGED, V6, datagram5, flow, raw, switch

pytest.importorskip("numpy")

WANTED = {
    "flows": Wanted(),
    "counters": Wanted(only=frozenset({"flow", "counter", "stats"})),
    "drops": Wanted(only=frozenset({"drop"})),
    "packets": Wanted(packets=True),
    "envelope": Wanted(envelope=True),
}
GOOD = (flow(raw(PACKET)), flow(raw(TAGGED), switch()), build.expanded_flow(raw(V6)))
ODD = flow(raw(build.ethernet(bytes(60), 0x0806)))


class Agent:
    """Writes the datagrams of one agent's sub-agent."""

    def __init__(self, rng, **header):
        self.rng, self.header = rng, header
        self.sequence = rng.choice((0, 1000, 0xFFFFFFFF))

    def send(self, *samples, skip=1, cut=0, more=b"", count=None):
        self.sequence = self.sequence + skip & 0xFFFFFFFF
        made = datagram5(*samples, count=count, sequence=self.sequence, **self.header)
        return frame(made[: len(made) - cut] + more)


def some(rng):
    return rng.choices(GOOD, k=rng.randint(1, 6))


ACTIONS = {
    "some": lambda one, rng: one.send(*some(rng)),
    "none": lambda one, _: one.send(),
    "lost": lambda one, rng: one.send(*some(rng), skip=rng.randint(2, 2000)),
    "late": lambda one, rng: one.send(*some(rng), skip=-rng.randint(0, 2000)),
    "counters": lambda one, rng: one.send(build.counters(), *some(rng), build.expanded_counters(), *some(rng)),
    "only counters": lambda one, _: one.send(build.counters()),
    "odd": lambda one, rng: one.send(*some(rng), ODD, *some(rng)),
    "drop": lambda one, rng: one.send(*some(rng), build.drop(raw(PACKET))),
    "cut": lambda one, rng: one.send(*some(rng), cut=rng.randint(1, 60)),
    "zeroes behind": lambda one, rng: one.send(*some(rng), more=bytes(4)),
    "junk behind": lambda one, rng: one.send(*some(rng), more=b"junk"),
    "fewer": lambda one, rng: one.send(*some(rng), count=9),
    "more": lambda one, _: one.send(*GOOD, count=2),
    "no header": lambda *_: frame(b"\0\0\0\5\0\0\0\1\1\2\3\4\0\0"),
    "just a header": lambda *_: frame(b"\0\0\0\5\0\0\0\1" + bytes(19)),
    "version 4": lambda *_: frame(build.datagram4(build.flow4(1, raw(PACKET)))),
    "NetFlow 5": lambda *_: frame(netflow5(1, 2)),
    "DNS": lambda *_: frame(b"\x12\x34\1\0\0\1\0\0\0\0\0\0\1a\0\0\1\0\1"),
    "options of IP": lambda one, rng: frame(datagram5(*some(rng)), ihl=6),
}
STEPS = st.sampled_from(["some"] * 12 + list(ACTIONS))


@given(
    steps=st.lists(st.tuples(STEPS, st.integers(0, 3)), max_size=40),
    seed=st.integers(0),
    wanted=st.sampled_from(list(WANTED.values())),
    size=st.sampled_from((997, 20_011, 1 << 20)),
    seconds=st.sampled_from((SECOND, 0)),
)
@settings(max_examples=100, deadline=None)
def test_nothing_changes(steps, seed, wanted, size, seconds):
    rng = Random(seed)
    agents = [Agent(rng), Agent(rng, sub_agent=1), Agent(rng, agent="192.0.2.7"), Agent(rng, agent="2001:db8::7")]
    check(pcap([ACTIONS[name](agents[place], rng) for name, place in steps], seconds), wanted, size)


@pytest.mark.parametrize(
    ("name", "decoded"),
    [
        *((name, {1, 2}) for name in ("some", "lost", "late", "counters")),
        *((name, {1, 2, 3, 4}) for name in ("odd", "drop", "cut", "fewer", "junk behind")),
        *((name, {1, 2, 3}) for name in ("none", "no header", "version 4", "NetFlow 5")),
    ],
)
def test_what_is_decoded(name, decoded):
    rng = Random(5)
    one = Agent(rng)
    frames = [one.send(*GOOD), one.send(*GOOD), ACTIONS[name](one, rng), *(one.send(*GOOD) for _ in range(3))]
    first = len(pcap(frames[:1]))
    data = pcap(frames)
    assert {*decode(data, Wanted(), first)[3]} <= decoded
    check(data, Wanted(), first)


def test_what_is_mostly_odd_is_seldom_read_twice(monkeypatch):
    read = []
    real = sflow_bulk.read_common
    monkeypatch.setattr(sflow_bulk, "read_common", lambda *told, **how: (read.append(told), real(*told, **how))[1])
    one = Agent(Random(5))
    frames = [one.send(*GOOD, ODD) for _ in range(1000)] + [one.send(*GOOD) for _ in range(100)]
    data = pcap(frames)
    written = decode(data, Wanted(), 20_000)
    assert written[:3] == decode(data, Wanted(), runs=False)[:3]
    assert 15 < len(read) < 25 + 100
    assert len(written[3]) < 1000 + sflow_bulk._MOST_PASSED_OVER + 1

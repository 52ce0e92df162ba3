"""Datagrams of NetFlow 5 that are gathered without the decoder, among whatever else comes: nothing changes."""

import struct
from random import Random

import capture_builders as build
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from run_decoding import check, decode, frame, pcap

from overflowd_tools.decoding.capture_decoder import Wanted
from overflowd_tools.protocols.detect import Rates
from tests.protocols import set_builders as sets

pytest.importorskip("numpy")

DAY = 86_400
WANTED = {
    "flows": Wanted(),
    "all": Wanted(only=frozenset({"flow", "stats"}), packets=True),
    "envelope": Wanted(envelope=True),
    "no flows": Wanted(only=frozenset({"stats"})),
    "rates": Wanted(rates=Rates(None, {bytes((192, 0, 2, 1)): 7.5})),
    "one rate": Wanted(rates=Rates(3)),
}


class Exporter:
    """Writes the datagrams of one engine."""

    def __init__(self, rng, engine=0, source="192.0.2.1"):
        self.rng, self.engine, self.source = rng, engine, source
        self.sequence = rng.choice((0, 1000, 0xFFFFFFFF))

    def send(self, records, *, count=None, skip=0, seconds=sets.SECOND, nanoseconds=5_999_999, more=b"", **header):
        self.sequence = self.sequence + skip & 0xFFFFFFFF
        sampling, uptime = self.rng.choice((0, 0x4000, 0x4064)), self.rng.choice((0, 500_000, 0xFFFFFFFF))
        count = records if count is None else count
        head = struct.pack("!HHIIIIHH", 5, count, uptime, seconds, nanoseconds, self.sequence, self.engine, sampling)
        self.sequence = self.sequence + count & 0xFFFFFFFF
        return frame(head + self.rng.randbytes(48 * records) + more, **header)


ACTIONS = {
    "some": lambda one, rng: one.send(rng.randint(1, 30)),
    "none": lambda one, _: one.send(0),
    "lost": lambda one, rng: one.send(3, skip=rng.randint(1, 2000)),
    "late": lambda one, rng: one.send(3, skip=-rng.randint(1, 2000)),
    "fewer": lambda one, _: one.send(3, count=4),
    "more": lambda one, _: one.send(3, count=2),
    "none announced": lambda one, _: one.send(3, count=0),
    "zeroes behind": lambda one, _: one.send(3, more=bytes(48)),
    "cut record": lambda one, _: one.send(3, more=b"junk"),
    "garbage for nanoseconds": lambda one, _: one.send(3, nanoseconds=1_000_000_000),
    "no clock": lambda one, _: one.send(3, seconds=0),
    "far clock": lambda one, rng: one.send(3, seconds=sets.SECOND + rng.choice((-2, -1, 1, 2)) * DAY),
    "options of IP": lambda one, _: one.send(3, ihl=6),
    "text": lambda one, _: frame(b"\0\5\0\1" + b"x" * 67 + b"\0"),
    "text without end": lambda one, _: frame(b"\0\5\0\1" + b"x" * 68),
    "one octet of 0": lambda one, _: frame(b"\0\5\0\1" + b"x" * 66 + b"\0x"),
    "version 7": lambda one, _: frame(struct.pack("!HHIIIII", 7, 1, 0, sets.SECOND, 0, 0, 0) + bytes(52)),
    "IPFIX": lambda one, _: frame(sets.ipfix(sets.template(256, [(8, 4), (2, 4)]), sets.data(256, bytes(16)))),
    "DNS": lambda one, _: frame(b"\x12\x34\1\0\0\1\0\0\0\0\0\0\1a\0\0\1\0\1"),
    "short": lambda one, _: frame(b"\0\5\0"),
    "ARP": lambda *_: build.ethernet(bytes(28), 0x0806),
}
STEPS = st.sampled_from(["some"] * 12 + list(ACTIONS))


@given(
    steps=st.lists(st.tuples(STEPS, st.integers(0, 2)), max_size=60),
    seed=st.integers(0),
    wanted=st.sampled_from(list(WANTED.values())),
    size=st.sampled_from((997, 20_011, 1 << 20)),
    seconds=st.sampled_from((sets.SECOND, 0)),
)
@settings(max_examples=150, deadline=None)
def test_nothing_changes(steps, seed, wanted, size, seconds):
    rng = Random(seed)
    exporters = [Exporter(rng), Exporter(rng, engine=0x0102), Exporter(rng)]
    frames = [ACTIONS[name](exporters[place], rng) for name, place in steps]
    check(pcap(frames, seconds), wanted, size)


@pytest.mark.parametrize("name", [*ACTIONS])
def test_what_is_decoded(name):
    rng = Random(5)
    one = Exporter(rng)
    frames = [one.send(3), ACTIONS[name](one, rng), one.send(3), one.send(3)]
    seen = decode(pcap(frames), Wanted(), numpy=True)[3]
    # Always the first one, and the one after something that was lost or is not NetFlow 5.
    assert 1 <= len(seen) <= 3
    assert len(seen) == 1 or name != "some"

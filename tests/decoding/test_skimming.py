"""Messages of NetFlow 9 and IPFIX that are passed over, among whatever else exporters say: nothing changes."""

import struct
from random import Random

import capture_builders as build
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sampled_decoding import EVERYTHING, check, decode

from overflowd_tools.capture.plain import DOZEN
from overflowd_tools.decoding.capture_decoder import Sampling
from overflowd_tools.protocols.bounds import Limits
from overflowd_tools.protocols.detect import Rates
from overflowd_tools.protocols.series import Series
from tests.protocols import set_builders as sets

FLOW = [(8, 4), (12, 4), (7, 2), (11, 2), (4, 1), (2, 4), (1, 4), (22, 4), (21, 4)]
TEMPLATES = {
    "plain": FLOW,
    "another order": [(1, 8), (2, 8), *FLOW[:5]],
    "interfaces": [(10, 2), *FLOW, (14, 2)],
    "rate of its own": [*FLOW, (34, 4)],
    "sampler": [*FLOW, (302, 1)],
    "both versions": [*FLOW, (27, 16), (28, 16), (60, 1)],
    "no packets": [(8, 4), (12, 4), (1, 4)],
    "totals": [(8, 4), (12, 4), (85, 4), (86, 4)],
    "list": [(8, 4), (12, 4), (291, sets.VARIABLE)],
    "three octets": [(2, 3), (8, 4), (12, 4)],
}
OPTIONS = {
    "domain": ([(149, 4)], [(34, 4)], struct.pack("!II", 1, 50)),
    "another rate": ([(149, 4)], [(34, 4)], struct.pack("!II", 1, 3)),
    "sampler": ([(302, 1)], [(305, 4), (306, 4)], struct.pack("!BII", 1, 1, 99)),
    "interface": ([(10, 4)], [(34, 4)], struct.pack("!II", 1, 700)),
    "template": ([(145, 2)], [(34, 4)], struct.pack("!HI", 256, 20)),
    "boot": ([(149, 4)], [(160, 8)], struct.pack("!IQ", 1, 1000 * sets.SECOND - 10**6)),
}


class Exporter:
    """Writes the messages of one exporter's domain."""

    def __init__(self, rng, *, netflow9, port=4739, domain=1):
        self.rng, self.netflow9, self.port, self.domain = rng, netflow9, port, domain
        self.sequence = 0
        self.fields = FLOW

    def message(self, *parts, records=0, skip=0, **header):
        self.sequence = max(self.sequence + skip, 0)
        if self.netflow9:
            made = sets.netflow9(*parts, count=max(records, 1), sequence=self.sequence, domain=self.domain)
            self.sequence += 1
        else:
            made = sets.ipfix(*parts, sequence=self.sequence, domain=self.domain, **header)
            self.sequence += records
        return build.ethernet(build.ipv4(build.udp(made, ports=(self.port, 2055))))

    def announce(self, fields):
        self.fields = fields
        return self.message(self.template(fields))

    def template(self, fields):
        return sets.template9(256, fields) if self.netflow9 else sets.template(256, fields)

    def tell(self, scopes, fields, values):
        if self.netflow9:
            return self.message(sets.options9(300, [(1, 4)], fields), sets.data(300, bytes(4) + values[-4:]), records=1)
        announced = sets.template(300, [*scopes, *fields], scopes=len(scopes))
        return self.message(announced, sets.data(300, values), records=1)

    def content(self, records):
        content = bytearray()
        for _ in range(records):
            for element, length, *_ in self.fields:
                value = {2: int(self.rng.uniform(0, 7) ** 4), 10: 1, 34: self.rng.choice((1, 9)), 302: 1}.get(
                    element, 7
                )
                content += sets.variable(b"") if length == sets.VARIABLE else (value % 256**length).to_bytes(length)
        return bytes(content)

    def flows(self, records, *, number=256, rest=b"", **more):
        return self.message(sets.data(number, self.content(records) + rest), records=records, **more)


def burst(one, rng):
    """Messages alike, of which one may be another after all."""
    records = rng.randint(1, 30)
    frames = [one.flows(records) for _ in range(rng.randint(13, 30))]
    for _ in range(rng.randint(0, 2)):
        frame = bytearray(frames.pop(at := rng.randrange(len(frames))))
        frame[42 + rng.randrange(28)] ^= 1 << rng.randrange(8)
        frames.insert(at, bytes(frame))
    if rng.random() < 0.2:
        rng.shuffle(frames)
    return frames


ACTIONS = {
    "burst": burst,
    "flows": lambda one, rng: one.flows(rng.randint(1, 30)),
    "many": lambda one, rng: one.flows(rng.randint(60, 70)),
    "padded": lambda one, rng: one.flows(3, rest=bytes(rng.randint(1, 3))),
    "none": lambda one, _: one.flows(0),
    "lost": lambda one, rng: one.flows(5, skip=rng.randint(1, 50)),
    "late": lambda one, rng: one.flows(5, skip=-rng.randint(1, 50)),
    "unknown": lambda one, _: one.flows(5, number=999),
    "two sets": lambda one, _: one.message(*[sets.data(256, one.content(2))] * 2, records=4),
    "junk": lambda one, _: one.message(sets.data(256, one.content(2)), b"\0\0", records=2),
    "short set": lambda one, _: one.message(sets.data(256, one.content(2))[:-1], records=2),
    "with its template": lambda one, _: one.message(
        one.template(one.fields), sets.data(256, one.content(2)), records=2
    ),
    "other template": lambda one, _: one.message(sets.template9(257, FLOW), sets.data(256, one.content(2)), records=2),
    "many templates": lambda one, _: one.message(one.template(FLOW * 12), sets.data(256, one.content(2)), records=2),
    "not its length": lambda one, _: one.flows(2, rest=sets.data(256, one.content(1))),
    "cut template": lambda one, _: one.message(
        one.template(one.fields)[:-3], sets.data(256, one.content(2)), records=2
    ),
    "no clock": lambda one, _: one.flows(2) if one.netflow9 else one.flows(2, seconds=5),
    "header": lambda one, _: build.ethernet(build.ipv4(build.udp(b"\0\x09" + bytes(18) + bytes([one.domain])))),
    "withdrawal": lambda one, _: one.message(sets.withdrawal(256)),
    "template": lambda one, rng: one.announce(rng.choice([*TEMPLATES.values()])),
    "same template": lambda one, _: one.announce(one.fields),
    "options": lambda one, rng: one.tell(*rng.choice([*OPTIONS.values()])),
}
STEPS = st.sampled_from(["flows"] * 12 + ["burst"] * 3 + list(ACTIONS))


def exporters(rng):
    pairs = [(True, 1), (False, 1), (False, 2)]
    return [Exporter(rng, netflow9=netflow9, domain=domain, port=4739 + domain) for netflow9, domain in pairs]


@given(
    st.lists(st.tuples(STEPS, st.integers(0, 2)), max_size=50),
    st.integers(0, 1000),
    st.sampled_from([1e-6, 1e-5, 1e-3, 1.0]),
    st.booleans(),
)
@settings(max_examples=120, deadline=None)
def test_with_all_that_exporters_say(steps, seed, rate, known):
    rng = Random(seed)
    ones = exporters(rng)
    frames = [one.announce(FLOW) for one in ones] * 2
    for name, who in steps:
        made = ACTIONS[name](ones[who], rng)
        frames += made if isinstance(made, list) else [made]
    wanted = EVERYTHING._replace(rates=Rates(None, {build.SOURCE4: 40}) if known else None, split_biflow=known)
    check(build.pcap(*frames), Sampling(rate, None, seed), wanted)


@pytest.mark.parametrize("netflow9", [True, False])
@pytest.mark.parametrize("fields", TEMPLATES.values(), ids=TEMPLATES)
@pytest.mark.parametrize("options", [None, *OPTIONS.values()], ids=[None, *OPTIONS])
def test_templates_and_options(netflow9, fields, options):
    rng = Random(5)
    one = Exporter(rng, netflow9=netflow9)
    frames = [one.announce(fields), one.announce(fields)]
    frames += [one.flows(10) for _ in range(5)]
    frames += [one.tell(*options)] if options else []
    frames += [one.flows(10) for _ in range(20)]
    for rate in (1e-6, 1e-5, 1e-4):
        check(build.pcap(*frames), Sampling(rate, None, 8))


@pytest.mark.parametrize("netflow9", [True, False])
@pytest.mark.parametrize("name", ["plain", "three octets", "interfaces"])
def test_usual_messages_are_not_decoded(netflow9, name):
    one = Exporter(Random(5), netflow9=netflow9)
    frames = [one.announce(TEMPLATES[name]) for _ in range(2)] + [one.flows(20) for _ in range(100)]
    frames += [one.message(one.template(one.fields), sets.data(256, one.content(20)), records=20) for _ in range(100)]
    late = frames[-30:]
    _, _, counts, decoded = decode(build.pcap(*frames, *late), sampling=Sampling(1e-8, None, 1))
    assert counts["flows"] == 4600
    assert counts["reordered"] == 30
    assert decoded < 10


@pytest.mark.parametrize("name", ["rate of its own", "both versions", "list", "no packets"])
def test_unusual_messages_are_decoded(name):
    one = Exporter(Random(5), netflow9=False)
    frames = [one.announce(TEMPLATES[name]) for _ in range(2)] + [one.flows(20) for _ in range(20)]
    assert decode(build.pcap(*frames), sampling=Sampling(1e-8, None, 1))[3] == 22


def test_sampling_rates_that_are_known_better():
    one = Exporter(Random(5), netflow9=True)
    frames = [one.announce(FLOW) for _ in range(2)] + [one.flows(20) for _ in range(200)]
    kept = []
    for rates in (None, Rates(2000), Rates(None, {build.SOURCE4: 2000}), Rates(None, {build.SOURCE6: 2000})):
        found, _ = check(build.pcap(*frames), Sampling(1e-7, None, 1), EVERYTHING._replace(rates=rates))
        kept.append(len(found))
    assert kept[1] == kept[2] > 100 > kept[0] == kept[3]


@pytest.mark.parametrize("netflow9", [True, False])
def test_messages_alike_are_counted_by_the_dozen(netflow9, monkeypatch):
    one = Exporter(Random(5), netflow9=netflow9)
    frames = [one.announce(FLOW) for _ in range(2)] + [one.flows(9) for _ in range(3)]
    frames += [one.flows(20) for _ in range(1 + 5 * DOZEN)]
    read = []
    packets = Series.packets
    monkeypatch.setattr(Series, "packets", lambda *told: read.append(packets(*told)) or read[-1])
    _, _, counts, decoded = decode(build.pcap(*frames), sampling=Sampling(1e-8, None, 1))
    assert (counts["datagrams"], counts["flows"]) == (len(frames), 3 * 9 + 20 * (1 + 5 * DOZEN))
    assert len(read) == 5
    assert all(read)
    assert decoded <= 5


@pytest.mark.parametrize("seed", range(20))
def test_one_flow_of_messages_alike(seed):
    """A hit among dozens: they go one by one until there is none, and nothing changes but the time."""
    one = Exporter(Random(seed), netflow9=seed % 2)
    frames = [one.announce(FLOW) for _ in range(2)] + [one.flows(20) for _ in range(200)]
    kept, decoded = check(build.pcap(*frames), Sampling(1e-7, None, seed))
    assert decoded < 20
    assert len(kept) < 20


def test_exporters_in_turn():
    ones = [Exporter(Random(seed), netflow9=seed % 2, domain=seed) for seed in range(4)]
    frames = [one.announce(FLOW) for one in ones for _ in range(2)]
    frames += [one.flows(9) for _ in range(60) for one in ones]
    _, decoded = check(build.pcap(*frames), Sampling(1e-8, None, 1))
    assert decoded <= 15


def test_who_was_heard_last():
    """Sessions that are passed over are heard as those that are decoded, so the same ones are forgotten."""
    ones = [Exporter(Random(seed), netflow9=False, domain=seed) for seed in range(6)]
    order = Random(3).choices(range(6), k=60)
    frames = [ones[who].announce(FLOW) for who in range(6) for _ in range(2)]
    frames += [frame for who in order for frame in [ones[who].flows(9)] * Random(who).choice((1, 20))]
    frames += [one.flows(9) for one in ones]
    check(build.pcap(*frames), Sampling(1e-7, None, 1), EVERYTHING._replace(limits=Limits(sessions=4)))


def test_what_is_known_at_a_glance_is_bounded():
    one = Exporter(Random(5), netflow9=False)
    frames = [one.announce(FLOW), one.announce(FLOW)]
    numbers = range(256, 276)
    frames += [one.message(sets.template(number, FLOW)) for number in numbers]
    frames += [one.flows(20, number=number) for number in numbers for _ in range(3)]
    check(build.pcap(*frames), Sampling(1e-6, None, 1))

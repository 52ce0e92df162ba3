"""Messages of NetFlow 9 and IPFIX that are gathered without the decoder, among whatever else comes: nothing changes."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from run_decoding import check, decode, frame, pcap

from overflowd_tools.decoding.capture_decoder import LINE_TYPES, Wanted
from overflowd_tools.protocols.detect import Rates
from tests.decoding.test_skimming import ACTIONS, FLOW, OPTIONS, TEMPLATES, Exporter, exporters
from tests.hostile.builders import netflow5
from tests.protocols.set_builders import SECOND

pytest.importorskip("numpy")

DAY = 86_400
WANTED = {
    "flows": Wanted(),
    "everything": Wanted(only=frozenset(LINE_TYPES), packets=True),
    "options": Wanted(only=frozenset({"option"})),
    "envelope": Wanted(envelope=True),
    "both directions": Wanted(split_biflow=True),
    "rate": Wanted(rates=Rates(2.5)),
}
MORE = ACTIONS | {
    "NetFlow 5": lambda *_: frame(netflow5(1, 2)),
    "with uptimes and boot": lambda one, _: one.announce([(8, 4), (22, 4), (21, 4), (2, 4), (160, 8)]),
    "milliseconds": lambda one, _: one.announce([(8, 4), (12, 4), (2, 4), (152, 8), (153, 8)]),
}
STEPS = st.sampled_from(["flows"] * 12 + list(MORE))


@given(
    steps=st.lists(st.tuples(STEPS, st.integers(0, 2)), max_size=50),
    seed=st.integers(0),
    wanted=st.sampled_from(list(WANTED.values())),
    size=st.sampled_from((997, 20_011, 1 << 20)),
    seconds=st.sampled_from((SECOND, SECOND, 0, SECOND + 2 * DAY)),
)
@settings(max_examples=150, deadline=None)
def test_nothing_changes(steps, seed, wanted, size, seconds):
    rng = Random(seed)
    several = exporters(rng)
    frames = [one.announce(rng.choice([*TEMPLATES.values()])) for one in several]
    frames += [one.flows(25) for one in several]
    for name, place in steps:
        made = MORE[name](several[place], rng)
        frames += made if isinstance(made, list) else [made]
    check(pcap(frames, seconds), wanted, size)


@pytest.mark.parametrize("netflow9", [False, True])
@pytest.mark.parametrize("options", [*OPTIONS.values()], ids=OPTIONS)
@pytest.mark.parametrize("fields", [*TEMPLATES.values()], ids=TEMPLATES)
def test_options_in_between(netflow9, options, fields):
    one = Exporter(Random(5), netflow9=netflow9)
    frames = [one.announce(fields), *(one.flows(20) for _ in range(4)), one.tell(*options)]
    frames += [one.flows(20) for _ in range(4)]
    check(pcap(frames), Wanted(), 3000)


@pytest.mark.parametrize("netflow9", [False, True])
def test_what_is_decoded(netflow9):
    one = Exporter(Random(5), netflow9=netflow9)
    templates = one.announce(FLOW)
    frames = [templates, *(one.flows(20) for _ in range(20)), one.flows(5, skip=9), *(one.flows(5) for _ in range(9))]
    first = len(pcap(frames[:4]))
    seen = decode(pcap(frames), Wanted(), first, numpy=True)[3]
    # Until the template is worth it, and after what was lost.
    assert {1, 2, 22} <= {*seen}
    assert len(seen) <= 6
    check(pcap(frames), Wanted(), first)

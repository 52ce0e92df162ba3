"""What a look tells of lines, one by one and with numpy: the same, and never too few units."""

import json
import sys
import tracemalloc

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sampling_tools import NEVER, Told, flow, sampler

from overflowd_tools.sampling.hits import CERTAIN, Hits
from overflowd_tools.sampling.law import PPT, Law
from overflowd_tools.sampling.look import Look, beginnings

MOST = (0, 1, 2, 11, 499, 1000, 499_999, 10**11)
NEEDS_NUMPY = pytest.mark.skipif(
    not pytest.importorskip("importlib.util").find_spec("numpy"), reason="numpy is not installed"
)


def seen(look, text, before=b"", behind=b'1,"a' * 8):
    """Return all that a look tells of lines, with something around them, so that it can be compared."""
    lines, units, unknown = [], [0], []
    for looked in look(bytearray(before + text + behind), len(before), len(before) + len(text)):
        so_far = units[-1]
        unknown += (len(lines) + index for index in looked.unknown)
        units += (so_far + more for more in looked.running() or [0] * len(looked.lines))
        lines += (looked.lines[index] for index in range(len(looked.lines)))
        assert units[-1] == so_far + looked.total
    return lines, units[1:], unknown


# --- units


@pytest.mark.parametrize(
    ("line", "units"),
    [
        (flow(0, a=1), 1),
        (flow(7, a=1), 8),
        (flow(10, a=1), 11),
        (flow(999, a=1), 1000),
        (flow(1000, a=1), 1001),
        (flow(123_456, a=1), 123_457),
        (flow(5, a=1, sampling_rate=1), 6),
        (flow(5, a=1, sampling_rate=1000), 6000),
        (flow(5, sampling_rate=1000, a=1), 6000),
        (flow(5, a={"sampling_rate": 70}), 420),
        (flow(499_998, a=1), 499_999),
        (flow(499_999, a=1), 0),
        (flow(499, a=1, sampling_rate=1000), 0),
        (flow(5, a=1, sampling_rate=2.5), 0),
        (flow(5, a=1, sampling_rate=0), 0),
        (flow(5, a=1, sampling_rate=10**9), 0),
        (flow(5, a={"sampling_rate": 70}, sampling_rate=70), 0),
        (flow(5, a="\\"), 0),
        (flow(5, a='"sampling_rate":7,'), 0),
        (flow(5), 0),
        (flow(-5, a=1), 0),
        (b'{"type":"flow","pcount":05,"a":1}\n', 0),
        (b"\n", 0),
    ],
)
def test_units(line, units):
    look = Look(499_999)
    assert look.units(line) == units
    assert seen(look, line * 3)[1] == [units, 2 * units, 3 * units]


@given(
    st.sampled_from([1e-15, 1e-6, 1e-3, 0.1, 0.2499, 0.25, 0.26, 0.4999, 0.5]) | st.floats(1e-15, 0.6),
    st.integers(0, 10**6) | st.integers(0, 10**12),
    st.integers(1, 10**4),
)
def test_hits_are_never_fewer_than_the_law_wants(rate, pcount, sampling_rate):
    """Or a flow could not be kept with its probability."""
    hits = Hits(rate, Told())
    units = Look(hits.most).units(flow(pcount, a=1, sampling_rate=sampling_rate))
    if units:
        assert Law(rate).ppt(pcount, sampling_rate) * CERTAIN <= hits.share(units) * PPT
        assert hits.share(units) <= CERTAIN // 2 + 2**12


def test_the_largest_flow_that_is_left_to_hits():
    for rate in (1e-9, 1e-6, 3e-4, 0.01, 0.1, 0.2):
        hits = Hits(rate, Told())
        for pcount in {0, 1, hits.most // 2, max(0, hits.most - 2), hits.most - 1}:
            assert Law(rate).ppt(pcount) * CERTAIN <= hits.share(pcount + 1) * PPT


# --- with numpy


def fast_look(most):
    """Return a look with numpy that uses it for few lines, and short ones, too."""
    from overflowd_tools.sampling.fast_look import FastLook

    look = FastLook(most)
    look.least, look.shortest = 0, 1
    return look


FAST_LINES = st.one_of(
    st.builds(flow, st.integers(0, 1100) | st.integers(0, 10**16), a=st.integers(0, 9)),
    st.builds(flow, st.integers(0, 1100), sampling_rate=st.sampled_from([1, 100, 2.5, 0, 10**9]), b=st.just("x" * 40)),
    st.builds(
        flow,
        st.integers(0, 99),
        sampling_rate=st.integers(0, 10**5),
        b=st.fixed_dictionaries({"sampling_rate": st.integers(0, 9)}),
    ),
    st.builds(
        flow, st.integers(0, 9), sampling_rate=st.integers(1, 99), b=st.sampled_from(["\\", "", "sampling_rate"])
    ),
    st.builds(flow, st.integers(0, 99), name=st.sampled_from(['"', "\\", "ng", "g_", "sampling_rate", "é"])),
    st.binary(max_size=40).map(lambda text: text.replace(b"\n", b"") + b"\n"),
    st.binary(max_size=6).map(lambda text: b'{"type":"flow","pcount":' + text.replace(b"\n", b"") + b"\n"),
    st.from_regex(rb'\{"type":"flow","pcount":[0-9]{1,4}[,"}][",a-zA-Z}]{0,3}[^\n]*\n', fullmatch=True),
    st.sampled_from([b"\n", b"{}\n", b" \t\n", b'{"type":"flow","pcount":\n', b'{"type":"flow","pcount":12\n']),
)


AROUND = st.sampled_from(
    [b"", b"\n", b'":5,"x\\":1}\n', b'{"type":"flow","pcount":7', b'"sampling_rate":9,', b'ng_rate":5,"', b'1,"a' * 9]
)


@NEEDS_NUMPY
@settings(deadline=None)  # the first time, numpy is imported
@given(st.lists(FAST_LINES, max_size=30), st.sampled_from(MOST), st.booleans(), AROUND, st.lists(AROUND).map(b"".join))
@example([flow(5, a=1)], 11, False, b"", b"")
@example([b"\n"] * 40, 499, True, b"", bytes(32))
@example([flow(5, a=1) * 9 + b'{"type":"flow","pcount":12\n'], 499, True, b"", b',"a":1}\n' * 4)
def test_numpy_tells_the_same(lines, most, is_ended, before, behind):
    text = b"".join(lines)
    text = text if is_ended else text.removesuffix(b"\n")
    if text:
        assert seen(fast_look(most), text, before, behind) == seen(Look(most), text)


@NEEDS_NUMPY
def test_numpy_does_all_but_the_rare(monkeypatch):
    looked_at = []
    look = fast_look(499_999)
    monkeypatch.setattr(look._look, "units", lambda line: looked_at.append(line) or 1)
    monkeypatch.delattr(Look, "__call__")
    usual = [flow(count, a=1) for count in range(1, 1100)] + [flow(5, sampling_rate=rate) for rate in range(1, 1100)]
    rare = [flow(0, a=1), flow(7), flow(2, a="\\"), flow(5, sampling_rate=0.5), b"{}\n", b"\n"]
    assert seen(look, b"".join(usual + rare))[1][-1] == sum(range(2, 1101)) + 6 * sum(range(1, 1100)) + len(rare)
    assert looked_at == rare


@NEEDS_NUMPY
@pytest.mark.parametrize("most", MOST)
def test_numpy_tells_the_same_of_every_beginning(most):
    texts = [text for text, _ in beginnings()]
    octets = b'0159,"azZ}: \x00\xff'
    texts += [bytes((a, b, c, d)) for a in octets for b in octets for c in octets for d in octets]
    block = b"".join(b'{"type":"flow","pcount":' + text + b'x":1}\n' for text in texts)
    assert seen(fast_look(most), block) == seen(Look(most), block)


@NEEDS_NUMPY
def test_a_sampling_rate_is_found_wherever_it_stands():
    look = fast_look(499_999)
    for before in range(20):
        line = flow(5, a="x" * before, sampling_rate=10)
        for start in range(9):
            for last in (flow(2, a="x" * 50), flow(2, a=1), b"\n", b""):
                block = flow(1, a="x" * start) + line + last
                assert seen(look, block)[1][:2] == [2, 62]
                assert seen(look, block) == seen(Look(499_999), block)


@NEEDS_NUMPY
@pytest.mark.parametrize(
    "behind", [b",", b"}", b"]", b" ", b".5,", b"e1,", b":", b"\x00", b"\xff", b"\xb9,", b'"', b""]
)
@pytest.mark.parametrize(
    "rate",
    [
        b"",
        b"0",
        b"1",
        b"05",
        b"9",
        b"10",
        b"999",
        b"12345",
        b"999999",
        b"1234567",
        b"12345678",
        b"9999999999",
        b"-1",
        b"x",
    ],
)
def test_sampling_rates(rate, behind):
    line = b'{"type":"flow","pcount":%d,"sampling_rate":' + rate + behind + b'"a":"%s"}\n'
    block = b"".join(line % (packets, b"x" * packets) for packets in range(12)) + flow(1, a=1)
    for most in (499, 10**11):
        assert seen(fast_look(most), block) == seen(Look(most), block)


@NEEDS_NUMPY
@settings(deadline=None)
@given(
    lines=st.lists(FAST_LINES, max_size=40),
    switch=st.integers(0, 40),
    rate=st.sampled_from([1e-6, 1e-3, 0.1]),
    seed=st.integers(),
)
def test_samples_are_the_same_with_numpy(lines, switch, rate, seed):
    plain, plain_rejected = sampler(rate, seed=seed)
    fast, fast_rejected = sampler(rate, seed=seed)
    wanted = list(plain.sample(b"".join(lines)))
    found = list(fast.sample(b"".join(lines[:switch])))
    fast.use_numpy()
    fast._look.least, fast._look.shortest = 0, 1
    rest = b"".join(lines[switch:])
    found += fast.sample(b"x" + rest + bytes(32), 1, 1 + len(rest))
    if switch or not lines or not lines[0].startswith(b"\xef\xbb\xbf"):
        assert found == wanted
        assert fast_rejected == plain_rejected
        assert fast.counts == plain.counts


@pytest.mark.parametrize("numpy", [False, pytest.param(True, marks=NEEDS_NUMPY)])
@pytest.mark.parametrize(
    "block",
    [
        flow(5, source="x" * 300) * 3000,
        flow(5, source="x" * 300, sampling_rate=10) * 3000,
        b"\n" * (1 << 18),
        b"\\" * (1 << 20),
        b'"sampling_rate"' * 70_000,
        (b"\\" * 63 + b"\n") * (1 << 14),
        (b"x" * 503 + b"\n" * 9) * (1 << 11),
    ],
    ids=["flows", "sampled", "blank", "backslashes", "names", "escapes", "blanks between"],
)
def test_memory_is_bounded(block, numpy):
    made, _ = sampler(1e-6, waits=Told(share=NEVER))
    if numpy:
        made.use_numpy()
    list(made.sample(block[:100]))
    buffer = bytearray(block + bytes(32))
    tracemalloc.start()
    try:
        list(made.sample(buffer, 0, len(block)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 << 20


def test_without_numpy(monkeypatch):
    monkeypatch.setitem(sys.modules, "numpy", None)
    monkeypatch.delitem(sys.modules, "overflowd_tools.sampling.fast_look", raising=False)
    made, _ = sampler(1.0)
    with pytest.raises(ImportError):
        made.use_numpy()
    assert [json.loads(line)["pcount"] for line in made.sample(flow(5) + flow(6))] == [5, 6]

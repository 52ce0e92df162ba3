"""What the sampler keeps, how it writes that down, and what it says of bad lines."""

import json
import sys
from fractions import Fraction
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sampling_tools import NEVER, Told, flow, hit_share, is_skipped, probability, sampled, sampler

from overflowd_tools.sampling.law import PPT, Law, composed

SKIMMING = 1e-6
SKIMMING_FEW = 1e-3
PARSING = 1.0
BOM = b"\xef\xbb\xbf"

# The law, exactly: what is written into the line is the probability with which it was kept.

COUNTS = st.integers(0, 2000) | st.integers(0, 2**64 - 1)


@pytest.mark.parametrize("rate", [SKIMMING, 3.3e-5, 1e-9, 1e-15, SKIMMING_FEW, 0.2, PARSING])
@pytest.mark.parametrize("pcount", [0, 1, 2, 9, 10, 99, 100, 998, 999, 1000, 1001, 9999, 10**4, 10**6, 2**64 - 1])
def test_kept_with_the_probability_that_is_written_down(rate, pcount):
    ppt = Law(rate).ppt(pcount)
    assert probability(flow(pcount, saddr="192.0.2.1"), rate) == (
        Fraction(ppt, PPT),
        flow(pcount, saddr="192.0.2.1", p_ppt=ppt),
    )


@given(
    rate=st.sampled_from([SKIMMING, 6e-5, SKIMMING_FEW, 0.2, PARSING]) | st.floats(0, 1, exclude_min=True),
    pcount=COUNTS,
    bcount=COUNTS | st.none(),
    sampling_rate=st.none() | st.integers(1, 10**5) | st.floats(0.001, 10**5),
    amplification=st.none() | st.floats(0, 0.02, exclude_min=True) | st.sampled_from([1e-9, 1e-15]),
)
def test_the_same_law_for_all_lines(rate, pcount, bcount, sampling_rate, amplification):
    more = {name: value for name, value in (("bcount", bcount), ("sampling_rate", sampling_rate)) if value is not None}
    ppt = Law(rate, amplification).ppt(pcount, sampling_rate or 1, bcount)
    wanted = (Fraction(ppt, PPT), flow(pcount, source="x", **more, p_ppt=ppt))
    assert probability(flow(pcount, source="x", **more), rate, amplification) == wanted


@pytest.mark.parametrize("amplification", [1e-9, 1e-12, 1e-18])
@pytest.mark.parametrize("octets", [0, 20, 999 * 1500, 2**64 - 1, None])
def test_a_clamp_below_the_rate_does_not_hide_lines_with_many_octets(amplification, octets):
    more = {} if octets is None else {"bcount": octets}
    ppt = Law(SKIMMING, amplification).ppt(999, 1, octets)
    assert probability(flow(999, source="x", **more), SKIMMING, amplification)[0] == Fraction(ppt, PPT)


@given(
    rate=st.sampled_from([SKIMMING, 6e-5, SKIMMING_FEW, 0.7]),
    pcount=COUNTS,
    before=st.integers(1, PPT) | st.integers(1, 10**7),
)
def test_samplers_compose(rate, pcount, before):
    ppt = Law(rate).ppt(pcount)
    after = composed(before, ppt)
    share, kept = probability(flow(pcount, source="x", p_ppt=before), rate)
    assert kept == flow(pcount, source="x", p_ppt=after)
    if before * ppt >= PPT:
        assert share == Fraction(after, before)


def test_below_one_part_per_trillion_there_is_nothing_to_write_down():
    share, kept = probability(flow(5, source="x", p_ppt=1), SKIMMING)
    assert kept == flow(5, source="x", p_ppt=1)
    assert share == hit_share(kept, SKIMMING)  # it cannot have more, for a line that is not read at first
    assert share >= Fraction(5, 10**6)


# Which lines are read.


@pytest.mark.parametrize(
    "line",
    [
        flow(0, saddr="192.0.2.1"),
        flow(7, a=1),
        flow(42, Z=1),
        flow(999, _=1),
        b'{"type":"flow","pcount":123, "daddr" : 5}\n',
        b'{"type":"flow","pcount":1,"x":"pcount\\tno"}\n'.replace(b"\\t", b" "),
        b'{"type":"flow","pcount":12,"not JSON at all\n',
        b'{"type":"flow","pcount":5,"x":0}\r\n',
        b'{"type":"flow","pcount":5,"x":0}',
        b'{"type":"flow","pcount":5,"s',
        flow(1000, saddr="192.0.2.1"),
        flow(12345, saddr="192.0.2.1"),
        flow(7, _=1),
        b'{"type":"flow","pcount":2,"sampling_rate":1000}\n',
        b'{"type":"flow","pcount":2,"a":{"sampling_rate":1000}}\n',
        b'{"type":"flow","pcount":50,"sampling_rate":1000,"a":"sampling_rate"}\n'.replace(
            b'"sampling_rate"}', b'"rate"}'
        ),
    ],
)
def test_skipped_unread(line):
    assert is_skipped(line, SKIMMING)
    assert not is_skipped(line, PARSING)


@pytest.mark.parametrize(
    "line",
    [
        flow(499_999, saddr="192.0.2.1"),
        flow(10**15, saddr="192.0.2.1"),
        flow(7),
        flow(7.0),
        flow(7.5, a=1),
        b'{"type":"flow","pcount":1e5,"a":1}\n',
        b'{"type":"flow","pcount":12e5,"a":1}\n',
        b'{"type":"flow","pcount":12 ,"a":1}\n',
        b'{"type":"flow","pcount": 2,"a":1}\n',
        b'{"type":"flow", "pcount":2,"a":1}\n',
        b' {"type":"flow","pcount":2,"a":1}\n',
        b'{"pcount":2,"type":"flow","a":1}\n',
        b'{"type":"flow","pcount":499,"sampling_rate":1000}\n',
        b'{"type":"flow","pcount":2,"sampling_rate":0}\n',
        b'{"type":"flow","pcount":2,"sampling_rate":05}\n',
        b'{"type":"flow","pcount":2,"sampling_rate":1000.5}\n',
        b'{"type":"flow","pcount":2,"sampling_rate":1e3}\n',
        b'{"type":"flow","pcount":2,"sampling_rate": 1}\n',
        b'{"type":"flow","pcount":2,"sampling_rate":9999999999}\n',
        b'{"type":"flow","pcount":2,"sampling_rate":1,"sampling_rate":2}\n',
        b'{"type":"flow","pcount":2,"sampling_rate":1,"x":"sampling_rate"}\n',
        b'{"type":"flow","pcount":2,"x":"sampling_rate"}\n',
        b'{"type":"flow","pcount":02,"a":1}\n',
        b'{"type":"flow","pcount":002,"a":1}\n',
        b'{"type":"flow","pcount":2,"a":1,"\\u0073ampling_rate":1000}\n',
        b'{"type":"flow","pcount":2,"a":"\\\\"}\n',
        b'{"type":"flow","pcount":-2,"a":1}\n',
        b'{"type":"flow","pcount":true,"a":1}\n',
        b'{"type":"flow","pcount":"2","a":1}\n',
        b'{"type":"flows","pcount":2,"a":1}\n',
        b'{"type":"flow"}\n',
    ],
)
def test_always_read(line):
    assert not is_skipped(line, SKIMMING)


@given(st.binary(max_size=12) | st.from_regex(rb"[0-9]{0,5}[,.e ]\"?.?", fullmatch=True))
def test_only_a_count_and_a_comma_is_skipped(rest):
    line = b'{"type":"flow","pcount":' + rest.replace(b"\n", b"") + b"\n"
    count, comma, _ = rest.partition(b",")
    if is_skipped(line, SKIMMING):
        assert comma
        assert count == b"%d" % int(count)
        assert b"\\" not in rest


@pytest.mark.parametrize("neighbour", [flow(5, source="x", sampling_rate=7), flow(5, source="x", name='"')])
def test_neighbours_make_no_difference(neighbour):
    draws = Told(10**60)
    block = flow(3, source="x") + neighbour + flow(4, source="x")
    assert sampled(block, SKIMMING, waits=Told(share=NEVER), draws=draws) == []
    assert len(draws.asked) == (b"\\" in neighbour)


@pytest.mark.parametrize(
    "line",
    [
        b'{"type":"flow","pcount":2,"a":1,"sampling_rate":1000}\n',
        b'{"type":"flow","pcount":2,"sampling_rate":1000.0,"a":1}\n',
        b'{"sampling_rate":1e3,"type":"flow","pcount":2}\n',
        b'{"type":"flow","pcount":2,"a":1,"sampling_rate"  : 1000 }\n',
        b'{"type":"flow","pcount":2,"a":1,"s\\u0061mpling_rate":1000}\n',
        b'{"type":"flow","pcount":2,"a":1,"\\u0073\\u0061\\u006dpling_rate":1000}\n',
        b'{"type":"flow","pcount":2,"a":1,"sampling\\u005Frate":1000}\n',
    ],
)
def test_a_sampling_rate_counts_wherever_it_stands(line):
    block = flow(1, source="x") * 50 + line + flow(1, source="x") * 50
    draws = Told(10**60)
    assert sampled(block, SKIMMING, waits=Told(share=NEVER), draws=draws) == []
    assert probability(line, SKIMMING)[0] == Fraction(2000, 10**6)


def test_a_member_twice_is_kept_with_the_probability_that_is_written_down():
    line = b'{"type":"flow","pcount":2,"a":1,"pcount":5000}\n'
    share, kept = probability(line, SKIMMING)
    ppt = json.loads(kept)["p_ppt"]
    assert kept == b'{"type":"flow","pcount":2,"a":1,"pcount":5000,"p_ppt":%d}\n' % ppt
    assert Fraction(ppt, PPT) == pytest.approx(share, rel=1e-6)
    line = b'{"type":"flow","pcount":5000,"a":1,"pcount":2}\n'
    assert probability(line, SKIMMING)[0] == Fraction(2, 10**6)


# What does not change passes byte for byte.


@pytest.mark.parametrize(
    "line",
    [
        b'{"type":"option","pcount":5}\n',
        b'{"type":"counter","a":{"type":"flow"}}\n',
        b'{"type":"report","flow":{"type":"flow","pcount":1}}\n',
        b' { "a" : 1.0E+2 , "b" : "\\u00e9" , "a" : 123456789012345678901234567890 } \r\n',
        b"{}\n",
        b'{"type":null}\n',
        b'{"type":["flow"]}\n',
        b'{"type":5,"pcount":-1}\n',
        b'{"type":"FLOW","pcount":"x","p_ppt":0,"sampling_rate":0}\n',
        b'{"pcount":5}\n',
        b'{"$schema":"overflowd-report/2"}\n',
    ],
)
@pytest.mark.parametrize("rate", [SKIMMING, PARSING])
def test_other_lines_pass(line, rate):
    made, rejected = sampler(rate)
    assert list(made.sample(line)) == [line]
    assert made.counts == {"flows": 0, "kept": 0}
    assert rejected == []


def test_other_lines_keep_their_place():
    block = flow(2000, source="x") + b'{"type":"option"}\n' + flow(3000) + b"[]\n" + b'{"type":"flow"}\n'
    made, rejected = sampler(1.0)
    assert list(made.sample(block)) == [
        flow(2000, source="x", p_ppt=PPT),
        b'{"type":"option"}\n',
        flow(3000, p_ppt=PPT),
        b'{"type":"flow","p_ppt":1000000000000}\n',
    ]
    assert rejected == [(4, "not a JSON object")]
    assert made.counts == {"flows": 3, "kept": 3}


def test_a_last_line_without_newline_gets_one():
    assert sampled(b'{"type":"option"}') == [b'{"type":"option"}\n']
    assert sampled(b'{"type":"flow"}') == [b'{"type":"flow","p_ppt":1000000000000}\n']


# Bad lines.

COUNT_FAULT = "pcount is not an integer from 0 to 2^64-1"


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b'{"type":"flow","pcount":18446744073709551616}', COUNT_FAULT),
        (b'{"type":"flow","pcount":' + b"9" * 300 + b"}", COUNT_FAULT),
        (b'{"type":"flow","pcount":-1}', COUNT_FAULT),
        (b'{"type":"flow","pcount":1.0}', COUNT_FAULT),
        (b'{"type":"flow","pcount":1e3}', COUNT_FAULT),
        (b'{"type":"flow","pcount":true}', COUNT_FAULT),
        (b'{"type":"flow","pcount":false}', COUNT_FAULT),
        (b'{"type":"flow","pcount":null}', COUNT_FAULT),
        (b'{"type":"flow","pcount":"5"}', COUNT_FAULT),
        (b'{"type":"flow","pcount":[5]}', COUNT_FAULT),
        (b'{"type":"flow","bcount":-5}', "bcount is not an integer from 0 to 2^64-1"),
        (b'{"type":"flow","bcount":null}', "bcount is not an integer from 0 to 2^64-1"),
        (b'{"type":"flow","sampling_rate":0}', "sampling_rate is not a number over 0"),
        (b'{"type":"flow","sampling_rate":-0.0}', "sampling_rate is not a number over 0"),
        (b'{"type":"flow","sampling_rate":-1}', "sampling_rate is not a number over 0"),
        (b'{"type":"flow","sampling_rate":1e400}', None),
        (b'{"type":"flow","sampling_rate":true}', "sampling_rate is not a number over 0"),
        (b'{"type":"flow","sampling_rate":null}', "sampling_rate is not a number over 0"),
        (b'{"type":"flow","sampling_rate":"10"}', "sampling_rate is not a number over 0"),
        (b'{"type":"flow","p_ppt":0}', "p_ppt is not an integer from 1 to 10^12"),
        (b'{"type":"flow","p_ppt":1000000000001}', "p_ppt is not an integer from 1 to 10^12"),
        (b'{"type":"flow","p_ppt":5.0}', "p_ppt is not an integer from 1 to 10^12"),
        (b'{"type":"flow","p_ppt":true}', "p_ppt is not an integer from 1 to 10^12"),
        (b'{"type":"flow","p_ppt":null}', "p_ppt is not an integer from 1 to 10^12"),
        (b"[]", "not a JSON object"),
        (b"17", "not a JSON object"),
        (b'"type"', "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'{"type":"flow","pcount":' + b"9" * 5000 + b"}", None),
        (b'{"type":"flow","pcount":NaN}', None),
        (b'{"type":"flow","pcount":Infinity}', None),
        (b'{"type":"flow","pcount":007}', None),
        (b"{'type':'flow'}", None),
        (b'{"type":"flow"', None),
        (b'{"type":"flow"}}', None),
        (b'{"type":"flow"}{"type":"flow"}', None),
        (b'{"type":"fl\xffow"}', None),
        (b'{"type":"flow","x":"\\ud800"}', None),
        (b'{"type":"flow","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", None),
        (b"\x00", None),
        (b"\xef\xbb", None),
        (b"\xff\xfe{}", None),
    ],
)
def test_bad_lines(line, fault):
    made, rejected = sampler(1.0)
    assert list(made.sample(b'{"type":"option"}\n\n' + line + b"\n" + flow(5, x=1))) == [
        b'{"type":"option"}\n',
        flow(5, x=1, p_ppt=PPT),
    ]
    ((number, said),) = rejected
    assert number == 3
    if fault:
        assert said == fault
    elif b"sampling_rate" not in line:
        assert said.startswith("not JSON: ")
    assert made.counts["kept"] == 1


def test_a_chosen_line_may_turn_out_bad():
    made, rejected = sampler(SKIMMING, waits=Told(), draws=Told())
    block = flow(5, source="x") + b'{"type":"flow","pcount":5,"s\n' + flow(5, x=1)
    assert len(list(made.sample(block))) == 2
    assert [number for number, _ in rejected] == [2]
    assert made.counts == {"flows": 2, "kept": 2}


def test_a_large_line():
    big = flow(5000, x="y" * (1 << 20))
    assert sampled(big, SKIMMING, waits=Told(), draws=Told()) == [flow(5000, x="y" * (1 << 20), p_ppt=5 * 10**9)]
    nested = b'{"type":"flow","p_ppt":8,"x":[' + b"{}," * 300_000 + b"{}]}\n"
    assert sampled(nested) == [nested]


# Lines, blocks, inputs.


@pytest.mark.parametrize("rate", [SKIMMING, PARSING])
def test_blank_lines_are_nothing_but_count(rate):
    made, rejected = sampler(rate, waits=Told(), draws=Told())
    block = b"\n \t\n" + flow(5, source="x") + b"\r\n\nbad\n" + flow(2000, source="x") + b"\n"
    assert len(list(made.sample(block))) == 2
    assert [number for number, _ in rejected] == [6]
    assert made.counts == {"flows": 2, "kept": 2}
    assert made.line == 8


def test_lines_go_on_counting_until_told():
    made, rejected = sampler(SKIMMING)
    for block in (flow(5, source="x") * 3, b"bad\n", b"\n" + flow(5, source="x"), b"bad"):
        list(made.sample(block))
    made.line = 0
    list(made.sample(b"bad\n"))
    assert [number for number, _ in rejected] == [4, 7, 1]
    assert made.counts["flows"] == 4


@pytest.mark.parametrize("rate", [SKIMMING, 1.0])
def test_a_byte_order_mark_is_dropped_before_the_first_line_only(rate):
    made, rejected = sampler(rate, waits=Told(share=NEVER))
    assert list(made.sample(BOM + b'{"type":"option"}\n')) == [b'{"type":"option"}\n']
    assert list(made.sample(BOM + b'{"type":"option"}\n')) == []
    assert [number for number, _ in rejected] == [2]
    made.line = 0
    assert len(list(made.sample(BOM + flow(5, source="x")))) == (rate == 1)
    assert made.counts["flows"] == 1
    made.line = 0
    assert list(made.sample(BOM)) == []
    assert len(rejected) == 1


def test_no_line_is_drawn_before_it_is_asked_for():
    made, rejected = sampler(1.0)
    kept = made.sample(flow(1) + b"bad\n" + flow(2))
    assert next(kept) == flow(1, p_ppt=PPT)
    assert rejected == []
    assert made.counts == {"flows": 1, "kept": 1}
    assert list(kept) == [flow(2, p_ppt=PPT)]
    assert rejected == [(2, rejected[0][1])]


LINES = st.sampled_from(
    [
        *[flow(count, source="x") for count in (0, 1, 5, 80, 600, 999)] * 8,
        *[flow(count, source="x") for count in (1000, 20_000, 10**6)],
        flow(3, source="x", sampling_rate=1000),
        flow(3, source="x", name='quoted "name"'),
        flow(300, source="x", p_ppt=PPT // 2),
        b'{"pcount":700,"type":"flow"}\n',
        b'{"type":"option"}\n',
        b'{"type":"flow","pcount":5,"s\n',
        b"\n",
        b"bad\n",
    ]
)


@given(
    lines=st.lists(LINES, max_size=60),
    cuts=st.sets(st.integers(0, 60)),
    rate=st.sampled_from([SKIMMING, 6e-5, SKIMMING_FEW, 0.2, PARSING]),
    seed=st.integers(),
    is_ended=st.booleans(),
)
def test_where_blocks_are_cut_changes_nothing(lines, cuts, rate, seed, is_ended):
    if not is_ended and lines:
        lines[-1] = lines[-1].removesuffix(b"\n")
    whole, whole_rejected = sampler(rate, seed=seed)
    wanted = list(whole.sample(b"".join(lines)))
    parts, parts_rejected = sampler(rate, seed=seed)
    found = []
    bounds = sorted({0, len(lines), *(cut for cut in cuts if cut < len(lines))})
    for start, end in pairwise(bounds):
        found += parts.sample(b"".join(lines[start:end]))
    assert found == wanted
    assert parts_rejected == whole_rejected
    assert parts.counts == whole.counts
    assert parts.line == whole.line


def test_memory_does_not_grow_with_the_input():
    made, _ = sampler(1e-5)
    block = flow(5, source="x") * 500 + flow(5000, source="x")

    def size():
        return sum(map(sys.getsizeof, vars(made).values()))

    for _ in range(50):
        list(made.sample(block))
    before = size()
    for _ in range(500):
        list(made.sample(block))
    assert size() <= before + 64
    assert isinstance(made._hits._wait, int)


def test_the_generators_may_be_one():
    both = Random(5)
    made, _ = sampler(6e-5, waits=both, draws=both)
    kept = list(made.sample(flow(900, source="x") * 20_000))
    assert 900 < len(kept) < 1260  # 1080 expected, 32 the standard deviation

"""Records of batches are kept by the law: exactly, in millions of draws, and however they are cut into batches."""

from collections import Counter
from itertools import pairwise
from random import Random, SystemRandom

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sampling_tools import (
    ALWAYS,
    NEVER,
    Told,
    assert_fits,
    assert_plausible,
    chi_square_tail,
    counts_of_packets,
    expected,
    stratum,
)

from overflowd_tools.sampling.batches import BatchSampler
from overflowd_tools.sampling.hits import CERTAIN
from overflowd_tools.sampling.law import PPT, Law

COUNTERS = st.integers(0, 2000) | st.integers(0, 2**64 - 1)
RATES = st.floats(0, 1, exclude_min=True) | st.sampled_from([1e-6, 1e-3, 0.05, 0.3, 0.5, 1.0, 1e-12, 5e-324])
SAMPLING_RATES = st.just(1) | st.integers(1, 10**5) | st.floats(0.001, 10**5)


def batches(rate=1e-6, amplification=None, seed=0, waits=None, draws=None):
    law = Law(rate, amplification)
    return BatchSampler(law, waits or Random(f"{seed} waits"), draws or Random(f"{seed} draws"))


def threshold(holds):
    """Return the share from which on something holds no more that holds for all smaller shares."""
    low, high = 0, 2**53
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if holds(middle / 2**53) else (low, middle)
    return low / 2**53


class Drawn(Told):
    """As Told, but the number is a share of whatever it is drawn from."""

    def randrange(self, stop):
        return int(self.share * stop)


def probability(rate, amplification, packets, sampling_rate, octets):
    """Return with what probability a record is a candidate, with which one then kept, and what is written down."""

    def kept(wait, draw):
        made = batches(rate, amplification, waits=Drawn(share=wait), draws=Drawn(share=draw))
        return made.choose([packets], sampling_rate, None if octets is None else [octets])

    ((index, ppt),) = kept(ALWAYS, ALWAYS)
    assert index == 0
    return threshold(lambda share: kept(share, ALWAYS)), threshold(lambda share: kept(ALWAYS, share)), ppt


@given(RATES, st.none() | st.floats(0, 0.02, exclude_min=True), COUNTERS, SAMPLING_RATES, COUNTERS | st.none())
def test_kept_with_the_probability_that_is_written_down(rate, amplification, packets, sampling_rate, octets):
    candidate, then, ppt = probability(rate, amplification, packets, sampling_rate, octets)
    assert ppt == Law(rate, amplification).ppt(packets, sampling_rate, octets)
    # To what the 53 bits of a drawn number can show.
    assert candidate * then == pytest.approx(ppt / PPT, rel=1e-9, abs=2**-52)
    assert then < 1 or amplification is not None or ppt == PPT


def test_what_is_certain_is_never_drawn():
    draws = Told(share=NEVER, number=CERTAIN * PPT - 1)
    made = batches(1e-6, waits=Told(share=NEVER), draws=draws)
    assert made.choose([999_999, 10**6, 5, 2**64 - 1]) == [(1, PPT), (3, PPT)]
    assert draws.asked == [CERTAIN * PPT]


@given(
    rate=st.sampled_from([1e-3, 0.02, 0.3, 1.0]),
    records=st.lists(st.integers(0, 3000), max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=5),
    sampling_rate=st.sampled_from([1, 1.5, 7]),
)
def test_batches_make_no_difference(rate, records, cuts, sampling_rate):
    def choose(made, start, stop):
        packets = records[start:stop]
        units = made.units(sum(packets), len(packets), sampling_rate)
        if units <= made.hits.free:
            made.hits.pass_over(units)
            return []
        return [(start + index, ppt) for index, ppt in made.choose(packets, sampling_rate)]

    places = [0, *sorted(min(cut, len(records)) for cut in cuts), len(records)]
    made = batches(rate)
    kept = [one for start, stop in pairwise(places) for one in choose(made, start, stop)]
    whole = batches(rate)
    assert kept == whole.choose(records, sampling_rate)
    assert made.hits.free == whole.hits.free


@given(st.integers(0, 10**6), st.lists(st.integers(0, 10**5), max_size=40))
def test_what_is_free_is_passed_over_without_a_draw(seed, records):
    made = batches(1e-5, seed=seed)
    free = made.hits.free
    units = made.units(sum(records), len(records))
    if units <= free:
        assert made.choose(records) == []
        assert made.hits.free <= free
    assert made.units(0, 0) == 0 <= made.hits.free


def test_octets_clamp():
    made = batches(1.0, 0.01)
    kept = [made.choose([1, 1], 1, [1500, 40]) for _ in range(20_000)]
    counts = Counter(index for one in kept for index, _ in one)
    assert {ppt for one in kept for index, ppt in one if index == 0} == {Law(1.0, 0.01).ppt(1, 1, 1500)}
    assert 70 < counts[0] < 190
    assert counts[1] < 20
    assert all(ppt == Law(1.0, 0.01).ppt(1) for _ in range(1000) for _, ppt in made.choose([1]))


SPREAD = {1: 9600, 2: 5600, 10: 3000, 100: 1760, 1000: 250, 10_000: 100}
CERTAIN_AT = {1e-6: 10**6, 2e-5: 10**5}


def kept_by_stratum(made, pcounts, rate, times, size):
    """Sample the same records so many times over; return how many were kept of each stratum."""
    order = Random(2).sample(pcounts, len(pcounts))
    cut = [order[start : start + size] for start in range(0, len(order), size)]
    kept = Counter()
    for _ in range(times):
        for packets in cut:
            kept.update(packets[index] for index, _ in made.choose(packets))
    by_stratum = Counter()
    for pcount, number in kept.items():
        by_stratum[stratum(pcount, rate)] += number
    return by_stratum


@pytest.mark.parametrize(
    ("rate", "times", "size"),
    [
        pytest.param(1e-6, 1500, 200, id="32 million draws at the usual rate"),
        pytest.param(2e-5, 150, 29, id="many candidates"),
        pytest.param(1e-3, 15, 29, id="many at once"),
        pytest.param(0.4, 5, 1, id="one by one"),
    ],
)
def test_chi_square_by_strata(rate, times, size):
    pcounts = [*counts_of_packets(SPREAD), *[CERTAIN_AT.get(rate, 10**4)] * 20]
    kept = kept_by_stratum(batches(rate, seed=20161121), pcounts, rate, times, size)
    moments = expected(pcounts, rate, times)
    if rate < 0.1:
        assert_fits(kept, moments)
    else:
        assert kept["certain"] == moments["certain"][0]
        assert abs(kept[1] - moments[1][0]) < 4 * moments[1][1] ** 0.5


@pytest.mark.parametrize(("rate", "times"), [(2e-5, 50), (1e-3, 10)])
def test_the_randomness_of_the_system_obeys_too(rate, times):
    system = SystemRandom()
    pcounts = [*counts_of_packets(SPREAD), 10**5]
    kept = kept_by_stratum(batches(rate, waits=system, draws=system), pcounts, rate, times, 29)
    assert_plausible(kept, expected(pcounts, rate, times))


def test_kept_records_come_as_independent_draws_do():
    """The records between two that are kept: chi-square against the geometric distribution, in 16 equal shares."""
    rate, packets = 1e-3, 30
    p = Law(rate).ppt(packets) / PPT
    made = batches(rate, seed=3)
    positions = [29 * turn + index for turn in range(40_000) for index, _ in made.choose([packets] * 29)]
    gaps = Counter(later - earlier - 1 for earlier, later in pairwise(positions))
    masses, found = Counter(), Counter()
    for gap in range(max(2000, *gaps) + 1):
        share = min(15, int(16 * (1 - (1 - p) ** gap)))
        masses[share] += p * (1 - p) ** gap
        found[share] += gaps[gap]
    total = gaps.total()
    assert total > 20_000
    assert len(masses) == 16
    chi_square = sum((found[which] - total * mass) ** 2 / (total * mass) for which, mass in masses.items())
    assert chi_square_tail(chi_square, 16) > 0.001

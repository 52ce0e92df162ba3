"""Millions of draws: how often flows of each size are kept, and what the estimates come to."""

import json
import re
from collections import Counter
from itertools import pairwise
from math import sqrt
from random import Random, SystemRandom

import pytest
from sampling_tools import (
    Told,
    assert_fits,
    assert_plausible,
    chi_square_tail,
    counts_of_packets,
    expected,
    flow,
    hit_share,
    sampler,
    stratum,
)

from overflowd_tools.sampling.law import PPT

PCOUNT = re.compile(rb'"pcount":(\d+)').search


def in_order(pcount):
    return flow(pcount, a=0)


def in_another_order(pcount):
    return b'{"pcount":%d,"type":"flow"}\n' % pcount


def kept_by_stratum(made, pcounts, spelled, rate, times):
    """Sample the same flows so many times over; return how many were kept of each stratum."""
    order = Random(2).sample(pcounts, len(pcounts))
    block = b"".join(map(spelled, order))
    kept = Counter()
    for _ in range(times):
        kept.update(PCOUNT(line)[1] for line in made.sample(block))
    assert made.counts["flows"] == times * len(pcounts)
    assert made.counts["kept"] == kept.total()
    by_stratum = Counter()
    for pcount, number in kept.items():
        by_stratum[stratum(int(pcount), rate)] += number
    return by_stratum


SKIM = {1: 9600, 2: 5600, 10: 3000, 100: 1760, 1000: 25, 10_000: 15}
PARSE = {1: 1000, 2: 400, 10: 200, 100: 200, 1000: 100, 10_000: 100}


@pytest.mark.parametrize(
    ("rate", "spelled", "spread", "times"),
    [
        pytest.param(2e-5, in_order, SKIM, 1300, id="skim"),
        pytest.param(6e-5, in_order, SKIM, 100, id="skim with many candidates"),
        pytest.param(2e-5, in_another_order, PARSE, 100, id="parse at the same rate"),
        pytest.param(7e-4, in_order, PARSE, 60, id="parse at a high rate"),
    ],
)
def test_chi_square_by_strata(rate, spelled, spread, times):
    pcounts = counts_of_packets(spread)
    kept = kept_by_stratum(sampler(rate, seed=20161121)[0], pcounts, spelled, rate, times)
    assert_fits(kept, expected(pcounts, rate, times))


@pytest.mark.parametrize(
    ("rate", "spelled", "spread", "times"),
    [
        pytest.param(4e-5, in_order, SKIM, 150, id="skim"),
        pytest.param(7e-4, in_order, PARSE, 25, id="parse"),
    ],
)
def test_the_randomness_of_the_system_obeys_too(rate, spelled, spread, times):
    system = SystemRandom()
    pcounts = counts_of_packets(spread)
    kept = kept_by_stratum(sampler(rate, waits=system, draws=system)[0], pcounts, spelled, rate, times)
    assert_plausible(kept, expected(pcounts, rate, times))


def test_candidates_come_as_independent_draws_do():
    """The lines between two candidates: chi-square against the geometric distribution, in 16 equal shares."""
    rate = 6e-5
    p = float(hit_share(flow(999, a=0), rate))
    lines = [flow(999, a=index) for index in range(20_000)]
    made, _ = sampler(rate, seed=3, draws=Told())
    block = b"".join(lines)
    positions = [turn * len(lines) + json.loads(line)["a"] for turn in range(20) for line in made.sample(block)]
    gaps = [later - earlier - 1 for earlier, later in pairwise(positions)]

    def share(gap):
        return min(15, int(16 * (1 - (1 - p) ** gap)))

    found = Counter(map(share, gaps))
    masses = Counter()
    for gap in range(5000):
        masses[share(gap)] += p * (1 - p) ** gap
    total = len(gaps)
    assert total > 20_000
    assert len(masses) == 16
    chi_square = sum((found[which] - total * mass) ** 2 / (total * mass) for which, mass in masses.items())
    assert chi_square_tail(chi_square, 16) > 0.001


def estimate(lines):
    """Return the estimate of all packets, as the manual says to compute it."""
    records = [json.loads(line) for line in lines]
    return sum(record["pcount"] * record.get("sampling_rate", 1) / record["p_ppt"] for record in records) * PPT


@pytest.mark.parametrize(
    ("rates", "amplification", "runs"),
    [
        pytest.param((5e-5,), None, 200, id="skim"),
        pytest.param((2e-3,), None, 80, id="parse"),
        pytest.param((2e-2, 5e-5), None, 100, id="two samplers, the second skims"),
        pytest.param((5e-2, 5e-2), None, 60, id="two samplers"),
        pytest.param((5e-2,), 0.02, 80, id="clamped"),
    ],
)
def test_estimates_are_unbiased(rates, amplification, runs):
    rng = Random(5)
    pcounts = [int(10 ** rng.uniform(0, 4)) for _ in range(800)]
    lines = [flow(pcount, bcount=pcount * 400) for pcount in pcounts]
    lines += [flow(pcount, bcount=pcount * 40, sampling_rate=100) for pcount in pcounts[:50]]
    truth = sum(pcounts) + 100 * sum(pcounts[:50])
    estimates = []
    for run in range(runs):
        kept = lines
        for step, rate in enumerate(rates):
            kept = list(sampler(rate, amplification, seed=(run, step))[0].sample(b"".join(kept)))
        estimates.append(estimate(kept))
    mean = sum(estimates) / runs
    deviation = sqrt(sum((one - mean) ** 2 for one in estimates) / (runs - 1) / runs)
    assert deviation < truth / 10
    assert abs(mean - truth) < 4 * deviation

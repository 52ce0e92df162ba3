"""Samplers to try, with generators that do as they are told."""

import json
from fractions import Fraction
from math import exp, factorial, log, sqrt
from random import Random

from overflowd_tools.sampling import hits
from overflowd_tools.sampling.law import PPT, Law
from overflowd_tools.sampling.look import Look
from overflowd_tools.sampling.sampler import Sampler

STRATA = (1, 2, 10, 100, 1000, 10_000)
"""The lowest counts of packets of the strata; what is kept with certainty is one more."""
CERTAIN = "certain"


class Told(Random):
    """Gives the one number that it was told, and remembers of how many that was one."""

    def __init__(self, number=0, share=0.0):
        super().__init__(0)
        self.number = number
        self.share = share
        self.asked = []

    def random(self):
        return self.share

    def randrange(self, stop):
        self.asked.append(stop)
        return self.number


ALWAYS = 0.0  # as the share drawn for a wait, it makes every line a candidate
NEVER = 1 - 2**-53


def flow(pcount, **more):
    """Return the line of a flow as of-decode begins it."""
    return json.dumps({"type": "flow", "pcount": pcount, **more}, separators=(",", ":")).encode() + b"\n"


def sampler(rate=1.0, amplification=None, seed=0, waits=None, draws=None):
    """Return a sampler, and the list to which it adds (line, fault) of what it rejects."""
    rejected = []
    made = Sampler(
        Law(rate, amplification),
        waits or Random(f"{seed} waits"),
        draws or Random(f"{seed} draws"),
        lambda number, fault: rejected.append((number, fault)),
    )
    return made, rejected


def sampled(block, rate=1.0, **more):
    """Return what is kept of a block."""
    return list(sampler(rate, **more)[0].sample(block))


def is_skipped(line, rate, amplification=None):
    """Say if a line can be dropped unread: nothing was drawn or said about it."""
    draws = Told()
    made, rejected = sampler(rate, amplification, waits=Told(share=NEVER), draws=draws)
    return not (list(made.sample(line)) or draws.asked or rejected)


def hit_share(line, rate):
    """Return, as an exact fraction, with what probability a line is hit that can be dropped unread."""
    made = hits.Hits(rate, Told())
    return Fraction(made.share(Look(made.most).units(line)), hits.CERTAIN)


def probability(line, rate, amplification=None):
    """Return, as an exact fraction, with what probability a line is kept, and the line if it is."""
    draws = Told()
    waits = Told(share=ALWAYS)
    (kept,) = sampled(line, rate, amplification=amplification, waits=waits, draws=draws)
    chosen = hit_share(line, rate) if is_skipped(line, rate, amplification) else Fraction(1)
    if not draws.asked:
        return chosen, kept
    (outcomes,) = draws.asked
    low, high = 0, outcomes  # the number of outcomes that keep the line is in this range
    while low < high:
        middle = (low + high) // 2
        draws.number = middle
        if sampled(line, rate, amplification=amplification, waits=waits, draws=draws):
            low = middle + 1
        else:
            high = middle
    return chosen * Fraction(low, outcomes), kept


def stratum(pcount, rate):
    return CERTAIN if Law(rate).ppt(pcount) == PPT else max(low for low in STRATA if low <= pcount)


def counts_of_packets(spread):
    """Return counts of packets, so many of each stratum."""
    rng = Random(1)
    return [rng.randrange(low, 10 * low if low > 1 else 2) for low, number in spread.items() for _ in range(number)]


def expected(pcounts, rate, times):
    """Return mean and variance of the number kept, by stratum."""
    moments = {}
    for pcount in pcounts:
        name = stratum(pcount, rate)
        p = Law(rate).ppt(pcount) / PPT
        mean, variance = moments.get(name, (0, 0))
        moments[name] = (mean + times * p, variance + times * p * (1 - p))
    return moments


def chi_square_tail(value, degrees):
    """Return the probability that chi-square with an even number of degrees of freedom is over value."""
    assert degrees % 2 == 0
    return exp(-value / 2) * sum((value / 2) ** i / factorial(i) for i in range(degrees // 2))


def assert_fits(kept, moments):
    """Hold the numbers that were kept, by stratum, against chi-square; what is certain has to be there to the last."""
    assert kept.pop(CERTAIN) == moments.pop(CERTAIN)[0]
    assert len(moments) >= 4
    chi_square = sum((kept[name] - mean) ** 2 / variance for name, (mean, variance) in moments.items())
    degrees = len(moments)
    assert chi_square_tail(chi_square, degrees + degrees % 2) > 0.001


def assert_plausible(kept, moments):
    """Fail by chance less than once in 10^9 runs, by Bernstein's inequality for sums of independent draws."""
    assert kept[CERTAIN] == moments.pop(CERTAIN)[0]
    bits = log(2 * len(moments) * 1e9)
    for name, (mean, variance) in moments.items():
        assert abs(kept[name] - mean) <= bits / 3 + sqrt(bits * bits / 9 + 2 * variance * bits), name

"""Samplers to try, with generators that do as they are told."""

import json
from fractions import Fraction
from random import Random

from overflowd_tools.sampling.law import PPT, Law
from overflowd_tools.sampling.sampler import ORDINARY_PACKETS, Sampler

MOST_OCTETS = 2**64


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


ALWAYS = 0.0  # as the share drawn for a wait, it makes every ordinary line a candidate
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


def probability(line, rate, amplification=None):
    """Return, as an exact fraction, with what probability a line is kept, and the line if it is."""
    draws = Told()
    waits = Told(share=ALWAYS)
    (kept,) = sampled(line, rate, amplification=amplification, waits=waits, draws=draws)
    chosen = Fraction(1)
    if is_skipped(line, rate, amplification):
        chosen = Fraction(Law(rate, amplification).ppt(ORDINARY_PACKETS, octets=MOST_OCTETS), PPT)
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

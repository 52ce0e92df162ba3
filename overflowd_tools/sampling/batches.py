"""Sampling the records of export datagrams by the law, before they are made lines, and without reading most of them.

Every record stands for some units: its packets before they were sampled, rounded up, and as much again as one of them
(so that a record of no packets has some too). Units are hit independently of each other, with one and the same
probability; how many are not hit before the next one that is has a geometric distribution, which has no memory. So one
number is drawn a hit, and what stands before the hit is passed over by subtracting.

This is exact. Let a record have the probability p of the law and u units. It is a candidate if one of its units is hit;
the rest of its units is not looked at, and the next wait begins behind it. So it is a candidate with the probability
h(u) = 1 - 2^(-u/most), whatever happens to others. A candidate is kept with the probability p / h(u), which makes p.
That this is no more than 1 needs p <= h(u). Now p <= bound u, with the rate plus one part per trillion for the bound,
which outweighs what rounding adds to p; h is concave, so between 0 and most it lies above the chord, which rises to
h(most) = 1/2; and most is chosen so that bound most <= 1/2. A record of more units than most is drawn by itself.
Which one that is depends on nothing but its own numbers.
"""

from collections.abc import Sequence
from math import ceil, expm1, floor, log, log1p
from typing import TYPE_CHECKING

from overflowd_tools.sampling.law import PPT, Law

if TYPE_CHECKING:
    from random import Random


class BatchSampler:
    """Chooses records. How they are cut into batches changes nothing, not even with generators that have a seed."""

    def __init__(self, law: Law, waits: "Random", draws: "Random") -> None:
        """Draw with waits how many units are not hit, and with draws all else."""
        self._law = law
        self._waits = waits
        self._draws = draws
        self._most = floor(1 / (2 * (law.rate + 1 / PPT)))
        self._hazard = log(2) / max(self._most, 1)
        self._wait = self._draw_wait()
        self.free = min(self._wait, self._most)
        """Of records with so many units together, or fewer, none is kept: they may be passed over."""

    @staticmethod
    def units(packets: int, records: int, sampling_rate: float = 1) -> int:
        """Return the units of so many records that have so many packets together."""
        return (packets + records) * ceil(sampling_rate)

    def pass_over(self, units: int) -> None:
        """Take records of at most `free` units, of which none is kept."""
        self._set_wait(self._wait - units)

    def choose(
        self, packets: Sequence[int], sampling_rate: float = 1, octets: Sequence[int] | None = None
    ) -> list[tuple[int, int]]:
        """Return which of some records are kept, each with its probability in parts per trillion.

        packets, octets: the counters as exported, of packets that the exporter had sampled 1 in sampling_rate, a number
        over 0; no packets count as one, and octets None are unknown.
        """
        units = self.units(sum(packets), len(packets), sampling_rate)
        if units <= self.free:
            self.pass_over(units)
            return []
        kept = []
        for index, count in enumerate(packets):
            share = self._candidate(self.units(count, 1, sampling_rate))
            if share:
                ppt = self._law.ppt(count, sampling_rate, octets[index] if octets is not None else None)
                if self._is_kept(ppt, share):
                    kept.append((index, ppt))
        return kept

    def _candidate(self, units: int) -> float:
        """Return 0 for a record that is no candidate, else the probability that it had of being one."""
        if units > self._most:
            return 1
        if units <= self._wait:
            self._set_wait(self._wait - units)
            return 0
        self._set_wait(self._draw_wait())
        return -expm1(-self._hazard * units)

    def _is_kept(self, ppt: int, share: float) -> bool:
        if share < 1:
            return self._draws.random() * share < ppt / PPT
        return ppt == PPT or self._draws.randrange(PPT) < ppt

    def _set_wait(self, units: int) -> None:
        self._wait = units
        self.free = min(units, self._most)

    def _draw_wait(self) -> int:
        """Draw how many units are not hit before the next one that is."""
        return floor(-log1p(-self._waits.random()) / self._hazard)

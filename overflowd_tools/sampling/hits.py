"""How lines become candidates, without a draw for each.

Every flow stands for some units: its packets and one more (a flow of no packets has a unit, too), times the packets of
which its exporter had sampled one. Units are hit independently of each other, all with the same probability; how many
are not hit before the next one that is has a geometric distribution, which has no memory. So one number is drawn a hit.

This is exact. Let a flow have the probability p of the law, and u units. It is a candidate if one of its units is hit;
its other units are not looked at, and the next wait begins behind it. So it is a candidate with the probability
h(u) = 1 - 2^(-u/most), whatever becomes of others, and a candidate is kept with the probability p / h(u). That is no
more than 1: p <= bound u, with the rate plus one part per trillion for the bound, which outweighs what rounding adds to
p; h is concave, so from 0 to most it lies above the chord to h(most) = 1/2; and most is chosen so that bound most <=
1/2. A flow of more units than most is no matter for hits: it is drawn by itself.
"""

from __future__ import annotations

from bisect import bisect_right
from math import ceil, expm1, floor, log, log1p

from overflowd_tools.sampling.law import PPT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

CERTAIN = 1 << 64
"""The probability 1, in the parts in which Hits.share() is told."""


class Hits:
    """Which flows are hit, at a rate."""

    def __init__(self, rate: float, waits: Random) -> None:
        self._waits = waits
        self.most = floor(1 / (2 * (rate + 1 / PPT)))
        """Units of the largest flow that is left to hits; 0 if none is."""
        self._hazard = log(2) / max(self.most, 1)
        self._wait = self._draw_wait()

    @property
    def free(self) -> int:
        """Flows with so many units together may be passed over: none is hit, and none too large to be left to hits."""
        return min(self._wait, self.most)

    def pass_over(self, units: int) -> None:
        """Take flows with at most `free` units together."""
        self._wait -= units

    def candidates(self, total: int, running: Callable[[], list[int]]) -> Iterator[tuple[int, int]]:
        """Yield index and units of each flow that is hit, of the next ones, with so many units together.

        running returns the units up to and with each of the flows; it is not called if none is hit.
        """
        if total <= self._wait:
            self._wait -= total
            return
        units = running()
        passed = 0
        while passed + self._wait < total:
            index = bisect_right(units, passed + self._wait)
            yield index, units[index] - (units[index - 1] if index else 0)
            passed = units[index]
            self._wait = self._draw_wait()
        self._wait -= total - passed

    def share(self, units: int) -> int:
        """Return the probability that a flow with so many units, at most `most`, is hit, as parts of CERTAIN."""
        return ceil(-expm1(-self._hazard * units) * CERTAIN)

    def _draw_wait(self) -> int:
        """Draw how many units are not hit before the next one that is."""
        return floor(-log1p(-self._waits.random()) / self._hazard)

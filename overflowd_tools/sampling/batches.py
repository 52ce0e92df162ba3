"""Sampling the records of export datagrams by the law, before they are made lines, and without reading most of them.

Candidates are drawn as among lines (see hits). A record of more units than are left to hits is drawn by itself; which
one that is depends on nothing but its own numbers.
"""

from __future__ import annotations

from itertools import accumulate
from math import ceil

from overflowd_tools.sampling.hits import CERTAIN, Hits
from overflowd_tools.sampling.law import PPT, Law

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random


class BatchSampler:
    """Chooses records. How they are cut into batches changes nothing, not even with generators that have a seed."""

    def __init__(self, law: Law, waits: Random, draws: Random) -> None:
        """Draw candidates with waits, and all else with draws."""
        self._law = law
        self._draws = draws
        self.hits = Hits(law.rate, waits)
        """Says how many units may be passed over without a choice."""

    @staticmethod
    def units(packets: int, records: int, sampling_rate: float = 1) -> int:
        """Return the units of so many records that have so many packets together."""
        return (packets + records) * ceil(sampling_rate)

    def choose(
        self, packets: Sequence[int], sampling_rate: float = 1, octets: Sequence[int] | None = None
    ) -> list[tuple[int, int]]:
        """Return which of some records are kept, each with its probability in parts per trillion.

        packets, octets: the counters as exported, of packets that the exporter had sampled 1 in sampling_rate, a number
        over 0; no packets count as one, and octets None are unknown.
        """
        total = self.units(sum(packets), len(packets), sampling_rate)
        if total <= self.hits.free:
            self.hits.pass_over(total)
            return []
        kept = []
        for index, share in self._candidates([self.units(count, 1, sampling_rate) for count in packets]):
            ppt = self._law.ppt(packets[index], sampling_rate, None if octets is None else octets[index])
            # A record is kept exactly with the probability that is written down, hence the draw after the rounding.
            if ppt * CERTAIN >= share * PPT or self._draws.randrange(share * PPT) < ppt * CERTAIN:
                kept.append((index, ppt))
        return kept

    def _candidates(self, units: list[int]) -> list[tuple[int, int]]:
        """Return the candidates among records of so many units, each with the probability that it had of being one."""
        large = [(index, CERTAIN) for index, own in enumerate(units) if own > self.hits.most]
        running = [*accumulate(own if own <= self.hits.most else 0 for own in units)]
        hit = self.hits.candidates(running[-1], lambda: running)
        return sorted([*large, *((index, self.hits.share(own)) for index, own in hit)])

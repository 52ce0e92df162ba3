"""The law of sampling: a flow is kept with probability min(1, rate x packets), in whole parts per trillion.

The probability is quantised before the draw, so that the number written into the line is exactly the one that was
used, and pcount / p is an unbiased estimate of the packets (Horvitz and Thompson 1952). All arithmetic is on integers.
"""

PPT = 10**12
REPORT_OCTETS = 1194
"""Octets on the wire of the largest report, with its IP and UDP headers; two of them follow from one flow."""

_LEAST_PACKET = 20
"""Octets of an IPv4 header: what a packet has at the least where a flow does not tell its octets."""


class Law:
    """Rate and clamp of one sampler."""

    def __init__(self, rate: float, amplification: float | None = None) -> None:
        """Sample one of 1/rate packets.

        rate: over 0, at most 1. amplification: the expected octets of reports stay below this share of the octets
        observed, whatever the rate; None for no such clamp.
        """
        self.rate = rate
        self.clamps = amplification is not None
        self._rate = rate.as_integer_ratio()
        self._amplification = None if amplification is None else amplification.as_integer_ratio()

    def ppt(self, packets: int, sampling_rate: float = 1, octets: int | None = None) -> int:
        """Return the probability for a flow, in parts per trillion: at least 1, at most 10^12.

        packets, octets: the counters as exported, of packets that the exporter had sampled 1 in sampling_rate; no
        packets count as one. More of any of the three never give less.
        """
        packets = packets or 1
        factor, divisor = sampling_rate.as_integer_ratio()
        numerator, denominator = self._rate
        ppt = _rounded(PPT * numerator * packets * factor, denominator * divisor)
        if self._amplification is not None:
            numerator, denominator = self._amplification
            observed = _LEAST_PACKET * packets if octets is None else octets
            ppt = min(ppt, PPT * numerator * observed * factor // (denominator * divisor * 2 * REPORT_OCTETS))
        return min(PPT, max(1, ppt))


def composed(first_ppt: int, second_ppt: int) -> int:
    """Return the probability of passing two samplers, in parts per trillion: rounded down, but at least 1."""
    return max(1, first_ppt * second_ppt // PPT)


def _rounded(numerator: int, denominator: int) -> int:
    return (2 * numerator + denominator) // (2 * denominator)

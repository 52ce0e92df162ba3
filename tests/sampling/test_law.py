"""The law of sampling, held against exact fractions."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overflowd_tools.sampling.law import PPT, REPORT_OCTETS, Law, composed

COUNTERS = st.integers(0, 2**64 - 1) | st.integers(0, 2000)
RATES = st.floats(0, 1, exclude_min=True) | st.sampled_from([1e-6, 1e-5, 0.5, 1.0, 1e-12, 5e-324])
SAMPLING_RATES = st.integers(1, 2**64 - 1) | st.integers(1, 10_000) | st.floats(0, 2.0**64, exclude_min=True)


def exact(rate, packets, sampling_rate=1):
    return Fraction(rate) * (packets or 1) * Fraction(sampling_rate)


def clamp(amplification, octets, sampling_rate=1):
    return Fraction(amplification) * octets * Fraction(sampling_rate) / (2 * REPORT_OCTETS)


@pytest.mark.parametrize(
    ("rate", "packets", "ppt"),
    [
        (1e-6, 1, 1_000_000),
        (1e-6, 17_001, 17_001_000_000),
        (1e-6, 999_999, 999_999_000_000),
        (1e-6, 1_000_000, PPT),
        (1e-6, 2**64 - 1, PPT),
        (1.0, 1, PPT),
        (0.5, 1, PPT // 2),
        (1 / 3, 1, 333_333_333_333),
        (2 / 3, 1, 666_666_666_667),
        (1e-12, 1, 1),
        (1.4e-12, 1, 1),
        (1.6e-12, 1, 2),
        (1e-13, 1, 1),
        (5e-324, 1, 1),
    ],
)
def test_whole_parts_per_trillion(rate, packets, ppt):
    assert Law(rate).ppt(packets) == ppt


def test_no_packets_count_as_one():
    assert Law(1e-6).ppt(0) == Law(1e-6).ppt(1) == 10**6
    assert Law(1e-6).ppt(0, sampling_rate=100) == 10**8


@given(RATES, COUNTERS, SAMPLING_RATES)
def test_the_nearest_part_to_rate_times_packets_times_sampling_rate(rate, packets, sampling_rate):
    ppt = Law(rate).ppt(packets, sampling_rate)
    assert type(ppt) is int
    assert 1 <= ppt <= PPT
    wanted = exact(rate, packets, sampling_rate) * PPT
    if 1 <= wanted <= PPT:
        assert abs(ppt - wanted) <= Fraction(1, 2)
    else:
        assert ppt == (1 if wanted < 1 else PPT)


@given(COUNTERS, st.integers(1, 2**20))
def test_a_sampling_rate_may_be_written_as_a_float(packets, sampling_rate):
    law = Law(1e-6, 0.01)
    assert law.ppt(packets, sampling_rate, 1500) == law.ppt(packets, float(sampling_rate), 1500)


def test_octets_do_not_matter_without_a_clamp():
    assert Law(1e-6).ppt(5, 1, 0) == Law(1e-6).ppt(5, 1, 2**64 - 1) == Law(1e-6).ppt(5)


@pytest.mark.parametrize(
    ("octets", "sampling_rate", "ppt"),
    [
        (40, 1, 167_504_187),  # the 1.7e-4 and 6.3e-3 of one SYN and of one full packet
        (1500, 1, 6_281_407_035),
        (1500, 100, 628_140_703_517),
        (1500, 1000, PPT),
        (0, 1, 1),
    ],
)
def test_a_clamp_by_the_octets_observed(octets, sampling_rate, ppt):
    assert Law(1.0, 0.01).ppt(1, sampling_rate, octets) == ppt


def test_a_flow_without_octets_has_packets_of_20_octets():
    law = Law(1.0, 0.01)
    assert law.ppt(50) == law.ppt(50, octets=1000) < PPT
    assert law.ppt(0) == law.ppt(1, octets=20)


@given(RATES, st.floats(0, 0.02, exclude_min=True), COUNTERS, SAMPLING_RATES, COUNTERS | st.none())
def test_the_clamp_bounds_the_expected_octets_of_reports(rate, amplification, packets, sampling_rate, octets):
    ppt = Law(rate, amplification).ppt(packets, sampling_rate, octets)
    free = Law(rate).ppt(packets, sampling_rate, octets)
    observed = 20 * (packets or 1) if octets is None else octets
    most = clamp(amplification, observed, sampling_rate) * PPT
    assert ppt == max(1, min(free, most // 1))
    if ppt > 1:
        assert Fraction(ppt, PPT) * 2 * REPORT_OCTETS <= Fraction(amplification) * observed * Fraction(sampling_rate)


@given(RATES, st.none() | st.floats(0, 0.02, exclude_min=True), COUNTERS, COUNTERS, COUNTERS | st.none())
def test_more_of_anything_is_never_sampled_less(rate, amplification, packets, more, octets):
    law = Law(rate, amplification)
    assert law.ppt(packets, 1, octets) <= law.ppt(packets + more, 1, octets)
    assert law.ppt(packets, 1, octets) <= law.ppt(packets, 1 + more, octets)
    assert law.ppt(packets, 1, more) <= law.ppt(packets, 1, more + (octets or 0))


PARTS = st.integers(1, PPT) | st.integers(1, 10**7)


@given(PARTS, PARTS)
def test_two_probabilities_multiply(first, second):
    product = composed(first, second)
    assert product == composed(second, first)
    assert product == max(1, first * second // PPT)
    assert product <= min(first, second)
    assert composed(first, PPT) == first

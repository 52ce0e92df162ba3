"""A protocol is told by what the datagram says, and asked for nothing that it does not hold."""

import pytest

from overflowd_tools.protocols.detect import decode
from tests.protocols import netflow_builders as build


@pytest.mark.parametrize("kind", build.KINDS)
def test_each_protocol_finds_its_decoder(kind):
    batch = decode(build.random_datagram(1, kind, 2))
    assert batch.source == kind[:8]
    assert len(batch.records) == 2 * build.RECORD_LENGTHS[kind]


def test_missing_octets_reach_the_decoder():
    whole = build.random_datagram(1, "netflow1", 2)
    assert decode(whole[:80], len(whole) - 80).announced == 2
    assert decode(whole[:80]) is None


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\5"])
def test_too_short_for_any(data):
    assert decode(data) is None
    assert decode(data, 1000) is None

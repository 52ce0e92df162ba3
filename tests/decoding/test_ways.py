"""One by one, in batches, by columns: whichever way lines are made, they say the same."""

import json
import struct

import pytest

from overflowd_tools.decoding.capture_decoder import CaptureDecoder, Wanted
from tests.hostile.builders import SECOND, frame, netflow5, pcap, record, variable
from tests.protocols.set_builders import VARIABLE, data, ipfix, template

DAY = 86_400
TEXT = "\x7f\x85\u2028\u2029\x9b31m \u202e\u00e9".encode()
FIXED = template(300, [(8, 4), (82, len(TEXT)), (1, 4), (22, 4), (21, 4)])
ALONE = template(301, [(8, 4), (371, VARIABLE), (1, 4), (152, 8)])


def datagrams(seconds: int, number: int) -> list[bytes]:
    """What an exporter whose clock stands there sends: 300 flows of NetFlow 5 and of two templates each."""
    fixed = [struct.pack("!I", host) + TEXT + struct.pack("!III", host, 1000, 2000) for host in range(30)]
    alone = [struct.pack("!I", 7) + variable(TEXT) + struct.pack("!IQ", 7, seconds * 1000) for _ in range(30)]
    sets = FIXED, ALONE, data(300, b"".join(fixed)), data(301, b"".join(alone))
    each = netflow5(*range(30), seconds=seconds), ipfix(*sets, seconds=seconds)
    return [datagram for _ in range(number) for datagram in each]


def lines(capture: bytes, *, columns: bool) -> list[dict]:
    written: list[bytes] = []
    decoder = CaptureDecoder(Wanted(), written.extend, lambda *_: None)
    if columns:
        pytest.importorskip("numpy")
        decoder.use_numpy()
    decoder.feed(capture)
    decoder.close()
    text = b"".join(written).decode()
    assert not [each for each in text if 0x7F <= ord(each) < 0xA0 or each in "\u2028\u2029"]
    return [json.loads(line) for line in text.split("\n")[:-1]]


@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("away", [-2, -1, 0, 1, 2])
def test_suspect_are_those_exported_more_than_a_day_from_their_arrival(columns, away):
    far, near = datagrams(SECOND + away * (DAY + abs(away) - 1), 10), datagrams(SECOND, 1)
    capture = pcap(*(record(frame(datagram)) for datagram in [*near, *far, *near]))
    found = lines(capture, columns=columns)
    assert len(found) == 12 * 90
    suspect = [line.get("time_suspect", False) for line in found]
    assert suspect == [False] * 90 + [abs(away) == 2] * 900 + [False] * 90
    assert {line["user"].encode() for line in found if "user" in line} == {TEXT}


def test_columns_say_what_others_say():
    capture = pcap(*(record(frame(each)) for seconds in (SECOND, 0, SECOND) for each in datagrams(seconds, 10)))
    assert lines(capture, columns=True) == lines(capture, columns=False)


@pytest.mark.parametrize("columns", [False, True])
def test_an_arrival_that_is_unknown_makes_nothing_suspect(columns):
    capture = pcap(*(record(frame(each), seconds=0) for each in datagrams(SECOND, 10)))
    assert not [line for line in lines(capture, columns=columns) if "time_suspect" in line]

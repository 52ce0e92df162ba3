"""Captures decoded by the run and one by one, and held against each other."""

import struct

import capture_builders as build

from overflowd_tools.decoding.capture_decoder import CaptureDecoder
from tests.protocols.set_builders import SECOND


def frame(payload, **header):
    return build.ethernet(build.ipv4(build.udp(payload), **header))


def pcap(frames, seconds=SECOND):
    """A capture of frames that all came in one second, 0 for a clock that was not set."""
    return build.pcap() + b"".join(struct.pack("<IIII", seconds, 0, len(one), len(one)) + one for one in frames)


def decode(data, wanted, size=1 << 20, *, runs=True, numpy=False):
    """Return the text, the complaints, the counts, and the numbers of the datagrams that were decoded one by one."""
    lines, complaints, seen = [], [], []
    decoder = CaptureDecoder(wanted, lines.extend, lambda *told: complaints.append(told))
    decoder._may_take_runs = decoder._may_take_runs and runs
    export = decoder._write_export
    decoder._write_export = lambda *told: (seen.append(told[0]), export(*told))
    if numpy:
        decoder.use_numpy()
    for start in range(0, len(data), size):
        decoder.feed(data[start : start + size])
    decoder.close()
    decoder.account()
    return b"".join(lines), complaints, decoder.counts, seen


def check(data, wanted, size):
    """Hold all ways against each other."""
    one_by_one = decode(data, wanted, runs=False)
    for numpy in (False, True):
        by_run = decode(data, wanted, size, numpy=numpy)
        assert by_run[:3] == one_by_one[:3]
        assert {*by_run[3]} <= {*one_by_one[3]}

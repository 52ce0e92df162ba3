"""Any block of lines is sampled: each line is kept whole, dropped or rejected, however the block is cut."""

import json
from collections.abc import Iterable
from random import Random

from overflowd_tools.sampling.law import PPT, Law
from overflowd_tools.sampling.sampler import Sampler

RATES = (1.0, 1e-3, 6e-5)


def one_input(data: bytes) -> None:
    for rate in RATES:
        assert run(rate, [data]) == run(rate, cut(data))
    for line in data.split(b"\n"):
        kept, rejected, _ = run(1.0, [line])
        if rejected:
            assert not kept
            assert rejected[0][1]
        elif line and not line.isspace() and line != b"\xef\xbb\xbf":
            (whole,) = kept
            check(line.removeprefix(b"\xef\xbb\xbf"), whole)
        else:
            assert not kept


def cut(data: bytes) -> list[bytes]:
    """Return the lines of a block, which only a newline ends."""
    lines = [line + b"\n" for line in data.split(b"\n")]
    return [*lines[:-1], lines[-1][:-1]]


def run(rate: float, blocks: Iterable[bytes]) -> tuple[list[bytes], list[tuple[int, str]], dict[str, int]]:
    """Return what is kept, what is rejected, and the counts."""
    rejected: list[tuple[int, str]] = []
    sampler = Sampler(Law(rate), Random(1), Random(2), lambda number, fault: rejected.append((number, fault)))
    kept = [line for block in blocks for line in sampler.sample(block)]
    return kept, rejected, sampler.counts


def check(line: bytes, kept: bytes) -> None:
    """Hold a line that was kept against what it was before, by another JSON parser."""
    assert kept.endswith(b"\n")
    try:
        before, after = json.loads(line), json.loads(kept)
    except RecursionError:
        return
    if before.get("type") != "flow":
        assert kept == line + b"\n"
        return
    assert 1 <= after.pop("p_ppt") <= before.pop("p_ppt", PPT)
    assert after == before
    assert json.dumps(after) == json.dumps(before)


def seeds() -> Iterable[bytes]:
    flows = [
        b'{"type":"flow","pcount":%d,"source":"netflow5","saddr":"192.0.2.1","bcount":%d}\n' % (count, 50 * count)
        for count in (0, 7, 42, 999, 1000, 2**64 - 1)
    ]
    yield b"".join(flows)
    yield flows[1] * 40 + flows[4]
    yield b'{"type":"flow","pcount":5,"sampling_rate":1000,"x":{"p_ppt":5,"y":["p_ppt"]},"p_ppt":123456}\r\n' + flows[2]
    yield b'{"p_ppt":7,"type":"flow","s":"\\"p_ppt\\":5","p\\u005fppt" : 9 , "n":-1e3}\n\n{"type":"option"}\n[]\nbad\n'
    yield b'\xef\xbb\xbf{"pcount":12,"type":"flow","sampling_rate":2.5}\n \t\n{"type":"flow","sampl\\u0069ng_rate":5}'

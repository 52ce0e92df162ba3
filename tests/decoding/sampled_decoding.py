"""Captures decoded with and without sampling, and held against each other."""

import json

from overflowd_tools.decoding.capture_decoder import LINE_TYPES, CaptureDecoder, Wanted
from overflowd_tools.sampling.law import Law

EVERYTHING = Wanted(only=frozenset(LINE_TYPES), envelope=True, packets=True)


def decode(data, wanted=EVERYTHING, *, sampling=None, skims=True, size=65_536):
    """Return the lines, the complaints, the counts and how many datagrams were decoded one by one."""
    lines, complaints = [], []
    decoder = CaptureDecoder(wanted._replace(sampling=sampling), lines.extend, lambda *told: complaints.append(told))
    seen = []
    export = decoder._write_export
    decoder._write_export = lambda *told: (seen.append(told[0]), export(*told))
    if not skims:
        decoder._skimmer = None
    for start in range(0, len(data), size):
        decoder.feed(data[start : start + size])
    decoder.close()
    decoder.account()
    return lines, complaints, decoder.counts, len(seen)


def check(data, sampling, wanted=EVERYTHING, size=65_536):
    """Hold what is sampled against everything there is; return what was kept."""
    every, complaints, counts, datagrams = decode(data, wanted)
    kept, *told, decoded = decode(data, wanted, sampling=sampling, size=size)
    assert told[0] == complaints
    assert {**told[1], "kept": 0} == {**counts, "kept": 0}
    assert decoded <= datagrams
    assert decode(data, wanted, sampling=sampling, skims=False)[:3] == (kept, *told)
    rest = iter(every)
    assert all(before_sampling(line, sampling) in rest for line in kept)
    assert told[1]["kept"] == sum(map(is_flow, kept))
    assert [line for line in kept if not is_flow(line)] == [line for line in every if not is_flow(line)]
    return kept, decoded


def is_flow(line):
    return line.startswith(b'{"type":"flow"')


def before_sampling(line, sampling):
    """Return a line as it was without its p_ppt, which is right."""
    if not is_flow(line):
        return line
    record = json.loads(line)
    ppt = Law(*sampling[:2]).ppt(record.get("pcount", 0), record.get("sampling_rate", 1), record.get("bcount"))
    head, mark, tail = line.rpartition(b',"p_ppt":')
    assert mark + tail == b',"p_ppt":%d}\n' % ppt
    return head + b"}\n"

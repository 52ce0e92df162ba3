"""Sampling blocks of lines by the law, without reading most of them.

Two tiers, of one exact law. A line that begins {"type":"flow","pcount":N, with N below 1000 is ordinary: ordinary lines
become candidates independently with the probability that 999 packets would have, by drawing how many lines come before
the next candidate (a geometric distribution, which has no memory), and a candidate is kept with its own share of that
probability. All other lines are parsed, and so is every line of a block in which anything could change the weight of
an ordinary line: a sampling_rate, or an escape that could hide one.
"""

import re
from collections.abc import Callable
from itertools import compress
from math import floor, log1p
from typing import TYPE_CHECKING, Any

from overflowd_tools.errors import RecordError
from overflowd_tools.records import flow_line, parse_line
from overflowd_tools.sampling.law import PPT, Law, composed

if TYPE_CHECKING:
    from random import Random

ORDINARY_PACKETS = 999

_COUNTER_LIMIT = 1 << 64
_FEW_CANDIDATES = PPT // 16

# One match a line: empty for an ordinary line, the whole line for any other.
_UNUSUAL_LINES = re.compile(rb'\n(?:\{"type":"flow","pcount":\d{1,3}+,|([^\n]*+))').findall
_RECORDED_PPT = re.compile(rb'"p_ppt"\s*:\s*\d+')


class Sampler:
    """Keeps some of the flow lines, and every line of another type."""

    def __init__(self, law: Law, random: "Random", reject: Callable[[int, str], None]) -> None:
        """Draw with random; reject is told number and fault of a line that cannot be sampled."""
        self._law = law
        self._random = random
        self._reject = reject
        self._bound = law.ppt(ORDINARY_PACKETS)
        self._wait = self._draw_wait() if self._bound <= _FEW_CANDIDATES else 0
        self.line = 0
        """Lines seen since the caller last set this to 0."""
        self.flows = 0
        self.kept = 0

    def sample(self, block: bytes) -> list[bytes]:
        """Return what is kept of a block of whole lines, each line with its newline."""
        skim = self._bound <= _FEW_CANDIDATES and b"\\" not in block and b'"sampling_rate"' not in block
        lines = self._skim(block) if skim else self._each(block)
        return [line + b"\n" for line in lines if line is not None]

    def _each(self, block: bytes) -> list[bytes | None]:
        """Parse and draw every line."""
        lines = block.split(b"\n")
        if not lines[-1]:
            lines.pop()
        kept = [self._sample_parsed(self.line + index, line) for index, line in enumerate(lines, 1)]
        self.line += len(lines)
        return kept

    def _skim(self, block: bytes) -> list[bytes | None]:
        """Parse only candidates, unusual lines, and the first line, before which there is no newline to match."""
        unusual = [block[: block.find(b"\n")] if b"\n" in block else block, *_UNUSUAL_LINES(block)]
        if block.endswith(b"\n"):
            unusual.pop()
        count = len(unusual)
        parsed = list(compress(range(count), unusual))
        candidates = [index for index in self._candidates(count) if not unusual[index]]
        self.flows += count - len(parsed)
        kept = {index: self._sample_parsed(self.line + 1 + index, unusual[index]) for index in parsed}
        if candidates:
            lines = block.split(b"\n")
            kept |= {index: self._sample_candidate(self.line + 1 + index, lines[index]) for index in candidates}
            kept = dict(sorted(kept.items()))
        self.line += count
        return list(kept.values())

    def _candidates(self, count: int) -> list[int]:
        """Return which of the next count lines are candidates."""
        found = []
        while self._wait < count:
            found.append(self._wait)
            self._wait += 1 + self._draw_wait()
        self._wait -= count
        return found

    def _draw_wait(self) -> int:
        """Draw the number of lines before the next candidate."""
        return floor(log1p(-self._random.random()) / log1p(-self._bound / PPT))

    def _sample_parsed(self, number: int, line: bytes) -> bytes | None:
        """Return a line if it is kept, with its probability if it is a flow."""
        return self._sample(number, line, PPT)

    def _sample_candidate(self, number: int, line: bytes) -> bytes | None:
        """Do the same for a line that is there to be drawn already with the probability of the bound."""
        self.flows -= 1
        return self._sample(number, line, self._bound)

    def _sample(self, number: int, line: bytes, drawn_ppt: int) -> bytes | None:
        if not line or line.isspace():
            return None
        try:
            record = parse_line(line)
            if record.get("type") != "flow":
                return line
            self.flows += 1
            ppt = self._law.ppt(_counter(record, "pcount") or 0, _sampling_rate(record), _counter(record, "bcount"))
            before = _recorded(record)
        except RecordError as error:
            self._reject(number, str(error))
            return None
        if ppt < drawn_ppt and self._random.randrange(drawn_ppt) >= ppt:
            return None
        self.kept += 1
        return _with_ppt(line, record, ppt if before is None else composed(before, ppt), before)


def _counter(record: dict[str, Any], name: str) -> int | None:
    value = record.get(name)
    if value is None and name not in record:
        return None
    if type(value) is not int or not 0 <= value < _COUNTER_LIMIT:
        raise RecordError(f"{name} is not an integer from 0 to 2^64-1")
    return value


def _sampling_rate(record: dict[str, Any]) -> float:
    value = record.get("sampling_rate", 1)
    if type(value) not in (int, float) or not 0 < value < _COUNTER_LIMIT:
        raise RecordError("sampling_rate is not a number over 0")
    return float(value) if type(value) is float else int(value)


def _recorded(record: dict[str, Any]) -> int | None:
    if "p_ppt" not in record:
        return None
    value = record["p_ppt"]
    if type(value) is not int or not 1 <= value <= PPT:
        raise RecordError("p_ppt is not an integer from 1 to 10^12")
    return value


def _with_ppt(line: bytes, record: dict[str, Any], ppt: int, before: int | None) -> bytes:
    """Return the line with its p_ppt and not another byte changed, if that can be told from the bytes alone."""
    member = b'"p_ppt":%d' % ppt
    if before is None:
        return line.rstrip()[:-1] + b"," + member + b"}"
    if len(_RECORDED_PPT.findall(line)) == 1 and line.count(b"p_ppt") == 1:
        return _RECORDED_PPT.sub(member, line)
    return flow_line({**record, "p_ppt": ppt})[:-1]

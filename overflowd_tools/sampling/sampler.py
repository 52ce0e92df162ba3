"""Sampling blocks of lines by the law, without reading most of them.

Two tiers, of one exact law. A line that begins {"type":"flow","pcount":N,"... with N below 1000, and that holds neither
a sampling_rate nor an escape that could hide one, is ordinary. Ordinary lines become candidates independently with the
probability that 999 packets would have, by drawing how many lines come before the next candidate (a geometric
distribution, which has no memory), and a candidate is kept with its own share of that probability. All other lines
are parsed and drawn one by one. Which lines are ordinary depends on nothing but the lines themselves.
"""

import re
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from itertools import compress, repeat
from math import floor, log1p
from operator import itemgetter, or_
from typing import TYPE_CHECKING, Any

from overflowd_tools.errors import RecordError
from overflowd_tools.records import parse_line
from overflowd_tools.rendering import FLOW_PREFIX
from overflowd_tools.sampling.law import PPT, Law, composed

if TYPE_CHECKING:
    from random import Random

ORDINARY_PACKETS = 999

_COUNTER_LIMIT = 1 << 64
_FEW_CANDIDATES = PPT // 16
_SAMPLING_RATE = b'"sampling_rate"'

# The first octets of every ordinary line, long enough to hold a count of three digits and the comma after it.
_BEGINNINGS = [b"%d," % packets for packets in range(100, 1000)]
_BEGINNINGS += [b'%d,"' % packets for packets in range(10, 100)]
_BEGINNINGS += [b'%d,"%c' % (packets, letter) for packets in range(10) for letter in b"abcdefghijklmnopqrstuvwxyz"]
_is_unusual = dict.fromkeys([FLOW_PREFIX + beginning for beginning in _BEGINNINGS], False).get
_beginning = itemgetter(slice(len(FLOW_PREFIX) + 4))

_STRINGS_AND_BRACKETS = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{}]')
_COUNT_AFTER_NAME = re.compile(rb"\s*:\s*(\d+)")


class Sampler:
    """Keeps some of the flow lines, and every line of another type."""

    def __init__(self, law: Law, waits: "Random", draws: "Random", reject: Callable[[int, str], None]) -> None:
        """Draw candidates with waits, and all else with draws.

        If these are two generators with seeds, then how lines are cut into blocks changes nothing. reject is told
        number and fault of a line that cannot be sampled.
        """
        self._law = law
        self._waits = waits
        self._draws = draws
        self._reject = reject
        self._bound = law.ppt(ORDINARY_PACKETS, octets=_COUNTER_LIMIT)
        self._skims = self._bound <= _FEW_CANDIDATES
        self._wait = self._draw_wait() if self._skims else 0
        self.line = 0
        """Lines seen since the caller last set this to 0, at the start of each input."""
        self.counts = {"flows": 0, "kept": 0}

    def sample(self, block: bytes) -> Iterator[bytes]:
        """Yield what is kept of a block of whole lines, each line with its newline."""
        if not self.line:
            block = block.removeprefix(BOM_UTF8)
        lines = BytesIO(block).readlines()
        drawn_ppt = dict.fromkeys(self._candidates(len(lines)), self._bound)
        drawn_ppt |= dict.fromkeys(compress(range(len(lines)), self._unusual(block, lines)), PPT)
        done = 0
        for index in sorted(drawn_ppt):
            self.counts["flows"] += index - done
            done = index + 1
            kept = self._sample(self.line + done, lines[index], drawn_ppt[index])
            if kept is not None:
                yield kept if kept.endswith(b"\n") else kept + b"\n"
        self.counts["flows"] += len(lines) - done
        self.line += len(lines)

    def _unusual(self, block: bytes, lines: list[bytes]) -> Iterable[bool]:
        """Return for each line whether it has to be parsed."""
        if not self._skims:
            return repeat(True)
        unusual = map(_is_unusual, map(_beginning, lines), repeat(True))
        if b"\\" not in block and block.rfind(_SAMPLING_RATE) < 0:  # rfind takes two thirds of the time of in
            return unusual
        hidden = (b"\\" in line or _SAMPLING_RATE in line for line in lines)
        return map(or_, unusual, hidden)

    def _candidates(self, count: int) -> Iterator[int]:
        """Yield which of the next count lines are candidates."""
        if not self._skims:
            return
        while self._wait < count:
            yield self._wait
            self._wait += 1 + self._draw_wait()
        self._wait -= count

    def _draw_wait(self) -> int:
        """Draw the number of lines before the next candidate."""
        return floor(log1p(-self._waits.random()) / log1p(-self._bound / PPT))

    def _sample(self, number: int, line: bytes, drawn_ppt: int) -> bytes | None:
        """Return a line if it is kept, with its probability if it is a flow.

        drawn_ppt: the probability with which it has been chosen to be looked at.
        """
        if line.isspace():
            return None
        try:
            record = parse_line(line)
            if record.get("type") != "flow":
                return line
            self.counts["flows"] += 1
            ppt = self._law.ppt(_counter(record, "pcount") or 0, _sampling_rate(record), _counter(record, "bcount"))
            before = _recorded(record)
        except RecordError as error:
            self._reject(number, str(error))
            return None
        # A line is kept exactly with the probability that is written into it, hence the draw after the rounding.
        # Over drawn_ppt is only a line that has a member twice: it was chosen for its first pcount.
        after = composed(before, min(ppt, drawn_ppt))
        if after * PPT < before * drawn_ppt and self._draws.randrange(before * drawn_ppt) >= after * PPT:
            return None
        self.counts["kept"] += 1
        return _with_ppt(line, after, "p_ppt" in record)


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


def _recorded(record: dict[str, Any]) -> int:
    value = record.get("p_ppt", PPT)
    if type(value) is not int or not 1 <= value <= PPT:
        raise RecordError("p_ppt is not an integer from 1 to 10^12")
    return value


def _with_ppt(line: bytes, ppt: int, recorded: bool) -> bytes:
    """Return the line of a flow with its p_ppt, recorded before or not, and not another octet changed."""
    if recorded:
        start, end = _recorded_at(line)
        return b"%s%d%s" % (line[:start], ppt, line[end:])
    end = line.rindex(b"}")
    return b'%s,"p_ppt":%d%s' % (line[:end], ppt, line[end:])


def _recorded_at(line: bytes) -> tuple[int, int]:
    """Return where the p_ppt of a flow starts and ends: that of the flow itself, and the last if there are several."""
    found = (0, 0)
    depth = 0
    for token in _STRINGS_AND_BRACKETS.finditer(line):
        if token[0] in (b"{", b"["):
            depth += 1
        elif token[0] in (b"}", b"]"):
            depth -= 1
        elif depth == 1 and (value := _COUNT_AFTER_NAME.match(line, token.end())) and _is_name(token[0]):
            found = value.span(1)
    return found


def _is_name(text: bytes) -> bool:
    return text == b'"p_ppt"' or (b"\\" in text and "p_ppt" in parse_line(b"{%s:0}" % text))

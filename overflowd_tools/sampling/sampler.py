"""Sampling blocks of lines by the law, without reading most of them.

A look at a line tells of how many packets it is, or that it must be parsed. What is parsed is drawn by itself; of the
rest, candidates are drawn (see hits), and only they are parsed, and kept with their share of that probability. What a
look tells depends on nothing but the line.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8

from overflowd_tools.errors import RecordError
from overflowd_tools.json_lines import parse_line
from overflowd_tools.sampling.hits import CERTAIN, Hits
from overflowd_tools.sampling.law import PPT, Law, composed
from overflowd_tools.sampling.look import Look, Looked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random
    from typing import Any

_COUNTER_LIMIT = 1 << 64

_STRINGS_AND_BRACKETS = rb'"(?:[^"\\]++|\\.)*+"|[\[\]{}]'
_COUNT_AFTER_NAME = rb"\s*:\s*(\d+)"


class Sampler:
    """Keeps some of the flow lines, and every line of another type."""

    def __init__(self, law: Law, waits: Random, draws: Random, reject: Callable[[int, str], None]) -> None:
        """Draw candidates with waits, and all else with draws.

        If these are two generators with seeds, then how lines are cut into blocks changes nothing. reject is told
        number and fault of a line that cannot be sampled.
        """
        self._law = law
        self._hits = Hits(law.rate, waits)
        self._draws = draws
        self._reject = reject
        self._look: Callable[[bytes | bytearray, int, int], Iterator[Looked]] = Look(self._hits.most)
        self.line = 0
        """Lines seen since the caller last set this to 0, at the start of each input."""
        self.counts = {"flows": 0, "kept": 0}

    def use_numpy(self) -> None:
        """Look at lines with numpy from now on, which changes nothing but the time. Raises ImportError."""
        from overflowd_tools.sampling.fast_look import FastLook

        self._look = FastLook(self._hits.most)

    def sample(self, block: bytes | bytearray, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield what is kept of whole lines, from start to end of a block, each line with its newline."""
        if not self.line and block.startswith(BOM_UTF8, start, end):
            start += len(BOM_UTF8)
        for looked in self._look(block, start, len(block) if end is None else end):
            yield from self._chosen(looked)

    def _chosen(self, looked: Looked) -> Iterator[bytes]:
        lines, total, running, unknown = looked
        shares = {index: self._hits.share(units) for index, units in self._hits.candidates(total, running)}
        shares |= dict.fromkeys(unknown, CERTAIN)
        done = 0
        for index in sorted(shares):
            self.counts["flows"] += index - done
            done = index + 1
            kept = self._sample(self.line + done, lines[index], shares[index])
            if kept is not None:
                yield kept if kept.endswith(b"\n") else kept + b"\n"
        self.counts["flows"] += len(lines) - done
        self.line += len(lines)

    def _sample(self, number: int, line: bytes, share: int) -> bytes | None:
        """Return a line if it is kept, with its probability if it is a flow.

        share: the probability with which it has been chosen to be looked at, as parts of CERTAIN.
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
        # Over its share is only a line that has a member twice: it was chosen for its first pcount.
        after = composed(before, min(ppt, share * PPT // CERTAIN))
        if after * CERTAIN < before * share and self._draws.randrange(before * share) >= after * CERTAIN:
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
    count_after_name = re.compile(_COUNT_AFTER_NAME)
    for token in re.finditer(_STRINGS_AND_BRACKETS, line):
        if token[0] in (b"{", b"["):
            depth += 1
        elif token[0] in (b"}", b"]"):
            depth -= 1
        elif depth == 1 and (value := count_after_name.match(line, token.end())) and _is_name(token[0]):
            found = value.span(1)
    return found


def _is_name(text: bytes) -> bool:
    return text == b'"p_ppt"' or (b"\\" in text and "p_ppt" in parse_line(b"{%s:0}" % text))

"""From the flows of many datagrams that share a template to the text of their lines.

Columns of text are written from the last of a line to the first, each item to where its text must end, so that the
column before covers the garbage in front of the text.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from overflowd_tools.columns.cells import Batch, Block, Made, NotByColumnsError
from overflowd_tools.columns.digits import Array
from overflowd_tools.columns.page import Page
from overflowd_tools.columns.plan import NO_PCOUNT, columns_of, most_rows
from overflowd_tools.protocols.templates import Template
from overflowd_tools.rendering import Renderer, Run

_HEADS_APART = len(NO_PCOUNT)
"""Heads that differ less in length are made together: so much garbage fits in front of the shortest."""
_LATEST_MS = 1 << 62


class ColumnRenderer:
    """Makes the lines of one template."""

    def __init__(self, template: Template, plain: Renderer, page: Page) -> None:
        """template: a supported one (see supports). plain: what numpy cannot do. page: memory that renderers share."""
        self._template = template
        self._plain = plain
        self._page = page
        self._rows = most_rows(template)
        self._columns = columns_of(template, self._rows)

    def render(self, runs: Sequence[Run]) -> list[bytes]:
        """Return the lines of each run in one piece."""
        texts = [b""] * len(runs)
        for places in _alike([len(head) for head, *_ in runs]):
            for place, text in zip(places, self._render([runs[place] for place in places]), strict=True):
                texts[place] = text
        return texts

    def _render(self, runs: list[Run]) -> list[bytes]:
        """Return the same for runs whose heads are of about one length."""
        exports = [export_ms for _, _, export_ms, _ in runs]
        if not 0 <= min(exports) <= max(exports) < _LATEST_MS:
            return self._one_by_one(runs)
        batch = Batch(self._template.length, runs)
        stops = batch.counts.cumsum()
        run_of_row = np.arange(len(runs)).repeat(batch.counts)
        texts = [b""] * len(runs)
        for start, end in _shares(len(run_of_row), self._rows):
            block = Block(batch, start, run_of_row[start:end])
            try:
                ends = self._write(block)
            except NotByColumnsError:
                return self._one_by_one(runs)
            first, last = block.first_and_last
            cuts = ends[np.minimum(stops[first : last + 1] - start, block.rows) - 1].tolist()
            for place, (begin, stop) in enumerate(pairwise([0, *cuts]), first):
                texts[place] += self._page.text(begin, stop)
        return texts

    def _one_by_one(self, runs: list[Run]) -> list[bytes]:
        """Return the same, made in the plain way."""
        return [b"".join(self._plain(*run)) for run in runs]

    def _write(self, block: Block) -> Array:
        """Write the lines of a block to the page, and return where each ends. Raises NotByColumnsError."""
        columns = [made for column in self._columns for made in column.make(block)]
        if not _has_room_for_garbage(columns):
            raise NotByColumnsError
        lengths = np.full(block.rows, sum(column.fixed for column in columns))
        for column in columns:
            if column.varying is not None:
                lengths += column.varying
        ends = lengths.cumsum()
        line_ends = ends.copy()
        self._page.reserve(self._rows, sum(column.items.itemsize for column in columns))
        behind = 0
        for items, fixed, varying in reversed(columns):
            self._page.ending(items.itemsize, behind)[ends] = items
            behind += fixed
            if varying is not None:
                ends -= varying
        return line_ends


def _shares(rows: int, most: int) -> Iterator[tuple[int, int]]:
    """Yield begin and end of shares of rows, all of about one size."""
    shares = -(-rows // most)
    yield from pairwise(rows * share // shares for share in range(shares + 1) if shares)


def _alike(lengths: list[int]) -> Iterator[list[int]]:
    """Yield the places of lengths that differ little, from the least on."""
    places = sorted(range(len(lengths)), key=lengths.__getitem__)
    while places:
        count = bisect_left(places, lengths[places[0]] + _HEADS_APART, key=lengths.__getitem__)
        yield places[:count]
        del places[:count]


def _has_room_for_garbage(columns: list[Made]) -> bool:
    """Tell whether the garbage of no column reaches into the line before, which is written already."""
    before = 0
    for items, fixed, _ in columns:
        if items.itemsize - fixed > before:
            return False
        before += fixed
    return True

"""From the flows of many datagrams that share a template to the text of their lines.

Columns of text are written from the last of a line to the first, each item to where its text must end, so that the
column before covers the garbage in front of the text.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import chain, groupby, pairwise

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

    def render(self, stretches: Sequence[Sequence[Run]]) -> list[bytes]:
        """Return the lines of each stretch of runs in one piece."""
        pieces = [
            (number, [*runs])
            for number, stretch in enumerate(stretches)
            for _, runs in groupby(stretch, lambda run: len(run[0]))
        ]
        made = [b""] * len(pieces)
        for places in _alike([len(runs[0][0]) for _, runs in pieces]):
            for place, text in zip(places, self._render([pieces[place][1] for place in places]), strict=True):
                made[place] = text
        texts: list[list[bytes]] = [[] for _ in stretches]
        for (number, _), text in zip(pieces, made, strict=True):
            texts[number].append(text)
        return [b"".join(some) for some in texts]

    def _render(self, pieces: list[list[Run]]) -> list[bytes]:
        """Return the same for pieces whose heads are of about one length."""
        runs = [*chain.from_iterable(pieces)]
        exports = [export_ms for _, _, export_ms, _ in runs]
        if not 0 <= min(exports) <= max(exports) < _LATEST_MS:
            return self._one_by_one(pieces)
        batch = Batch(self._template.length, runs)
        run_of_row = np.arange(len(runs)).repeat(batch.counts)
        stops = batch.counts.cumsum()[np.cumsum([len(runs) for runs in pieces]) - 1]
        texts: list[list[bytes]] = [[] for _ in pieces]
        for start, end in _shares(len(run_of_row), self._rows):
            block = Block(batch, start, run_of_row[start:end])
            try:
                ends = self._write(block)
            except NotByColumnsError:
                return self._one_by_one(pieces)
            first, last = stops.searchsorted((start, end - 1), side="right").tolist()
            cuts = ends[np.minimum(stops[first : last + 1] - start, block.rows) - 1].tolist()
            for place, (begin, stop) in enumerate(pairwise([0, *cuts]), first):
                texts[place].append(self._page.text(begin, stop))
        return [b"".join(some) for some in texts]

    def _one_by_one(self, pieces: list[list[Run]]) -> list[bytes]:
        """Return the same, made in the plain way."""
        return [b"".join([b"".join(self._plain(*run)) for run in runs]) for runs in pieces]

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

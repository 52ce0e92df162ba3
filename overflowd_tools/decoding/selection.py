"""Sampling between decoding and rendering: only flows that are kept become lines, the same ones that of-sample writes.

Batches are drawn by their counters, as octets; all other flows as lines, by the sampler of lines.
"""

from __future__ import annotations

from functools import cached_property
from random import Random, SystemRandom

from overflowd_tools.protocols.counters import counters
from overflowd_tools.protocols.templates import FlowBatch
from overflowd_tools.records import FlowWriter
from overflowd_tools.sampling.batches import BatchSampler
from overflowd_tools.sampling.law import Law

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from overflowd_tools.protocols.exporters import Batch, Row
    from overflowd_tools.sampling.sampler import Sampler


class Selection:
    """Chooses among flows, and writes with a FlowWriter those that are kept."""

    def __init__(self, law: Law, seed: int | None, writer: FlowWriter, reject: Callable[[str], None]) -> None:
        """Draw with the randomness of the operating system, or with generators made of a seed.

        reject: is told why a line cannot be sampled.
        """
        self._law = law
        self._seed = seed
        self._reject = reject
        self._batches = BatchSampler(law, self._random("waits of batches"), self._random("draws of batches"))
        self.hits = self._batches.hits
        self._clamps = law.clamps
        self._writer = writer

    def _random(self, use: str) -> Random:
        return SystemRandom() if self._seed is None else Random(f"{self._seed} {use}")  # noqa: S311 - asked for

    @cached_property
    def _sampler(self) -> Sampler:
        """The sampler of lines: most captures have no flow for it, and importing it takes 4 ms."""
        from overflowd_tools.sampling.sampler import Sampler

        reject = self._reject
        return Sampler(self._law, self._random("waits"), self._random("draws"), lambda _, reason: reject(reason))

    def batch(self, batch: FlowBatch, exporter: bytes, port: int, received_ns: int) -> list[bytes]:
        """Return the lines of the flows of a batch that are kept, as the writer makes them, with their p_ppt."""
        template, records, length = batch.template, batch.records, batch.template.length
        packets = counters(template, "pcount", records) or [0] * (len(records) // length)
        octets = counters(template, "bcount", records) if self._clamps else None
        kept = self._batches.choose(packets, batch.sampling_rate, octets)
        if not kept:
            return []
        chosen = b"".join([records[index * length : (index + 1) * length] for index, _ in kept])
        lost = 0 if kept[0][0] else batch.lost
        lines = self._writer.lines(batch._replace(records=chosen, lost=lost), exporter, port, received_ns)
        return [b'%s,"p_ppt":%d}\n' % (line[:-2], ppt) for line, (_, ppt) in zip(lines, kept, strict=True)]

    def rows(self, rows: list[Row | Batch]) -> tuple[list[bytes], int]:
        """Return the lines that are kept of rows and batches, in their order, and how many flows there were."""
        lines: list[bytes] = []
        seen = 0
        for row in rows:
            flows = getattr(row, "flows", None)
            if flows is None:
                lines += self.lines(self._writer.rows([row]))
                seen += row.type == "flow"
            else:
                lines += self.batch(flows, row.export.exporter, row.export.port, row.export.received_ns)
                seen += len(flows.records) // flows.template.length
        return lines, seen

    def lines(self, lines: list[bytes]) -> list[bytes]:
        """Return the lines that are kept, and all that are no flows."""
        return list(self._sampler.sample(b"".join(lines)))

"""of-sample: flows in; out come some of them, each with the probability that it had."""

from __future__ import annotations

import os
import sys

from overflowd_tools import command
from overflowd_tools.blocks import OVERLONG
from overflowd_tools.options import Options
from overflowd_tools.sampling.law import Law
from overflowd_tools.sampling.sampler import Sampler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

BLOCK = 1 << 21
"""Octets read at a time: with many lines in a block, numpy's calls cost little for each."""
NUMPY_FOR = 1 << 27
"""Octets for which numpy is worth the time that its import takes."""
NUMPY_AFTER = NUMPY_FOR // 4
"""Octets of input after which as many are likely to come."""


def options() -> Options:
    """Return the options of this command."""
    made = command.options("of-sample", "Keep a flow with probability min(1, rate x packets).", progress=True)
    command.add_sampling(made, 1e-6, "1e-6 or 1/1000000 (default: 1e-6)")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return command.run(options(), run, argv)


def run(context: command.Context) -> None:
    """Sample every input."""
    from random import Random, SystemRandom

    args = context.args
    waits: Random = SystemRandom()
    draws: Random = waits
    if args.seed is not None:
        waits, draws = (Random(f"{args.seed} {use}") for use in ("waits", "draws"))  # noqa: S311 - asked for
    name = ""

    def reject(line: int, reason: str) -> None:
        context.reject(name, f"line {line}", reason, reason.partition(":")[0])

    sampler = Sampler(Law(args.rate, args.amplification), waits, draws, reject)
    context.counts = sampler.counts
    may_use_numpy, octets = True, 0
    for source in context.inputs():
        name = source.name
        sampler.line = 0
        size = os.fstat(source.fileno()).st_size  # of what is no file: 0
        for block in source.blocks(BLOCK):
            octets += block.end - block.start
            if may_use_numpy and (size >= NUMPY_FOR or octets >= NUMPY_AFTER):
                may_use_numpy = False
                command.with_numpy(sampler.use_numpy)
            if block is OVERLONG:
                sampler.line += 1
                reject(sampler.line, "longer than 1 MiB")
                continue
            for line in sampler.sample(block.octets, block.start, block.end):
                context.output.write(line)


if __name__ == "__main__":
    sys.exit(main())

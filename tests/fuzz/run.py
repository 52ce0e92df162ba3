"""Run the fuzz targets: python tests/fuzz/run.py [--seconds N] [NAME...].

A target is a module fuzz_NAME.py beside this one with `seeds()`, which gives good inputs, and
`one_input(data)`, which must return for every input whatever. Inputs are seeds, mutated; one that fails is kept
in tests/data/crash, which the tests replay for ever after.
"""

import argparse
import hashlib
import importlib
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, ModuleType
from typing import Literal

HERE = Path(__file__).parent
CRASHES = HERE.parent / "data" / "crash"
sys.path.insert(0, str(HERE.parents[1]))

INPUT_SECONDS = 10
MAX_INPUT = 1 << 16
ORDERS: tuple[Literal["big"], Literal["little"]] = ("big", "little")
INTERESTING = (0, 1, 3, 4, 7, 8, 12, 16, 20, 24, 28, 40, 48, 127, 128, 255, 256, 1023, 1500, 4096)
LIMITS = tuple((1 << bits) + delta for bits in (7, 8, 15, 16, 18, 31, 32, 63, 64) for delta in (-1, 0, 1))


def target_names() -> list[str]:
    return sorted(path.stem.removeprefix("fuzz_") for path in HERE.glob("fuzz_*.py"))


def load(name: str) -> ModuleType:
    return importlib.import_module(f"fuzz_{name}")


def flip_bit(rng: random.Random, data: bytearray, _: list[bytes]) -> None:
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def set_byte(rng: random.Random, data: bytearray, _: list[bytes]) -> None:
    data[rng.randrange(len(data))] = rng.randrange(256)


def set_number(rng: random.Random, data: bytearray, _: list[bytes]) -> None:
    size = rng.choice((1, 2, 4, 8))
    value = rng.choice(INTERESTING + LIMITS) % (1 << 8 * size)
    at = rng.randrange(len(data))
    data[at : at + size] = value.to_bytes(size, rng.choice(ORDERS))[: len(data) - at]


def nudge_number(rng: random.Random, data: bytearray, _: list[bytes]) -> None:
    """Make a length, count or offset a little wrong."""
    size = rng.choice((1, 2, 4))
    at = rng.randrange(len(data))
    order = rng.choice(ORDERS)
    value = int.from_bytes(data[at : at + size], order) + rng.choice((-8, -4, -2, -1, 1, 2, 4, 8))
    data[at : at + size] = (value % (1 << 8 * size)).to_bytes(size, order)[: len(data) - at]


def truncate(rng: random.Random, data: bytearray, _: list[bytes]) -> None:
    del data[rng.randrange(len(data)) :]


def delete(rng: random.Random, data: bytearray, _: list[bytes]) -> None:
    at = rng.randrange(len(data))
    del data[at : at + rng.randint(1, 40)]


def repeat(rng: random.Random, data: bytearray, _: list[bytes]) -> None:
    at = rng.randrange(len(data))
    data[at:at] = data[at : at + rng.randint(1, 200)] * rng.randint(1, 4)


def insert(rng: random.Random, data: bytearray, _: list[bytes]) -> None:
    at = rng.randrange(len(data))
    data[at:at] = rng.randbytes(rng.randint(1, 40))


def splice(rng: random.Random, data: bytearray, seeds: list[bytes]) -> None:
    other = rng.choice(seeds)
    data[rng.randrange(len(data)) :] = other[rng.randrange(len(other) + 1) :]


MUTATIONS: tuple[Callable[[random.Random, bytearray, list[bytes]], None], ...] = (
    *(flip_bit, set_byte, set_number, set_number, nudge_number, nudge_number),
    *(truncate, delete, repeat, insert, splice),
)


def inputs(rng: random.Random, seeds: list[bytes]) -> Iterator[bytes]:
    """Give the seeds as they are, then mutations of them without end."""
    yield from seeds
    while True:
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.choice((1, 1, 2, 3, 5, 8))):
            if data:
                rng.choice(MUTATIONS)(rng, data, seeds)
        yield bytes(data[:MAX_INPUT])


def too_slow(_signal: int, _frame: FrameType | None) -> None:
    raise TimeoutError(f"one input took more than {INPUT_SECONDS} seconds")


def keep(name: str, data: bytes) -> Path:
    CRASHES.mkdir(parents=True, exist_ok=True)
    path = CRASHES / f"{name}-{hashlib.sha256(data).hexdigest()[:16]}.bin"
    path.write_bytes(data)
    return path


def run(name: str, seconds: float, rng: random.Random) -> bool:
    """Fuzz one target for a while; return False, having kept the input and said why, if one failed."""
    target = load(name)
    count = 0
    started = time.monotonic()
    for data in inputs(rng, list(target.seeds())):
        signal.alarm(INPUT_SECONDS)
        try:
            target.one_input(data)
        except Exception:
            signal.alarm(0)
            sys.stdout.write(f"{name}: failed after {count} inputs, kept as {keep(name, data)}\n")
            traceback.print_exc(file=sys.stdout)
            return False
        count += 1
        if time.monotonic() - started >= seconds:
            break
    signal.alarm(0)
    sys.stdout.write(f"{name}: {count} inputs in {time.monotonic() - started:.1f} s\n")
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the fuzz targets, all or those named.")
    parser.add_argument("--seconds", type=float, default=30, help="time for all targets together (default 30)")
    parser.add_argument("--seed", type=int, help="repeat the run of this number")
    parser.add_argument("names", metavar="NAME", nargs="*", help=f"target: {', '.join(target_names())}")
    args = parser.parse_args()
    names = args.names or target_names()
    if unknown := set(names) - set(target_names()):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    seed = random.SystemRandom().randrange(1 << 32) if args.seed is None else args.seed
    sys.stdout.write(f"seed {seed}\n")
    signal.signal(signal.SIGALRM, too_slow)
    fine = [run(name, args.seconds / len(names), random.Random(seed)) for name in names]
    return 0 if all(fine) else 1


if __name__ == "__main__":
    sys.exit(main())

"""What option records tell of an exporter: its sampling rates, and when its sysUptime was 0.

Sampling rates come in at least six encodings (RFC 5477 section 8.2, NetFlow 9's 34, 35 and 48 to 50). The first of
these that is known decides: the record itself; the sampler it names; its interface; the template; the domain.
"""

from __future__ import annotations

from collections import Counter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import TypeAlias

Values: TypeAlias = "Mapping[int, int | float]"
"""Elements of the IANA registry (and NetFlow 9's, which have the same numbers) with the numbers they hold."""

Rate = tuple[str, int | float, float]
"""What a sampling rate is about ("sampler", "interface", "template", "domain"), the number of that, and the rate."""

SAMPLING_ELEMENTS = frozenset({34, 50, *range(305, 312)})
_SAMPLERS = (302, 48)
_INTERFACES = (10, 14)
_TEMPLATE = 145
_FIRST_FLOW_SELECTOR = 9
"""selectorAlgorithm (304) from here on selects flows, not packets (RFC 7014)."""
_MOST = 1 << 53
_KEPT = 4096


def rate(values: Values) -> float | None:
    """Return how many packets one sampled packet stands for, or None if the values do not tell, or absurdly."""
    if values.get(304, 0) >= _FIRST_FLOW_SELECTOR:
        return None
    told = _told(values)
    if told is None or not 1 <= told <= _MOST:
        return None
    return int(told) if told == int(told) else told


def _told(values: Values) -> float | None:
    size, population = values.get(309), values.get(310)
    if size and population:
        return population / size
    for interval, space in ((values.get(305), values.get(306)), (values.get(307), values.get(308))):
        if interval and space is not None:
            return (interval + space) / interval
    probability = values.get(311)
    if probability and 0 < probability <= 1:
        return 1 / probability
    for element in (34, 50):
        if values.get(element):
            return values[element]
    # An interval without a space: some exporters mean one of so many, and 1 says nothing.
    interval = values.get(305)
    return interval if interval and interval > 1 else None


class Options:
    """The state of one exporter's domain; bounded, the oldest of too many samplers and interfaces is forgotten."""

    def __init__(self) -> None:
        self.sessions = 0
        """How many sessions it is of."""
        self.boot_ms: int | None = None
        self.restored_s: int | None = None
        """When all this was last good, Unix seconds, if it is from an earlier run and nothing was told since."""
        self.version = 0
        """Goes up with all that is told here: what was worked out from it before may no longer hold."""
        self._by_scope: dict[tuple[str, int | float], float] = {}
        self._samplers: Counter[float] = Counter()
        """How many samplers have a rate."""
        self._interfaces = 0

    def __len__(self) -> int:
        return len(self._by_scope)

    def learn(self, values: Values, scopes: frozenset[int]) -> None:
        """Take an option record. scopes: which of its elements say what it is about."""
        self.restored_s = None
        self.version += 1
        if 160 in values:
            self.boot_ms = int(values[160])
        told = rate(values)
        if told is None:
            return
        about = [("sampler", values[element]) for element in _SAMPLERS if element in values][:1]
        about += [("interface", values[element]) for element in _INTERFACES if element in values and element in scopes]
        if not about and _TEMPLATE in scopes and _TEMPLATE in values:
            about = [("template", values[_TEMPLATE])]
        for scope in about or [("domain", 0)]:
            self._keep(scope, told)

    def rate(self, values: Values, template: int) -> float | None:
        """Return the rate for a flow record that does not hold one itself, or None if nothing is known."""
        candidates = [("sampler", values[element]) for element in _SAMPLERS if element in values]
        candidates += [("interface", values[element]) for element in _INTERFACES if element in values]
        for scope in (*candidates, ("template", template), ("domain", 0)):
            if scope in self._by_scope:
                return self._by_scope[scope]
        # Many exporters announce one sampler and name it in no record.
        return next(iter(self._samplers)) if len(self._samplers) == 1 else None

    def rates(self) -> Iterator[Rate]:
        """Yield all that is known, in the order in which it came: what a rate is about, its number, and the rate."""
        for (about, number), told in self._by_scope.items():
            yield about, number, told

    def complete(self, rates: Iterable[Rate], boot_ms: int | None) -> None:
        """Take what is known from elsewhere, but for what has been told here."""
        self.version += 1
        if self.boot_ms is None:
            self.boot_ms = boot_ms
        for about, number, told in rates:
            if (about, number) not in self._by_scope:
                self._keep((about, number), told)

    def clear(self) -> None:
        """Forget all."""
        self.version += 1
        self.boot_ms = None
        self._by_scope.clear()
        self._samplers.clear()
        self._interfaces = 0

    @property
    def by_interface(self) -> bool:
        """Whether records of one template may have different rates though they name no sampler."""
        return self._interfaces > 0

    def _keep(self, scope: tuple[str, int | float], told: float) -> None:
        self._forget(scope)
        self._by_scope[scope] = told
        self._interfaces += scope[0] == "interface"
        if scope[0] == "sampler":
            self._samplers[told] += 1
        if len(self._by_scope) > _KEPT:
            self._forget(next(iter(self._by_scope)))

    def _forget(self, scope: tuple[str, int | float]) -> None:
        told = self._by_scope.pop(scope, None)
        if told is None:
            return
        self._interfaces -= scope[0] == "interface"
        if scope[0] == "sampler":
            self._samplers[told] -= 1
            if not self._samplers[told]:
                del self._samplers[told]

"""What option records tell of an exporter: its sampling rates, and when its sysUptime was 0.

Sampling rates come in at least six encodings (RFC 5477 section 8.2, NetFlow 9's 34, 35 and 48 to 50). The first of
these that is known decides: the record itself; the sampler it names; its interface; the template; the domain.
"""

from collections import OrderedDict
from collections.abc import Mapping

Values = Mapping[int, int | float]
"""Elements of the IANA registry (and NetFlow 9's, which have the same numbers) with the numbers they hold."""

SAMPLING_ELEMENTS = frozenset({34, 50, 305, 306, 309, 310, 311})
_SAMPLERS = (302, 48)
_INTERFACES = (10, 14)
_TEMPLATE = 145
_FIRST_FLOW_SELECTOR = 9
"""selectorAlgorithm (304) from here on selects flows, not packets (RFC 7014)."""
_KEPT = 4096


def rate(values: Values) -> float | None:
    """Return how many packets one sampled packet stands for, or None if the values do not tell."""
    if values.get(304, 0) >= _FIRST_FLOW_SELECTOR:
        return None
    size, population = values.get(309), values.get(310)
    if size and population:
        return _plain(population / size)
    interval, space = values.get(305), values.get(306)
    if interval and space is not None:
        return _plain((interval + space) / interval)
    probability = values.get(311)
    if probability and 0 < probability <= 1:
        return _plain(1 / probability)
    for element in (34, 50):
        if values.get(element):
            return _plain(values[element])
    return _plain(interval) if interval and interval > 1 else None


def _plain(value: float) -> float:
    return int(value) if value == int(value) else value


class Options:
    """The state of one exporter's domain; bounded, the oldest of too many samplers and interfaces is forgotten."""

    def __init__(self) -> None:
        self.boot_ms: int | None = None
        self._by_scope: OrderedDict[tuple[str, int | float], float] = OrderedDict()
        self._samplers: set[float] = set()

    def learn(self, values: Values, scopes: frozenset[int]) -> None:
        """Take an option record. scopes: which of its elements say what it is about."""
        if 160 in values:
            self.boot_ms = int(values[160])
        told = rate(values)
        if told is None:
            return
        for element in _SAMPLERS:
            if element in values:
                self._samplers.add(told)
                self._keep(("sampler", values[element]), told)
                return
        for element in _INTERFACES:
            if element in scopes and element in values:
                self._keep(("interface", values[element]), told)
                return
        if _TEMPLATE in scopes and _TEMPLATE in values:
            self._keep(("template", values[_TEMPLATE]), told)
            return
        self._keep(("domain", 0), told)

    def rate(self, values: Values, template: int) -> float | None:
        """Return the rate for a flow record that does not hold one itself, or None if nothing is known."""
        candidates = [("sampler", values[element]) for element in _SAMPLERS if element in values]
        candidates += [("interface", values[element]) for element in _INTERFACES if element in values]
        for scope in (*candidates, ("template", template), ("domain", 0)):
            if scope in self._by_scope:
                return self._by_scope[scope]
        # Many exporters announce one sampler and name it in no record.
        return next(iter(self._samplers)) if len(self._samplers) == 1 else None

    @property
    def known(self) -> bool:
        """Whether any sampling rate is known."""
        return bool(self._by_scope)

    @property
    def by_interface(self) -> bool:
        """Whether records of one template may have different rates though they name no sampler."""
        return any(kind == "interface" for kind, _ in self._by_scope)

    def _keep(self, scope: tuple[str, int | float], told: float) -> None:
        self._by_scope[scope] = told
        self._by_scope.move_to_end(scope)
        if len(self._by_scope) > _KEPT:
            self._by_scope.popitem(last=False)

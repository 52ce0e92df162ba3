"""Data sets that came before their template (RFC 7011 section 8.4): kept for a while, within bounds."""

from __future__ import annotations

from collections import OrderedDict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from overflowd_tools.protocols.sessions import Export

OCTETS = 16 << 20
"""Most that is kept of all sessions, with a share for the keeping of each data set."""
SESSION_OCTETS = 1 << 20
TEMPLATES = 256
"""Most templates that one session waits for."""
AGE_NS = 600_000_000_000
_OVERHEAD = 1000


class _Held:
    __slots__ = ("content", "context", "number", "place", "since_ns")

    def __init__(self, place: Place, number: int, context: Export, content: bytes, since_ns: int) -> None:
        self.place = place
        self.number = number
        self.context = context
        self.content = content
        self.since_ns = since_ns

    @property
    def octets(self) -> int:
        return len(self.content) + _OVERHEAD


class Place:
    """What waits in one session, by number of template, in the order in which it came."""

    __slots__ = ("by_number", "octets")

    def __init__(self) -> None:
        self.by_number: dict[int, list[_Held]] = {}
        self.octets = 0

    def counts(self) -> Iterator[tuple[int, int]]:
        """Yield the templates that are waited for, and how many data sets wait for each."""
        for number, held in self.by_number.items():
            yield number, len(held)


class Pending:
    """What waits in all sessions. The oldest goes when there is too much, or when it has waited too long."""

    def __init__(self, *, octets: int | None = None, age_s: float | None = None) -> None:
        """octets: most that is kept. age_s: for how many seconds; 0: nothing is."""
        self._most = OCTETS if octets is None else octets
        self._age_ns = AGE_NS if age_s is None else int(age_s * 1_000_000_000)
        self._all: OrderedDict[_Held, None] = OrderedDict()
        self.octets = 0
        self.dropped = 0
        """Data sets that were not kept, or not long enough."""

    def hold(self, place: Place, number: int, context: Export, content: bytes, now_ns: int) -> None:
        """Keep a data set with its context. now_ns: when it came, 0 if that is unknown."""
        held = _Held(place, number, context, content, now_ns)
        while self._all and 0 < next(iter(self._all)).since_ns < now_ns - self._age_ns:
            self._drop(next(iter(self._all)))
        many = number not in place.by_number and len(place.by_number) >= TEMPLATES
        too_much = place.octets + held.octets > SESSION_OCTETS or held.octets > self._most
        if many or too_much or not self._age_ns:
            self.dropped += 1
            return
        while self.octets + held.octets > self._most:
            self._drop(next(iter(self._all)))
        self._all[held] = None
        place.by_number.setdefault(number, []).append(held)
        place.octets += held.octets
        self.octets += held.octets

    def take(self, place: Place, number: int) -> list[tuple[Export, bytes]]:
        """Return what waits for a template, and keep it no longer."""
        taken = place.by_number.pop(number, [])
        for held in taken:
            self._release(held)
        return [(held.context, held.content) for held in taken]

    def drop(self, place: Place, number: int) -> None:
        """Give up what waits for a template."""
        self.dropped += len(self.take(place, number))

    def drop_all(self, place: Place) -> None:
        """Give up all that waits in one session."""
        for number in [*place.by_number]:
            self.drop(place, number)

    def _drop(self, held: _Held) -> None:
        self._release(held)
        waiting = held.place.by_number[held.number]
        waiting.remove(held)  # the oldest of all is the first of its own
        if not waiting:
            del held.place.by_number[held.number]
        self.dropped += 1

    def _release(self, held: _Held) -> None:
        del self._all[held]
        held.place.octets -= held.octets
        self.octets -= held.octets

"""What exporters announce anywhere in a capture, found by reading it once before it is decoded (--two-pass)."""

from __future__ import annotations

from overflowd_tools.protocols.exporters import ADDRESS_FIELDS, Exporters
from overflowd_tools.protocols.layouts import Layout
from overflowd_tools.protocols.options import Options, Values
from overflowd_tools.protocols.sessions import Export, Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Survey(Exporters):
    """Exporters as they are; of each template and each option the first that was told is kept aside.

    The first one is right for the data before it. From there on the order of the capture decides.
    """

    def tell(self, exporters: Exporters) -> None:
        """Teach other exporters what was found, but for what they know already."""
        for key, session in self.sessions():
            told = exporters.session(named(*key))
            exporters.complete_options(told, session.options.rates(), session.options.boot_ms)
            assert isinstance(session, _SurveyedSession)
            for number, layout in {**session.layouts, **session.aside}.items():
                if number not in told.layouts:
                    exporters.learn(told, layout.announced, netflow9=key[0] == "netflow9")

    def _new_session(self) -> Session:
        return _SurveyedSession(self.elements())


class _SurveyedSession(Session):
    __slots__ = ("aside",)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.options = _FirstOptions()
        self.aside: dict[int, Layout] = {}
        """The first of the templates of a number, once it does not hold any more; the oldest of too many goes."""

    def forget(self, number: int) -> Layout | None:
        layout = super().forget(number)
        if layout is not None and number not in self.aside:
            self.aside[number] = layout
            self._count(len(layout.members), 1)
            while self.aside and self.address.fields > ADDRESS_FIELDS:
                oldest = self.aside.pop(next(iter(self.aside)))
                self._count(-len(oldest.members), -1)
        return layout


class _FirstOptions(Options):
    """Options of which the first ones stay."""

    def learn(self, values: Values, scopes: frozenset[int]) -> None:
        first = self.boot_ms
        super().learn(values, scopes)
        if first is not None:
            self.boot_ms = first

    def _keep(self, scope: tuple[str, int | float], told: float) -> None:
        if scope not in self._by_scope:
            super()._keep(scope, told)


def named(source: str, exporter: bytes, port: int, domain: int) -> Export:
    """Return the context of no message, to find a session by."""
    return Export(source, exporter, port, domain, 0, None, 0, {})

"""The bounds of what is remembered of exporters that a user may choose."""

from __future__ import annotations

from overflowd_tools.named import NamedTuple


class Limits(NamedTuple):
    """What a user chose; None is the default.

    sessions: of all exporters. templates: of a session. hold_s: how long data wait for their template, in seconds.
    hold_octets: how much of them, of all sessions.
    """

    sessions: int | None = None
    templates: int | None = None
    hold_s: float | None = None
    hold_octets: int | None = None


DEFAULTS = Limits()

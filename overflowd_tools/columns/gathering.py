"""What is gathered of many datagrams before it is rendered: enough for numpy to be worth its price."""

from collections.abc import Callable
from typing import NamedTuple

from overflowd_tools.columns.page import Page
from overflowd_tools.columns.plan import supports
from overflowd_tools.columns.renderer import ColumnRenderer
from overflowd_tools.protocols.templates import Template
from overflowd_tools.rendering import Renderer, Run

_RENDERERS = 16
_WORTH_IT = 256
"""For fewer lines of a template, numpy is no quicker than the plain way."""


class _Stretch(NamedTuple):
    """Datagrams that follow each other and share a template; where their lines belong, and what is lost before them."""

    place: int
    runs: list[Run]
    lost: int


class Gathering:
    """Lines to be, of many datagrams, so that flows which share a template are made together."""

    def __init__(self, plain: Callable[[Template], Renderer]) -> None:
        """plain: gives the renderer for what numpy is not worth its price for."""
        self._plain = plain
        self._texts: list[bytes] = []
        self._stretches: dict[Template, list[_Stretch]] = {}
        self._template: Template | None = None
        """That of the stretch which goes on, if one does."""
        self._runs: list[Run] = []
        self._renderers: dict[Template, ColumnRenderer | None] = {}
        self._page = Page()

    def add_text(self, text: bytes) -> None:
        """Take whole lines."""
        self._template = None
        self._texts.append(text)

    def add_flows(self, template: Template, run: Run, lost: int = 0) -> None:
        """Take the records of a datagram. lost: what its first line is to say as seq_lost, if not 0."""
        if template is not self._template or lost:
            self._template = None if lost else template
            self._runs = []
            self._stretches.setdefault(template, []).append(_Stretch(len(self._texts), self._runs, lost))
            self._texts.append(b"")
        self._runs.append(run)

    def take(self) -> list[bytes]:
        """Return the lines of all that was taken, in its order, and forget it."""
        texts, self._texts = self._texts, []
        of_template, self._stretches = self._stretches, {}
        self._template = None
        for template, stretches in of_template.items():
            rendered = self._render(template, [stretch.runs for stretch in stretches])
            for (place, _, lost), text in zip(stretches, rendered, strict=True):
                texts[place] = _with_loss(text, lost) if lost else text
        return texts

    def _render(self, template: Template, stretches: list[list[Run]]) -> list[bytes]:
        octets = sum([len(records) for runs in stretches for _, records, _, _ in runs])
        renderer = self._renderer(template) if octets >= _WORTH_IT * template.length else None
        if renderer is not None:
            return renderer.render(stretches)
        plain = self._plain(template)
        return [b"".join([b"".join(plain(*run)) for run in runs]) for runs in stretches]

    def _renderer(self, template: Template) -> "ColumnRenderer | None":
        if template not in self._renderers:
            if len(self._renderers) >= _RENDERERS:
                self._renderers.clear()
            plain = self._plain(template)
            self._renderers[template] = ColumnRenderer(template, plain, self._page) if supports(template) else None
        return self._renderers[template]


def _with_loss(text: bytes, lost: int) -> bytes:
    """Return lines of which the first says how much was lost before it."""
    end = text.find(b"}\n")
    return b'%s,"seq_lost":%d%s' % (text[:end], lost, text[end:]) if text else text

"""Memory in which lines are put together."""

import numpy as np

from overflowd_tools.columns.digits import Array

_VIEWS = 4096
_KEPT_FREE = 1 << 23


class Page:
    """Memory for the lines of a block; several renderers may use one, in turns."""

    def __init__(self) -> None:
        self._margin = 0
        bytes(_KEPT_FREE)  # once it has freed this, malloc(3) keeps so much instead of getting it from the kernel anew
        self._octets = np.empty(0, np.uint8)
        self._text = memoryview(b"")
        self._views: dict[tuple[int, int], Array] = {}

    def reserve(self, lines: int, longest: int) -> None:
        """Make room for so many lines."""
        if longest > self._margin or (lines + 1) * longest > len(self._octets):
            self._margin = longest
            self._octets = np.empty((lines + 1) * longest, np.uint8)
            self._text = self._octets[longest:].data
            self._views.clear()

    def ending(self, width: int, behind: int) -> Array:
        """Return the items of a width by where they end, counted from the first line's begin plus `behind`."""
        view = self._views.get((width, behind))
        if view is None:
            if len(self._views) >= _VIEWS:
                self._views.clear()
            start = self._margin - behind - width
            shape = (len(self._octets) - self._margin + 1,)
            view = self._views[width, behind] = np.ndarray(shape, f"V{width}", self._octets, start, (1,))
        return view

    def text(self, begin: int, end: int) -> bytes:
        """Return what is written from one place to another, counted from the first line's begin."""
        return bytes(self._text[begin:end])

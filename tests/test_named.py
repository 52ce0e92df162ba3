"""Named tuples made without typing are what typing makes of the same class."""

from __future__ import annotations

import copy
import typing

import pytest

from overflowd_tools import named


class Point(named.NamedTuple):
    """A point."""

    x: int
    name: str = "here"

    def moved(self, by: int) -> Point:
        """Return another."""
        return self._replace(x=self.x + by)

    @property
    def twice(self) -> int:
        return 2 * self.x

    @classmethod
    def origin(cls) -> Point:
        return cls(0)

    def __str__(self) -> str:
        return f"{self.name} {self.x}"


class Plain(named.NamedTuple):
    """Without defaults."""

    a: int
    b: int


class Usual(typing.NamedTuple):
    """Without defaults."""

    a: int
    b: int


def test_fields_and_defaults():
    point = Point(1)
    assert point == (1, "here") == Point(name="here", x=1)
    assert Point._fields == ("x", "name")
    assert Point._field_defaults == {"name": "here"}
    assert repr(point) == "Point(x=1, name='here')"
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'"):
        Point()
    with pytest.raises(AttributeError):
        point.x = 2
    with pytest.raises(AttributeError):
        point.y = 2


def test_methods():
    assert Point(1).moved(2) == Point(3)
    assert Point(4).twice == 8
    assert Point.origin() == Point(0)
    assert str(Point(5)) == "here 5"
    assert Point.__doc__ == "A point."


def test_it_is_a_tuple_like_any_other():
    for made, usual in ((Plain(1, 2), Usual(1, 2)),):
        assert made == usual
        assert made._asdict() == usual._asdict()
        assert type(made).__mro__[1:] == type(usual).__mro__[1:]
        assert set(dir(usual)) - set(dir(made)) <= {"__annotations__", "__orig_bases__"}
        assert (type(made).__module__, type(made).__qualname__) == (__name__, "Plain")
    point = Point(7)
    assert copy.deepcopy(point) == point
    assert not hasattr(point, "__dict__")

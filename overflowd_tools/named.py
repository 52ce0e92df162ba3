"""Tuples with names for rooms that do without typing: importing that takes a tenth of a short run."""

from __future__ import annotations

from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple
else:

    class _Naming(type):
        def __new__(cls, name: str, bases: tuple[type, ...], members: dict[str, Any]) -> type:
            if not bases:
                return super().__new__(cls, name, bases, members)
            fields = members.pop("__annotations__")
            defaults = [members.pop(field) for field in fields if field in members]
            made = namedtuple(name, fields, defaults=defaults)
            for attribute, value in members.items():
                setattr(made, attribute, value)
            return made

    class NamedTuple(metaclass=_Naming):
        """typing.NamedTuple, for classes in modules with `from __future__ import annotations`."""


__all__ = ["NamedTuple"]

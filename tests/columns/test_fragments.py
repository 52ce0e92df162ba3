"""Fields that are looked up together: the same lines whether few of their values are different or all of them."""

import random

import numpy as np
import pytest

from overflowd_tools.columns import fragments
from overflowd_tools.columns.fragments import Fragments
from overflowd_tools.columns.page import Page
from overflowd_tools.columns.renderer import ColumnRenderer
from overflowd_tools.protocols.templates import Field, Kind, Template
from overflowd_tools.rendering import compile_template

EXPORT_MS = 1_700_000_000_123
HEAD = b',"source":"netflow9","exporter":"192.0.2.1","domain":0,"export_ms":1700000000123'
STILL = Template((Field("nexthop", 4, Kind.IPV4), Field("in_if", 2), Field("out_if", 2), Field("pcount", 4)))
PLACE = (0, 8)


class Lines:
    """Makes lines by columns, block after block, and holds each against the plain way."""

    def __init__(self, template=STILL):
        self.template = template
        self.plain = compile_template(template)
        self.renderer = ColumnRenderer(template, self.plain, Page())
        self.fragments = [column for column in self.renderer._columns if isinstance(column, Fragments)]

    def check(self, records):
        for start in range(0, len(records), self.renderer._rows):
            run = HEAD, b"".join(records[start : start + self.renderer._rows]), EXPORT_MS, 0
            assert self.renderer.render([[run]]) == [b"".join(self.plain(*run))]


def record(still: bytes) -> bytes:
    return still + b"\0\0\0\1"


def slot(octets: bytes) -> int:
    mixed = int.from_bytes(octets) * int(fragments._MIX) & (1 << 64) - 1
    return mixed >> 64 - fragments._SLOT_BITS


def test_few_values():
    draw = random.Random(1)
    values = [draw.randbytes(8) for _ in range(20)] + [bytes(8), b"\xff" * 8, bytes(7) + b"\1"]
    lines = Lines()
    for _ in range(3):
        lines.check([record(draw.choice(values)) for _ in range(3000)])
    (one,) = lines.fragments
    assert not one._pause
    assert one._credit > fragments._CREDIT - len(values)


def test_many_values_and_few_afterwards():
    draw = random.Random(2)
    lines = Lines()
    lines.check([record(draw.randbytes(8)) for _ in range(3000)])
    (one,) = lines.fragments
    assert one._pause == fragments._PAUSE
    for _ in range(fragments._PAUSE):
        lines.check([record(bytes(8))] * 5)
    assert one._pause == 0
    lines.check([record(bytes(8))] * 3000)
    assert one._pause == 0


def test_new_values_block_after_block_are_only_learned_for_a_while():
    draw = random.Random(3)
    lines = Lines()
    (one,) = lines.fragments
    blocks = 0
    while not one._pause:
        lines.check([record(draw.randbytes(8)) for _ in range(100)])
        blocks += 1
    assert fragments._CREDIT // 100 <= blocks < 20


@pytest.mark.parametrize("number", [2, 3, 9])
def test_values_that_have_one_slot(number):
    draw = random.Random(4)
    some = [first := draw.randbytes(8)]
    while len(some) < number:
        more = draw.randbytes(8)
        if slot(more) == slot(first):
            some.append(more)
    lines = Lines()
    for _ in range(4):
        lines.check([record(draw.choice(some)) for _ in range(1000)])
    assert not lines.fragments[0]._pause


def test_zero_and_one_where_nothing_was_learned():
    for value in (bytes(8), bytes(7) + b"\1"):
        lines = Lines()
        lines.check([record(value)] * 300)
        (one,) = lines.fragments
        assert one._keys[slot(value)] == int.from_bytes(value)


def test_text_is_not_looked_up_with_others():
    fields = (Field("a", 1), Field("b", 1), Field("text", 3, Kind.TEXT), Field("c", 1), Field("d", 1))
    lines = Lines(Template((*fields, Field("pcount", 4))))
    assert len(lines.fragments) == 2
    lines.check([bytes((1, 2)) + octets + bytes((3, 4, 0, 0, 0, 1)) for octets in (b"\1\2\3", b"abc", b'"\\\n')] * 100)


def test_long_names_of_short_fields():
    draw = random.Random(6)
    fields = [Field(f"a_very_long_name_of_a_field_{place}_" * 3, 1) for place in range(8)]
    lines = Lines(Template((*fields, Field("pcount", 4))))
    lines.check([record(bytes(draw.choice((0, 9, 10, 100, 255)) for _ in range(8))) for _ in range(600)])
    assert not lines.fragments[0]._pause


def test_runs_longer_than_can_be_looked_up():
    draw = random.Random(7)
    fields = (
        Field("x", 6, Kind.MAC),
        Field("y", 4),
        Field("z", 4, Kind.IPV4),
        Field("u", 3),
        Field("v", 16, Kind.IPV6),
    )
    lines = Lines(Template((*fields, Field("pcount", 4))))
    assert [one._place for one in lines.fragments] == [(6, 8)]
    values = [draw.randbytes(33) for _ in range(9)]
    lines.check([record(draw.choice(values)) for _ in range(500)])
    assert np.count_nonzero(lines.fragments[0]._keys) <= 10

"""Lines made by columns are those made one by one, byte for byte, whatever the template and whatever the records."""

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overflowd_tools.columns.gathering import Gathering
from overflowd_tools.columns.page import Page
from overflowd_tools.columns.plan import supports
from overflowd_tools.columns.renderer import ColumnRenderer
from overflowd_tools.protocols.netflow import NETFLOW1, NETFLOW5, NETFLOW6, NETFLOW7
from overflowd_tools.protocols.templates import Field, Kind, Part, Template
from overflowd_tools.rendering import compile_template

EXPORT_MS = 1_700_000_000_123
EXPORTS = (EXPORT_MS, EXPORT_MS, EXPORT_MS + 86_400_000, 0, 999, 86_400_000, 4_294_967_295_999, 1 << 45)
UPTIMES = (0, 1, 86_400_000, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)
HEAD = b',"source":"netflow9","exporter":"192.0.2.1","domain":0,"export_ms":1700000000123'

numbers = st.integers(1, 8)
lengths = st.integers(1, 20)
fields_of_a_name = {
    **{name: st.one_of(st.just((4, Kind.IPV4)), st.just((16, Kind.IPV6))) for name in ("saddr", "daddr")},
    **{name: numbers.map(lambda length: (length, Kind.UNSIGNED)) for name in ("pcount", "bcount", "ip_id")},
    **{name: st.integers(1, 3).map(lambda length: (length, Kind.UNSIGNED)) for name in ("sport", "dport")},
    **{name: st.integers(1, 2).map(lambda length: (length, Kind.UNSIGNED)) for name in ("flags", "protocol", "tos")},
}
any_kind = st.one_of(
    numbers.map(lambda length: (length, Kind.UNSIGNED)),
    st.just((4, Kind.IPV4)),
    st.just((16, Kind.IPV6)),
    st.sampled_from((Kind.MAC, Kind.TEXT, Kind.OCTETS)).flatmap(
        lambda kind: lengths.map(lambda length: (length, kind))
    ),
)
moments = st.one_of(
    numbers.map(lambda length: (length, Kind.UNSIGNED)), st.integers(1, 4).map(lambda length: (length, Kind.SECONDS))
)
row_counts = st.lists(st.integers(0, 40), max_size=6)


@st.composite
def templates(draw):
    """Templates of every kind of field in any order, with and without what lines have by default."""
    names = draw(st.sets(st.sampled_from(sorted(fields_of_a_name))))
    fields = [Field(name, *draw(fields_of_a_name[name])) for name in sorted(names)]
    if "bcount" in names and draw(st.booleans()):
        fields = [field._replace(also="bcount_total") if field.name == "bcount" else field for field in fields]
    times = draw(st.sampled_from((("stime", "etime"), ("start_ms", "end_ms"), ("etime",), ("start_ms",), ())))
    for name in times:
        fields.append(Field(name, 4, Kind.UPTIME) if name in ("stime", "etime") else Field(name, *draw(moments)))
    fields += [Field(f"more_{place}", *draw(any_kind)) for place in range(draw(st.integers(0, 4)))]
    fields += [Field(f"0.{place}", *draw(any_kind), extra=True) for place in range(draw(st.integers(0, 3)))]
    fields += [Field("", draw(lengths), Kind.PADDING) for _ in range(draw(st.integers(0, 2)))]
    for number in range(draw(st.integers(0, 2))):
        part = a_part(number, draw(st.integers(0, 2)), draw(st.integers(0, 2)))
        fields += [Field("", draw(lengths), Kind.PART, part=part) for _ in range(draw(st.integers(1, 3)))]
    constants = draw(st.sampled_from(({}, {"counter": "total"}, {"time_src": "init160", "counter": "total"})))
    return Template(tuple(draw(st.permutations(fields or [Field("pcount", 4)]))), constants=constants)


def a_part(number: int, members: int, extras: int) -> Part:
    """What some octets say together: so many members of the line, and so many in `ie`."""
    names = tuple(f"part_{number}_{place}" for place in range(members))
    extra = tuple(f"1.{number}{place}" for place in range(extras))

    def show(octets: bytes):
        return dict.fromkeys(names, octets.hex() * (octets[0] % 3)), [(name, sum(octets)) for name in extra]

    return Part(show, names, extra)


def octets(draw: random.Random, field: Field) -> bytes:
    """A value of a field: often an extreme one, or one that many records have."""
    few = [
        bytes(field.length),
        b"\xff" * field.length,
        bytes(field.length - 1) + b"\1",
        b"\1" + bytes(field.length - 1),
    ]
    if field.kind is Kind.IPV6:
        few += [draw.choice((bytes(10) + b"\xff\xff", bytes(12), b"\xfe\x80" + bytes(10))) + draw.randbytes(4)]
        few += [bytes(octet if draw.random() < 0.3 else 0 for octet in draw.randbytes(16))]
    if field.kind is Kind.TEXT:
        few += [
            'é"\\\n'.encode().ljust(field.length, b"\0")[: field.length],
            b"eth0".ljust(field.length, b"\0")[: field.length],
        ]
    if field.name == "protocol":
        few += [number.to_bytes(field.length) for number in (1, 6, 17, 58)]
    if field.kind is Kind.UPTIME:
        few += [draw.choice(UPTIMES).to_bytes(4)]
    some_size = draw.randrange(256 ** draw.randint(1, field.length)).to_bytes(field.length)
    return draw.choice([*few, some_size, some_size, draw.randbytes(field.length)])


def records(draw: random.Random, template: Template, count: int) -> bytes:
    return b"".join(octets(draw, field) for _ in range(count) for field in template.fields)


def one_by_one(template, runs):
    return [b"".join(compile_template(template)(*run)) for run in runs]


def apart(runs):
    """Runs as stretches of their own."""
    return [[run] for run in runs]


def never(*_run):
    raise AssertionError("these lines can be made by columns")


@given(
    template=templates(),
    seed=st.integers(0),
    counts=st.lists(st.integers(0, 40), max_size=6),
    most_rows=st.sampled_from((3, 7, 2048)),
)
@settings(deadline=None)
def test_every_template_and_record(template, seed, counts, most_rows):
    assert supports(template)
    draw = random.Random(seed)
    usual = draw.random() < 0.7
    runs = []
    for count in counts:
        head = HEAD + b"0" * draw.choice((0, 1, 13, 14, 100)) if usual else b" " * draw.randrange(200)
        export_ms = EXPORT_MS + draw.randrange(1000) if usual else draw.choice(EXPORTS)
        runs.append((head, records(draw, template, count), export_ms, draw.choice(UPTIMES)))
    renderer = ColumnRenderer(template, compile_template(template), Page())
    renderer._rows = most_rows
    assert renderer.render(apart(runs)) == one_by_one(template, runs)
    cuts = [0, *sorted(draw.randrange(len(runs) + 1) for _ in range(2)), len(runs)]
    stretches = [runs[start:stop] for start, stop in pairwise(cuts)]
    assert renderer.render(stretches) == [b"".join(one_by_one(template, stretch)) for stretch in stretches]


def usual_runs(seed, template, counts):
    """Datagrams in which no time is before 1970."""
    draw = random.Random(seed)
    return [(HEAD, records(draw, template, count), EXPORT_MS, draw.choice(UPTIMES)) for count in counts]


@given(template=templates(), seed=st.integers(0), counts=row_counts)
@settings(deadline=None)
def test_only_odd_heads_and_times_are_left_to_the_plain_way(template, seed, counts):
    runs = usual_runs(seed, template, counts)
    longer = [(head + b" " * 1000, *rest) for head, *rest in runs]  # room for the garbage of any column
    assert ColumnRenderer(template, never, Page()).render(apart(longer)) == one_by_one(template, longer)


@pytest.mark.parametrize("template", [NETFLOW1, NETFLOW5, NETFLOW6, NETFLOW7])
def test_many_flows_of_netflow_with_renderers_that_share_a_page(template):
    page = Page()
    renderer = ColumnRenderer(template, never, page)
    for seed in range(3):
        runs = usual_runs(seed, template, [30, 0, 1, 5000, *[29] * seed])
        assert renderer.render(apart(runs)) == one_by_one(template, runs)
        other = Template((Field("pcount", 8), Field("text", 200, Kind.TEXT)))
        runs = [(HEAD * 17, *run[1:]) for run in usual_runs(seed, other, [3, 4])]
        assert ColumnRenderer(other, never, page).render(apart(runs)) == one_by_one(other, runs)


def test_all_addresses_of_ipv6_with_zeros_anywhere():
    template = Template((Field("saddr", 16, Kind.IPV6), Field("pcount", 4)))
    draw = random.Random(6)
    groups = [[draw.choice((b"\0\1", b"\0\xff", b"\xff\xff")) for _ in range(8)] for _ in range(256)]
    addresses = [
        b"".join(b"\0\0" if zeros >> place & 1 else group for place, group in enumerate(groups[zeros]))
        for zeros in range(256)
    ]
    runs = [(HEAD, b"".join(address + bytes(4) for address in addresses), EXPORT_MS, 0)]
    assert ColumnRenderer(template, never, Page()).render(apart(runs)) == one_by_one(template, runs)


@pytest.mark.parametrize("digits", range(1, 21))
def test_numbers_on_both_sides_of_every_power_of_ten(digits):
    template = Template((Field("pcount", 8), Field("bcount", 8)))
    power = min(10**digits, (1 << 64) - 1)
    values = [power, power - 1, power // 10, power - 10_000 if digits > 4 else 0]
    for some in (values, values[:1], values[1:2], values[1:]):
        runs = [(HEAD, b"".join(value.to_bytes(8) + bytes(8) for value in some), EXPORT_MS, 0)]
        assert ColumnRenderer(template, never, Page()).render(apart(runs)) == one_by_one(template, runs)


def test_types_and_codes_of_icmp_by_every_port():
    template = Template((Field("pcount", 1), Field("protocol", 1), Field("dport", 2)))
    renderer = ColumnRenderer(template, never, Page())
    for protocol in (1, 6, 58, 1):
        flows = b"".join(bytes((1, protocol)) + port.to_bytes(2) for port in range(1 << 16))
        runs = [(HEAD, flows, EXPORT_MS, 0)]
        assert renderer.render(apart(runs)) == one_by_one(template, runs)


@pytest.mark.parametrize(
    "fields",
    [
        (Field("stime", 8, Kind.UPTIME),),
        (Field("stime", 4), Field("etime", 4)),
        (Field("start_ms", 8, Kind.SECONDS),),
        (Field("start_ms", 4, Kind.UPTIME),),
        (Field("stime", 4, Kind.UPTIME), Field("start_ms", 8)),
        (Field("other", 4, Kind.UPTIME),),
        (Field("pcount", 4, Kind.IPV4),),
        (Field("pcount", 9),),
        (Field("pcount", 3, Kind.OCTETS),),
        (Field("saddr", 3, Kind.IPV4),),
        (Field("saddr", 8, Kind.IPV6),),
        (Field("pcount", 4), Field("pcount", 4)),
        (Field("protocol", 4, Kind.IPV4), Field("dport", 2)),
        (Field("text", 4000, Kind.TEXT),),
    ],
)
def test_templates_that_are_left_to_the_plain_way(fields):
    assert not supports(Template(fields))


@pytest.mark.parametrize("export_ms", [-1, 1 << 62, 1 << 70])
def test_clocks_of_no_use_are_left_to_the_plain_way(export_ms):
    ((head, flows, _, uptime_ms),) = usual_runs(0, NETFLOW5, [5])
    runs = [(head, flows, EXPORT_MS, uptime_ms), (head, flows, export_ms, uptime_ms)]
    renderer = ColumnRenderer(NETFLOW5, compile_template(NETFLOW5), Page())
    assert renderer.render(apart(runs)) == one_by_one(NETFLOW5, runs)


@pytest.mark.parametrize("export_ms", [0, 999, 4_294_967_295, 4_294_967_296])
def test_times_before_1970_are_left_to_the_plain_way(export_ms):
    draw = random.Random(1)
    runs = [(HEAD, records(draw, NETFLOW5, 50), export_ms, uptime_ms) for uptime_ms in UPTIMES]
    renderer = ColumnRenderer(NETFLOW5, compile_template(NETFLOW5), Page())
    assert renderer.render(apart(runs)) == one_by_one(NETFLOW5, runs)


def test_times_of_all_kinds_are_left_to_the_plain_way():
    assert not supports(Template((Field("pcount", 4),), spans=lambda *_: iter([{"start_ms": 1, "end_ms": 2}])))


def test_parts_of_no_octets_are_left_to_the_plain_way():
    assert not supports(Template((Field("pcount", 4), Field("", 0, Kind.PART, part=a_part(0, 1, 1)))))


def test_icmp_whose_protocol_a_part_shows():
    protocol = Part(lambda octets: ({"protocol": octets[0]}, []), ("protocol",), ())
    assert not supports(Template((Field("dport", 2), Field("", 1, Kind.PART, part=protocol))))


def test_what_is_gathered_comes_in_its_order():
    other = Template((Field("pcount", 4), Field("tos", 1)))
    unsupported = Template((Field("pcount", 9),))
    rows = {NETFLOW5: 40, other: 300, unsupported: 300, NETFLOW7: 2}
    gathering = Gathering(compile_template)
    for _ in range(2):
        expected = []
        for place in range(60):
            template = [NETFLOW5, other, unsupported, NETFLOW7][place % 4]
            (run,) = usual_runs(place, template, [rows[template] // 10 if place % 5 else 0])
            gathering.add_flows(template, run)
            expected += one_by_one(template, [run])
            if place % 7 == 0:
                gathering.add_text(b"a line\nanother\n")
                expected.append(b"a line\nanother\n")
        assert gathering.take() == expected
        assert gathering.take() == []


def test_datagrams_of_a_template_that_follow_each_other_come_in_one_piece():
    gathering = Gathering(compile_template)
    runs = usual_runs(0, NETFLOW5, [30] * 40)
    for place, run in enumerate(runs):
        gathering.add_flows(NETFLOW5, run, lost=9 * (place == 10))
    made = one_by_one(NETFLOW5, runs)
    told = made[10].replace(b"}\n", b',"seq_lost":9}\n', 1)
    assert gathering.take() == [b"".join(made[:10]), told, b"".join(made[11:])]


@pytest.mark.parametrize("count", [0, 1, 300])
def test_loss_is_told_by_the_first_line_after_it(count):
    template = Template((Field("pcount", 4), Field("1.2", 1, extra=True)))
    gathering = Gathering(compile_template)
    runs = usual_runs(0, template, [count, count])
    gathering.add_flows(template, runs[0], 7)
    gathering.add_flows(template, runs[1])
    first, second = one_by_one(template, runs)
    assert gathering.take() == [first.replace(b"}\n", b',"seq_lost":7}\n', 1), second]


def test_renderers_are_bounded():
    gathering = Gathering(compile_template)
    for place in range(40):
        template = Template((Field("pcount", 4), Field(f"more_{place}", 1)))
        (run,) = usual_runs(place, template, [300])
        gathering.add_flows(template, run)
        assert gathering.take() == one_by_one(template, [run])
        assert len(gathering._renderers) <= 16


def test_views_of_a_page_are_bounded():
    page = Page()
    page.reserve(1, 5000)
    for width in range(1, 5000):
        assert page.ending(width, 0).itemsize == width
    assert len(page._views) <= 4096

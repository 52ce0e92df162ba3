"""The functions generated for templates: what announced templates need beyond the fields of NetFlow 5."""

import json

import pytest

from overflowd_tools.protocols.templates import Field, Kind, Part, Template
from overflowd_tools.rendering import compile_template

EXPORT_MS = 1_700_000_000_000


def lines(template: Template, records: bytes, *, uptime_ms: int = 1000) -> list[dict]:
    texts = compile_template(template)(b',"source":"x"', records, EXPORT_MS, uptime_ms)
    pairs = [json.loads(text, object_pairs_hook=list) for text in texts]
    shown = [{name: [*map(tuple, value)] if name == "ie" else value for name, value in each} for each in pairs]
    assert [len(each) for each in shown] == [len(each) for each in pairs]
    return shown


def part(calls: list[bytes]) -> Part:
    """A part that says its octets, and in `ie` how many they are."""

    def show(octets: bytes):
        calls.append(octets)
        return {"label": octets.hex(), "at": {"a": octets[0]}}, [("odd", octets[-1])]

    return Part(show, ("label", "at"), ("odd",))


def test_a_part_is_asked_once_for_the_same_octets():
    calls: list[bytes] = []
    template = Template((Field("", 2, Kind.PART, part=part(calls)), Field("bcount", 1)))
    octets = bytes((1, 2, 60, 1, 2, 70, 3, 4, 80))
    shown = lines(template, octets)
    assert shown == [
        {"type": "flow", "source": "x", "bcount": bcount, "label": label, "at": [("a", first)], "ie": [("odd", last)]}
        for bcount, label, first, last in ((60, "0102", 1, 2), (70, "0102", 1, 2), (80, "0304", 3, 4))
    ]
    # Once for the members and once for what is in `ie`.
    assert sorted(calls) == [b"\1\2", b"\1\2", b"\3\4", b"\3\4"]


def test_the_fields_of_a_part_may_stand_apart():
    calls: list[bytes] = []
    apart = part(calls)
    extra = Field("more", 1, extra=True)
    fields = (Field("", 1, Kind.PART, part=apart), extra, Field("pcount", 1), Field("", 1, Kind.PART, part=apart))
    (shown,) = lines(Template(fields), bytes((1, 9, 5, 2)))
    assert (shown["pcount"], shown["label"]) == (5, "0102")
    assert shown["ie"] == [("more", 9), ("odd", 2)]


@pytest.mark.parametrize(("length", "value"), [(1, 7), (3, 70_000), (8, 2**64 - 1)])
def test_a_counter_under_two_names(length, value):
    fields = Field("pcount", length, also="pcount_total"), Field("bcount", length, also="l2_bcount")
    template = Template(fields, constants={"counter": "total", "100%": None})
    (shown,) = lines(template, value.to_bytes(length) * 2)
    assert shown["pcount"] == shown["pcount_total"] == shown["bcount"] == shown["l2_bcount"] == value
    assert shown["counter"] == "total"
    assert not template.plain


def test_times_that_somebody_else_works_out():
    def spans(records, export_ms, uptime_ms):
        return ({"start_ms": export_ms - octet, "end_ms": export_ms + uptime_ms} for octet in records)

    template = Template((Field("tos", 1),), spans=spans)
    assert [each["start_ms"] for each in lines(template, b"\1\2\3")] == [EXPORT_MS - each for each in (1, 2, 3)]
    assert {each["end_ms"] for each in lines(template, b"\1\2\3")} == {EXPORT_MS + 1000}


def test_records_of_nothing_that_is_shown():
    assert lines(Template((Field("", 3, Kind.PADDING),)), bytes(6)) == [{"type": "flow", "source": "x"}] * 2


def test_sys_uptimes_without_a_clock_are_numbers():
    template = Template(
        (Field("stime", 4), Field("etime", 4)), spans=lambda records, *_: iter([{}] * (len(records) // 8))
    )
    (shown,) = lines(template, bytes((0, 0, 1, 0, 0, 0, 0, 1)))
    assert shown == {"type": "flow", "source": "x", "stime": 256, "etime": 1}


@pytest.mark.parametrize(
    ("start", "end", "suspect"),
    [
        (EXPORT_MS, EXPORT_MS, False),
        (EXPORT_MS, EXPORT_MS - 1, True),
        (EXPORT_MS - 86_400_001, EXPORT_MS, True),
        (EXPORT_MS + 86_400_000, EXPORT_MS + 86_400_000, False),
        (0, 2**64 - 1, True),
    ],
)
def test_absolute_times(start, end, suspect):
    template = Template((Field("start_ms", 8), Field("end_ms", 8)))
    (shown,) = lines(template, start.to_bytes(8) + end.to_bytes(8))
    assert (shown["start_ms"], shown["end_ms"], shown.get("time_suspect", False)) == (start, end, suspect)
    if not (start % 1000 or end % 1000 or end >= 2**40):
        template = Template((Field("end_ms", 4, Kind.SECONDS), Field("start_ms", 4, Kind.SECONDS)))
        (shown,) = lines(template, (end // 1000).to_bytes(4) + (start // 1000).to_bytes(4))
        assert (shown["start_ms"], shown["end_ms"], shown.get("time_suspect", False)) == (start, end, suspect)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 9])
def test_icmp_of_ports_of_any_length(length):
    template = Template((Field("protocol", 1), Field("dport", length), Field("tos", 1)))
    ports = [port for port in (0, 8, 2048, 65535, 65536) if port < 256**length]
    for port in ports:
        (shown,) = lines(template, b"\1" + port.to_bytes(length) + b"\0")
        assert shown["dport"] == port
        icmp = (shown.get("icmp_type"), shown.get("icmp_code"))
        assert icmp == (divmod(port, 256) if port < 65536 else (None, None))


def test_fields_of_their_own_for_icmp_are_believed():
    template = Template((Field("protocol", 1), Field("dport", 2), Field("icmp_type", 1)))
    (shown,) = lines(template, b"\1\3\1\5")
    assert (shown["icmp_type"], shown["dport"], "icmp_code" in shown) == (5, 769, False)

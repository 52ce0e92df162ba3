"""The file of templates: what is in it, and what is not taken from one that is damaged, old or not ours."""

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overflowd_tools import template_file
from overflowd_tools.errors import UsageError
from overflowd_tools.protocols.detect import Decoder
from overflowd_tools.protocols.exporters import Exporters
from tests.protocols import set_builders as build

NOW = 1_795_000_000
EXPORTER = (b"\xc0\0\2\1", 4739, 1)
TEMPLATE = {
    "source": "ipfix",
    "exporter": "192.0.2.1",
    "port": 4739,
    "domain": 1,
    "good_s": NOW,
    "template": 256,
    "options": False,
    "scopes": 0,
    "fields": [[0, 8, 4], [0, 2, 4]],
}
OPTIONS = {
    "source": "netflow9",
    "exporter": "2001:db8::1",
    "port": 1,
    "domain": 2,
    "good_s": NOW,
    "rates": [["sampler", 1, 100], ["interface", 3, 12.5]],
    "boot_ms": 5,
}
HEADER = b'{"overflowd_templates":1}\n'


def file(*entries: dict) -> bytes:
    return HEADER + b"".join(json.dumps(entry).encode() + b"\n" for entry in entries)


def entries(data: bytes) -> list[dict]:
    lines = data.splitlines(keepends=True)
    assert lines[0] == HEADER
    return [json.loads(line) for line in lines[1:]]


def test_what_is_saved_is_loaded_again():
    decoder = Decoder()
    sets = [
        build.template(256, [*build.FLOW, (57590, 65535, 35632)]),
        build.template(300, [(149, 4), (302, 1), (34, 4)], scopes=1),
        build.data(300, struct.pack("!IBI", 1, 7, 100)),
    ]
    list(decoder.messages(build.ipfix(*sets), EXPORTER))
    list(decoder.messages(build.netflow9(build.template9(257, [(8, 4), (1, 4)]), domain=9), (bytes(15) + b"\1", 9, 0)))
    saved = template_file.save(decoder.known(), NOW)
    again = Exporters()
    assert template_file.load("t", saved, again, NOW) == []
    assert template_file.save(again, NOW + 5) == saved
    [old, new] = [{number: layout.announced for number, layout in s.layouts.items()} for _, s in again.sessions()]
    assert sorted(old) == [256, 300]
    assert old[300].scopes == 1
    assert old[300].options
    assert sorted(new) == [257]
    assert [*next(again.sessions())[1].options.rates()] == [("sampler", 7, 100)]


def test_lines_as_they_are():
    exporters = Exporters()
    assert template_file.load("t", file(TEMPLATE, OPTIONS), exporters, NOW + 1) == []
    assert entries(template_file.save(exporters, NOW + 2)) == [TEMPLATE, OPTIONS]


def test_what_is_announced_again_is_good_until_now():
    decoder = Decoder()
    template_file.load("t", file(TEMPLATE, {**TEMPLATE, "template": 257}), decoder.known(), NOW + 9)
    list(decoder.messages(build.ipfix(build.template(257, [(8, 4), (2, 4)])), EXPORTER))
    good = {entry["template"]: entry["good_s"] for entry in entries(template_file.save(decoder.known(), NOW + 10))}
    assert good == {256: NOW, 257: NOW + 10}


def test_options_told_again_are_good_until_now():
    decoder = Decoder()
    template_file.load("t", file({**OPTIONS, "source": "ipfix"}), decoder.known(), NOW + 9)
    boot = [build.template(301, [(149, 4), (160, 8)], scopes=1), build.data(301, struct.pack("!IQ", 1, 77))]
    list(decoder.messages(build.ipfix(*boot, domain=2), (bytes.fromhex("20010db8") + bytes(11) + b"\1", 1, 1)))
    [_, options] = entries(template_file.save(decoder.known(), NOW + 10))
    assert (options["boot_ms"], options["good_s"]) == (77, NOW + 10)


def test_what_is_too_old_is_not_taken():
    exporters = Exporters()
    age = template_file.AGE_S
    lines = file({**TEMPLATE, "good_s": NOW - age - 1}, {**OPTIONS, "good_s": NOW - age - 1}, {**TEMPLATE, "port": 3})
    assert template_file.load("t", lines, exporters, NOW) == []
    assert [key for key, _ in exporters.sessions()] == [("ipfix", b"\xc0\0\2\1", 3, 1)]
    assert template_file.load("t", file({**TEMPLATE, "good_s": NOW - age}), exporters, NOW) == []
    assert len([*exporters.sessions()]) == 2


def test_what_came_from_a_file_of_messages_is_not_kept():
    decoder = Decoder()
    list(decoder.messages(build.ipfix(build.template(256, build.FLOW)), (b"", 0, 0)))
    assert template_file.save(decoder.known(), NOW) == HEADER


def test_of_too_much_the_least_recently_heard_is_dropped(monkeypatch):
    exporters = Exporters()
    template_file.load("t", file(*({**TEMPLATE, "domain": domain} for domain in range(3))), exporters, NOW)
    saved = template_file.save(exporters, NOW)
    monkeypatch.setattr(template_file, "LIMIT", len(saved) - 1)
    assert [entry["domain"] for entry in entries(template_file.save(exporters, NOW))] == [1, 2]


def test_an_empty_file_is_a_new_one():
    exporters = Exporters()
    assert template_file.load("t", b"", exporters, NOW) == []
    assert template_file.load("t", HEADER, exporters, NOW) == []
    assert template_file.save(exporters, NOW) == HEADER


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"hello\n", "t: not a file of templates"),
        (b"\xff\xfe\0", "t: not a file of templates"),
        (b"[1]\n", "t: not a file of templates"),
        (b'{"type":"flow"}\n', "t: not a file of templates"),
        (b"\n" + HEADER, "t: not a file of templates"),
        (b'{"overflowd_templates":2}\n', "t: templates in another format"),
    ],
)
def test_files_that_are_not_ours(data, reason):
    with pytest.raises(UsageError) as caught:
        template_file.load("t", data, Exporters(), NOW)
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ({"source": "netflow5"}, "source 'netflow5'"),
        ({"source": []}, "source []"),
        ({"exporter": "here"}, "exporter 'here' is no address"),
        ({"exporter": 1}, "exporter 1 is no address"),
        ({"port": 65536}, "port 65536 is no number from 0 to 65535"),
        ({"domain": True}, "domain True is no number from 0 to 4294967295"),
        ({"good_s": -1}, "good_s -1 is no number from 0 to 18446744073709551615"),
        ({"template": 255}, "template number 255 is below 256"),
        ({"options": 1}, "options is not true or false"),
        ({"scopes": 3}, "scopes 3 is no number from 0 to 2"),
        ({"fields": []}, "a template of 0 fields"),
        ({"fields": {}}, "fields is no list of lists of 3"),
        ({"fields": [[0, 8]]}, "fields is no list of lists of 3"),
        ({"fields": [[0, 8, 65536]]}, "length 65536 is no number from 0 to 65535"),
        ({"fields": [[-2, 8, 4]]}, "enterprise -2 is no number from -1 to 4294967295"),
        ({"fields": [[0, 8, 0]]}, "template 256 is of records of 0 octets"),
    ],
)
def test_damaged_templates(damage, reason):
    assert problems({**TEMPLATE, **damage}) == [("line 3", reason)]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ({"rates": [["star", 1, 2]]}, "a rate that is none"),
        ({"rates": [["sampler", "1", 2]]}, "a rate that is none"),
        ({"rates": [["sampler", 1, None]]}, "a rate that is none"),
        ({"rates": [["sampler", 1, 0.5]]}, "a rate of 0.5"),
        ({"rates": [["sampler", 1, 1e300]]}, "a rate of 1e+300"),
        ({"boot_ms": "x"}, "boot_ms 'x' is no number from 0 to 18446744073709551615"),
    ],
)
def test_damaged_options(damage, reason):
    assert problems({**OPTIONS, **damage}) == [("line 3", reason)]


@pytest.mark.parametrize("name", TEMPLATE.keys() - {"template"})
def test_lines_that_lack_something(name):
    assert problems({key: value for key, value in TEMPLATE.items() if key != name}) == [("line 3", f"no {name}")]


def problems(entry: dict) -> list[tuple[str, str]]:
    """Load a damaged line between good ones, which must count."""
    exporters = Exporters()
    found = template_file.load("t", file(TEMPLATE, entry, {**TEMPLATE, "domain": 99}), exporters, NOW)
    assert [key[3] for key, _ in exporters.sessions()] == [1, 99]
    return found


@given(st.binary(max_size=60), st.integers(min_value=0, max_value=400))
def test_any_damage_is_noticed_or_harmless(octets, at):
    data = file(TEMPLATE, OPTIONS)
    damaged = HEADER + data[len(HEADER) : len(HEADER) + at] + octets + data[len(HEADER) + at + len(octets) :]
    exporters = Exporters()
    assert len(template_file.load("t", damaged, exporters, NOW)) <= damaged.count(b"\n")
    assert template_file.save(exporters, NOW).startswith(HEADER)

"""Values that their types cannot have, and texts that do something to terminals and readers: item 14."""

import json
import struct

import pytest

from tests.hostile import builders as build
from tests.hostile.builders import SECOND, VARIABLE, data, ipfix, netflow9, template, template9, variable


def one(*members: tuple[int, int, bytes]) -> bytes:
    """A message with one record, of these elements, lengths and octets."""
    fields = [(element, length) for element, length, _ in members]
    return ipfix(template(300, fields), data(300, b"".join(octets for _, _, octets in members)))


HOST = (8, 4, bytes((10, 0, 0, 7)))


@pytest.mark.parametrize(
    ("element", "length", "name"),
    [
        *((12, length, "destinationIPv4Address") for length in (1, 3, 5, 16)),
        *((56, length, "sourceMacAddress") for length in (5, 7, 8)),
        *((28, length, "destinationIPv6Address") for length in (4, 15, 17)),
        *((1, length, "octetDeltaCount") for length in (9, 16)),
        (7, 9, "sourceTransportPort"),
        (4, 16, "protocolIdentifier"),
        *((311, length, "samplingProbability") for length in (1, 3, 5, 9)),
        (276, 2, "dataRecordsReliability"),
        *((152, length, "flowStartMilliseconds") for length in (9, 16)),
    ],
)
def test_values_of_lengths_that_their_type_cannot_have(between, element, length, name):
    octets = bytes(range(1, 1 + length))
    done = between(one(HOST, (element, length, octets)))
    assert (done.hosts, done.told) == ([7], [])
    assert done.lines[0]["ie"] == {name: octets.hex()}


@pytest.mark.parametrize(("octet", "shown"), [(0, 0), (1, True), (2, False), (3, 3), (255, 255)])
def test_booleans_that_are_neither(between, octet, shown):
    done = between(one(HOST, (276, 1, bytes([octet]))))
    assert (done.lines[0]["ie"], done.told) == ({"dataRecordsReliability": shown}, [])


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_floats_that_json_does_not_have(between, value):
    done = between(one(HOST, (320, 8, struct.pack("!d", float(value)))))
    assert (done.lines[0]["ie"], done.told) == ({"absoluteError": None}, [])


TEXTS = [
    (b"a\0b\0\0", "a\0b"),
    (b"\0\0", ""),
    (b"a\xff\xfeb", "0x61fffe62"),
    (b"\xed\xa0\x80", "0xeda080"),
    (b"\xc0\x80", "0xc080"),
    (b"\x1b[31m\x07red\x1b]0;x\x07", "\x1b[31m\x07red\x1b]0;x\x07"),
    (b"a\r\nb\t\x0b\x0c", "a\r\nb\t\x0b\x0c"),
    (b'"}\\{"', '"}\\{"'),
    ("\u2028\u2029\x85\x7f\x9b31m".encode(), "\u2028\u2029\x85\x7f\x9b31m"),
    ("\u202e\u2066\ufeff\U0001f4a9".encode(), "\u202e\u2066\ufeff\U0001f4a9"),
]


@pytest.mark.parametrize(("octets", "text"), TEXTS)
@pytest.mark.parametrize("element", [82, 371])
def test_texts(between, element, octets, text):
    done = between(one(HOST, (element, len(octets), octets)))
    (line,) = done.lines
    assert (line["ie"]["interfaceName"] if element == 82 else line["user"], done.told) == (text, [])


def raw_lines(decode, tmp_path, *texts: bytes) -> str:
    """What is written for texts, as it is."""
    message = [one(HOST, (82, VARIABLE, variable(text)), (371, VARIABLE, variable(text))) for text in texts]
    done = build.run_command(build.write(tmp_path / "in", build.capture(*message)))
    return done.raw.decode()


def test_no_control_of_ascii_gets_out(decode, tmp_path):
    raw = raw_lines(decode, tmp_path, *(octets for octets, _ in TEXTS), bytes(range(32)))
    assert not [character for character in raw if character < " " and character != "\n"]
    assert [json.loads(line)["user"] for line in raw.split("\n")[:-1]][:-1] == [text for _, text in TEXTS]


def test_no_other_control_and_no_other_end_of_line_gets_out(decode, tmp_path):
    """DEL and C1 (U+009B is the CSI of terminals), and what Python's splitlines takes for ends of lines."""
    raw = raw_lines(decode, tmp_path, *(octets for octets, _ in TEXTS))
    assert not [character for character in raw if 0x7F <= ord(character) < 0xA0 or character in "\u2028\u2029"]


def test_sys_uptimes_of_eight_octets(between):
    members = [(22, 8, struct.pack("!Q", 2**32 + 999_000)), (21, 8, struct.pack("!Q", 999_500))]
    booted = (160, 8, struct.pack("!Q", (SECOND - 1000) * 1000))
    fields = [(8, 4), (22, 8), (21, 8)]
    content = data(300, b"".join(octets for _, _, octets in (HOST, *members)))
    done = between(one(HOST, *members, booted), netflow9(template9(300, fields), content))
    for line in done.lines:
        assert (line["stime"], line["etime"]) == (999_000, 999_500)
        assert (line["start_ms"], line["end_ms"]) == (SECOND * 1000 - 1000, SECOND * 1000 - 500)
        assert line["ie"]["flowStartSysUpTime"] == 2**32 + 999_000
    assert (len(done.lines), done.told) == (2, [])

"""Either format by its magic, any split, garbage, and tshark's count of the same captures."""

import itertools
import os
import shutil
import subprocess
from pathlib import Path

import capture_builders as build
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overflowd_tools.capture.fragments import Fragments
from overflowd_tools.capture.link import dissect
from overflowd_tools.capture.packet import ExportMessage, Packet
from overflowd_tools.capture.reader import CaptureReader
from overflowd_tools.errors import DecodeError

FRAME = build.ethernet(build.ipv4(build.udp()))
PCAPNG = (
    build.section(">")
    + build.interface(order=">", options=build.option(9, b"\x09", ">"))
    + build.block(5, bytes(60), ">")
    + build.enhanced(FRAME, build.SECOND * 10**9 + 1, order=">", original=4000)
    + build.enhanced(b"short", number=3, order=">")
    + build.section()
    + build.interface()
    + build.simple(FRAME)
    + build.obsolete(FRAME)
)
CAPTURES = {
    "pcap": build.pcap(FRAME, b"", FRAME),
    "pcap big-endian, cut": build.pcap(FRAME, FRAME, order=">", magic=0xA1B23C4D)[:-7],
    "pcap length bomb": build.pcap(FRAME) + b"\xff" * 40 + build.pcap(FRAME),
    "pcap modified": build.pcap(FRAME, b"xyz", magic=0xA1B2CD34),
    "pcapng": PCAPNG,
    "pcapng cut": PCAPNG[:-30],
    "pcapng bad framing": PCAPNG + build.block(6, bytes(40), closing=3) + PCAPNG,
    "IPFIX": build.ipfix() + build.ipfix(bytes(40)),
    "IPFIX cut": (build.ipfix() + build.ipfix(bytes(40)))[:-5],
    "IPFIX bad framing": build.ipfix() + bytes(40) + build.ipfix(),
    "garbage": b"GET / HTTP/1.1\r\n\r\n" * 20,
    "short": b"\xd4\xc3\xb2",
    "empty": b"",
}


def shown(items: list) -> list:
    assert all(isinstance(item, Packet | ExportMessage | DecodeError) for item in items)
    return [str(item) if isinstance(item, DecodeError) else item for item in items]


def read(pieces) -> list:
    reader = CaptureReader()
    items = [item for piece in pieces for item in reader.feed(piece)]
    return shown(items + reader.close())


def corpora() -> list[Path]:
    root = os.environ.get("OF_CORPORA")
    return sorted(Path(root).rglob("*.pcap")) if root else []


@pytest.mark.parametrize("name", ["pcap", "pcapng"])
def test_either_format(name):
    items = read([CAPTURES[name]])
    assert [item.number for item in items if isinstance(item, Packet)] == {
        "pcap": [1, 2, 3],
        "pcapng": [1, 3, 4],
    }[name]


@pytest.mark.parametrize("data", [b"\x1f\x8b\x08\x00", b"\0\0\0\0", b"\xa1\xb2\xc3\xd5", CAPTURES["garbage"], b"\n"])
def test_anything_else_is_said_once_and_dropped(data):
    reader = CaptureReader()
    items = reader.feed(data)
    for _ in range(100):
        items += reader.feed(bytes(1000))
        assert reader.buffered < 4
    assert shown(items) == ["not a pcap or pcapng capture, nor an IPFIX file"]
    assert reader.finished
    assert reader.close() == []


def test_an_ipfix_file():
    assert read([CAPTURES["IPFIX"]]) == [ExportMessage(1, build.ipfix()), ExportMessage(2, build.ipfix(bytes(40)))]


def test_an_empty_capture_is_an_error_and_one_without_packets_is_not():
    assert read([]) == read([b"", b""]) == ["empty: not even a file header"]
    assert read([b"\xd4\xc3"]) == ["not a pcap or pcapng capture, nor an IPFIX file"]
    assert read([build.pcap()]) == read([build.section()]) == []


def test_finished_after_close_and_after_damage_only():
    reader = CaptureReader()
    assert not reader.finished
    reader.feed(CAPTURES["pcap"])
    assert not reader.finished
    reader.close()
    assert reader.finished
    assert reader.feed(CAPTURES["pcap"]) == reader.close() == []
    damaged = CaptureReader()
    damaged.feed(CAPTURES["pcap length bomb"])
    assert damaged.finished


@pytest.mark.parametrize("name", CAPTURES)
def test_byte_by_byte_gives_the_same_items(name):
    data = CAPTURES[name]
    assert read(data[at : at + 1] for at in range(len(data))) == read([data])


@given(st.sampled_from(sorted(CAPTURES)), st.lists(st.integers(0, 1200), max_size=12))
def test_any_split_gives_the_same_items(name, cuts):
    data = CAPTURES[name]
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    assert read(data[start:end] for start, end in itertools.pairwise(edges)) == read([data])


@given(
    st.sampled_from([build.pcap(), build.section(), build.section() + build.interface(), b""]),
    st.binary(max_size=300),
    st.integers(0, 300),
)
@settings(max_examples=300)
def test_garbage_gives_items_only_and_splits_alike(start, garbage, cut):
    data = start + garbage
    assert read([data[:cut], data[cut:]]) == read([data])


@given(st.data())
@settings(max_examples=300)
def test_a_flipped_byte_keeps_what_came_before_it(data):
    name = data.draw(st.sampled_from(["pcap", "pcapng", "pcap modified"]))
    whole = CAPTURES[name]
    at = data.draw(st.integers(0, len(whole) - 1))
    damaged = bytearray(whole)
    damaged[at] ^= data.draw(st.integers(1, 255))
    reader = CaptureReader()
    before = shown(reader.feed(whole[:at]))
    assert read([bytes(damaged)])[: len(before)] == before


def tshark(capture: bytes | Path, *fields: str) -> list[list[str]]:
    arguments = ["tshark", "-n", "-T", "fields", "-E", "separator=/t"]
    for name in fields:
        arguments += ["-e", name]
    if isinstance(capture, Path):
        done = subprocess.run([*arguments, "-r", str(capture)], capture_output=True, check=False)
    else:
        done = subprocess.run([*arguments, "-r", "-"], input=capture, capture_output=True, check=False)
    return [line.split("\t") for line in done.stdout.decode().splitlines()]


def as_tshark(packets: list[Packet]) -> list[list[str]]:
    return [
        [
            str(packet.number),
            f"{packet.timestamp_ns // 10**9}.{packet.timestamp_ns % 10**9:09}",
            str(len(packet.data)),
            str(packet.original_length),
        ]
        for packet in packets
    ]


needs_tshark = pytest.mark.skipif(not shutil.which("tshark"), reason="tshark is not installed")
FRAME_FIELDS = ("frame.number", "frame.time_epoch", "frame.cap_len", "frame.len")


@needs_tshark
@pytest.mark.parametrize(
    "capture",
    [
        build.pcap(FRAME, FRAME + b"x", FRAME),
        build.pcap(FRAME, FRAME, order=">"),
        build.pcap(FRAME, FRAME, magic=0xA1B23C4D),
        build.pcap(FRAME, FRAME, order=">", magic=0xA1B23C4D),
        build.section()
        + build.interface(options=build.option(9, b"\x09") + build.option(14, b"\x10" + bytes(7)))
        + build.interface(link=101, options=build.option(9, b"\xa0"))
        + build.enhanced(FRAME, build.SECOND * 10**9 + 123_456_789)
        + build.enhanced(FRAME[14:], (build.SECOND << 32) + 12345, number=1)
        + build.obsolete(FRAME, build.SECOND * 10**9)
        + build.section(">", length=-1)
        + build.block(4, bytes(4), ">")
        + build.interface(order=">")
        + build.enhanced(FRAME, original=9000, order=">"),
    ],
    ids=["little", "big", "nano", "nano big", "pcapng"],
)
def test_tshark_sees_the_same_packets(capture):
    reader = CaptureReader()
    packets = reader.feed(capture)
    assert reader.close() == []
    assert tshark(capture, *FRAME_FIELDS) == as_tshark(packets)


@needs_tshark
@pytest.mark.skipif(not shutil.which("editcap"), reason="editcap is not installed")
@pytest.mark.parametrize("kind", ["pcapng", "nsecpcap", "modlibpcap", "pcap"])
def test_what_editcap_writes(tmp_path, kind):
    (tmp_path / "in").write_bytes(build.pcap(FRAME, FRAME + bytes(3), FRAME))
    options = ["--capture-comment", "a comment"] if kind == "pcapng" else []
    subprocess.run(
        ["editcap", "-F", kind, "-s", "50", *options, tmp_path / "in", tmp_path / "out"],
        check=True,
        timeout=60,
    )
    reader = CaptureReader()
    packets = reader.feed((tmp_path / "out").read_bytes())
    assert reader.close() == []
    assert [len(packet.data) for packet in packets] == [50, 50, 50]
    assert tshark(tmp_path / "out", *FRAME_FIELDS) == as_tshark(packets)


@needs_tshark
@pytest.mark.skipif(not shutil.which("mergecap"), reason="mergecap is not installed")
def test_what_mergecap_writes_of_two_link_types(tmp_path):
    (tmp_path / "one").write_bytes(build.pcap(FRAME, FRAME))
    (tmp_path / "two").write_bytes(build.pcap(FRAME[14:], link=101))
    subprocess.run(["mergecap", "-w", tmp_path / "out", tmp_path / "one", tmp_path / "two"], check=True, timeout=60)
    reader = CaptureReader()
    packets = reader.feed((tmp_path / "out").read_bytes())
    assert reader.close() == []
    assert sorted(packet.link_type for packet in packets) == [1, 1, 101]
    assert tshark(tmp_path / "out", *FRAME_FIELDS) == as_tshark(packets)


@needs_tshark
def test_tshark_sees_the_same_simple_packets():
    capture = build.section() + build.interface(snaplen=60) + build.simple((FRAME + bytes(99))[:60], 99)
    capture += build.simple(FRAME[:40])
    packets = CaptureReader().feed(capture)
    assert tshark(capture, "frame.cap_len", "frame.len") == [["60", "99"], ["40", "40"]]
    assert [(len(packet.data), packet.original_length) for packet in packets] == [(60, 99), (40, 40)]


@pytest.mark.skipif(not corpora(), reason="OF_CORPORA is not set")
@pytest.mark.skipif(not shutil.which("capinfos"), reason="capinfos is not installed")
def test_the_corpora_hold_as_many_packets_as_capinfos_counts():
    done = subprocess.run(["capinfos", "-T", "-r", "-m", "-c", *corpora()], capture_output=True, check=False)
    counts = dict(line.rsplit(",", 1) for line in done.stdout.decode().splitlines())
    seen, rest = {}, {}
    for path in corpora():
        reader = CaptureReader()
        packets = reader.feed(path.read_bytes())
        assert all(isinstance(packet, Packet) for packet in packets)
        seen[str(path)] = str(len(packets))
        rest[path.name] = reader.close()
    assert seen == counts
    (last,) = rest.pop("netflow_4M.pcap")
    assert (last.number, last.note) == (2709, "cut at the end of the file: 1072 of 1458 bytes")
    found = dissect(last, Fragments())
    assert (len(found.payload), found.missing) == (1072 - 42, 1458 - 1072)
    assert not any(rest.values())


@needs_tshark
@pytest.mark.skipif(not corpora(), reason="OF_CORPORA is not set")
@pytest.mark.parametrize("name", ["netflow_4M.pcap", "srv6.pcap", "sflow_expanded.pcap"])
def test_tshark_sees_the_same_packets_in_the_corpora(name):
    (path,) = [path for path in corpora() if path.name == name]
    assert tshark(path, *FRAME_FIELDS) == as_tshark(CaptureReader().feed(path.read_bytes()))

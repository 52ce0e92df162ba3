"""IPFIX files: messages in a row, damage that ends them, and the deliberately bad files of other collectors."""

import os
from pathlib import Path

import capture_builders as build
import pytest

from overflowd_tools.capture.ipfix_file import IpfixFileReader
from overflowd_tools.capture.packet import ExportMessage
from overflowd_tools.errors import DecodeError

FIRST = build.ipfix(build.ipfix_set(bytes(20)), sequence=1)
SECOND = build.ipfix(build.ipfix_set(bytes(300)), sequence=2)


def read(data: bytes) -> list:
    reader = IpfixFileReader()
    items = reader.feed(data)
    items += reader.close()
    assert reader.finished
    assert reader.buffered == 0
    return [str(item) if isinstance(item, DecodeError) else item for item in items]


def test_messages_in_a_row():
    assert read(FIRST + SECOND + build.ipfix()) == [
        ExportMessage(1, FIRST),
        ExportMessage(2, SECOND),
        ExportMessage(3, build.ipfix()),
    ]


def test_the_longest_message():
    longest = build.ipfix(bytes(65535 - 16))
    reader = IpfixFileReader()
    assert reader.feed(longest[:-1]) == []
    assert reader.buffered == 65534
    assert reader.feed(longest[-1:] + FIRST) == [ExportMessage(1, longest), ExportMessage(2, FIRST)]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (build.ipfix(length=15), "an IPFIX message cannot be 15 bytes long"),
        (build.ipfix(length=0), "an IPFIX message cannot be 0 bytes long"),
        (build.ipfix(version=9), "version 9 where IPFIX, version 10, belongs"),
        (bytes(4), "version 0 where IPFIX, version 10, belongs"),
    ],
)
def test_damage_ends_the_reading_with_one_error(damage, reason):
    for good in (0, 2):
        items = read(FIRST * good + damage + SECOND)
        assert items == [*(ExportMessage(n + 1, FIRST) for n in range(good)), f"message {good + 1}: {reason}"]


def test_a_file_cut_at_every_byte():
    for kept in range(1, len(SECOND)):
        *before, last = read(FIRST + SECOND[:kept])
        assert before == [ExportMessage(1, FIRST)]
        if kept < 16:
            assert last == f"message 2: the file ends inside its header: {kept} of 16 bytes"
        else:
            assert last == ExportMessage(2, SECOND[:kept])


def manifest() -> dict[str, int]:
    """The IPFIX files of the corpora, and how many messages are in them."""
    root = os.environ.get("OF_CORPORA")
    if not root:
        return {}
    rows = [line.split("\t") for line in (Path(root) / "MANIFEST.tsv").read_text().splitlines()]
    return {f"{root}/{row[0]}": int(row[7]) for row in rows if row[0].endswith(".ipfix")}


@pytest.mark.skipif(not manifest(), reason="OF_CORPORA is not set")
def test_the_corpora_hold_as_many_messages_as_their_manifest_says():
    """Files that are bad inside their only message are read all the same; that one decides nothing here."""
    assert len(manifest()) > 20
    wrong = {}
    for path, count in manifest().items():
        data = Path(path).read_bytes()
        items = read(data)
        messages = [item for item in items if isinstance(item, ExportMessage)]
        assert b"".join(message.data for message in messages) == data[: sum(len(one.data) for one in messages)]
        errors = [item for item in items if isinstance(item, str)]
        if len(messages) != count or errors:
            wrong[Path(path).name] = (len(messages), count, errors)
    assert wrong == {}

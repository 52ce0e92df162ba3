"""age files: what goes in comes out, whoever cuts it; damage, foreign keys and hostile headers give our own error."""

import itertools
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overflowd_tools.errors import DecodeError, UsageError
from overflowd_tools.trust import age_files
from overflowd_tools.trust.sealing import ReceivingKey

pyrage = pytest.importorskip("pyrage")

KEY = ReceivingKey(bytes(range(32)))
OTHER = ReceivingKey(bytes(32))
LONG = bytes(range(256)) * 1024


def age_file(contents=LONG, *keys):
    return b"".join(age_files.encrypted([contents], [key.public for key in keys or [KEY]]))


def decrypted(*chunks, keys=(KEY,)):
    return b"".join(age_files.decrypted(chunks, lambda: keys))


def so_far(*chunks):
    """Return what was decrypted, and the reason why it is not all."""
    pieces = []
    with pytest.raises(DecodeError) as caught:
        pieces.extend(age_files.decrypted(chunks, lambda: [KEY]))
    return b"".join(pieces), str(caught.value)


FILE = age_file()


@given(st.lists(st.binary(max_size=200)).map(lambda lists: lists * 3))
def test_whatever_goes_in_comes_out(chunks):
    given_chunks = [chunk for chunk in chunks if chunk]
    file = b"".join(age_files.encrypted(given_chunks, [KEY.public, OTHER.public]))
    assert file.startswith(age_files.MAGIC)
    assert decrypted(file) == decrypted(file, keys=[OTHER]) == b"".join(given_chunks)


@given(st.lists(st.integers(1, len(FILE) - 1), max_size=5, unique=True).map(sorted))
def test_the_cuts_make_no_difference(cuts):
    assert decrypted(*(FILE[start:end] for start, end in itertools.pairwise([0, *cuts, len(FILE)]))) == LONG


def test_one_octet_at_a_time():
    file = age_file(b"reports")
    assert decrypted(*(file[place : place + 1] for place in range(len(file)))) == b"reports"


def test_the_library_alone_agrees():
    identity = pyrage.x25519.Identity.from_str(KEY.secret_text())
    assert pyrage.decrypt(FILE, [identity]) == LONG
    assert decrypted(pyrage.encrypt(LONG, [identity.to_public()])) == LONG


@given(st.binary(max_size=64).filter(lambda data: not data.startswith(age_files.MAGIC)))
def test_other_bytes_pass_through(data):
    assert decrypted(data, b"and more", keys=None) == data + b"and more"
    assert decrypted(age_files.MAGIC[:-1] + b"\r\n", data, keys=None) == age_files.MAGIC[:-1] + b"\r\n" + data


def test_nothing_is_nothing():
    assert decrypted() == b""
    assert decrypted(age_file(b"")) == b""


def test_keys_are_asked_for_only_when_there_is_an_age_file():
    asked = []
    assert list(age_files.decrypted([b'{"type":"flow"}'], lambda: asked.append(1))) == [b'{"type":"flow"}']
    assert not asked


def test_the_file_of_somebody_else():
    assert so_far(age_file(LONG, OTHER)) == (b"", "the age data cannot be decrypted: no matching keys found")


@pytest.mark.parametrize("end", [22, 100, FILE.index(b"\n--- ") + 4])
def test_cut_in_its_header(end):
    assert so_far(FILE[:end]) == (b"", "the age data cannot be decrypted: no end of their header")


@pytest.mark.parametrize("end", [70_000, len(FILE) - 1])
def test_cut_later_gives_what_is_whole(end):
    contents, reason = so_far(FILE[:end])
    assert contents == LONG[: end // 65_700 * 65_536]
    assert reason == "the age data are damaged or end too early"


@given(st.integers(len(age_files.MAGIC), len(FILE) - 1), st.integers(1, 255))
def test_one_octet_changed_is_never_taken(place, change):
    """A changed stanza may be one of an unknown type, which the rest of the header still has a MAC over."""
    changed = bytearray(FILE)
    changed[place] ^= change
    contents, reason = so_far(bytes(changed))
    assert reason.startswith("the age data ")
    assert LONG.startswith(contents)


def test_more_after_the_end_is_told():
    assert so_far(FILE + b"x")[1] == "the age data are damaged or end too early"


def test_an_endless_header_is_not_read_on():
    stanzas = itertools.count()
    chunks = (b"-> X25519 " + b"A" * 43 + b"\n" + b"A" * 43 + b"\n" for _ in stanzas)
    with pytest.raises(DecodeError, match="no end of their header"):
        list(age_files.decrypted(itertools.chain([age_files.MAGIC], chunks), lambda: [KEY]))
    assert next(stanzas) < 1000


def test_errors_of_the_chunks_come_through_and_leave_no_thread():
    def failing():
        yield b"x"
        raise RuntimeError("of the chunks")

    with pytest.raises(RuntimeError, match="of the chunks"):
        list(age_files.encrypted(failing(), [KEY.public]))
    made = age_files.encrypted(itertools.repeat(LONG), [KEY.public])
    assert next(made).startswith(age_files.MAGIC)
    made.close()
    assert threading.active_count() == 1


def test_memory_is_bounded():
    """Chunks are drawn as they are needed: never many more than what has come out."""
    drawn = 0

    def counted():
        nonlocal drawn
        for _ in range(500):
            drawn += 1
            yield bytes(1 << 16)

    octets = 0
    for piece in age_files.encrypted(counted(), [KEY.public]):
        octets += len(piece)
        assert drawn <= octets / 65_000 + 4


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyrage", None)
    with pytest.raises(UsageError, match=r"--age: install overflowd-tools\[age\]"):
        list(age_files.encrypted([], [KEY.public]))
    with pytest.raises(UsageError, match=r"use age -d FILE |, or: install overflowd-tools\[age\]"):
        decrypted(FILE)

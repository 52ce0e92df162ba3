"""The files of keyrings: a lost index, a damaged log, full disks and several processes."""

import json
import os
import sqlite3
import stat

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trust.rings import KEYS, NOW, Small, judge, known, record, ring, sighting

from overflowd_tools.errors import KeyFileError
from overflowd_tools.trust import events
from overflowd_tools.trust.index import Index
from overflowd_tools.trust.keyring import Keyring


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ring"


# --- the index


def fill(keyring):
    judge(keyring, sighting(), sighting(key=1, seq=5), sighting(key=1, seq=9, confirmed=b"abcdefgh"))
    judge(
        keyring,
        sighting(key=2),
        sighting(key=2, body=b"x"),
        sighting(key=3, contact='Ex "Net" \U0001f468‍\U0001f393 <a@b>'),
    )
    with keyring.update(NOW) as update:
        update.decide(KEYS[4], "trusted")
        update.rotate(KEYS[4], KEYS[5], {"time_ms": NOW, "until_ms": NOW + 1})
        update.note(KEYS[4], "")
        update.revoke(KEYS[6], None, {"since_ms": 1})


def damage_nothing(index):
    pass


def damage_remove(index):
    index.unlink()


def damage_garbage(index):
    index.write_bytes(os.urandom(20_000))


def damage_empty(index):
    index.write_bytes(b"")


def damage_cut(index):
    index.write_bytes(index.read_bytes()[: index.stat().st_size // 2])


def damage_pages(index):
    data = bytearray(index.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    index.write_bytes(data)


def damage_schema(index):
    database = sqlite3.connect(index)
    database.execute("CREATE TRIGGER evil AFTER INSERT ON keys BEGIN DELETE FROM keys; END")
    database.commit()
    database.close()


def damage_progress(index):
    database = sqlite3.connect(index)
    database.execute("DELETE FROM progress")
    database.commit()
    database.close()


def damage_types(index):
    database = sqlite3.connect(index)
    database.execute("UPDATE progress SET log = x'00', place = 'x', tail = 1.5")
    database.commit()
    database.close()


def damage_other_log(index):
    database = sqlite3.connect(index)
    database.execute("UPDATE progress SET tail = x'41'")
    database.execute("DELETE FROM keys")
    database.commit()
    database.close()


@pytest.mark.parametrize(
    "damage",
    [value for name, value in sorted(globals().items()) if name.startswith("damage_")],
    ids=lambda d: d.__name__,
)
def test_a_lost_or_damaged_index_loses_nothing(path, damage):
    told = []
    with ring(path, told) as keyring:
        fill(keyring)
        before = known(keyring)
    damage(path.with_name("ring.index"))
    with ring(path, told) as keyring:
        assert known(keyring) == before
        assert judge(keyring, sighting(), sighting(key=1, seq=5)) == ["duplicate", "duplicate"]
    assert told == []
    assert stat.S_IMODE(os.stat(path.with_name("ring.index")).st_mode) == 0o600


def test_damage_that_shows_only_later_is_told_and_mended_at_the_next_start(path, monkeypatch):
    def fails(*_):
        raise sqlite3.DatabaseError("database disk image is malformed")

    with ring(path) as keyring:
        fill(keyring)
        before = known(keyring)
        with monkeypatch.context() as patch:
            patch.setattr(Index, "entries", fails)
            with pytest.raises(KeyFileError, match=r"malformed; it will be made again"):
                known(keyring)
        assert not path.with_name("ring.index").exists()
        assert known(keyring) == before
        with monkeypatch.context() as patch:
            patch.setattr(Index, "remembered", fails)
            with pytest.raises(KeyFileError, match=r"malformed"):
                keyring.check()
        assert known(keyring) == before


def test_an_index_that_cannot_be_written_does_not_undo_what_the_log_has(path, monkeypatch):
    told = []

    def fails(*_):
        raise sqlite3.OperationalError("database or disk is full")

    with ring(path, told) as keyring:
        judge(keyring, sighting())
        with monkeypatch.context() as patch:
            patch.setattr(Index, "commit", fails)
            assert judge(keyring, sighting(seq=2)) == [None]
        assert told == [f"{path}.index: database or disk is full; it will be made again"]
        assert judge(keyring, sighting(seq=2)) == ["duplicate"]


@pytest.mark.parametrize("method", ["put_records", "begin"])
def test_an_index_that_fails_before_the_log_is_written_enters_nothing(path, monkeypatch, method):
    def fails(*_):
        raise sqlite3.OperationalError("database or disk is full")

    with ring(path) as keyring:
        judge(keyring, sighting())
        size = path.stat().st_size
        with monkeypatch.context() as patch:
            patch.setattr(Index, method, fails)
            with pytest.raises(KeyFileError, match="disk is full"):
                judge(keyring, sighting(seq=2))
        assert path.stat().st_size == size
        assert judge(keyring, sighting(seq=2)) == [None]


def test_a_log_that_cannot_be_written_enters_nothing(path, monkeypatch):
    def fails(*_):
        raise KeyFileError("ring: No space left on device")

    with ring(path) as keyring:
        judge(keyring, sighting())
        before = known(keyring)
        with monkeypatch.context() as patch:
            patch.setattr(keyring._log, "append", fails)
            with pytest.raises(KeyFileError, match="No space"):
                judge(keyring, sighting(seq=2))
        assert known(keyring) == before
        assert judge(keyring, sighting(seq=2), sighting()) == [None, "duplicate"]


def test_two_keyrings_on_one_file_see_each_other(path):
    with ring(path) as one, ring(path) as two:
        for seq in range(1, 20):
            assert judge(one, sighting(seq=seq)) == [None]
            assert judge(two, sighting(seq=seq), sighting(key=1, seq=seq)) == ["duplicate", None]
        assert known(one) == known(two)
        two.check()
        assert judge(one, sighting(seq=5), sighting(seq=20)) == ["duplicate", None]
        assert judge(two, sighting(seq=20)) == ["duplicate"]


def test_an_older_log_that_is_put_back(path):
    with ring(path) as keyring:
        judge(keyring, sighting())
        old = path.read_bytes()
        judge(keyring, sighting(seq=2))
    path.write_bytes(old)
    with ring(path) as keyring:
        assert judge(keyring, sighting(), sighting(seq=2)) == ["duplicate", None]
    path.write_bytes(old + path.read_bytes()[len(old) :].replace(b'"seq":2', b'"seq":3'))
    with ring(path) as keyring:
        assert judge(keyring, sighting(seq=2)) == [None]


# --- hostile logs


BAD = [
    "",
    "{",
    "[]",
    "null",
    "[" * 100_000,
    '{"event":"other"}',
    '{"event":7}',
    '{"event":"report"}',
    '{"event":"report","key":"RW"}',
    f'{{"event":"report","key":"{KEYS[0].text}","digest":"zz"}}',
    f'{{"event":"report","key":"{KEYS[0].text}","digest":"00"}}',
    f'{{"event":"report","key":"{KEYS[0].text}","digest":"{"00" * 16}","seq":-1}}',
    f'{{"event":"report","key":"{KEYS[0].text}","digest":"{"00" * 16}","seq":{2**63}}}',
    f'{{"event":"report","key":"{KEYS[0].text}","digest":"{"00" * 16}","to":"\\u0000"}}',
    f'{{"event":"decision","key":"{KEYS[0].text}","decision":"loved"}}',
    f'{{"event":"note","key":"{KEYS[0].text}","note":1}}',
    f'{{"event":"announcement","key":"{KEYS[0].text}","statement":7}}',
    f'{{"event":"rotation","old":"{KEYS[0].text}","new":"x"}}',
    f'{{"event":"revocation","key":"{KEYS[0].text}","statement":[]}}',
    '{"event":"forgotten","keys":7}',
    '{"event":"forgotten","keys":[7]}',
    '{"event":"forgotten","keys":["RW"]}',
    '{"event":"key"}',
    f'{{"event":"key","text":"{KEYS[0].text}","decision":"loved"}}',
    f'{{"event":"key","text":"{KEYS[0].text}","days":1.5}}',
    '{"event":"numbers","key":1}',
    '{"event":"statement","key":null}',
    '{"event":"passed","slot":"x"}',
]


@pytest.mark.parametrize("line", BAD, ids=range(len(BAD)))
def test_a_bad_line_of_the_log_is_told_and_passed_over(path, line):
    with ring(path) as keyring:
        judge(keyring, sighting())
    size = path.stat().st_size
    with path.open("a") as file:
        file.write(line + "\n")
    told = []
    with ring(path, told) as keyring:
        assert judge(keyring, sighting(), sighting(seq=2)) == ["duplicate", None]
        assert len(told) == 1
        assert told[0].startswith(f"{path}: octet {size}: ")
        assert told[0].endswith("; passed over")
        assert known(keyring)["records"][0][0] == KEYS[0].raw


def test_rotations_in_a_ring(path):
    with ring(path) as keyring:
        judge(keyring, sighting())
    with path.open("ab") as file:
        for old, new in ((0, 1), (1, 2), (2, 0)):
            times = {"time_ms": NOW, "until_ms": NOW + 1}
            file.write(events.line("rotation", old=KEYS[old].text, new=KEYS[new].text, statement=times))
    with ring(path) as keyring:
        with keyring.update(NOW) as update:
            update.revoke(KEYS[1], None, {"since_ms": 1})
        assert [record(keyring, key).state for key in range(3)] == ["distrusted", "revoked", "distrusted"]


def test_a_damaged_report_is_not_in_the_shorter_log(path):
    with ring(path, limits=Small) as keyring:
        judge(keyring, sighting(key=1), sighting(key=2))
        with path.open("r+b") as file:
            file.seek(path.read_bytes().index(b'"event":"report"'))
            file.write(b"X")
        judge(keyring, *(sighting(seq=seq, body=b"x" * 900) for seq in range(1, 40)))
    told = []
    with ring(path, told, Small) as keyring:
        keyring.check()
        assert judge(keyring, sighting(key=2)) == ["duplicate"]
    assert told == []


def test_of_many_bad_lines_ten_are_told(path):
    with ring(path) as keyring:
        judge(keyring, sighting())
    with path.open("a") as file:
        file.write("x\n" * 50_000)
    told = []
    with ring(path, told) as keyring:
        assert keyring.check() == 50_001
    assert len(told) == 10


MEMBERS = st.dictionaries(
    st.sampled_from(
        [
            *("at_ms", "key", "to", "epoch", "seq", "time_ms", "expires_ms", "digest", "contact", "confirmed", "held"),
            *(
                "report",
                "decision",
                "name",
                "note",
                "old",
                "new",
                "statement",
                "keys",
                "slot",
                "text",
                "reports",
                "kind",
            ),
        ]
    ),
    st.one_of(
        st.sampled_from(
            [KEYS[0].text, KEYS[1].text, "00" * 16, "00" * 24, "pinned", "", {"since_ms": 1}, [KEYS[0].text]]
        ),
        st.integers(-1, 2**64),
        st.none(),
        st.text(max_size=3),
        st.lists(st.integers(), max_size=2),
    ),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.builds(
            lambda kind, members: {"event": kind, **members},
            st.sampled_from(
                [
                    *("report", "kept", "passed", "decision", "note", "evidence", "contradiction", "announcement"),
                    *("rotation", "revocation", "forgotten", "key", "numbers", "statement"),
                ]
            ),
            MEMBERS,
        ),
        max_size=12,
    )
)
def test_any_log_is_read_without_a_fall(tmp_path, lines):
    path = tmp_path / f"ring{os.urandom(8).hex()}"
    with ring(path) as keyring:
        judge(keyring, sighting())
    with path.open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    with ring(path) as keyring:
        judge(keyring, sighting(), sighting(seq=2), sighting(key=1))
        before = known(keyring)
        keyring.check()
        after = known(keyring)
    for name in ("numbers", "statements"):
        assert after[name] == before[name]
    assert [row[:-2] for row in after["records"]] == [row[:-2] for row in before["records"]]  # all but the window


def test_what_is_not_a_keyring_is_refused(path):
    path.write_bytes(b'{"type":"flow"}\n')
    with ring(path) as keyring, pytest.raises(KeyFileError, match="not a keyring"):
        judge(keyring, sighting())
    assert path.read_bytes() == b'{"type":"flow"}\n'


@pytest.mark.parametrize("suffix", ["", "-wal", "-journal"])
def test_an_index_that_somebody_else_has_put_there_is_refused(path, monkeypatch, suffix):
    """In a directory like /tmp, others can make files that SQLite would read."""
    foreign = path.with_name(f"ring.index{suffix}")
    foreign.symlink_to("elsewhere")
    with ring(path) as keyring, pytest.raises(KeyFileError, match="not a file of our own"):
        judge(keyring, sighting())
    foreign.unlink()
    foreign.write_bytes(b"")
    with monkeypatch.context() as patch:
        real = os.lstat
        patch.setattr(os, "lstat", lambda name: os.stat_result((*real(name)[:4], 12345, *real(name)[5:])))
        with ring(path) as keyring, pytest.raises(KeyFileError, match="not a file of our own"):
            judge(keyring, sighting())
    with ring(path) as keyring:
        assert judge(keyring, sighting()) == [None]


def test_a_link_leads_where_it_did(path, tmp_path):
    (tmp_path / "there").mkdir()
    path.symlink_to("there/real")
    with ring(path, limits=Small) as keyring:
        for start in range(1, 200, 20):
            judge(keyring, *(sighting(seq=seq, body=b"x" * 900) for seq in range(start, start + 20)))
    assert path.is_symlink()
    assert sorted(file.name for file in (tmp_path / "there").iterdir()) == ["real", "real.index"]


def test_directories_are_made(tmp_path):
    keyring = Keyring(str(tmp_path / "a/b/ring"), print)
    keyring.close()
    assert stat.S_IMODE(os.stat(tmp_path / "a").st_mode) == 0o700


def test_lines_of_events():
    assert events.line("note", key="é") == b'{"event":"note","key":"\\u00e9"}\n'
    assert events.slot(b"k", "a", 1, 2, b"x") == events.slot(b"k", "a", 1, 2, b"y")
    assert events.slot(b"k", "a", 1, 0, b"x") != events.slot(b"k", "a", 1, 0, b"y")
